psql as the application's role: its commands work under the firewall, but those that ask for sizes.

-- case psql_commands (alpha_owner, says /^all of them work$/, no control): describes everything that psql can describe
\set ON_ERROR_STOP on
\o /dev/null
\d
\d client
\d+ client
\d+ event
\d+ client_view
\dt
\dt immiiq.*
\dv
\di
\ds
\dm
\dE
\df
\df+ find_note
\dn+
\du+
\dg
\dx
\dx+ plpgsql
\dT+
\dp
\ddp
\dc
\dC
\do enc*
\dO
\dD
\dF
\dy
\dL
\da
\db
\dA
\dAc gin
\des
\det
\dew
\dP
\dRp
\dRs
\dX
\dd
\drds
\l
\sf find_note
\sv client_view
\encoding
\conninfo
\o
\echo all of them work
-- case psql_table_sizes (alpha_owner, refused 42501): asks for tables with their sizes
\dt+
-- case psql_index_sizes (alpha_owner, refused 42501): asks for indexes with their sizes
\di+
-- case psql_database_sizes (alpha_owner, refused 42501): asks for databases with their sizes
\l+
