-- Operators of the hidden base types, what indexes call, and the probes and queries that the planner puts in the place of
-- plain values.

CREATE FUNCTION pg_catalog.enc_support(internal) RETURNS internal
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_support';
COMMENT ON FUNCTION pg_catalog.enc_support(internal) IS 'planner support of the operators on sealed values';
CREATE FUNCTION pg_catalog.enc_sortsupport(internal) RETURNS void
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_sortsupport';
COMMENT ON FUNCTION pg_catalog.enc_sortsupport(internal) IS 'sort support of sealed values';

CREATE FUNCTION pg_catalog.enc_eqsel(internal, oid, internal, integer) RETURNS double precision
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_eqsel';
COMMENT ON FUNCTION pg_catalog.enc_eqsel(internal, oid, internal, integer) IS 'restriction selectivity of = on sealed values';
CREATE FUNCTION pg_catalog.enc_eqjoinsel(internal, oid, internal, smallint, internal) RETURNS double precision
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_eqjoinsel';
COMMENT ON FUNCTION pg_catalog.enc_eqjoinsel(internal, oid, internal, smallint, internal) IS 'join selectivity of = on sealed values';

-- Equality: @type@ stands for the name of the type, once for each. Reading text as text cannot fail, and so tells nothing.
DO $do$
DECLARE
    name text;
    leakproof text;
BEGIN
    FOR name, leakproof IN VALUES ('enc_text', 'LEAKPROOF'), ('enc_bytea', ''), ('enc_int8', ''), ('enc_numeric', ''),
        ('enc_date', ''), ('enc_timestamptz', ''), ('enc_jsonb', '') LOOP
        EXECUTE pg_catalog.replace(pg_catalog.replace($sql$
-- probes
CREATE FUNCTION pg_catalog.@type@_probe(text, integer) RETURNS pg_catalog.@type@_base
    LANGUAGE C STABLE STRICT @leakproof@ PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text';
COMMENT ON FUNCTION pg_catalog.@type@_probe(text, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.@type@_probe(text[], integer) RETURNS pg_catalog.@type@_base[]
    LANGUAGE C STABLE STRICT @leakproof@ PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text_array';
COMMENT ON FUNCTION pg_catalog.@type@_probe(text[], integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.@type@_probe(pg_catalog.@type@_base, integer) RETURNS pg_catalog.@type@_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base';
COMMENT ON FUNCTION pg_catalog.@type@_probe(pg_catalog.@type@_base, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.@type@_probe(pg_catalog.@type@_base[], integer) RETURNS pg_catalog.@type@_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base_array';
COMMENT ON FUNCTION pg_catalog.@type@_probe(pg_catalog.@type@_base[], integer) IS 'what a column of this modifier is compared with';

-- operators
CREATE FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq';
COMMENT ON FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne';
COMMENT ON FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.@type@_lt(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_lt';
COMMENT ON FUNCTION pg_catalog.@type@_lt(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of < operator';
CREATE FUNCTION pg_catalog.@type@_le(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_le';
COMMENT ON FUNCTION pg_catalog.@type@_le(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of <= operator';
CREATE FUNCTION pg_catalog.@type@_gt(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_gt';
COMMENT ON FUNCTION pg_catalog.@type@_gt(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of > operator';
CREATE FUNCTION pg_catalog.@type@_ge(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ge';
COMMENT ON FUNCTION pg_catalog.@type@_ge(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'implementation of >= operator';
CREATE FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_right';
COMMENT ON FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, text) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_right';
COMMENT ON FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, text) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.@type@_eq(text, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_left';
COMMENT ON FUNCTION pg_catalog.@type@_eq(text, pg_catalog.@type@_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.@type@_ne(text, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_left';
COMMENT ON FUNCTION pg_catalog.@type@_ne(text, pg_catalog.@type@_base) IS 'implementation of <> operator';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = pg_catalog.enc_eqsel, JOIN = pg_catalog.enc_eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'not equal';
CREATE OPERATOR pg_catalog.< (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_lt,
    COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.<= (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_le,
    COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.> (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_gt,
    COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.>= (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_ge,
    COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = text, FUNCTION = pg_catalog.@type@_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.@type@_base, text) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = text, FUNCTION = pg_catalog.@type@_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.@type@_base, text) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = text, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (text, pg_catalog.@type@_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = text, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (text, pg_catalog.@type@_base) IS 'not equal';

-- access methods
CREATE FUNCTION pg_catalog.@type@_cmp(pg_catalog.@type@_base, pg_catalog.@type@_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_cmp';
COMMENT ON FUNCTION pg_catalog.@type@_cmp(pg_catalog.@type@_base, pg_catalog.@type@_base) IS 'less-equal-greater by tag';
CREATE FUNCTION pg_catalog.@type@_hash(pg_catalog.@type@_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash';
COMMENT ON FUNCTION pg_catalog.@type@_hash(pg_catalog.@type@_base) IS 'hash of the tag';
CREATE FUNCTION pg_catalog.@type@_hash(pg_catalog.@type@_base, bigint) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash_extended';
COMMENT ON FUNCTION pg_catalog.@type@_hash(pg_catalog.@type@_base, bigint) IS 'hash of the tag';
CREATE OPERATOR CLASS pg_catalog.@type@_ops DEFAULT FOR TYPE pg_catalog.@type@_base USING btree AS
    OPERATOR 1 pg_catalog.<,
    OPERATOR 2 pg_catalog.<=,
    OPERATOR 3 pg_catalog.=,
    OPERATOR 4 pg_catalog.>=,
    OPERATOR 5 pg_catalog.>,
    FUNCTION 1 pg_catalog.@type@_cmp(pg_catalog.@type@_base, pg_catalog.@type@_base),
    FUNCTION 2 pg_catalog.enc_sortsupport(internal);
COMMENT ON OPERATOR CLASS pg_catalog.@type@_ops USING btree IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.@type@_ops USING btree IS 'equality by tag';
CREATE OPERATOR CLASS pg_catalog.@type@_ops DEFAULT FOR TYPE pg_catalog.@type@_base USING hash AS
    OPERATOR 1 pg_catalog.=,
    FUNCTION 1 pg_catalog.@type@_hash(pg_catalog.@type@_base),
    FUNCTION 2 pg_catalog.@type@_hash(pg_catalog.@type@_base, bigint);
COMMENT ON OPERATOR CLASS pg_catalog.@type@_ops USING hash IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.@type@_ops USING hash IS 'equality by tag';
$sql$, '@type@', name), '@leakproof@', leakproof);
    END LOOP;
END
$do$;

-- Equality with the plain type, where that is not text.
DO $do$
DECLARE
    name text;
    plain text;
BEGIN
    FOR name, plain IN VALUES ('enc_bytea', 'bytea'), ('enc_int8', 'int8'), ('enc_numeric', 'numeric'), ('enc_date', 'date'),
        ('enc_timestamptz', 'timestamptz'), ('enc_jsonb', 'jsonb') LOOP
        EXECUTE pg_catalog.replace(pg_catalog.replace($sql$
CREATE FUNCTION pg_catalog.@type@_probe(@plain@, integer) RETURNS pg_catalog.@type@_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_plain';
COMMENT ON FUNCTION pg_catalog.@type@_probe(@plain@, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.@type@_probe(@plain@[], integer) RETURNS pg_catalog.@type@_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_plain_array';
COMMENT ON FUNCTION pg_catalog.@type@_probe(@plain@[], integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, @plain@) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_plain_right';
COMMENT ON FUNCTION pg_catalog.@type@_eq(pg_catalog.@type@_base, @plain@) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, @plain@) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_plain_right';
COMMENT ON FUNCTION pg_catalog.@type@_ne(pg_catalog.@type@_base, @plain@) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.@type@_eq(@plain@, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_plain_left';
COMMENT ON FUNCTION pg_catalog.@type@_eq(@plain@, pg_catalog.@type@_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.@type@_ne(@plain@, pg_catalog.@type@_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_plain_left';
COMMENT ON FUNCTION pg_catalog.@type@_ne(@plain@, pg_catalog.@type@_base) IS 'implementation of <> operator';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = @plain@, FUNCTION = pg_catalog.@type@_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.@type@_base, @plain@) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = @plain@, FUNCTION = pg_catalog.@type@_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.@type@_base, @plain@) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = @plain@, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (@plain@, pg_catalog.@type@_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = @plain@, RIGHTARG = pg_catalog.@type@_base, FUNCTION = pg_catalog.@type@_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (@plain@, pg_catalog.@type@_base) IS 'not equal';
$sql$, '@type@', name), '@plain@', plain);
    END LOOP;
END
$do$;

-- Queries: what is looked for beyond equality. In memory only.
CREATE TYPE pg_catalog.enc_query;
CREATE FUNCTION pg_catalog.enc_query_in(cstring) RETURNS pg_catalog.enc_query
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_query_in';
COMMENT ON FUNCTION pg_catalog.enc_query_in(cstring) IS 'I/O: refused';
CREATE FUNCTION pg_catalog.enc_query_out(pg_catalog.enc_query) RETURNS cstring
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_query_out';
COMMENT ON FUNCTION pg_catalog.enc_query_out(pg_catalog.enc_query) IS 'I/O';
CREATE TYPE pg_catalog.enc_query (
    INPUT = pg_catalog.enc_query_in,
    OUTPUT = pg_catalog.enc_query_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4
);
COMMENT ON TYPE pg_catalog.enc_query IS 'what a sealed column is searched with; not for columns';
CREATE FUNCTION pg_catalog.enc_query_and(pg_catalog.enc_query, pg_catalog.enc_query) RETURNS pg_catalog.enc_query
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_query_and';
COMMENT ON FUNCTION pg_catalog.enc_query_and(pg_catalog.enc_query, pg_catalog.enc_query) IS 'what is in both ranges';
CREATE FUNCTION pg_catalog.enc_matchsel(internal, oid, internal, integer) RETURNS double precision
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_matchsel';
COMMENT ON FUNCTION pg_catalog.enc_matchsel(internal, oid, internal, integer) IS 'restriction selectivity of @~';
DO $do$
DECLARE
    argument text;
BEGIN
    FOREACH argument IN ARRAY ARRAY['text', 'text[]', 'int8', 'numeric', 'date', 'timestamptz', 'jsonb', 'pg_catalog.enc_jsonb_base'] LOOP
        EXECUTE pg_catalog.replace($sql$
CREATE FUNCTION pg_catalog.enc_query(@argument@, integer, integer) RETURNS pg_catalog.enc_query
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_query';
COMMENT ON FUNCTION pg_catalog.enc_query(@argument@, integer, integer) IS 'what a column of this modifier is searched with';
$sql$, '@argument@', argument);
    END LOOP;
END
$do$;

-- The operator that every search beyond equality becomes, and its index.
DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['enc_text', 'enc_int8', 'enc_numeric', 'enc_date', 'enc_timestamptz', 'enc_jsonb'] LOOP
        EXECUTE pg_catalog.replace($sql$
CREATE FUNCTION pg_catalog.@type@_matches(pg_catalog.@type@_base, pg_catalog.enc_query) RETURNS boolean
    LANGUAGE C STABLE STRICT LEAKPROOF PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'enc_matches';
COMMENT ON FUNCTION pg_catalog.@type@_matches(pg_catalog.@type@_base, pg_catalog.enc_query) IS 'implementation of @~ operator';
CREATE OPERATOR pg_catalog.@~ (
    LEFTARG = pg_catalog.@type@_base, RIGHTARG = pg_catalog.enc_query, FUNCTION = pg_catalog.@type@_matches,
    RESTRICT = pg_catalog.enc_matchsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR pg_catalog.@~ (pg_catalog.@type@_base, pg_catalog.enc_query) IS 'value is what is looked for';
CREATE FUNCTION pg_catalog.@type@_gin_extract_value(pg_catalog.@type@_base, internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_gin_extract_value';
COMMENT ON FUNCTION pg_catalog.@type@_gin_extract_value(pg_catalog.@type@_base, internal) IS 'GIN support';
CREATE FUNCTION pg_catalog.@type@_gin_extract_query(pg_catalog.@type@_base, internal, smallint, internal, internal, internal, internal) RETURNS internal
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_gin_extract_query';
COMMENT ON FUNCTION pg_catalog.@type@_gin_extract_query(pg_catalog.@type@_base, internal, smallint, internal, internal, internal, internal) IS 'GIN support';
CREATE FUNCTION pg_catalog.@type@_gin_consistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal, internal) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_gin_consistent';
COMMENT ON FUNCTION pg_catalog.@type@_gin_consistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal, internal) IS 'GIN support';
CREATE FUNCTION pg_catalog.@type@_gin_triconsistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal) RETURNS "char"
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_gin_triconsistent';
COMMENT ON FUNCTION pg_catalog.@type@_gin_triconsistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal) IS 'GIN support';
CREATE OPERATOR CLASS pg_catalog.@type@_ops DEFAULT FOR TYPE pg_catalog.@type@_base USING gin AS
    OPERATOR 1 pg_catalog.@~ (pg_catalog.@type@_base, pg_catalog.enc_query),
    FUNCTION 1 btint4cmp(integer, integer),
    FUNCTION 2 pg_catalog.@type@_gin_extract_value(pg_catalog.@type@_base, internal),
    FUNCTION 3 pg_catalog.@type@_gin_extract_query(pg_catalog.@type@_base, internal, smallint, internal, internal, internal, internal),
    FUNCTION 4 pg_catalog.@type@_gin_consistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal, internal),
    FUNCTION 6 pg_catalog.@type@_gin_triconsistent(internal, smallint, pg_catalog.@type@_base, integer, internal, internal, internal),
    STORAGE integer;
COMMENT ON OPERATOR CLASS pg_catalog.@type@_ops USING gin IS 'search by tokens';
COMMENT ON OPERATOR FAMILY pg_catalog.@type@_ops USING gin IS 'search by tokens';
$sql$, '@type@', name);
    END LOOP;
END
$do$;

-- What users write: LIKE and its kin for text; order for dates and numbers, from either side; @> for jsonb.
DO $do$
DECLARE
    operator text;
    commutator text;
    negator text;
    title text;
    left_type text;
    right_type text;
    options text;
BEGIN
    FOR operator, title, commutator, negator, left_type, right_type IN
        SELECT o.operator, o.title, NULL, o.negator, 'pg_catalog.enc_text_base', 'text'
        FROM (VALUES ('~~', 'like', '!~~'), ('!~~', 'notlike', '~~'), ('~~*', 'iclike', '!~~*'), ('!~~*', 'icnotlike', '~~*'),
            ('^@', 'starts_with', NULL)) AS o (operator, title, negator)
        UNION ALL
        SELECT o.operator, o.title, o.commutator, o.negator, side.left_type, side.right_type
        FROM (VALUES ('<', 'lt', '>', '>='), ('<=', 'le', '>=', '>'), ('>=', 'ge', '<=', '<'), ('>', 'gt', '<', '<=')) AS o (operator, title, commutator, negator),
            unnest(ARRAY['int8', 'numeric', 'date', 'timestamptz']) AS plain,
            LATERAL (VALUES ('pg_catalog.enc_' || plain || '_base', plain), (plain, 'pg_catalog.enc_' || plain || '_base'),
                ('pg_catalog.enc_' || plain || '_base', 'text'), ('text', 'pg_catalog.enc_' || plain || '_base')) AS side (left_type, right_type)
        UNION ALL
        SELECT o.operator, o.title, o.commutator, NULL, o.left_type, o.right_type
        FROM (VALUES ('@>', 'contains', '<@', 'pg_catalog.enc_jsonb_base', 'jsonb'), ('<@', 'contained', '@>', 'jsonb', 'pg_catalog.enc_jsonb_base'),
            ('@>', 'contains', '<@', 'pg_catalog.enc_jsonb_base', 'text'), ('<@', 'contained', '@>', 'text', 'pg_catalog.enc_jsonb_base'),
            ('@>', 'contains', '<@', 'pg_catalog.enc_jsonb_base', 'pg_catalog.enc_jsonb_base'), ('<@', 'contained', '@>', 'pg_catalog.enc_jsonb_base', 'pg_catalog.enc_jsonb_base'))
            AS o (operator, title, commutator, left_type, right_type)
    LOOP
        options := pg_catalog.concat(', COMMUTATOR = OPERATOR(pg_catalog.' || commutator || ')', ', NEGATOR = OPERATOR(pg_catalog.' || negator || ')',
            ', RESTRICT = ' || CASE operator WHEN '<' THEN 'scalarltsel' WHEN '<=' THEN 'scalarlesel' WHEN '>=' THEN 'scalargesel' WHEN '>' THEN 'scalargtsel'
                ELSE 'matchingsel' END);
        EXECUTE pg_catalog.format($sql$
CREATE FUNCTION pg_catalog.enc_%1$s(%2$s, %3$s) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_search';
COMMENT ON FUNCTION pg_catalog.enc_%1$s(%2$s, %3$s) IS 'implementation of %4$s operator';
CREATE OPERATOR pg_catalog.%4$s (LEFTARG = %2$s, RIGHTARG = %3$s, FUNCTION = pg_catalog.enc_%1$s%5$s);
COMMENT ON OPERATOR pg_catalog.%4$s (%2$s, %3$s) IS 'opens what it compares, by index where there is one';
$sql$, title, left_type, right_type, operator, options);
    END LOOP;
END
$do$;

-- What tags and tokens tell whoever reads a table without a key, from what stands in it now. Parses armour (docs/format.md), so
-- nobody may be active; needs to see every row.
CREATE FUNCTION immiiq.leakage(target regclass)
RETURNS TABLE (column_name name, declaration text, kind text, "values" bigint, tokens bigint, most_frequent numeric, entropy numeric, named bigint, advice text)
    LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    part record;
    source text;
BEGIN
    IF immiiq.current_org() IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = 'leakage() reads sealed values as they are stored, so nobody may be active';
    END IF;
    FOR part IN
        SELECT a.attname, w.kind, w.word, pg_catalog.format_type(d.type, d.modifier) AS declared, d.is_array, w.lists
        FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_type b ON b.oid = t.typbasetype,
            LATERAL (SELECT coalesce(nullif(t.typbasetype, 0), t.oid) AS outer_type, CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END AS modifier) AS o,
            LATERAL (SELECT coalesce((SELECT e.oid FROM pg_type e WHERE e.typarray = o.outer_type), o.outer_type) AS type, o.modifier,
                EXISTS (SELECT FROM pg_type e WHERE e.typarray = o.outer_type) AS is_array) AS d,
            LATERAL (SELECT words.word, words.kind, words.lists FROM (VALUES (1, 'equality', 'equality', false), (2, 'prefix', 'tokens', true), (3, 'match', 'tokens', true),
                (4, 'range', 'tokens', true), (5, 'contains', 'tokens', true)) AS words (place, word, kind, lists)
                WHERE pg_catalog.format_type(d.type, d.modifier) ~ ('[(,]' || words.word || '[,)]')
                UNION ALL SELECT 'sealed', 'none', NULL WHERE pg_catalog.format_type(d.type, d.modifier) ~ '[(,]sealed\)$') AS w
        WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
        AND d.type IN (SELECT s.oid FROM pg_type s WHERE s.typnamespace = 'pg_catalog'::regnamespace
            AND s.typname IN ('enc_text', 'enc_bytea', 'enc_int8', 'enc_numeric', 'enc_date', 'enc_timestamptz', 'enc_jsonb'))
        ORDER BY a.attnum, w.lists NULLS FIRST, w.word
    LOOP
        column_name := part.attname;
        declaration := part.declared;
        kind := part.word;
        source := pg_catalog.format('SELECT pg_catalog.decode(pg_catalog.translate(pg_catalog.substr(v, 5), ''-_'', ''+/'')
                || pg_catalog.repeat(''='', (4 - pg_catalog.length(pg_catalog.substr(v, 5)) %% 4) %% 4), ''base64'') AS b
            FROM %s WHERE v IS NOT NULL',
            CASE WHEN part.is_array THEN pg_catalog.format('(SELECT pg_catalog.text(e) AS v FROM %s, pg_catalog.unnest(%I) AS e) AS s', target, part.attname)
                ELSE pg_catalog.format('(SELECT %I::text AS v FROM %s) AS s', part.attname, target) END);
        IF part.lists IS NULL THEN
            EXECUTE pg_catalog.format('SELECT count(*) FROM (%s) AS s', source) INTO "values";
            tokens := 0;
            most_frequent := NULL;
            entropy := NULL;
            named := 0;
            advice := 'nothing but the length of each value shows';
            RETURN NEXT;
            CONTINUE;
        END IF;
        EXECUTE pg_catalog.format($sql$
            WITH value AS MATERIALIZED (
                SELECT b, pg_catalog.get_byte(b, 1) & 1 AS tagged,
                    (SELECT k.org_id FROM immiiq.wrapped_key k
                     WHERE k.key_id = pg_catalog.get_byte(b, 4)::bigint << 24 | pg_catalog.get_byte(b, 5) << 16 | pg_catalog.get_byte(b, 6) << 8 | pg_catalog.get_byte(b, 7)) AS org
                FROM (%s) AS s
            ), token AS (
                SELECT org, %s AS token FROM value %s
            ), counted AS (
                SELECT org, token, count(*) AS n FROM token GROUP BY org, token
            )
            SELECT (SELECT count(*) FROM value), count(*), round(max(c.n) / nullif((SELECT count(*) FROM value), 0)::numeric, 4),
                round(-sum(c.n / s.total * pg_catalog.log(2, c.n / s.total)), 2), count(*) FILTER (WHERE c.n > 1 AND c.same = 1)
            FROM (SELECT n, count(*) OVER (PARTITION BY org, n) AS same FROM counted) AS c, (SELECT sum(n) AS total FROM counted) AS s
            $sql$, source,
            CASE WHEN part.lists THEN 'pg_catalog.substr(b, 13 + 16 * tagged + 4 * i, 4)' ELSE 'pg_catalog.substr(b, 9, 16)' END,
            CASE WHEN part.lists THEN ', pg_catalog.generate_series(0, (pg_catalog.get_byte(b, 9 + 16 * tagged) << 16
                | pg_catalog.get_byte(b, 10 + 16 * tagged) << 8 | pg_catalog.get_byte(b, 11 + 16 * tagged)) - 1) AS i' ELSE '' END)
        INTO "values", tokens, most_frequent, entropy, named;
        advice := CASE
            WHEN "values" = 0 THEN 'no values yet'
            WHEN part.word = 'match' THEN 'trigrams that are frequent in a language can be named; not for numbers that identify'
            WHEN part.word = 'range' THEN 'who knows how values are spread can put rows in order; equality alone, or a coarser plain column, tells less'
            WHEN part.word IN ('prefix', 'contains') THEN 'shows which values begin alike, or have an entry in common'
            WHEN tokens = "values" THEN 'every value occurs once: only that shows'
            WHEN named > 0 THEN pg_catalog.format('who knows how frequent values are can name %s of %s; if that matters, declare the column sealed', named, tokens)
            ELSE 'shows which rows are equal'
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION immiiq.leakage(regclass) FROM PUBLIC;
COMMENT ON FUNCTION immiiq.leakage(regclass) IS 'what the tags and tokens of a table''s sealed columns tell without a key, with advice; for who sees every row while nobody is active';
