# The demo with fewer clients: the tour's own expectations hold and can fail, and psql shows what a member may see.
use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Immiiq;

my $demo = "$FindBin::RealBin/../../demo";
my $node = new_cluster('demo');
$node->safe_psql('postgres', 'CREATE DATABASE demo');
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'demo', CLIENTS => 400);
delete $ENV{PGOPTIONS};

my ($out, $err);

# An empty database again.
sub start_afresh
{
	$node->safe_psql('postgres', 'DROP DATABASE demo');
	$node->safe_psql('postgres', 'DROP ROLE practice_app; DROP ROLE practice_auditor; DROP ROLE practice_operator');
	$node->safe_psql('postgres', 'CREATE DATABASE demo');
}

ok(run_log([ "$demo/run.sh" ], '>', \$out, '2>', \$err), 'the tour sees what it must')
  or diag("$out\n$err");
like($out, qr/ERROR:  new row violates row-level security policy/, 'it shows the refusal');
unlike($out . $err, qr/iq_s_[A-Za-z0-9]/, 'it shows no token');

# The same tour against data that is not what it was told: it must not pass.
my @tour = ('psql', '-X', '-q', '-v', 'load_ms=1', '-v', 'seed=1');
ok(!run_log([ @tour, '-v', 'clients=399' ], '<', "$demo/tour.sql", '>', \$out, '2>', \$err),
	'a tour whose data are not what it expects fails');
like($err, qr/the tour expected: three practices full of clients/, 'and says what was expected');
$node->safe_psql('demo', 'GRANT UPDATE (status) ON payments TO practice_app');
ok(!run_log([ @tour, '-v', 'clients=400' ], '<', "$demo/tour.sql", '>', \$out, '2>', \$err),
	'a payment that is settled by hand is noticed');
like($err, qr/the tour expected: nobody of the practice writes the status of a payment/, 'and said');
$node->safe_psql('demo', 'REVOKE UPDATE (status) ON payments FROM practice_app; DROP TRIGGER settle_payment ON immiiq.webhook_event');
ok(!run_log([ @tour, '-v', 'clients=400' ], '<', "$demo/tour.sql", '>', \$out, '2>', \$err),
	'a verified event that settles nothing is noticed');
like($err, qr/the tour expected: a verified event settles the payment, once/, 'and said');
$node->safe_psql('demo', q{UPDATE immiiq.member SET modules = modules || '{invoices}' WHERE email = 'amina@aldgate.example'});
ok(!run_log([ @tour, '-v', 'clients=400' ], '<', "$demo/tour.sql", '>', \$out, '2>', \$err),
	'a caseworker who sees too much is noticed');
like($err, qr/the tour expected: a caseworker sees her own/, 'and said');

is( $node->safe_psql('demo',
		q{SELECT md5(string_agg(concat_ws('|', c.client_id, name, latin_name, passport_no, birth_date - date '2000-01-01', family, phone, email), '' ORDER BY practice, i))
		  FROM generate_series(1, 3) practice, generator.client(practice, 1, 1000) c}),
	'1421a1dd7d817e1213f4be436289c287',
	'the same seed gives the same people');
isnt($node->safe_psql('demo', 'SELECT name FROM generator.client(1, 1, 1)'),
	$node->safe_psql('demo', 'SELECT name FROM generator.client(1, 2, 1)'), 'another seed others');

# psql as members; macros as somebody would type them.
start_afresh();
{
	local $ENV{MEMBER} = 'margaret@aldgate.example';
	my $input = <<'SQL';
\t \a
SELECT count(*) FROM clients;
:katrin
SELECT count(*) FROM clients;
UPDATE clients SET status = 'open' WHERE status = 'closed';
:save
SELECT DISTINCT status FROM clients;
SELECT 1 / 0;
SELECT count(DISTINCT org_id) FROM clients;
:nobody
SELECT count(*) FROM clients;
SQL
	ok(run_log([ "$demo/psql.sh" ], '<', \$input, '>', \$out, '2>', \$err), 'psql as a member');
	is($out, "0\n400\nopen\n1\n0\n", 'each sees their own, saves, and survives an error');
	like($err, qr/division by zero/, 'whose message is shown');

	start_afresh();
	local $ENV{MEMBER} = 'mallory';
	ok(!run_log([ "$demo/psql.sh" ], '<', \'', '>', \$out, '2>', \$err), 'psql as nobody who is there');
	like($err, qr/no member mallory; there are:\n  ifeoma /, 'lists who is');
}

$node->stop;
done_testing();
