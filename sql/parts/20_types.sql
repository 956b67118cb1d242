-- The sealed column types. They live in pg_catalog so that every search_path finds them. What users declare has no
-- operators of its own: those are of a hidden base type with the same bytes (30_search.sql), as varchar has text's.

CREATE FUNCTION pg_catalog.enc_typmodout(integer) RETURNS cstring
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_typmodout';
COMMENT ON FUNCTION pg_catalog.enc_typmodout(integer) IS 'I/O typmod';
CREATE FUNCTION pg_catalog.enc_typanalyze(internal) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_typanalyze';
COMMENT ON FUNCTION pg_catalog.enc_typanalyze(internal) IS 'null fraction, width and number of distinct values; no common values';

-- enc_text
CREATE TYPE pg_catalog.enc_text;
CREATE TYPE pg_catalog.enc_text_base;

CREATE FUNCTION pg_catalog.enc_text_in(cstring, oid, integer) RETURNS pg_catalog.enc_text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_in';
COMMENT ON FUNCTION pg_catalog.enc_text_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_text_out(pg_catalog.enc_text) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.enc_text_out(pg_catalog.enc_text) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.enc_text_recv(internal, oid, integer) RETURNS pg_catalog.enc_text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_recv';
COMMENT ON FUNCTION pg_catalog.enc_text_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_text_send(pg_catalog.enc_text) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.enc_text_send(pg_catalog.enc_text) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.enc_text_typmodin(cstring[]) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_typmodin';
COMMENT ON FUNCTION pg_catalog.enc_text_typmodin(cstring[]) IS 'I/O typmod';
CREATE TYPE pg_catalog.enc_text (
    INPUT = pg_catalog.enc_text_in,
    OUTPUT = pg_catalog.enc_text_out,
    RECEIVE = pg_catalog.enc_text_recv,
    SEND = pg_catalog.enc_text_send,
    TYPMOD_IN = pg_catalog.enc_text_typmodin,
    TYPMOD_OUT = pg_catalog.enc_typmodout,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE pg_catalog.enc_text IS 'text sealed under the organisation''s key: enc_text([domain,] sealed | equality [, fold])';

CREATE FUNCTION pg_catalog.enc_text_base_in(cstring, oid, integer) RETURNS pg_catalog.enc_text_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_in';
COMMENT ON FUNCTION pg_catalog.enc_text_base_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_text_base_out(pg_catalog.enc_text_base) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.enc_text_base_out(pg_catalog.enc_text_base) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_text_base_recv(internal, oid, integer) RETURNS pg_catalog.enc_text_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_recv';
COMMENT ON FUNCTION pg_catalog.enc_text_base_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_text_base_send(pg_catalog.enc_text_base) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.enc_text_base_send(pg_catalog.enc_text_base) IS 'I/O';
CREATE TYPE pg_catalog.enc_text_base (
    INPUT = pg_catalog.enc_text_base_in,
    OUTPUT = pg_catalog.enc_text_base_out,
    RECEIVE = pg_catalog.enc_text_base_recv,
    SEND = pg_catalog.enc_text_base_send,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE pg_catalog.enc_text_base IS 'what the operators of enc_text take; not for columns';
CREATE CAST (pg_catalog.enc_text AS pg_catalog.enc_text_base) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (pg_catalog.enc_text AS pg_catalog.enc_text_base) IS 'to the operators';

CREATE FUNCTION pg_catalog.enc_text(pg_catalog.enc_text, integer, boolean) RETURNS pg_catalog.enc_text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_coerce';
COMMENT ON FUNCTION pg_catalog.enc_text(pg_catalog.enc_text, integer, boolean) IS 'seals for a column''s declaration';
CREATE CAST (pg_catalog.enc_text AS pg_catalog.enc_text) WITH FUNCTION pg_catalog.enc_text(pg_catalog.enc_text, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (pg_catalog.enc_text AS pg_catalog.enc_text) IS 'seals for a column''s declaration';

CREATE FUNCTION pg_catalog.enc_text(text, integer, boolean) RETURNS pg_catalog.enc_text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_from_text';
COMMENT ON FUNCTION pg_catalog.enc_text(text, integer, boolean) IS 'seals text';
CREATE CAST (text AS pg_catalog.enc_text) WITH FUNCTION pg_catalog.enc_text(text, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (text AS pg_catalog.enc_text) IS 'seals text';
CREATE CAST (varchar AS pg_catalog.enc_text) WITH FUNCTION pg_catalog.enc_text(text, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (varchar AS pg_catalog.enc_text) IS 'seals text';

CREATE FUNCTION pg_catalog.text(pg_catalog.enc_text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_to_text';
COMMENT ON FUNCTION pg_catalog.text(pg_catalog.enc_text) IS 'plaintext for whom it belongs to, armour for all others';
CREATE CAST (pg_catalog.enc_text AS text) WITH FUNCTION pg_catalog.text(pg_catalog.enc_text);
COMMENT ON CAST (pg_catalog.enc_text AS text) IS 'plaintext for whom it belongs to, armour for all others';
-- Without these, an assignment to a plain column would open the value unasked.
CREATE CAST (pg_catalog.enc_text AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_text AS varchar) IS 'explicit only';
CREATE CAST (pg_catalog.enc_text AS bpchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_text AS bpchar) IS 'explicit only';
CREATE CAST (pg_catalog.enc_text AS name) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_text AS name) IS 'explicit only';
CREATE CAST (pg_catalog.enc_text_base AS text) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_text_base AS text) IS 'explicit only';
CREATE CAST (pg_catalog.enc_text_base AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_text_base AS varchar) IS 'explicit only';

-- enc_date
CREATE TYPE pg_catalog.enc_date;
CREATE TYPE pg_catalog.enc_date_base;

CREATE FUNCTION pg_catalog.enc_date_in(cstring, oid, integer) RETURNS pg_catalog.enc_date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_in';
COMMENT ON FUNCTION pg_catalog.enc_date_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_date_out(pg_catalog.enc_date) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.enc_date_out(pg_catalog.enc_date) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.enc_date_recv(internal, oid, integer) RETURNS pg_catalog.enc_date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_recv';
COMMENT ON FUNCTION pg_catalog.enc_date_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_date_send(pg_catalog.enc_date) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.enc_date_send(pg_catalog.enc_date) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.enc_date_typmodin(cstring[]) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_typmodin';
COMMENT ON FUNCTION pg_catalog.enc_date_typmodin(cstring[]) IS 'I/O typmod';
CREATE TYPE pg_catalog.enc_date (
    INPUT = pg_catalog.enc_date_in,
    OUTPUT = pg_catalog.enc_date_out,
    RECEIVE = pg_catalog.enc_date_recv,
    SEND = pg_catalog.enc_date_send,
    TYPMOD_IN = pg_catalog.enc_date_typmodin,
    TYPMOD_OUT = pg_catalog.enc_typmodout,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE pg_catalog.enc_date IS 'date sealed under the organisation''s key: enc_date([domain,] sealed | equality)';

CREATE FUNCTION pg_catalog.enc_date_base_in(cstring, oid, integer) RETURNS pg_catalog.enc_date_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_in';
COMMENT ON FUNCTION pg_catalog.enc_date_base_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_date_base_out(pg_catalog.enc_date_base) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.enc_date_base_out(pg_catalog.enc_date_base) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_date_base_recv(internal, oid, integer) RETURNS pg_catalog.enc_date_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_recv';
COMMENT ON FUNCTION pg_catalog.enc_date_base_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.enc_date_base_send(pg_catalog.enc_date_base) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.enc_date_base_send(pg_catalog.enc_date_base) IS 'I/O';
CREATE TYPE pg_catalog.enc_date_base (
    INPUT = pg_catalog.enc_date_base_in,
    OUTPUT = pg_catalog.enc_date_base_out,
    RECEIVE = pg_catalog.enc_date_base_recv,
    SEND = pg_catalog.enc_date_base_send,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE pg_catalog.enc_date_base IS 'what the operators of enc_date take; not for columns';
CREATE CAST (pg_catalog.enc_date AS pg_catalog.enc_date_base) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (pg_catalog.enc_date AS pg_catalog.enc_date_base) IS 'to the operators';

CREATE FUNCTION pg_catalog.enc_date(pg_catalog.enc_date, integer, boolean) RETURNS pg_catalog.enc_date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_coerce';
COMMENT ON FUNCTION pg_catalog.enc_date(pg_catalog.enc_date, integer, boolean) IS 'seals for a column''s declaration';
CREATE CAST (pg_catalog.enc_date AS pg_catalog.enc_date) WITH FUNCTION pg_catalog.enc_date(pg_catalog.enc_date, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (pg_catalog.enc_date AS pg_catalog.enc_date) IS 'seals for a column''s declaration';

CREATE FUNCTION pg_catalog.enc_date(date, integer, boolean) RETURNS pg_catalog.enc_date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_from_plain';
COMMENT ON FUNCTION pg_catalog.enc_date(date, integer, boolean) IS 'seals a date';
CREATE CAST (date AS pg_catalog.enc_date) WITH FUNCTION pg_catalog.enc_date(date, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (date AS pg_catalog.enc_date) IS 'seals a date';
CREATE FUNCTION pg_catalog.enc_date(text, integer, boolean) RETURNS pg_catalog.enc_date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_date_from_text';
COMMENT ON FUNCTION pg_catalog.enc_date(text, integer, boolean) IS 'seals a date written as text';
CREATE CAST (text AS pg_catalog.enc_date) WITH FUNCTION pg_catalog.enc_date(text, integer, boolean);
COMMENT ON CAST (text AS pg_catalog.enc_date) IS 'seals a date written as text';
CREATE FUNCTION pg_catalog.date(pg_catalog.enc_date) RETURNS date
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_to_plain';
COMMENT ON FUNCTION pg_catalog.date(pg_catalog.enc_date) IS 'opens a value of the active organisation';
CREATE CAST (pg_catalog.enc_date AS date) WITH FUNCTION pg_catalog.date(pg_catalog.enc_date);
COMMENT ON CAST (pg_catalog.enc_date AS date) IS 'opens a value of the active organisation';

CREATE FUNCTION pg_catalog.text(pg_catalog.enc_date) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_to_text';
COMMENT ON FUNCTION pg_catalog.text(pg_catalog.enc_date) IS 'plaintext for whom it belongs to, armour for all others';
CREATE CAST (pg_catalog.enc_date AS text) WITH FUNCTION pg_catalog.text(pg_catalog.enc_date);
COMMENT ON CAST (pg_catalog.enc_date AS text) IS 'plaintext for whom it belongs to, armour for all others';
-- Without these, an assignment to a plain column would open the value unasked.
CREATE CAST (pg_catalog.enc_date AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_date AS varchar) IS 'explicit only';
CREATE CAST (pg_catalog.enc_date AS bpchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_date AS bpchar) IS 'explicit only';
CREATE CAST (pg_catalog.enc_date AS name) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_date AS name) IS 'explicit only';
CREATE CAST (pg_catalog.enc_date_base AS text) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_date_base AS text) IS 'explicit only';
CREATE CAST (pg_catalog.enc_date_base AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.enc_date_base AS varchar) IS 'explicit only';
