-- Loads one practice through the extension: as an operator, whose way in is recorded, with plain INSERTs.
-- Every value is sealed and every row captured by the audit as it is written. Variables: practice, seed, clients.

SELECT org_id, name FROM generator.practice WHERE number = :practice \gset
SELECT immiiq.create_org(:'name', :'org_id');

BEGIN;
SELECT immiiq.operate(:'org_id', 'loading the demo');

INSERT INTO immiiq.role_template (org_id, name, scope, modules) SELECT :'org_id', name, scope, modules FROM generator.role;
INSERT INTO immiiq.team (org_id, team_id, name) SELECT :'org_id', generator.id('team', :practice * 10 + team), name FROM generator.team;
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules)
    SELECT s.org_id, s.member_id, s.email, s.name, r.scope, r.modules
    FROM generator.staff s JOIN generator.role r ON r.name = s.role WHERE s.number = :practice;
INSERT INTO immiiq.team_member (org_id, team_id, member_id)
    SELECT org_id, generator.id('team', :practice * 10 + team), member_id FROM generator.staff WHERE number = :practice AND team IS NOT NULL;

CREATE TEMPORARY TABLE client ON COMMIT DROP AS
    SELECT c.*, generator.id('team', :practice * 10 + c.team) AS team_id, s.member_id AS handler_id
    FROM generator.client(:practice, :seed, :clients) c
    JOIN generator.staff s ON s.number = :practice AND s.team = c.team AND s.desk = c.desk;

INSERT INTO clients (org_id, client_id, name, latin_name, birth_date, nationality, passport_no, phone, email, family, status, since)
    SELECT :'org_id', client_id, name, latin_name, birth_date, nationality, passport_no, phone, email, family, status, since FROM client;

-- Every client belongs to a team; an open one to a caseworker too.
INSERT INTO immiiq.assignment (org_id, client_id, team_id) SELECT :'org_id', client_id, team_id FROM client;
INSERT INTO immiiq.assignment (org_id, client_id, member_id) SELECT :'org_id', client_id, handler_id FROM client WHERE status = 'open';

INSERT INTO cases (org_id, case_id, client_id, team_id, assignee_id, reference, kind, stage, opened_on, note)
    SELECT :'org_id', generator.id('case', who), client_id, team_id, CASE status WHEN 'open' THEN handler_id END,
           extract(year FROM since) || '-' || lpad(i::text, 5, '0'), kind,
           CASE status WHEN 'open' THEN (ARRAY['preparing', 'filed', 'interview', 'appeal'])[generator.draw(who, 30, 4)]
                       ELSE (ARRAY['granted', 'granted', 'granted', 'refused', 'withdrawn'])[generator.draw(who, 31, 5)] END,
           since,
           (ARRAY['Original passport seen. ', 'Interpreter needed. ', 'Evidence of income outstanding. ', 'Sponsor confirmed. ', 'Health report sealed in file. '])[generator.draw(who, 32, 5)]
               || name || ', ' || nationality || ', ' || kind
    FROM client;

INSERT INTO communications (org_id, communication_id, client_id, channel, at, subject, body)
    SELECT :'org_id', generator.id('communication', who), client_id,
           (ARRAY['e-mail', 'e-mail', 'phone', 'letter', 'meeting'])[generator.draw(who, 40, 5)],
           since + generator.draw(who, 41, 200) * interval '11 hours',
           (ARRAY['Your appointment', 'Missing document', 'Decision received', 'Question about the fee', 'Change of address'])[generator.draw(who, 42, 5)],
           'Dear ' || name || ', regarding your ' || kind || ': '
               || (ARRAY['please bring your passport and two photographs.', 'the authority asks for a translation of the birth certificate.',
                         'we have news and would like to see you this week.', 'the next instalment is due at the end of the month.',
                         'please confirm the new address and who lives there.'])[generator.draw(who, 43, 5)]
    FROM client WHERE generator.draw(who, 44, 10) <= 8;

INSERT INTO documents (org_id, document_id, client_id, kind, title, number, expires_on)
    SELECT :'org_id', generator.id('document', who), client_id, d.kind, d.kind || ' of ' || latin_name,
           CASE d.kind WHEN 'passport' THEN passport_no ELSE upper(left(d.kind, 2)) || '/' || lpad((who * 31 % 1000000)::text, 6, '0') END,
           CASE d.kind WHEN 'passport' THEN since + generator.draw(who, 50, 3000) END
    FROM client
    CROSS JOIN LATERAL (SELECT (ARRAY['passport', 'birth certificate', 'marriage certificate', 'bank statement', 'employment contract'])[generator.draw(who, 51, 5)] AS kind) d
    WHERE generator.draw(who, 52, 2) = 1;

INSERT INTO invoices (org_id, invoice_id, client_id, number, issued_on, amount, paid, payer)
    SELECT :'org_id', generator.id('invoice', who), client_id, 'R-' || lpad(i::text, 5, '0'), since + 14,
           180 + 20 * generator.draw(who, 60, 120), status = 'closed' OR generator.draw(who, 61, 3) > 1, name
    FROM client WHERE generator.draw(who, 62, 2) = 1;
COMMIT;
