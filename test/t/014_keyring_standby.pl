# Keys on a hot standby and in parallel workers: read by whom they belong to, made by nobody before promotion.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary_keyring', streaming => 1, extension => 1);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby_keyring');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $org = $primary->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
$primary->safe_psql('postgres', <<"SQL");
CREATE ROLE regress_immiiq_app LOGIN;
SELECT immiiq.grant_application('regress_immiiq_app');
CREATE TABLE word (org_id uuid NOT NULL, n int PRIMARY KEY, v enc_text(equality));
CREATE INDEX ON word (v);
GRANT SELECT ON word TO regress_immiiq_app;
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO word SELECT '$org', n, 'word ' || n FROM generate_series(1, 2000) AS n;
COMMIT;
ANALYZE word;
SQL
my $member = $primary->safe_psql('postgres', <<"SQL");
BEGIN;
SELECT FROM immiiq.operate('$org', 'test');
INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$org', 'a\@harbour.example', 'A', 'all', '{clients}') RETURNING member_id;
COMMIT;
SQL
my $token = $primary->safe_psql('postgres', "SELECT immiiq.issue_session('$member')");
$primary->wait_for_catchup($standby);

my @app = (extra_params => [ '-U', 'regress_immiiq_app' ]);
my $enter = "SELECT FROM immiiq.authenticate('$token')";
my $parallel = 'SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2';
for my $node ($primary, $standby)
{
	my $name = $node->name;
	is($node->safe_psql('postgres', "BEGIN; $enter; SELECT n, v FROM word WHERE v = 'word 77'; COMMIT", @app), '77|word 77',
		"$name: a value is found and opens");
	my $plan = $node->safe_psql('postgres', "BEGIN; SET LOCAL @{[force_parallel($node)]} = on; $parallel; EXPLAIN (COSTS OFF) SELECT count(*) FROM word WHERE v::text LIKE 'word 1%'; COMMIT");
	like($plan, qr/Workers Planned.*Seq Scan on word/s, "$name: the plan is parallel");
	is($node->safe_psql('postgres', "BEGIN; $parallel; $enter; SELECT count(*) FROM word WHERE v::text LIKE 'word 1%'; COMMIT", @app), '1111',
		"$name: workers open what their leader may");
	is($node->safe_psql('postgres', "BEGIN; $parallel; SELECT count(*) FROM word WHERE v::text LIKE 'iq1:%'; COMMIT", @app), '2000',
		"$name: and nothing for nobody");
}
my ($status, $out, $err) = $standby->psql('postgres', 'SELECT immiiq.create_org_keys(gen_random_uuid())');
like($err, qr/cannot execute/, 'a standby makes no keys');
is($standby->safe_psql('postgres', 'SELECT matches FROM immiiq.keyring_status()'), 't', 'it knows its root key');

$standby->promote;
my $second = $standby->safe_psql('postgres', "SELECT immiiq.create_org('Hill')");
is($standby->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE org_id = '$second'"), '4', 'after promotion it does');
is($standby->safe_psql('postgres', "BEGIN; $enter; SELECT n, v FROM word WHERE v = 'word 77'; COMMIT", @app), '77|word 77', 'and reads on');
$standby->stop;
$primary->stop;
done_testing();
