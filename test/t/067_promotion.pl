# A standby that is promoted while clients write to its primary: with synchronous_standby_names nothing is lost of what they
# were told, rows, denials and operators' access, and on the new primary the log verifies and goes on, searches find, people sign in.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $org = 'a1fa0000-0000-4000-8000-000000000000';
my $member = 'a1fa0000-0000-4000-8000-000000000001';
my $primary = new_cluster('old', streaming => 1, extension => 1);
my $token = $primary->safe_psql('postgres', qq{
	CREATE ROLE app LOGIN; CREATE ROLE mailer LOGIN; SELECT immiiq.grant_application('app'), immiiq.grant_mailer('mailer') \\gset
	SELECT immiiq.create_org('Alpha', '$org') \\gset
	CREATE TABLE closed (id int);
	CREATE TABLE note (org_id uuid, id text, body enc_text(1, equality), title enc_text(2, match), PRIMARY KEY (org_id, id));
	CREATE INDEX ON note (org_id, body); CREATE INDEX ON note USING gin (title);
	SELECT immiiq.protect('note', 'clients') \\gset
	GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
	BEGIN; SELECT FROM immiiq.operate('$org', 'test') \\gset
	INSERT INTO immiiq.member (org_id, member_id, email, name, scope, modules) VALUES ('$org', '$member', 'a\@alpha.example', 'A', 'all', '{clients}');
	SELECT immiiq.issue_session('$member'); COMMIT});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('new');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'new'; SELECT pg_reload_conf()");
$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication") or die 'the standby is not synchronous';

# Clients that say a line for what the server has acknowledged, in its order.
my $file = $primary->basedir . '/client';
my %script = (
	writer => sub { my ($id) = @_; return "BEGIN;\nSET LOCAL immiiq.token = '$token';\nINSERT INTO note (id, body, title) VALUES ('$id', 'body $id', 'title of $id');\nUPDATE note SET title = 'letter $id' WHERE id = '$id';\nCOMMIT;\n\\echo W $id\n" },
	operator => sub { my ($id) = @_; return "BEGIN;\nSELECT FROM immiiq.operate('$org', '$id') \\gset\n\\echo O $id :SQLSTATE\nROLLBACK;\n" },
	denied => sub { my ($id) = @_; return "SET application_name = '$id';\n\\echo D $id\n\\timing on\nINSERT INTO closed VALUES (1);\n\\timing off\n\\echo S :SQLSTATE\n" });
sub client
{
	my ($node, $kind, $name) = @_;
	append_to_file("$file.$name.sql", join '', map { $script{$kind}->("$name-$_") } 1 .. 5000);
	return IPC::Run::start([ 'stdbuf', '-oL', 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=' . ($kind eq 'writer' ? 1 : 0), '-h', $node->host, '-p', $node->port,
		'-U', $kind eq 'operator' ? ($ENV{USER} // scalar getpwuid $<) : 'app', '-f', "$file.$name.sql", 'postgres' ], '>', "$file.$name.out", '2>', "$file.$name.err");
}
# What they were told so far, by kind.
sub told
{
	my %told = (W => [], O => [], D => []);
	for my $out (map { slurp_file($_) } glob "$file.*.out")
	{
		push @{ $told{W} }, $out =~ /^W (\S+)$/mg;
		push @{ $told{O} }, $out =~ /^O (\S+) 00000$/mg;
		# one whose record is not there within 200 ms goes out without it
		while ($out =~ /^D (\S+)\nTime: ([\d.]+) ms.*\nS 42501$/mg) { push @{ $told{D} }, $1 if $2 < 190 }
	}
	return %told;
}
my @clients = ((map { client($primary, 'writer', "w$_") } 1 .. 3), client($primary, 'operator', 'o1'), client($primary, 'denied', 'd1'));
my %told;
for (1 .. 600)
{
	%told = told();
	last if @{ $told{W} } > 20 && @{ $told{O} } && @{ $told{D} };
	sleep 0.1;
}

# The standby leaves while they write. From now on no commit is acknowledged any more.
my $early = $primary->safe_psql('postgres', 'SELECT immiiq.checkpoint()');
$standby->promote;
my $before = $primary->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_activity WHERE state IS NOT NULL AND application_name <> current_setting($$application_name$$)');
cmp_ok($before, '>', 0, 'clients were writing when it was promoted');
$primary->stop('immediate');
$_->kill_kill(grace => 2) for @clients;
%told = told();
sub sql { my ($text) = @_; return $standby->safe_psql('postgres', $text) }
sub lost { my ($query, @ids) = @_; my %there = map { $_ => 1 } split /\n/, sql($query); return join ' ', grep { !$there{$_} } @ids }
cmp_ok(scalar @{ $told{W} }, '>', 20, 'rows were acknowledged');
cmp_ok(scalar @{ $told{O} }, '>', 0, 'so was operators\' access');
cmp_ok(scalar @{ $told{D} }, '>', 0, 'and denials');
is(lost('SELECT id FROM note', @{ $told{W} }), '', 'every acknowledged row is on the new primary');
is(lost("SELECT reason FROM immiiq.journal WHERE kind = 'operate'", @{ $told{O} }), '', 'every operator\'s access');
is(lost("SELECT application_name FROM immiiq.journal WHERE kind = 'denial'", @{ $told{D} }), '', 'every denial');

# It works.
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 0 FROM immiiq.audit_waiting}), 'its worker seals what waited');
is(sql('SELECT * FROM immiiq.verify_audit()'), '', 'the log verifies');
is(sql("SELECT * FROM immiiq.verify_audit(since => '$early')"), '', 'it goes on from a checkpoint that the old primary gave');
is(sql(q{SELECT (SELECT count(*) FROM immiiq.audit_log WHERE table_name = 'note' AND operation = 'insert') - (SELECT count(*) FROM note)}), '0', 'every row has its entry');
for my $scan (qw(on off))
{
	my $id = $told{W}[-1];
	is(sql(qq{BEGIN; SELECT FROM immiiq.operate('$org', 'look') \\gset
		SET LOCAL enable_seqscan = $scan; SELECT id FROM note WHERE body = 'body $id'; SELECT id FROM note WHERE title LIKE '%etter $id'; COMMIT}), "$id\n$id", "an acknowledged row is found, enable_seqscan $scan");
}
is(sql(qq{BEGIN; SELECT FROM immiiq.operate('$org', 'look') \\gset
	SELECT count(*) FROM note WHERE body::text <> 'body ' || id; COMMIT}), '0', 'every value opens');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 0 FROM immiiq.doctor() WHERE status = 'fail'}), 'the doctor is content') or diag sql('SELECT * FROM immiiq.doctor()');

# Sessions of before are good there, new ones are made, and clients write.
my @as_app = (extra_params => [ '-U', 'app' ]);
is($standby->safe_psql('postgres', "BEGIN; SET LOCAL immiiq.token = '$token'; SELECT count(*) > 20 FROM note; COMMIT", @as_app), 't', 'the token of before is taken');
$standby->safe_psql('postgres', "SELECT immiiq.issue_link('a\@alpha.example', ip => '192.0.2.1')", @as_app);
my $link = $standby->safe_psql('postgres', 'SELECT token FROM immiiq.take_outbox(1)', extra_params => [ '-U', 'mailer' ]);
my $session = $standby->safe_psql('postgres', "SELECT session_token FROM immiiq.redeem_link('$link', ip => '192.0.2.1')", @as_app);
is($standby->safe_psql('postgres', "BEGIN; SET LOCAL immiiq.token = '$session'; INSERT INTO note (id, body, title) VALUES ('after', 'body after', 'letter'); SELECT count(*) FROM note WHERE body = 'body after'; COMMIT", @as_app), '1', 'somebody signs in by link and writes');
$standby->psql('postgres', 'INSERT INTO closed VALUES (1)', @as_app);
ok($standby->poll_query_until('postgres', "SELECT count(*) > 0 FROM immiiq.denial WHERE at > now() - interval '1 minute' AND role_name = 'app'"), 'denials are written down');
sql('CALL immiiq.seal()');
is(sql('SELECT * FROM immiiq.verify_audit()'), '', 'and the log verifies');
$standby->stop;
done_testing();
