# Every sealed type through libpq, in text and in binary: builds and runs test/clients/types_libpq.c.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $libraries = `pg_config --libdir`;
my $own = `pg_config --includedir`;
chomp($own, $libraries);
my ($include) = grep { -e "$_/libpq-fe.h" } $own, '/usr/include/postgresql';
plan skip_all => "no libpq-fe.h in $own" unless defined $include;

my $node = new_cluster('libpq', extension => 1);
$node->safe_psql('postgres', q{
	CREATE TABLE vault (org_id uuid NOT NULL DEFAULT immiiq.current_org(), id int, t enc_text(equality), b enc_bytea(equality), i enc_int8(equality,range),
		x enc_numeric(equality,range), d enc_date(equality,range), z enc_timestamptz(equality,range), j enc_jsonb(contains),
		row_id uuid DEFAULT gen_random_uuid(), PRIMARY KEY (org_id, row_id));
	SELECT immiiq.protect('vault', NULL);
	CREATE TABLE open_to_all (i enc_int8(equality));
	CREATE ROLE app LOGIN;
	SELECT immiiq.grant_application('app');
	GRANT SELECT, INSERT ON vault, open_to_all TO app});
my @tokens;
for my $name ('Alpha', 'Beta')
{
	my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('$name')");
	my ($token) = $node->safe_psql('postgres', qq{
		BEGIN;
		SELECT FROM immiiq.operate('$org', 'test');
		INSERT INTO immiiq.member (member_id, email, name, scope, modules) VALUES ('$org', 'o\@example', 'Owner', 'all', '{clients,settings}');
		INSERT INTO open_to_all SELECT '7' WHERE '$name' = 'Alpha';
		SELECT immiiq.issue_session('$org');
		COMMIT}) =~ /(iq_s_\w+)/;
	push @tokens, $token;
}

my $program = PostgreSQL::Test::Utils::tempdir() . '/types_libpq';
command_ok([ $ENV{CC} // 'cc', '-std=gnu11', '-Wall', '-Werror', "-I$include", '-Itest/unit', 'test/clients/types_libpq.c', "-L$libraries", "-Wl,-rpath,$libraries", '-lpq', '-o', $program ], 'the client builds');
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
local $ENV{PGUSER} = 'app';
my ($out, $err) = run_command([ $program, @tokens ]);
is($err, '', 'it says nothing beside its tests');
my $tests = 0;
for my $line (split /\n/, $out)
{
	$line =~ /^(not )?ok \d+ - (.*)/ ? $tests++ && 0 || ok(!$1, $2) : $line =~ /^#/ ? diag($line) : undef;
}
my ($planned) = $out =~ /^1\.\.(\d+)$/m;
is($tests, $planned, 'and came to its end');
done_testing();
