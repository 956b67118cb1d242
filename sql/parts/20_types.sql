-- The sealed column types. They live in pg_catalog so that every search_path finds them. What users declare has no
-- operators of its own: those are of a hidden base type with the same bytes (30_search.sql), as varchar has text's.

CREATE FUNCTION pg_catalog.enc_typmodout(integer) RETURNS cstring
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_typmodout';
COMMENT ON FUNCTION pg_catalog.enc_typmodout(integer) IS 'I/O typmod';
CREATE FUNCTION pg_catalog.enc_typanalyze(internal) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_typanalyze';
COMMENT ON FUNCTION pg_catalog.enc_typanalyze(internal) IS 'null fraction, width and number of distinct values; no common values';

-- What all of them have: @type@ stands for the name, once for each.
DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['enc_text', 'enc_bytea', 'enc_int8', 'enc_numeric', 'enc_date', 'enc_timestamptz', 'enc_jsonb'] LOOP
        EXECUTE pg_catalog.replace($sql$
CREATE TYPE pg_catalog.@type@;
CREATE TYPE pg_catalog.@type@_base;

CREATE FUNCTION pg_catalog.@type@_in(cstring, oid, integer) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_in';
COMMENT ON FUNCTION pg_catalog.@type@_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.@type@_out(pg_catalog.@type@) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.@type@_out(pg_catalog.@type@) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.@type@_recv(internal, oid, integer) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_recv';
COMMENT ON FUNCTION pg_catalog.@type@_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.@type@_send(pg_catalog.@type@) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.@type@_send(pg_catalog.@type@) IS 'I/O: plaintext for whom it belongs to, armour for all others';
CREATE FUNCTION pg_catalog.@type@_typmodin(cstring[]) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_typmodin';
COMMENT ON FUNCTION pg_catalog.@type@_typmodin(cstring[]) IS 'I/O typmod';
CREATE TYPE pg_catalog.@type@ (
    INPUT = pg_catalog.@type@_in,
    OUTPUT = pg_catalog.@type@_out,
    RECEIVE = pg_catalog.@type@_recv,
    SEND = pg_catalog.@type@_send,
    TYPMOD_IN = pg_catalog.@type@_typmodin,
    TYPMOD_OUT = pg_catalog.enc_typmodout,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);

CREATE FUNCTION pg_catalog.@type@_base_in(cstring, oid, integer) RETURNS pg_catalog.@type@_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_in';
COMMENT ON FUNCTION pg_catalog.@type@_base_in(cstring, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.@type@_base_out(pg_catalog.@type@_base) RETURNS cstring
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_out';
COMMENT ON FUNCTION pg_catalog.@type@_base_out(pg_catalog.@type@_base) IS 'I/O';
CREATE FUNCTION pg_catalog.@type@_base_recv(internal, oid, integer) RETURNS pg_catalog.@type@_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_recv';
COMMENT ON FUNCTION pg_catalog.@type@_base_recv(internal, oid, integer) IS 'I/O';
CREATE FUNCTION pg_catalog.@type@_base_send(pg_catalog.@type@_base) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_send';
COMMENT ON FUNCTION pg_catalog.@type@_base_send(pg_catalog.@type@_base) IS 'I/O';
CREATE TYPE pg_catalog.@type@_base (
    INPUT = pg_catalog.@type@_base_in,
    OUTPUT = pg_catalog.@type@_base_out,
    RECEIVE = pg_catalog.@type@_base_recv,
    SEND = pg_catalog.@type@_base_send,
    ANALYZE = pg_catalog.enc_typanalyze,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE pg_catalog.@type@_base IS 'what the operators of @type@ take; not for columns';
CREATE CAST (pg_catalog.@type@ AS pg_catalog.@type@_base) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (pg_catalog.@type@ AS pg_catalog.@type@_base) IS 'to the operators';

CREATE FUNCTION pg_catalog.@type@(pg_catalog.@type@, integer, boolean) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_coerce';
COMMENT ON FUNCTION pg_catalog.@type@(pg_catalog.@type@, integer, boolean) IS 'seals for a column''s declaration';
CREATE CAST (pg_catalog.@type@ AS pg_catalog.@type@) WITH FUNCTION pg_catalog.@type@(pg_catalog.@type@, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (pg_catalog.@type@ AS pg_catalog.@type@) IS 'seals for a column''s declaration';

-- Opening costs what fifteen simple operators do: sorting by opened values is shared out among workers sooner.
CREATE FUNCTION pg_catalog.text(pg_catalog.@type@) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE COST 15 AS 'MODULE_PATHNAME', 'enc_to_text';
COMMENT ON FUNCTION pg_catalog.text(pg_catalog.@type@) IS 'plaintext for whom it belongs to, armour for all others';
CREATE CAST (pg_catalog.@type@ AS text) WITH FUNCTION pg_catalog.text(pg_catalog.@type@);
COMMENT ON CAST (pg_catalog.@type@ AS text) IS 'plaintext for whom it belongs to, armour for all others';
-- Without these, an assignment to a plain column would open the value unasked.
CREATE CAST (pg_catalog.@type@ AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.@type@ AS varchar) IS 'explicit only';
CREATE CAST (pg_catalog.@type@ AS bpchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.@type@ AS bpchar) IS 'explicit only';
CREATE CAST (pg_catalog.@type@ AS name) WITH INOUT;
COMMENT ON CAST (pg_catalog.@type@ AS name) IS 'explicit only';
CREATE CAST (pg_catalog.@type@_base AS text) WITH INOUT;
COMMENT ON CAST (pg_catalog.@type@_base AS text) IS 'explicit only';
CREATE CAST (pg_catalog.@type@_base AS varchar) WITH INOUT;
COMMENT ON CAST (pg_catalog.@type@_base AS varchar) IS 'explicit only';

$sql$, '@type@', name);
    END LOOP;
END
$do$;

COMMENT ON TYPE pg_catalog.enc_text IS 'text sealed under the organisation''s key: enc_text([domain,] sealed | equality [, fold] [, prefix] [, match])';
COMMENT ON TYPE pg_catalog.enc_bytea IS 'bytea sealed under the organisation''s key: enc_bytea([domain,] sealed | equality)';
COMMENT ON TYPE pg_catalog.enc_int8 IS 'bigint sealed under the organisation''s key: enc_int8([domain,] sealed | equality [, range])';
COMMENT ON TYPE pg_catalog.enc_numeric IS 'numeric sealed under the organisation''s key: enc_numeric([domain,] sealed | equality [, range])';
COMMENT ON TYPE pg_catalog.enc_date IS 'date sealed under the organisation''s key: enc_date([domain,] sealed | equality [, range])';
COMMENT ON TYPE pg_catalog.enc_timestamptz IS 'timestamptz sealed under the organisation''s key: enc_timestamptz([domain,] sealed | equality [, range])';
COMMENT ON TYPE pg_catalog.enc_jsonb IS 'jsonb sealed under the organisation''s key: enc_jsonb([domain,] sealed | contains)';

-- text: in
CREATE FUNCTION pg_catalog.enc_text(text, integer, boolean) RETURNS pg_catalog.enc_text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_text_from_text';
COMMENT ON FUNCTION pg_catalog.enc_text(text, integer, boolean) IS 'seals text';
CREATE CAST (text AS pg_catalog.enc_text) WITH FUNCTION pg_catalog.enc_text(text, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (text AS pg_catalog.enc_text) IS 'seals text';
CREATE CAST (varchar AS pg_catalog.enc_text) WITH FUNCTION pg_catalog.enc_text(text, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (varchar AS pg_catalog.enc_text) IS 'seals text';


-- The others: in from the plain type and from text, out to the plain type.
DO $do$
DECLARE
    name text;
    plain text;
    getter text;
BEGIN
    FOR name, plain, getter IN VALUES ('enc_bytea', 'bytea', 'bytea'), ('enc_int8', 'int8', 'int8'), ('enc_numeric', 'numeric', '"numeric"'),
        ('enc_date', 'date', 'date'), ('enc_timestamptz', 'timestamptz', 'timestamptz'), ('enc_jsonb', 'jsonb', 'jsonb') LOOP
        EXECUTE pg_catalog.replace(pg_catalog.replace(pg_catalog.replace($sql$
CREATE FUNCTION pg_catalog.@type@(@plain@, integer, boolean) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_from_plain';
COMMENT ON FUNCTION pg_catalog.@type@(@plain@, integer, boolean) IS 'seals a value of the plain type';
CREATE CAST (@plain@ AS pg_catalog.@type@) WITH FUNCTION pg_catalog.@type@(@plain@, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (@plain@ AS pg_catalog.@type@) IS 'seals a value of the plain type';
CREATE FUNCTION pg_catalog.@type@(text, integer, boolean) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@type@_from_text';
COMMENT ON FUNCTION pg_catalog.@type@(text, integer, boolean) IS 'seals what the text says';
CREATE CAST (text AS pg_catalog.@type@) WITH FUNCTION pg_catalog.@type@(text, integer, boolean);
COMMENT ON CAST (text AS pg_catalog.@type@) IS 'seals what the text says';
CREATE FUNCTION pg_catalog.@getter@(pg_catalog.@type@) RETURNS @plain@
    LANGUAGE C STABLE STRICT PARALLEL SAFE COST 15 AS 'MODULE_PATHNAME', 'enc_to_plain';
COMMENT ON FUNCTION pg_catalog.@getter@(pg_catalog.@type@) IS 'opens a value of the active organisation';
CREATE CAST (pg_catalog.@type@ AS @plain@) WITH FUNCTION pg_catalog.@getter@(pg_catalog.@type@);
COMMENT ON CAST (pg_catalog.@type@ AS @plain@) IS 'opens a value of the active organisation';
$sql$, '@type@', name), '@plain@', plain), '@getter@', getter);
    END LOOP;
END
$do$;

-- What the plain types take by assignment, the sealed ones take too.
DO $do$
DECLARE
    name text;
    other text;
    symbol text;
BEGIN
    FOR name, other, symbol IN VALUES ('enc_int8', 'smallint', 'enc_int8_from_int2'), ('enc_int8', 'integer', 'enc_int8_from_int4'),
        ('enc_numeric', 'smallint', 'enc_numeric_from_int2'), ('enc_numeric', 'integer', 'enc_numeric_from_int4'),
        ('enc_numeric', 'bigint', 'enc_numeric_from_int8'), ('enc_timestamptz', 'date', 'enc_timestamptz_from_date'),
        ('enc_timestamptz', 'timestamp', 'enc_timestamptz_from_timestamp') LOOP
        EXECUTE pg_catalog.replace(pg_catalog.replace(pg_catalog.replace($sql$
CREATE FUNCTION pg_catalog.@type@(@other@, integer, boolean) RETURNS pg_catalog.@type@
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@symbol@';
COMMENT ON FUNCTION pg_catalog.@type@(@other@, integer, boolean) IS 'seals the value as the plain type takes it';
CREATE CAST (@other@ AS pg_catalog.@type@) WITH FUNCTION pg_catalog.@type@(@other@, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (@other@ AS pg_catalog.@type@) IS 'seals the value as the plain type takes it';
$sql$, '@type@', name), '@other@', other), '@symbol@', symbol);
    END LOOP;
END
$do$;
