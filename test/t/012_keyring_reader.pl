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
