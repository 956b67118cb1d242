# A rotation seen from elsewhere: logical replication carries the values that were sealed anew, a physical standby reads
# them with the same root key, and finds what it searches.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('primary', extension => 1, streaming => 'logical');
my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE person (org_id uuid, id int PRIMARY KEY, name enc_text(1, equality), note enc_text(2, sealed));
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO person SELECT '$org', i, 'name ' || i, 'note ' || i FROM generate_series(1, 200) AS i;
COMMIT;
CREATE PUBLICATION people FOR TABLE person;
SQL
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nwal_receiver_status_interval = 1");
$standby->start;
my $subscriber = new_cluster('subscriber', extension => 1);
$subscriber->safe_psql('postgres', 'CREATE TABLE person (org_id uuid, id int PRIMARY KEY, name enc_text(1, equality), note enc_text(2, sealed))');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION people CONNECTION '" . $node->connstr . " dbname=postgres' PUBLICATION people");
$subscriber->wait_for_subscription_sync($node, 'people');

my $values = 'SELECT md5(string_agg(name::text || note::text, \',\' ORDER BY id)) FROM person';
my $before = $node->safe_psql('postgres', $values);
is($subscriber->safe_psql('postgres', $values), $before, 'the subscriber has the envelopes of before');
$node->safe_psql('postgres', "CALL immiiq.rotate_key('$org')");
my $after = $node->safe_psql('postgres', $values);
isnt($after, $before, 'after a rotation they are others');
$node->wait_for_catchup('people');
is($subscriber->safe_psql('postgres', $values), $after, 'which the subscriber has, too');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $values), $after, 'and the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM immiiq.rekey'), '0', 'where the rotation has ended, too');
is($standby->safe_psql('postgres', "SELECT count(*) FROM immiiq.wrapped_key WHERE org_id = '$org' AND purpose IN ('data', 'index') AND version = 1"), '0',
	'and the old keys are gone');
$node->safe_psql('postgres', 'DROP TABLE person');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION people');

# A published table that cannot say which row it was stops the rotation, and says so; mended, it ends.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE nameless (v enc_text(3, sealed));
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO nameless VALUES ('x');
COMMIT;
CREATE PUBLICATION nameless FOR TABLE nameless;
SQL
my ($out, $err) = ('', '');
$node->psql('postgres', "CALL immiiq.rotate_key('$org')", stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, qr/55000: the rotation waits: 55000: cannot update table "nameless"/, 'a table without replica identity stops a rotation');
like($node->safe_psql('postgres', 'SELECT problem FROM immiiq.rekey_progress'), qr/cannot update table "nameless"/, 'rekey_progress says why');
$node->safe_psql('postgres', 'ALTER TABLE nameless REPLICA IDENTITY FULL');
$node->safe_psql('postgres', "CALL immiiq.rotate_key('$org')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM immiiq.rekey'), '0', 'mended, the next call ends it');
done_testing();
