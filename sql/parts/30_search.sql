-- Operators of the hidden base types, what indexes call, and the probes that the planner puts in the place of plain values.

CREATE FUNCTION pg_catalog.enc_support(internal) RETURNS internal
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_support';
COMMENT ON FUNCTION pg_catalog.enc_support(internal) IS 'planner support of the operators on sealed values';
CREATE FUNCTION pg_catalog.enc_sortsupport(internal) RETURNS void
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_sortsupport';
COMMENT ON FUNCTION pg_catalog.enc_sortsupport(internal) IS 'sort support of sealed values';

-- enc_text: probes
CREATE FUNCTION pg_catalog.enc_text_probe(text, integer) RETURNS pg_catalog.enc_text_base
    LANGUAGE C STABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text';
COMMENT ON FUNCTION pg_catalog.enc_text_probe(text, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_text_probe(text[], integer) RETURNS pg_catalog.enc_text_base[]
    LANGUAGE C STABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text_array';
COMMENT ON FUNCTION pg_catalog.enc_text_probe(text[], integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_text_probe(pg_catalog.enc_text_base, integer) RETURNS pg_catalog.enc_text_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base';
COMMENT ON FUNCTION pg_catalog.enc_text_probe(pg_catalog.enc_text_base, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_text_probe(pg_catalog.enc_text_base[], integer) RETURNS pg_catalog.enc_text_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base_array';
COMMENT ON FUNCTION pg_catalog.enc_text_probe(pg_catalog.enc_text_base[], integer) IS 'what a column of this modifier is compared with';

-- enc_text: operators
CREATE FUNCTION pg_catalog.enc_text_eq(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq';
COMMENT ON FUNCTION pg_catalog.enc_text_eq(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_text_ne(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne';
COMMENT ON FUNCTION pg_catalog.enc_text_ne(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_text_lt(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_lt';
COMMENT ON FUNCTION pg_catalog.enc_text_lt(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of < operator';
CREATE FUNCTION pg_catalog.enc_text_le(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_le';
COMMENT ON FUNCTION pg_catalog.enc_text_le(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of <= operator';
CREATE FUNCTION pg_catalog.enc_text_gt(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_gt';
COMMENT ON FUNCTION pg_catalog.enc_text_gt(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of > operator';
CREATE FUNCTION pg_catalog.enc_text_ge(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ge';
COMMENT ON FUNCTION pg_catalog.enc_text_ge(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'implementation of >= operator';
CREATE FUNCTION pg_catalog.enc_text_eq(pg_catalog.enc_text_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_right';
COMMENT ON FUNCTION pg_catalog.enc_text_eq(pg_catalog.enc_text_base, text) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_text_ne(pg_catalog.enc_text_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_right';
COMMENT ON FUNCTION pg_catalog.enc_text_ne(pg_catalog.enc_text_base, text) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_text_eq(text, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_left';
COMMENT ON FUNCTION pg_catalog.enc_text_eq(text, pg_catalog.enc_text_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_text_ne(text, pg_catalog.enc_text_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_left';
COMMENT ON FUNCTION pg_catalog.enc_text_ne(text, pg_catalog.enc_text_base) IS 'implementation of <> operator';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'not equal';
CREATE OPERATOR pg_catalog.< (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_lt,
    COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.<= (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_le,
    COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.> (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_gt,
    COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.>= (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_ge,
    COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = text, FUNCTION = pg_catalog.enc_text_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.enc_text_base, text) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.enc_text_base, RIGHTARG = text, FUNCTION = pg_catalog.enc_text_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.enc_text_base, text) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = text, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (text, pg_catalog.enc_text_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = text, RIGHTARG = pg_catalog.enc_text_base, FUNCTION = pg_catalog.enc_text_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (text, pg_catalog.enc_text_base) IS 'not equal';

-- enc_text: access methods
CREATE FUNCTION pg_catalog.enc_text_cmp(pg_catalog.enc_text_base, pg_catalog.enc_text_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_cmp';
COMMENT ON FUNCTION pg_catalog.enc_text_cmp(pg_catalog.enc_text_base, pg_catalog.enc_text_base) IS 'less-equal-greater by tag';
CREATE FUNCTION pg_catalog.enc_text_hash(pg_catalog.enc_text_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash';
COMMENT ON FUNCTION pg_catalog.enc_text_hash(pg_catalog.enc_text_base) IS 'hash of the tag';
CREATE FUNCTION pg_catalog.enc_text_hash(pg_catalog.enc_text_base, bigint) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash_extended';
COMMENT ON FUNCTION pg_catalog.enc_text_hash(pg_catalog.enc_text_base, bigint) IS 'hash of the tag';
CREATE OPERATOR CLASS pg_catalog.enc_text_ops DEFAULT FOR TYPE pg_catalog.enc_text_base USING btree AS
    OPERATOR 1 pg_catalog.<,
    OPERATOR 2 pg_catalog.<=,
    OPERATOR 3 pg_catalog.=,
    OPERATOR 4 pg_catalog.>=,
    OPERATOR 5 pg_catalog.>,
    FUNCTION 1 pg_catalog.enc_text_cmp(pg_catalog.enc_text_base, pg_catalog.enc_text_base),
    FUNCTION 2 pg_catalog.enc_sortsupport(internal);
COMMENT ON OPERATOR CLASS pg_catalog.enc_text_ops USING btree IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.enc_text_ops USING btree IS 'equality by tag';
CREATE OPERATOR CLASS pg_catalog.enc_text_ops DEFAULT FOR TYPE pg_catalog.enc_text_base USING hash AS
    OPERATOR 1 pg_catalog.=,
    FUNCTION 1 pg_catalog.enc_text_hash(pg_catalog.enc_text_base),
    FUNCTION 2 pg_catalog.enc_text_hash(pg_catalog.enc_text_base, bigint);
COMMENT ON OPERATOR CLASS pg_catalog.enc_text_ops USING hash IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.enc_text_ops USING hash IS 'equality by tag';

-- enc_date: probes
CREATE FUNCTION pg_catalog.enc_date_probe(text, integer) RETURNS pg_catalog.enc_date_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(text, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_date_probe(text[], integer) RETURNS pg_catalog.enc_date_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_text_array';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(text[], integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_date_probe(date, integer) RETURNS pg_catalog.enc_date_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_plain';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(date, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_date_probe(date[], integer) RETURNS pg_catalog.enc_date_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_plain_array';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(date[], integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_date_probe(pg_catalog.enc_date_base, integer) RETURNS pg_catalog.enc_date_base
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(pg_catalog.enc_date_base, integer) IS 'what a column of this modifier is compared with';
CREATE FUNCTION pg_catalog.enc_date_probe(pg_catalog.enc_date_base[], integer) RETURNS pg_catalog.enc_date_base[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_probe_base_array';
COMMENT ON FUNCTION pg_catalog.enc_date_probe(pg_catalog.enc_date_base[], integer) IS 'what a column of this modifier is compared with';

-- enc_date: operators
CREATE FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq';
COMMENT ON FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne';
COMMENT ON FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_date_lt(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_lt';
COMMENT ON FUNCTION pg_catalog.enc_date_lt(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of < operator';
CREATE FUNCTION pg_catalog.enc_date_le(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_le';
COMMENT ON FUNCTION pg_catalog.enc_date_le(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of <= operator';
CREATE FUNCTION pg_catalog.enc_date_gt(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_gt';
COMMENT ON FUNCTION pg_catalog.enc_date_gt(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of > operator';
CREATE FUNCTION pg_catalog.enc_date_ge(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ge';
COMMENT ON FUNCTION pg_catalog.enc_date_ge(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'implementation of >= operator';
CREATE FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_right';
COMMENT ON FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, text) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, text) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_right';
COMMENT ON FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, text) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_date_eq(text, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_text_left';
COMMENT ON FUNCTION pg_catalog.enc_date_eq(text, pg_catalog.enc_date_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_date_ne(text, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_text_left';
COMMENT ON FUNCTION pg_catalog.enc_date_ne(text, pg_catalog.enc_date_base) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, date) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_plain_right';
COMMENT ON FUNCTION pg_catalog.enc_date_eq(pg_catalog.enc_date_base, date) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, date) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_plain_right';
COMMENT ON FUNCTION pg_catalog.enc_date_ne(pg_catalog.enc_date_base, date) IS 'implementation of <> operator';
CREATE FUNCTION pg_catalog.enc_date_eq(date, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_eq_plain_left';
COMMENT ON FUNCTION pg_catalog.enc_date_eq(date, pg_catalog.enc_date_base) IS 'implementation of = operator';
CREATE FUNCTION pg_catalog.enc_date_ne(date, pg_catalog.enc_date_base) RETURNS boolean
    LANGUAGE C STABLE STRICT PARALLEL SAFE SUPPORT pg_catalog.enc_support AS 'MODULE_PATHNAME', 'enc_ne_plain_left';
COMMENT ON FUNCTION pg_catalog.enc_date_ne(date, pg_catalog.enc_date_base) IS 'implementation of <> operator';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'not equal';
CREATE OPERATOR pg_catalog.< (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_lt,
    COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.<= (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_le,
    COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.> (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_gt,
    COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.>= (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_ge,
    COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'order of indexes only';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = text, FUNCTION = pg_catalog.enc_date_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.enc_date_base, text) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = text, FUNCTION = pg_catalog.enc_date_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.enc_date_base, text) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = text, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (text, pg_catalog.enc_date_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = text, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (text, pg_catalog.enc_date_base) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = date, FUNCTION = pg_catalog.enc_date_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (pg_catalog.enc_date_base, date) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = pg_catalog.enc_date_base, RIGHTARG = date, FUNCTION = pg_catalog.enc_date_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (pg_catalog.enc_date_base, date) IS 'not equal';
CREATE OPERATOR pg_catalog.= (
    LEFTARG = date, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_eq,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (date, pg_catalog.enc_date_base) IS 'equal';
CREATE OPERATOR pg_catalog.<> (
    LEFTARG = date, RIGHTARG = pg_catalog.enc_date_base, FUNCTION = pg_catalog.enc_date_ne,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (date, pg_catalog.enc_date_base) IS 'not equal';

-- enc_date: access methods
CREATE FUNCTION pg_catalog.enc_date_cmp(pg_catalog.enc_date_base, pg_catalog.enc_date_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_cmp';
COMMENT ON FUNCTION pg_catalog.enc_date_cmp(pg_catalog.enc_date_base, pg_catalog.enc_date_base) IS 'less-equal-greater by tag';
CREATE FUNCTION pg_catalog.enc_date_hash(pg_catalog.enc_date_base) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash';
COMMENT ON FUNCTION pg_catalog.enc_date_hash(pg_catalog.enc_date_base) IS 'hash of the tag';
CREATE FUNCTION pg_catalog.enc_date_hash(pg_catalog.enc_date_base, bigint) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'MODULE_PATHNAME', 'enc_hash_extended';
COMMENT ON FUNCTION pg_catalog.enc_date_hash(pg_catalog.enc_date_base, bigint) IS 'hash of the tag';
CREATE OPERATOR CLASS pg_catalog.enc_date_ops DEFAULT FOR TYPE pg_catalog.enc_date_base USING btree AS
    OPERATOR 1 pg_catalog.<,
    OPERATOR 2 pg_catalog.<=,
    OPERATOR 3 pg_catalog.=,
    OPERATOR 4 pg_catalog.>=,
    OPERATOR 5 pg_catalog.>,
    FUNCTION 1 pg_catalog.enc_date_cmp(pg_catalog.enc_date_base, pg_catalog.enc_date_base),
    FUNCTION 2 pg_catalog.enc_sortsupport(internal);
COMMENT ON OPERATOR CLASS pg_catalog.enc_date_ops USING btree IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.enc_date_ops USING btree IS 'equality by tag';
CREATE OPERATOR CLASS pg_catalog.enc_date_ops DEFAULT FOR TYPE pg_catalog.enc_date_base USING hash AS
    OPERATOR 1 pg_catalog.=,
    FUNCTION 1 pg_catalog.enc_date_hash(pg_catalog.enc_date_base),
    FUNCTION 2 pg_catalog.enc_date_hash(pg_catalog.enc_date_base, bigint);
COMMENT ON OPERATOR CLASS pg_catalog.enc_date_ops USING hash IS 'equality by tag';
COMMENT ON OPERATOR FAMILY pg_catalog.enc_date_ops USING hash IS 'equality by tag';
