# A hot standby answers with the same restrictions: rows, scopes, firewall; what is refused and what is opened stands in its log.
use strict;
use warnings;
use lib 'test/t';
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary_firewall', streaming => 1, extension => 1);
$primary->safe_psql('postgres', q{
	CREATE ROLE regress_immiiq_app LOGIN; SELECT immiiq.grant_application('regress_immiiq_app');
	CREATE TABLE client (org_id uuid, id int, team_id uuid, name enc_text(equality), PRIMARY KEY (org_id, id));
	SELECT immiiq.protect('client', 'clients', team => 'team_id');
	GRANT SELECT, INSERT, UPDATE, DELETE ON client TO regress_immiiq_app;
});
my %token;
for my $org ('harbour', 'canary')
{
	my $id = $primary->safe_psql('postgres', "SELECT immiiq.create_org('$org')");
	my @member = split /\n/, $primary->safe_psql('postgres', qq{
		BEGIN; SELECT FROM immiiq.operate('$id', 'test');
		INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$id', 'a\@$org.example', 'A', 'all', '{clients}') RETURNING member_id;
		INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$id', 'b\@$org.example', 'B', 'team', '{clients}') RETURNING member_id;
		INSERT INTO client (id, name) SELECT i, '$org ' || i FROM generate_series(1, 7) AS i;
		COMMIT; });
	$token{$org} = $primary->safe_psql('postgres', "SELECT immiiq.issue_session('$member[0]')");
	$token{"$org team"} = $primary->safe_psql('postgres', "SELECT immiiq.issue_session('$member[1]')");
}
$primary->safe_psql('postgres', 'ANALYZE client');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby_firewall');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

my @app = (extra_params => [ '-U', 'regress_immiiq_app' ]);
my $enter = "SELECT FROM immiiq.authenticate('$token{harbour}')";
sub told
{
	my (undef, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$_[0]", @app);
	return $out . $err;
}

my $offset = -s $standby->logfile;
is(told("BEGIN; $enter; SELECT count(*), min(name::text) FROM client; COMMIT"), '7|harbour 1', 'a member reads the organisation\'s rows, sealed columns in clear');
is(told("BEGIN; $enter; SELECT id FROM client WHERE name = 'harbour 3'; COMMIT"), '3', 'and finds by a sealed value');
is(told("BEGIN; $enter; SELECT id FROM client WHERE name = 'canary 3'; COMMIT"), '', 'not by another organisation\'s');
is(told("BEGIN; SELECT FROM immiiq.authenticate('$token{'harbour team'}'); SELECT count(*) FROM client; COMMIT"), '0', 'scope team sees its teams\' only');
is(told('SELECT count(*) FROM client'), '0', 'nobody sees nothing');
unlike(told("BEGIN; $enter; EXPLAIN SELECT * FROM client; COMMIT"), qr/rows=/, 'EXPLAIN tells no estimate');
for my $refused ('EXPLAIN ANALYZE SELECT * FROM client', 'SELECT reltuples FROM pg_class', q{SELECT pg_relation_size('client')}, 'SELECT pg_try_advisory_lock(1)',
	'SELECT * FROM pg_stat_activity', 'SELECT n_live_tup FROM pg_stat_user_tables', 'SELECT pg_last_wal_replay_lsn()', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1')
{
	like(told("BEGIN; $enter; $refused; COMMIT"), qr/ERROR:  42501/, "refused: $refused");
}
like(told("BEGIN; $enter; INSERT INTO client (id) VALUES (8); COMMIT"), qr/ERROR:  25006/, 'nothing is written');
my $log = slurp_file($standby->logfile, $offset);
like($log, qr/immiiq denial: action explain, object EXPLAIN ANALYZE/, 'its log has what was refused');
like($log, qr/immiiq field access: session [0-9a-f-]{36} opened 7 values/, 'and what was opened');
unlike($log, qr/harbour \d|canary \d/, 'and no value');

$standby->stop;
$primary->stop;
done_testing();
