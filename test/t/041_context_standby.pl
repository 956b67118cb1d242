# On a hot standby a token works and everything reads; an operator's way in, which must be written down first, does not.
use strict;
use warnings;
use lib 'test/t';
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary_context', streaming => 1, extension => 1);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby_context');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', "CREATE ROLE regress_immiiq_app LOGIN; SELECT immiiq.grant_application('regress_immiiq_app')");
my $org = $primary->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
my $member = $primary->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$org', 'test');
	INSERT INTO immiiq.member (org_id, email, name, scope, modules) VALUES ('$org', 'a\@harbour.example', 'A', 'all', '{clients,ai}') RETURNING member_id;
	COMMIT;
});
my $token = $primary->safe_psql('postgres', "SELECT immiiq.issue_session('$member')");
$primary->wait_for_catchup($standby);

my @app = (extra_params => [ '-U', 'regress_immiiq_app' ]);
my $enter = "SELECT FROM immiiq.authenticate('$token')";
is($standby->safe_psql('postgres', "BEGIN; $enter; SELECT immiiq.current_member(); COMMIT", @app), $member, 'a token works on a standby');
is($standby->safe_psql('postgres', "BEGIN; $enter; SELECT name FROM immiiq.member; COMMIT", @app), 'A', 'and its member reads');
is($standby->safe_psql('postgres', "BEGIN; $enter; SELECT (immiiq.act_as_assistant('summary')).actor; COMMIT", @app),
	'assistant', 'the assistant narrows there, too');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM immiiq.member', @app), '0', 'nobody reads nothing');

my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT immiiq.operate('$org', 'x')");
like($err, qr/25006: cannot operate on a standby/, 'operate is refused on a standby');
(undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT immiiq.issue_session('$member')");
like($err, qr/25006/, 'so is issue_session');

my $offset = -s $standby->logfile;
(undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT immiiq.authenticate('iq_s_wrong')", @app);
like($err, qr/IQ010: token refused/, 'a wrong token is refused');
like(slurp_file($standby->logfile, $offset), qr/immiiq denial: action token.*malformed/, 'and the server log has the reason');

$primary->safe_psql('postgres', "UPDATE immiiq.session SET revoked_at = now()");
$primary->wait_for_catchup($standby);
(undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$enter", @app);
like($err, qr/IQ010: token refused/, 'a session revoked on the primary is refused once that has arrived');

$standby->promote;
$standby->safe_psql('postgres', "UPDATE immiiq.session SET revoked_at = NULL");
is($standby->safe_psql('postgres', "BEGIN; $enter; SELECT immiiq.current_member(); COMMIT", @app), $member, 'after promotion tokens go on');
is($standby->safe_psql('postgres', "SELECT (immiiq.operate('$org', 'after promotion')).actor"), 'operator', 'and an operator gets in');

$standby->stop;
$primary->stop;
done_testing();
