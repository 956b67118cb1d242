-- How many rows the planner expects of a search, beside how many there are: on even data, on data where few values are most of
-- the rows (Zipf), and in joins; under row security, for the larger and the smaller of two organisations.
\i test/pgtap/setup.psql
SET immiiq.firewall = off;
SELECT plan(32);

CREATE TABLE letter (org_id uuid, id int, even enc_text(11,equality), zipf enc_text(12,equality), day enc_date(13,range), at enc_timestamptz(14,range),
    n enc_int8(15,range), zipf_n enc_int8(16,range), x enc_numeric(17,range), name enc_text(18,match), code enc_text(19,prefix), doc enc_jsonb(20,contains), PRIMARY KEY (org_id, id));
CREATE TABLE topic (org_id uuid, id int, even enc_text(11,equality), PRIMARY KEY (org_id, id));
CREATE TABLE bare (org_id uuid, id int, even enc_text(11,equality), PRIMARY KEY (org_id, id));
SELECT count(immiiq.protect(t::regclass, 'clients')) FROM unnest(ARRAY['letter', 'topic', 'bare']) AS t \gset ignored_
GRANT ALL ON letter, topic, bare TO regress_immiiq_app;
ALTER TABLE letter DISABLE TRIGGER "00_immiiq_capture";
ALTER TABLE topic DISABLE TRIGGER "00_immiiq_capture";
ALTER TABLE bare DISABLE TRIGGER "00_immiiq_capture";

-- Rank k of so many draws: value k comes about draws / (k * ln) times.
CREATE FUNCTION zipf(i int, draws int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT floor(exp((i - 0.5) / draws * ln(2000.0)))::int $$;
CREATE FUNCTION fill(draws int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.letter (id, even, zipf, day, at, n, zipf_n, x, name, code, doc)
    SELECT i, 'E' || i * 7919 % 500, 'Z' || public.zipf(i, draws), date '1940-01-01' + i * 7919 % 27000, timestamptz '2020-01-01' + i * 7919 % 20000 * interval '1 hour',
        i * 7919 % 20000, public.zipf(i, draws), (i * 7919 % 20000) / 100.0 - 100, 'name ' || substr(md5((i % 400)::text), 1, 6), 'C' || lpad((i * 7919 % 10000)::text, 4, '0'),
        jsonb_build_object('kind', 'k' || i % 200, 'owner', jsonb_build_object('id', i / 200 % 4))
    FROM generate_series(1, draws) AS i;
    INSERT INTO public.topic (id, even) SELECT i, 'E' || i FROM generate_series(1, 250) AS i;
    INSERT INTO public.bare (id, even) SELECT i, 'E' || i % 100 FROM generate_series(1, draws / 4) AS i;
$$;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT fill(12000) \gset ignored_
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SELECT fill(3000) \gset ignored_
COMMIT;
RESET SESSION AUTHORIZATION;
CREATE INDEX ON letter (org_id, even);
CREATE INDEX ON letter (org_id, zipf);
CREATE INDEX ON topic (org_id, even);
CREATE INDEX ON letter USING gin (day);
CREATE INDEX ON letter USING gin (at);
CREATE INDEX ON letter USING gin (n);
CREATE INDEX ON letter USING gin (zipf_n);
CREATE INDEX ON letter USING gin (x);
CREATE INDEX ON letter USING gin (name);
CREATE INDEX ON letter USING gin (code);
CREATE INDEX ON letter USING gin (doc);
VACUUM ANALYZE letter, topic, bare;
SELECT is((SELECT count(*) FROM pg_statistic s JOIN pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum
    WHERE s.starelid IN ('letter'::regclass, 'topic'::regclass, 'bare'::regclass) AND a.atttypid::regtype::text LIKE 'enc%'
    AND (s.stakind1 <> 0 OR s.stakind2 <> 0 OR s.stakind3 <> 0 OR s.stakind4 <> 0 OR s.stakind5 <> 0)), 0::bigint, 'ANALYZE keeps no value, no histogram, no correlation of a sealed column');

-- How far the estimate is off, as a factor; both at least one row.
CREATE FUNCTION off(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan json;
    expected numeric;
    found numeric;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    EXECUTE 'SELECT greatest(count(*), 1) FROM (' || query || ') AS q' INTO found;
    expected := greatest((plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric, 1);
    RETURN round(greatest(expected / found, found / expected), 2);
END
$$;
-- The worst of several.
CREATE FUNCTION worst(condition text, "values" text[], source text DEFAULT 'public.letter') RETURNS numeric LANGUAGE sql AS $$
    SELECT max(public.off(format('SELECT 1 FROM %s WHERE ' || replace(condition, '?', '%L'), source, v, v))) FROM unnest("values") AS v $$;
CREATE FUNCTION generic(value text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan json;
    found numeric;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT json) EXECUTE of_any(%L)', value) INTO plan;
    EXECUTE format('SELECT count(*) FROM public.letter WHERE even = %L', value) INTO found;
    RETURN greatest((plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric / found, found / (plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric);
END
$$;
CREATE FUNCTION tried() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT public.cmp_ok(public.worst('even = ?', ARRAY['E1', 'E77', 'E499', 'none']), '<=', 3.0, 'equality');
    RETURN NEXT public.cmp_ok(public.off('SELECT 1 FROM public.letter WHERE even IN (''E1'', ''E2'', ''E3'', ''E4'')'), '<=', 3.0, 'a list');
    RETURN NEXT public.cmp_ok(public.worst('even = ?', ARRAY['E1', 'E77'], 'public.bare'), '<=', 3.0, 'equality without an index');
    RETURN NEXT public.cmp_ok(public.generic('E77'), '<=', 3.0, 'a generic plan');
    RETURN NEXT public.cmp_ok(public.worst('zipf = ?', (SELECT array_agg('Z' || k) FROM unnest(ARRAY[1, 2, 3, 5, 8, 10, 11, 12, 15, 20, 30, 50, 100, 300, 1000, 1900]) AS k)), '<=', 3.0, 'equality on Zipf data');
    RETURN NEXT public.cmp_ok(public.off('SELECT 1 FROM public.letter l JOIN public.topic t ON t.even = l.even'), '<=', 3.0, 'a join');
    RETURN NEXT public.cmp_ok(public.off('SELECT 1 FROM public.letter l JOIN public.bare b ON b.even = l.even WHERE l.id <= 1000'), '<=', 3.0, 'a join of many to many');
    RETURN NEXT public.cmp_ok(public.off('SELECT 1 FROM public.letter l WHERE even IN (SELECT even FROM public.topic)'), '<=', 3.0, 'a semi-join');
    RETURN NEXT public.cmp_ok(public.worst('day BETWEEN ? AND ?::text::date + 1000', ARRAY['1941-01-01', '1963-07-05', '2010-11-30', '2013-10-01']), '<=', 3.0, 'a range of dates');
    RETURN NEXT public.cmp_ok(greatest(public.worst('day < ?', ARRAY['1940-02-01', '1990-01-01', '2030-01-01']), public.worst('at >= ?', ARRAY['2020-01-05', '2021-07-01', '2022-04-01'])), '<=', 3.0, 'dates and times with one end');
    RETURN NEXT public.cmp_ok(greatest(public.worst('n BETWEEN ? AND ?::text::int8 + 500', ARRAY['1', '100', '6000', '19000']), public.worst('x > ?', ARRAY['-99', '0', '50.5', '98'])), '<=', 3.0, 'numbers');
    RETURN NEXT public.cmp_ok(public.worst('zipf_n BETWEEN ? AND ?::text::int8 * 2', ARRAY['1', '3', '11', '60', '300', '900']), '<=', 3.0, 'ranges of Zipf data');
    RETURN NEXT public.cmp_ok(public.worst('name LIKE ?', ARRAY['%' || substr(md5('7'), 1, 6), '%' || substr(md5('123'), 2, 4) || '%', 'name%', '%nowhere%']), '<=', 3.0, 'patterns');
    RETURN NEXT public.cmp_ok(public.worst('code LIKE ?', ARRAY['C%', 'C12%', 'C777%', 'D%']), '<=', 3.0, 'beginnings');
    RETURN NEXT public.cmp_ok(public.worst('doc @> ?', ARRAY['{"kind": "k7"}', '{"owner": {"id": 3}}', '{"kind": "k7", "owner": {"id": 3}}', '{"kind": "none"}']), '<=', 3.0, 'documents');
END
$$;
SET plan_cache_mode = force_generic_plan;
SET SESSION AUTHORIZATION regress_immiiq_app;
PREPARE of_any AS SELECT 1 FROM letter WHERE even = $1;
BEGIN;
SELECT set_config('immiiq.token', :'alpha_owner_token', true) \gset
SELECT tried();
COMMIT;
BEGIN;
SELECT set_config('immiiq.token', :'beta_owner_token', true) \gset
SELECT tried();
COMMIT;
RESET SESSION AUTHORIZATION;

-- While nobody is active, tags are compared as they are: core's estimate, and no error.
SELECT cmp_ok(off('SELECT 1 FROM public.letter l JOIN public.topic t ON t.even = l.even'), '<=', 3.0, 'a join while nobody is active');
SELECT * FROM finish();
