-- The report on an organisation's log: what stands in it, for whom, and that no name can be more than a name.
\i test/pgtap/setup.psql
SELECT plan(46);

CREATE TABLE "file<b>" (org_id uuid NOT NULL, file_id uuid PRIMARY KEY, client_id uuid, title text, passport enc_text(equality));
SELECT FROM immiiq.protect('file<b>', 'cases', client => 'client_id') \gset
CREATE TABLE bare (org_id uuid, note text);
GRANT SELECT, INSERT, UPDATE, DELETE ON "file<b>" TO regress_immiiq_app;
\set client_1 'c1c1c1c1-0000-4000-8000-000000000001'
\set client_2 'c1c1c1c1-0000-4000-8000-000000000002'
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
UPDATE immiiq.member SET name = '"><script>alert(1)</script>' WHERE member_id = :'alpha_owner';
UPDATE immiiq.member SET permissions = '{sign_off}' WHERE member_id = :'alpha_owner';
UPDATE immiiq.org SET name = 'Alpha & <img src=x onerror=alert(2)>' WHERE org_id = :'alpha';
COMMIT;
BEGIN;
SELECT FROM immiiq.operate(:'beta', 'test') \gset
INSERT INTO "file<b>" VALUES (:'beta', 'bf000000-0000-4000-8000-000000000001', NULL, 'BETACANARY', NULL);
COMMIT;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '192.0.2.7', '</td><script>agent</script>') \gset
INSERT INTO "file<b>" VALUES (:'alpha', 'af000000-0000-4000-8000-000000000001', :'client_1', E'</td></tr><script>alert(3)</script> \u202eevil', 'SECRETPASS'),
    (:'alpha', 'af000000-0000-4000-8000-000000000002', :'client_2', 'other client''s', NULL);
UPDATE "file<b>" SET title = '' WHERE file_id = 'af000000-0000-4000-8000-000000000002';
COMMIT;
RESET SESSION AUTHORIZATION;
BEGIN;
SELECT FROM immiiq.operate(:'alpha', 'test') \gset
DELETE FROM "file<b>" WHERE file_id = 'af000000-0000-4000-8000-000000000002';
COMMIT;
CALL immiiq.seal();

-- The report as somebody gets it.
CREATE TEMP TABLE page (name text, html text);
GRANT ALL ON page TO PUBLIC;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '192.0.2.7', 'agent') \gset
INSERT INTO page SELECT 'owner', immiiq.audit_report(:'alpha');
INSERT INTO page SELECT 'client', immiiq.audit_report(:'alpha', client => :'client_1');
INSERT INTO page SELECT 'member', immiiq.audit_report(:'alpha', member => :'alpha_owner');
INSERT INTO page SELECT 'kept', immiiq.audit_report(:'alpha', redact => '{passport,file_id}');
INSERT INTO page SELECT 'all kept', immiiq.audit_report(:'alpha', redact => '{*}');
INSERT INTO page SELECT 'two', immiiq.audit_report(:'alpha', most => 2);
INSERT INTO page SELECT 'later', immiiq.audit_report(:'alpha', since => now() + interval '1 day');
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_immiiq_auditor;
INSERT INTO page SELECT 'auditor', immiiq.audit_report(:'alpha');
RESET SESSION AUTHORIZATION;
\set on 'SELECT html FROM page WHERE name ='

SELECT is((SELECT count(*) FROM page WHERE html !~ '^<!DOCTYPE html><html lang="en"><head>' OR html !~ '</html>$'), 0::bigint, 'a page in a language');
SELECT is((SELECT count(*) FROM page, xmlparse(document regexp_replace(regexp_replace(html, '^<!DOCTYPE html>', ''), '<(meta [^>]*|br|col( [^>]*)?)>', '<\1/>', 'g')) AS x), 8::bigint, 'whatever was opened is closed, in order');
SELECT is((SELECT string_agg(DISTINCT m[1], ' ' ORDER BY m[1]) FROM page, regexp_matches(html, '<([a-z0-9]+)', 'g') AS m),
    'bdi body br caption code col colgroup dd del div dl dt h1 h2 head header html i ins main meta p pre section span style table tbody td th thead time title tr',
    'no element but the report''s own, with names that hold others');
SELECT is((SELECT count(*) FROM page WHERE html ~* '\son[a-z]+\s*=\s*["'']' OR html ~* 'https?://' OR html ~* '(src|href)\s*=\s*["'']'), 0::bigint, 'nothing runs, and nothing is fetched');
SELECT ok((:on 'owner') ~ 'default-src ''none''', 'and nothing may');
SELECT ok((:on 'owner') LIKE '%&lt;script&gt;alert(3)&lt;/script&gt;%', 'a value is text');
SELECT ok((:on 'owner') LIKE '%&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;%', 'a member''s name, too');
SELECT ok((:on 'owner') LIKE '%<title>Audit report: Alpha &amp; &lt;img%', 'the organisation''s, too');
SELECT ok((:on 'owner') LIKE '%file&lt;b&gt;%', 'and the table''s');
SELECT is((SELECT count(*) FROM page WHERE html ~ '[\u202a-\u202e\u2066-\u2069]'), 0::bigint, 'nothing turns the text around');
SELECT is(immiiq.html(E'a\u0001b<\u202e''"&'), 'a<span class="odd">&#9676;</span>b&lt;<span class="odd">&#9676;</span>&#39;&quot;&amp;', 'odd characters are marks');

SELECT ok((:on 'owner') LIKE '%Verification found%', 'what verification says');
SELECT ok((:on 'owner') ~ '<bdi>(public\.)?bare</bdi>', 'a table without protection is named');
SELECT ok((:on 'owner') ~ 'file&lt;b&gt;[^/]*</bdi></th><td>cases</td><td>yes</td><td>forced</td><td class="n">1</td>', 'a protected one, with what protects it');
SELECT ok((:on 'owner') LIKE '%' || immiiq.html(immiiq.checkpoint()) || '%', 'the checkpoint stands there as it is');
SELECT ok((:on 'owner') LIKE '%' || immiiq.html(immiiq.log_verifier()) || '%', 'and the key');
SELECT ok((SELECT bool_and((:on 'owner') LIKE '%' || encode(hash, 'hex') || '%') FROM immiiq.leaf WHERE org_id = :'alpha'), 'every entry with its leaf');
SELECT ok((:on 'owner') LIKE '%SECRETPASS%', 'a member who reads the log reads its values');
SELECT ok((:on 'owner') NOT LIKE '%BETACANARY%', 'no other organisation''s');
SELECT ok((:on 'owner') LIKE '%<ins><i>empty</i></ins>%', 'an empty value says so');
SELECT ok((:on 'client') LIKE '%SECRETPASS%' AND (:on 'client') NOT LIKE '%other client%', 'a client''s entries alone');
SELECT ok((:on 'member') LIKE '%SECRETPASS%' AND (:on 'member') !~ 'delete <bdi>', 'a member''s entries alone');
SELECT ok((:on 'kept') NOT LIKE '%SECRETPASS%' AND (:on 'kept') LIKE '%evil%' AND (:on 'kept') NOT LIKE '%af000000-0000-4000-8000-000000000001%', 'columns kept back, keys too');
SELECT ok((:on 'all kept') NOT LIKE '%SECRETPASS%' AND (:on 'all kept') NOT LIKE '%evil%', 'all of them');
SELECT ok((:on 'two') ~ 'Of \d+ entries the first 2 are here', 'what is left out is said');
SELECT ok((:on 'later') LIKE '%<h2 id="entries">Entries</h2><p>None.</p>%', 'a period without entries');
SELECT ok((:on 'auditor') NOT LIKE '%SECRETPASS%' AND (:on 'auditor') NOT LIKE '%alert(1)%' AND (:on 'auditor') LIKE '%<i>sealed</i>%', 'an auditor opens nothing, and has ids for names');

---- Who may not
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok(format('SELECT immiiq.audit_report(%L)', :'alpha'), '42501', NULL, 'nobody active');
BEGIN;
SELECT FROM immiiq.authenticate(:'beta_owner_token', NULL, NULL) \gset
SELECT throws_ok(format('SELECT immiiq.audit_report(%L)', :'alpha'), '42501', NULL, 'another organisation''s member');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_idle_token', NULL, NULL) \gset
SELECT throws_ok(format('SELECT immiiq.audit_report(%L)', :'alpha'), '42501', NULL, 'a member without the module');
ROLLBACK;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token', NULL, NULL) \gset
SELECT throws_ok(format('SELECT immiiq.audit_report(%L)', :'alpha'), '42501', NULL, 'a member with a narrow scope');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT throws_ok(format('SELECT immiiq.audit_report(%L, most => 100001)', :'alpha'), '22023', NULL, 'too many');

---- Findings
BEGIN;
ALTER TABLE "file<b>" DISABLE TRIGGER USER;
UPDATE "file<b>" SET title = 'unseen' WHERE org_id = :'alpha';
UPDATE page SET html = immiiq.audit_report(:'alpha') WHERE name = 'auditor';
SELECT ok((:on 'auditor') ~ 'file&lt;b&gt;[^/]*</bdi></th><td>cases</td><td>NO</td>', 'the trigger that is off shows');
SELECT ok((:on 'auditor') ~ '<p class="bad">Verification found \d+ errors?\.' AND (:on 'auditor') ~ 'its trigger is off', 'and what verification found');
ROLLBACK;
-- The history of one row as a page.
CREATE TEMP TABLE told (name text, html text);
GRANT ALL ON told TO PUBLIC;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_owner_token', '192.0.2.7', 'agent') \gset
INSERT INTO told SELECT 'one', immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000001');
INSERT INTO told SELECT 'two', immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000002');
INSERT INTO told SELECT 'kept', immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000001', '{passport,file_id,origin}');
INSERT INTO told SELECT 'all kept', immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000002', '{*}');
INSERT INTO told SELECT 'foreign', immiiq.history_page('file<b>', 'bf000000-0000-4000-8000-000000000001');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM told, xmlparse(document regexp_replace(regexp_replace(html, '^<!DOCTYPE html>', ''), '<(meta [^>]*|br|col( [^>]*)?)>', '<\1/>', 'g')) AS x), 5::bigint, 'a page of a history: whatever was opened is closed, in order');
SELECT is((SELECT string_agg(DISTINCT m[1], ' ' ORDER BY m[1]) FROM told, regexp_matches(html, '<([a-z0-9]+)', 'g') AS m),
    'bdi body br caption code col colgroup dd del div dl dt h1 h2 head header html i ins main meta p section span style table tbody td th thead time title tr',
    'no element but its own, with values that hold others');
SELECT is((SELECT count(*) FROM told WHERE html ~* '\son[a-z]+\s*=\s*["'']' OR html ~* 'https?://' OR html ~* '(src|href)\s*=\s*["'']' OR html ~ '\u202e'), 0::bigint, 'nothing runs there, and nothing turns the text');
SELECT matches((SELECT html FROM told WHERE name = 'one'), 'Created<dl>.*<dt>passport</dt><dd><bdi>SECRETPASS</bdi>', 'who opens the row sees it whole');
SELECT matches((SELECT html FROM told WHERE name = 'one'), '&quot;&gt;&lt;script&gt;alert\(1\)&lt;/script&gt;</bdi><br><span class="small">member, 192\.0\.2\.7', 'and who wrote it, from where');
SELECT matches((SELECT html FROM told WHERE name = 'two'), '>1</th>.*Created.*>2</th>.*Changed<dl><div><dt>title</dt><dd><del><bdi>other client&#39;s</bdi></del> <span class="to">became</span> <ins><i>empty</i></ins></dd></div></dl>.*>3</th>.*operator.*Deleted<dl>',
    'versions in their order: created, changed from what to what, deleted by an operator');
SELECT doesnt_match((SELECT html FROM told WHERE name = 'kept'), 'SECRETPASS|af000000|192\.0\.2', 'what is kept back does not stand there, in the title neither');
SELECT doesnt_match((SELECT html FROM told WHERE name = 'all kept'), 'other client|af000000', 'all of it can be kept back');
SELECT matches((SELECT html FROM told WHERE name = 'foreign'), 'The log has none that you may read', 'of another organisation''s row there is none');
SELECT doesnt_match((SELECT string_agg(html, '') FROM told), 'BETACANARY', 'and nothing of it shows');
SET SESSION AUTHORIZATION regress_immiiq_app;
SELECT throws_ok($$SELECT immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000001')$$, '42501', NULL, 'nobody active: refused');
BEGIN;
SELECT FROM immiiq.authenticate(:'alpha_clerk_token', '192.0.2.7', 'agent') \gset
SELECT throws_ok($$SELECT immiiq.history_page('file<b>', 'af000000-0000-4000-8000-000000000001')$$, '42501', NULL, 'a member of narrow scope: refused');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
