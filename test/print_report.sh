#!/bin/bash
# print_report.sh: the report on a log and the history of a row as paper: headless Chromium prints it, and what the PDF says is read. Needs a running
# server (PGHOST …) with immiiq preloaded and the roles of roles.sh; prints TAP. PNG=directory keeps pictures of the pages.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ok() { if [ "$2" = 0 ]; then echo "ok - $1"; else echo "not ok - $1"; fi; }
# Lines of the page may end anywhere.
says() { tr -d '[:space:]' < "$work/report.txt" | grep -qF -- "$(tr -d '[:space:]' <<< "$2")"; ok "$1" $?; }

createdb report_printed || exit 1
psql -X -q -v ON_ERROR_STOP=1 -d report_printed > /dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION immiiq;
CREATE TABLE filing (org_id uuid NOT NULL, filing_id uuid PRIMARY KEY, client_id uuid, title text, passport enc_text(equality), due date, fee numeric);
SELECT immiiq.protect('filing', 'cases', client => 'client_id');
CREATE TABLE scratch (line text);
SELECT immiiq.create_org('Müller & Söhne <b>Steuerberatung</b>', 'a1fa0000-0000-4000-8000-000000000000');
BEGIN;
SELECT FROM immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'set-up');
INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules, permissions) VALUES
    ('a1fa0000-0000-4000-8000-000000000000', 'a1fa0000-0000-4000-8000-000000000001', 'anna@example.com', 'Anna <script>document.title=1</script>', 'all',
     '{clients,cases,documents,reports,settings}', '{sign_off}'),
    ('a1fa0000-0000-4000-8000-000000000000', 'a1fa0000-0000-4000-8000-000000000002', 'ben@example.com', 'Ben', 'all', '{clients,cases,documents,reports,settings}', '{sign_off}');
INSERT INTO immiiq.object_store (org_id, object_store_id, name, endpoint, region, bucket) VALUES
    ('a1fa0000-0000-4000-8000-000000000000', 'b0000000-0000-4000-8000-000000000001', 'papers', 'https://s3.example.com', 'eu', 'papers');
INSERT INTO immiiq.document (org_id, document_id, object_store_id, filename, content_type) VALUES
    ('a1fa0000-0000-4000-8000-000000000000', 'd0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001', 'anna.png', 'image/png'),
    ('a1fa0000-0000-4000-8000-000000000000', 'd0000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000001', 'ben.png', 'image/png');
SELECT immiiq.issue_session('a1fa0000-0000-4000-8000-000000000001') AS anna, immiiq.issue_session('a1fa0000-0000-4000-8000-000000000002') AS ben \gset
COMMIT;
SELECT immiiq.grant_application('regress_immiiq_app');
GRANT SELECT, INSERT, UPDATE, DELETE ON filing TO regress_immiiq_app;
SET SESSION AUTHORIZATION regress_immiiq_app;
BEGIN;
SELECT FROM immiiq.authenticate(:'anna', '192.0.2.7', 'agent');
INSERT INTO filing SELECT immiiq.current_org(), ('f0000000-0000-4000-8000-00000000000' || n)::uuid, 'c0000000-0000-4000-8000-000000000001', 'VAT return ' || n, 'C01X' || n, '2026-05-31', 120.50 FROM generate_series(1, 9) n;
UPDATE filing SET title = E'VAT return 1, corrected </td></table><script>document.title=2</script>', due = NULL WHERE filing_id = 'f0000000-0000-4000-8000-000000000001';
INSERT INTO immiiq.signature_on_file (document_id) VALUES ('d0000000-0000-4000-8000-000000000001');
SELECT immiiq.sign_off('public.filing', 'f0000000-0000-4000-8000-000000000001', 'prepared'), immiiq.sign_off('public.filing', 'f0000000-0000-4000-8000-000000000002', 'prepared');
COMMIT;
BEGIN;
SELECT FROM immiiq.authenticate(:'ben', '192.0.2.8', 'agent');
INSERT INTO immiiq.signature_on_file (document_id) VALUES ('d0000000-0000-4000-8000-000000000002');
SELECT immiiq.sign_off('public.filing', 'f0000000-0000-4000-8000-000000000001', 'approved');
UPDATE filing SET fee = 99 WHERE filing_id = 'f0000000-0000-4000-8000-000000000002';
DELETE FROM filing WHERE filing_id = 'f0000000-0000-4000-8000-000000000009';
COMMIT;
RESET SESSION AUTHORIZATION;
CALL immiiq.seal();
CALL immiiq.seal();
SQL
ok "a log with filings, signatures and hostile names" $?
psql -XAtq -d report_printed -v head="$work/head" > "$work/report.html" <<'SQL'
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT FROM immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'report') \g /dev/null
SELECT immiiq.audit_report('a1fa0000-0000-4000-8000-000000000000');
SELECT split_part(immiiq.checkpoint(), chr(10), 3) AS head \g :head
COMMIT;
SQL
timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" --no-pdf-header-footer --print-to-pdf="$work/report.pdf" "file://$work/report.html" > "$work/said" 2>&1
[ -s "$work/report.pdf" ] && pdftotext "$work/report.pdf" "$work/report.txt"
ok "Chromium prints it" $?
says "the organisation, letter by letter" 'Müller & Söhne <b>Steuerberatung</b>'
says "verification" 'Verification found nothing'
for section in Summary 'Coverage of protection' Checkpoints Findings Signatures Entries; do says "section $section" "$section"; done
says "the table that is protected" filing
says "the table that is not" scratch
says "a member's name is text" 'Anna <script>document.title=1</script>'
says "a value is text" 'corrected </td></table><script>'
says "an old value and the new one" became
says "a signature that holds, of a row unchanged since" 'unchanged since'
says "one of a row that changed" 'CHANGED SINCE'
says "the checkpoint" "$(cat "$work/head")"
pdfinfo "$work/report.pdf" | grep -q '^Title: *Audit report: Müller & Söhne <b>'
ok "the document has its title, which no script has changed" $?
pages=$(pdfinfo "$work/report.pdf" | sed -n 's/^Pages: *//p')
[ "$pages" -ge 2 ] && [ "$pages" -le 12 ]
ok "on a few pages ($pages)" $?
psql -XAtq -d report_printed > "$work/history.html" <<'SQL'
BEGIN;
SELECT FROM immiiq.operate('a1fa0000-0000-4000-8000-000000000000', 'history') \g /dev/null
SELECT immiiq.history_page('filing', 'f0000000-0000-4000-8000-000000000001');
COMMIT;
SQL
timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" --no-pdf-header-footer --print-to-pdf="$work/history.pdf" "file://$work/history.html" > "$work/said" 2>&1
rm -f "$work/report.txt"
pdftotext "$work/history.pdf" "$work/report.txt"
says "the history of a row: old and new value side by side" 'VAT return 1 became VAT return 1, corrected </td></table><script>'
says "and who made it" '<script>document.title=1</script>'
pdfinfo "$work/history.pdf" | grep -q '^Title: *History of public.filing f0000000'
ok "its title is its own" $?
# Nothing is drawn into the margin: every page is white at its right edge.
pdftoppm -r 40 -gray "$work/report.pdf" "$work/page"
narrow=0
for page in "$work"/page-*.pgm; do
	# P5, width, height, 255, then a byte a dot
	perl -e 'local $/; open F, "<:raw", $ARGV[0]; $_ = <F>; /\AP5\s+(\d+)\s+(\d+)\s+255\s/ or exit 1; my ($w, $h, $at) = ($1, $2, $+[0]);
		for my $y (0 .. $h - 1) { for my $x ($w - 12 .. $w - 1) { exit 1 if ord(substr($_, $at + $y * $w + $x, 1)) < 200 } } exit 0' "$page" || narrow=1
done
ok "nothing runs off the page" "$narrow"
[ -n "${PNG-}" ] && pdftoppm -r 70 -png "$work/report.pdf" "$PNG/page" && cp "$work/report.html" "$PNG/"
dropdb --force report_printed
