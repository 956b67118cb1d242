-- Contracts that hold for every object of the extension, whichever part made it.
\i test/pgtap/setup.psql
SELECT plan(7);

-- Functions of the extension, in whatever schema they live.
CREATE TEMPORARY VIEW extension_function AS
SELECT p.*, p.oid::regprocedure::text AS signature
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'immiiq';

SELECT is_empty(
    $$SELECT signature FROM extension_function
      WHERE prosecdef AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']$$,
    'every SECURITY DEFINER function pins its search_path');

SELECT is_empty(
    $$SELECT signature FROM extension_function
      WHERE prosecdef AND has_function_privilege('regress_immiiq_nobody', oid, 'EXECUTE')$$,
    'no SECURITY DEFINER function is for PUBLIC');

SELECT is_empty(
    $$SELECT signature FROM extension_function WHERE obj_description(oid, 'pg_proc') IS NULL$$,
    'every function has a comment');

SELECT is_empty(
    $$SELECT c.oid::regclass FROM pg_class c
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
      JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'immiiq'
      WHERE c.relkind IN ('r', 'v', 'p', 'm') AND obj_description(c.oid, 'pg_class') IS NULL$$,
    'every table and view has a comment');

SELECT is_empty(
    $$SELECT c.oid::regclass, privilege FROM pg_class c
      CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
      WHERE c.relnamespace = 'immiiq'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm')
      AND has_table_privilege('regress_immiiq_nobody', c.oid, privilege)$$,
    'a role that was granted nothing has no privilege on a table or view of immiiq');

SELECT is_empty(
    $$SELECT signature FROM extension_function WHERE proleakproof AND provolatile = 'v'$$,
    'no volatile function claims to be leakproof');

SELECT is_empty(
    $$SELECT c.oid::regclass FROM pg_class c
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
      JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'immiiq'
      WHERE c.relkind = 'r' AND NOT coalesce(e.extconfig, '{}') @> ARRAY[c.oid]
      AND c.relname NOT IN ('privilege', 'installed_function',      -- the install script's own rows
                            'tree', 'seal_state', 'restored',       -- what the sealer makes anew
                            'anchor_state', 'coverage_state',       -- of this server's command
                            'ledger_pending')                       -- and of its file beside the root key
      ORDER BY 1$$,
    'every table with data of the installation is carried by pg_dump');

SELECT * FROM finish();
