# A dump carries the directory and what is protected: restored with and without the root key, whole and in parallel.
use strict;
use warnings;
use Immiiq;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $alpha = 'a1fa0000-0000-4000-8000-000000000000';
my $owner = 'a1fa0000-0000-4000-8000-000000000001';

my $node = new_cluster('source', extension => 1);
$node->safe_psql('postgres', qq{
	CREATE TABLE client (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, team_id uuid, name enc_text(equality));
	CREATE TABLE matter (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id uuid, client_id uuid REFERENCES client, opened date);
	CREATE TABLE message (id uuid, org_id uuid, sent date, PRIMARY KEY (id, sent)) PARTITION BY RANGE (sent);
	CREATE TABLE message_2026 PARTITION OF message FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
	SELECT immiiq.protect('client', 'clients', client => 'id', team => 'team_id');
	SELECT immiiq.protect('matter', 'cases', client => 'client_id');
	SELECT immiiq.protect('message', NULL);
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_application('app');
	GRANT SELECT, INSERT, UPDATE, DELETE ON client, matter, message, message_2026 TO app;
	SELECT immiiq.create_org('Alpha', '$alpha')});
my $token = $node->safe_psql('postgres', qq{
	BEGIN;
	SELECT FROM immiiq.operate('$alpha', 'test');
	INSERT INTO immiiq.team (team_id, name) VALUES ('$alpha', 'Parent');
	INSERT INTO immiiq.team (name, parent_id) VALUES ('Child', '$alpha');
	INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES ('$owner', 'o\@example', 'Owner', 'all', '{clients,cases}');
	INSERT INTO immiiq.team_member (team_id, member_id) VALUES ('$alpha', '$owner');
	INSERT INTO immiiq.role_template (name, scope) VALUES ('Role', 'assigned');
	-- Rights that come from somewhere else, and a carried role that has changed since.
	INSERT INTO immiiq.role_template (name, scope, modules, permissions, follow) VALUES ('Fixed', 'team', '{cases}', '{a.b}', false);
	INSERT INTO immiiq.permission_group (name, permissions) VALUES ('Group', '{c.d}');
	INSERT INTO immiiq.member (email, name, role_template_id) SELECT 'm\@example', 'M', role_template_id FROM immiiq.role_template WHERE name = 'Fixed';
	INSERT INTO immiiq.team_member (team_id, member_id) SELECT '$alpha', member_id FROM immiiq.member WHERE name = 'M';
	INSERT INTO immiiq.member_permission_group (member_id, permission_group_id) SELECT member_id, permission_group_id FROM immiiq.member, immiiq.permission_group WHERE member.name = 'M';
	UPDATE immiiq.role_template SET modules = '{clients}' WHERE name = 'Fixed';
	UPDATE immiiq.team SET default_role_id = (SELECT role_template_id FROM immiiq.role_template WHERE name = 'Fixed') WHERE name = 'Parent';
	INSERT INTO immiiq.plan (plan, role_name, scope, permission_groups) VALUES ('starter', 'New', 'assigned', '{"Group": ["x.y"], "Other": ["z"]}');
	UPDATE immiiq.org SET plan = 'starter';
	INSERT INTO client (name) SELECT 'Client ' || n FROM generate_series(1, 20) AS n;
	INSERT INTO matter (client_id) SELECT id FROM client;
	INSERT INTO message (id, sent) VALUES (gen_random_uuid(), '2026-01-01');
	INSERT INTO immiiq.assignment (client_id, member_id) SELECT id, '$owner' FROM client;
	SELECT immiiq.issue_session('$owner');
	COMMIT});
$token =~ s/\s//g;

# Runs a client program against a node; what it complains of follows when it fails.
sub runs_ok
{
	my ($target, $command, $name) = @_;
	local %ENV = $target->_get_env();
	my $said = '';
	my $ok = IPC::Run::run($command, '>', '/dev/null', '2>', \$said);
	ok($ok, $name) or diag($said);
}

# Everything of the directory and the protection, by content.
my $contents = join ' UNION ALL ', map { "SELECT '$_ ' || md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM $_ AS t" }
	qw(immiiq.org immiiq.team immiiq.member immiiq.team_member immiiq.role_template immiiq.permission_group immiiq.member_permission_group immiiq.plan immiiq.assignment immiiq.session
	immiiq.protection immiiq.column_domain immiiq.protected_table logged client matter message);
# What was in the dump: a restore with the root key records the DDL that it does, under an incarnation of its own.
my $incarnation = $node->safe_psql('postgres', 'SELECT DISTINCT incarnation FROM immiiq.entry');
$contents = "WITH logged AS (SELECT * FROM immiiq.entry WHERE incarnation = $incarnation) $contents";
my $before = $node->safe_psql('postgres', $contents);
my $policies = q{SELECT md5(string_agg(tablename || policyname || coalesce(qual, '') || coalesce(with_check, ''), ' ' ORDER BY tablename, policyname)) FROM pg_policies};
my $seen = "SELECT set_config('immiiq.token', '$token', true) IS NULL; SELECT (SELECT count(*) FROM client) || ' ' || (SELECT count(*) FROM matter) || ' ' || (SELECT count(*) FROM client WHERE name = 'Client 7')";
is($node->safe_psql('postgres', "BEGIN; $seen; COMMIT", extra_params => [ '-U', 'app' ]), "f\n20 20 1", 'the source shows its rows');

# In every format; in parallel, too, where pg_restore brings immiiq's own tables in no particular order.
my $file = $node->basedir . '/dump';
runs_ok($node, [ 'pg_dump', '-F', $_, '-f', "$file.$_", 'postgres' ], "dumped as $_") for qw(c d t);
my $keyless = new_cluster('keyless', root_key => 0);
$keyless->safe_psql('postgres', 'CREATE ROLE app LOGIN');
for my $case ([ $node, 'again', 'whole, with the root key', 'c' ], [ $keyless, 'keyless', 'whole, without it', 't' ],
	[ $node, 'jobs', 'in parallel', 'c', '-j4' ], [ $keyless, 'jobs', 'in parallel, without it', 'd', '-j4' ])
{
	my ($target, $database, $what, $format, @jobs) = @$case;
	$target->safe_psql('postgres', "CREATE DATABASE $database");
	runs_ok($target, [ 'pg_restore', '--exit-on-error', @jobs, '-d', $database, "$file.$format" ], "restored $what");
	is($target->safe_psql($database, 'SELECT count(*) > 20, sum(missing) FROM immiiq.verify_references()'), 't|0', "nothing refers to what is not there $what");
	is($target->safe_psql($database, $contents), $before, "the same rows $what");
	is($target->safe_psql($database, $policies), $node->safe_psql('postgres', $policies), "the same policies $what");
	is($target->safe_psql($database, 'SELECT count(*) FROM client', extra_params => [ '-U', 'app' ]), '0', "nobody sees nothing $what");
	next if $target == $keyless;
	is($target->safe_psql($database, "BEGIN; $seen; COMMIT", extra_params => [ '-U', 'app' ]), "f\n20 20 1", "a member sees and finds the rows $what");
	$target->safe_psql($database, q{SELECT immiiq.unprotect('matter'); SELECT immiiq.protect('matter', 'cases', client => 'client_id')});
}
# A plain dump through psql.
runs_ok($node, [ 'pg_dump', '-f', $file, 'postgres' ], 'dumped as SQL');
$keyless->safe_psql('postgres', 'CREATE DATABASE plain');
runs_ok($keyless, [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'plain', '-f', $file ], 'restored through psql');
is($keyless->safe_psql('plain', $contents), $before, 'the same rows through psql');

done_testing();
