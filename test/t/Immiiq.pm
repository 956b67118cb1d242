# What every TAP test starts from: clusters that have immiiq preloaded and a root key of their own.
package Immiiq;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_cluster root_key_file write_root_key force_parallel);

# The file in which write_root_key puts a cluster's root keys: beside the data directory, never inside.
sub root_key_file
{
	my ($node) = @_;
	return $node->basedir . '/root-key';
}

# Writes a root key file, 0600, from "id hex64" lines.
sub write_root_key
{
	my ($node, @lines) = @_;
	my $file = root_key_file($node);
	unlink $file;
	my $umask = umask 0077;
	append_to_file($file, "$_\n") for @lines;
	umask $umask;
	return $file;
}

# The setting that forces parallel plans: PostgreSQL 16 renamed it.
sub force_parallel
{
	my ($node) = @_;
	return $node->safe_psql('postgres', "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
}

# Makes a cluster in UTF-8 and starts it.
#   root_key   lines of the root key file; 0 for none; one key of fixed bytes when not given
#   preload    0 leaves immiiq out of shared_preload_libraries
#   databases  immiiq.databases, '*' when not given
#   streaming  1 allows replication, 'logical' logical replication too
#   initdb     more options of initdb
#   config     more lines for postgresql.conf
#   start      0 leaves it stopped
#   extension  1 creates the extension in database postgres
sub new_cluster
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(
		extra => [ '--encoding=UTF8', '--locale=C.UTF-8', @{ $option{initdb} // [] } ],
		allows_streaming => $option{streaming});

	if ($option{preload} // 1)
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'immiiq'");
		$node->append_conf('postgresql.conf',
			"immiiq.databases = '" . ($option{databases} // '*') . "'");
		# its events would stand between those that tests count; 064_audit_coverage is about it
		$node->append_conf('postgresql.conf', 'immiiq.coverage_interval = 0');
		my $key = $option{root_key} // "test-1 " . join('', map { sprintf '%02x', $_ } 0 .. 31);
		if ($key)
		{
			write_root_key($node, split /\n/, $key);
			$node->append_conf('postgresql.conf',
				"immiiq.root_key_file = '" . root_key_file($node) . "'");
		}
	}
	$node->append_conf('postgresql.conf', "max_worker_processes = 16");
	$node->append_conf('postgresql.conf', "max_prepared_transactions = 10");
	$node->append_conf('postgresql.conf', $option{config}) if defined $option{config};
	$node->start if $option{start} // 1;
	$node->safe_psql('postgres', 'CREATE EXTENSION immiiq') if $option{extension};
	return $node;
}

1;
