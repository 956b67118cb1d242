# immiiq only works when the server has loaded it at its start, and says so.
use strict;
use warnings;
use Immiiq;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('plain', preload => 0);

$node->safe_psql('postgres', 'CREATE TABLE plain (v text); INSERT INTO plain VALUES (1)');
my ($status, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION immiiq');
if ($status == 0)
{
	($status, $out, $err) = $node->psql('postgres', "SELECT immiiq.create_org('Harbour')");
}
isnt($status, 0, 'without preload a guarded operation is refused');
like($err, qr/shared_preload_libraries = 'immiiq'/, 'and the hint has the line to add');
is($node->safe_psql('postgres', 'SELECT v FROM plain'), '1', 'plain tables work');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'immiiq'");
$node->restart;
$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS immiiq');
is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'immiiq'"),
	'1.0', 'with it the extension is there');

$node->stop;
done_testing();
