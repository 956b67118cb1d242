# What docs/format.md says is what is written: a reader in another language opens a dump's values with the root key alone.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'node is not installed' if system('node --version > /dev/null 2>&1') != 0;

my $node = new_cluster('reader', extension => 1);
my $org = $node->safe_psql('postgres', "SELECT immiiq.create_org('Harbour')");
my $second = $node->safe_psql('postgres', "SELECT immiiq.create_org('Hill')");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE person (
	org_id uuid NOT NULL, id int PRIMARY KEY, name enc_text(7, equality), passport enc_text(8, equality, fold),
	born enc_date(9, equality), note enc_text(sealed));
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO person VALUES
	('$org', 1, 'Zoë Łukasiewicz', 'AB 12-34 56', '1985-12-07', ''),
	('$org', 2, '鈴木 一郎', 'x', 'infinity', repeat('long ', 5000)),
	('$org', 3, E'tab\\t"quote"\\\\ 🙂', 'ÄÖ', '0044-03-15 BC', NULL);
COMMIT;
BEGIN;
SELECT immiiq.operate('$second', 'test');
INSERT INTO person VALUES ('$second', 4, 'Zoë Łukasiewicz', NULL, '2000-01-01', NULL);
COMMIT;
SQL

# Without an identity: what pg_dump gets.
my $dir = $node->basedir;
$node->safe_psql('postgres', "COPY immiiq.wrapped_key TO '$dir/wrapped_key'");
my @armour = split /\n/, $node->safe_psql('postgres',
	'SELECT v FROM person, LATERAL (VALUES (1, name::text), (2, passport::text), (3, born::text), (4, note::text)) AS c (n, v)
	 WHERE v IS NOT NULL ORDER BY id, n');
is(scalar(grep { /^iq1:/ } @armour), 13, 'every value is armoured');
my $input = "$dir/armour";
append_to_file($input, join("\n", @armour) . "\n");

sub read_values
{
	my ($file) = @_;
	my $command = "node test/reader/open_envelope.mjs '" . root_key_file($node) . "' '$dir/wrapped_key' < '$file'";
	my $out = `$command 2>'$dir/stderr'`;
	return ($?, $out);
}
my ($status, $out) = read_values($input);
is($status, 0, 'the reader opens them') or diag slurp_file("$dir/stderr");
my $long = 'long ' x 5000;
$out =~ s/\Q$long\E/LONG/;
is($out, <<"JSON", 'and finds the plaintext, the organisation, the domain and the tag');
{"org":"$org","type":"text","domain":7,"value":"Zoë Łukasiewicz","tag":true}
{"org":"$org","type":"text","domain":8,"value":"AB 12-34 56"}
{"org":"$org","type":"date","domain":9,"value":"1985-12-07","tag":true}
{"org":"$org","type":"text","domain":0,"value":""}
{"org":"$org","type":"text","domain":7,"value":"鈴木 一郎","tag":true}
{"org":"$org","type":"text","domain":8,"value":"x"}
{"org":"$org","type":"date","domain":9,"value":"infinity","tag":true}
{"org":"$org","type":"text","domain":0,"value":"LONG"}
{"org":"$org","type":"text","domain":7,"value":"tab\\t\\"quote\\"\\\\ 🙂","tag":true}
{"org":"$org","type":"text","domain":8,"value":"ÄÖ"}
{"org":"$org","type":"date","domain":9,"value":"0044-03-15 BC","tag":true}
{"org":"$second","type":"text","domain":7,"value":"Zoë Łukasiewicz","tag":true}
{"org":"$second","type":"date","domain":9,"value":"2000-01-01","tag":true}
JSON

# The other types, and tokens.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE other (
	id int, day enc_date(1, equality, range), at enc_timestamptz(2, range), n enc_int8(3, equality, range),
	x enc_numeric(4, equality, range), name enc_text(5, prefix, match), b enc_bytea(6, equality), doc enc_jsonb(7, contains));
BEGIN;
SELECT immiiq.operate('$org', 'test');
INSERT INTO other VALUES
	(1, '1985-12-07', '2024-02-29 12:34:56.789+00', -9223372036854775808, -12345.6700, 'Zoë', '\\x00ff', '{"b": [1, null], "a": "x"}'),
	(2, '1600-01-01', '2500-01-01 00:00+00', 7, 0.000012, '', '', '[]');
COMMIT;
SQL
my @others = split /\n/, $node->safe_psql('postgres',
	'SELECT v FROM other, LATERAL (VALUES (1, day::text), (2, at::text), (3, n::text), (4, x::text), (5, name::text), (6, b::text), (7, doc::text)) AS c (k, v)
	 ORDER BY id, k');
append_to_file("$dir/others", join("\n", @others) . "\n");
($status, $out) = read_values("$dir/others");
is($out, <<"JSON", 'the page describes every type and its tokens');
{"org":"$org","type":"date","domain":1,"value":"1985-12-07","tag":true,"tokens":true}
{"org":"$org","type":"timestamptz","domain":2,"value":"2024-02-29T12:34:56.789Z","tokens":true}
{"org":"$org","type":"int8","domain":3,"value":"-9223372036854775808","tag":true}
{"org":"$org","type":"numeric","domain":4,"value":"-12345.6700"}
{"org":"$org","type":"text","domain":5,"value":"Zoë"}
{"org":"$org","type":"bytea","domain":6,"value":"\\\\x00ff","tag":true}
{"org":"$org","type":"jsonb","domain":7,"value":"{\\"a\\": \\"x\\", \\"b\\": [1, null]}"}
{"org":"$org","type":"date","domain":1,"value":"1600-01-01","tag":true,"tokens":true}
{"org":"$org","type":"timestamptz","domain":2,"value":"2500-01-01T00:00:00.000Z","tokens":true}
{"org":"$org","type":"int8","domain":3,"value":"7","tag":true}
{"org":"$org","type":"numeric","domain":4,"value":"0.000012"}
{"org":"$org","type":"text","domain":5,"value":""}
{"org":"$org","type":"bytea","domain":6,"value":"\\\\x","tag":true}
{"org":"$org","type":"jsonb","domain":7,"value":"[]"}
JSON

# And the other way: what the reader refuses, the database refuses.
my $changed = $armour[0];
substr($changed, 20, 1) = substr($changed, 20, 1) eq 'A' ? 'B' : 'A';
append_to_file("$dir/changed", "$changed\n");
($status) = read_values("$dir/changed");
isnt($status, 0, 'the reader refuses a changed value');
write_root_key($node, 'test-1 ' . 'f' x 64);
($status) = read_values($input);
isnt($status, 0, 'and every value under another root key');

# The page's own armour is as good as what a server wrote: it goes in and comes out unchanged.
my $page = slurp_file('docs/format.md');
my ($vector) = $page =~ /^text_armour = (\S+)$/m;
is($node->safe_psql('postgres', "CREATE TABLE page (v enc_text(7, equality)); INSERT INTO page VALUES ('$vector') RETURNING v"),
	$vector, "a value of the page's is stored as it is");
$node->stop;
done_testing();
