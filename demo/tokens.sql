-- A session token for every member of one practice, issued by an operator: login | who | token. Variable: practice.
SELECT org_id FROM generator.practice WHERE number = :practice \gset
BEGIN;
SELECT immiiq.operate(:'org_id', 'psql for the demo') \g /dev/null
SELECT split_part(s.email, '@', 1), s.name || ', ' || s.role || ', ' || p.name, immiiq.issue_session(s.member_id)
FROM generator.staff s JOIN generator.practice p ON p.number = s.number WHERE s.number = :practice ORDER BY s.who;
COMMIT;
