#!/usr/bin/perl
# mutants.pl unit|server: does a test notice when a check of the verifiers is gone? Every condition by which they find
# something gets a number; MUTANT=n, or regress.mutant=n in a session, takes one out. Each test is run once to see which
# checks it reaches, then once for each of those with the check gone: then it must fail. A check that no test reaches, or
# misses, is a failure, unless mutants.accepted beside this file says why it cannot be told from outside. Prints TAP.
# Runs in a built tree whose sources it may change: mutants.sh gives it a copy.
use strict;
use warnings;
use File::Basename;
use File::Temp qw(tempdir);

my ($kind) = @ARGV;
my %plan = (
	unit => {
		sources => [ map { "src/audit/$_.c" } qw(export tree canonical) ],
		tests => [ map { "test/unit/${_}_test.c" } qw(tree canonical export) ],
	},
	server => {
		sources => [ map { "src/audit/$_.c" } qw(verify verify_unit verify_pruned reconcile) ],
		tests => [
			(map { "test/pgtap/$_.sql" } qw(audit_tamper audit_rows audit_verify audit_subject)),
			(map { "test/t/$_.pl" } qw(062_audit_retention 062_audit_anchor 060_audit))
		],
	});
my $plan = $plan{ $kind // '' } or die "usage: mutants.pl unit|server\n";
my $dir = tempdir(CLEANUP => 1);
my $reached = "$dir/reached";

my %accepted;
if (open my $f, '<', dirname($0) . '/mutants.accepted')
{
	while (<$f>) { $accepted{"$1 $2"} = $3 if /^(\S+)\t+(.+?)\t+# (.+)$/ }
}

#### The checks of a source

my @checks;		# { source, line, text }, by number
my ($source, $c, @edits);

my $token = qr{"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|/\*.*?\*/}s;

# Position after the bracket that closes the one at $at.
sub closing
{
	my ($at) = @_;
	my $depth = 0;
	pos($c) = $at;
	while ($c =~ /\G(?:$token|(.))/gs)
	{
		next unless defined $1;
		$depth++ if $1 eq '(';
		return pos($c) if $1 eq ')' && --$depth == 0;
	}
	die "no end of the bracket at $at in $source";
}

# The operands of an operator at the top of an expression: [ start, end ] each.
sub operands
{
	my ($from, $to, $operator) = @_;
	my ($depth, $start, @found) = (0, $from);
	pos($c) = $from;
	while (pos($c) < $to && $c =~ /\G(?:$token|(\Q$operator\E|.))/gs)
	{
		my $t = $1 // next;
		$depth++ if $t =~ /^[([{]$/;
		$depth-- if $t =~ /^[)\]}]$/;
		if ($t eq $operator && $depth == 0) { push @found, [ $start, pos($c) - length $operator ]; $start = pos($c); }
	}
	return (@found, [ $start, $to ]);
}

my %seen;
sub check
{
	my ($range, $before, $after, $text) = @_;
	return if $seen{"$source $range->[0] $range->[1]"}++;
	my $code = substr($c, $range->[0], $range->[1] - $range->[0]);
	return if $code =~ /^\s*!(?:tree_node_hash|commit_root)\(/;		# fails with the library alone
	my $lead = $code =~ /^(\s*)/ ? length $1 : 0;
	push @checks, { source => basename($source), line => 1 + (substr($c, 0, $range->[0] + $lead) =~ tr/\n//), query => scalar($after =~ /regress/), text => ($text // $code) =~ s/\s+/ /gr =~ s/^ | $//gr };
	my $n = @checks;
	push @edits, [ $range->[0], $before =~ s/\@/$n/r ], [ $range->[1], $after =~ s/\@/$n/r ];
}

# The condition of the if whose bracket opens at $open.
sub condition
{
	my ($open, $end) = @_;
	check($_, '((', ') && mutant_is_here(@))') for operands($open + 1, $end - 1, '||');
}

# The conditions, and ends of expressions, that lead to what matches $finding.
sub checks_of
{
	my ($finding) = @_;
	my %if_ends;		# where the condition of an if ends: where it begins
	while ($c =~ /\bif (?=\()/g) { my $open = pos($c); my $end = closing($open); $if_ends{$end} = $open; pos($c) = $open; }
	while ($c =~ /$finding/g)
	{
		my ($at, $after) = ($-[0], $+[0]);
		my $head = substr($c, 0, $at) =~ s{(\s|/\*(?:(?!\*/).)*\*/)+\z}{}rs;
		my $block = $head =~ s/\{\z// ? $head =~ s/\s+\z//r : undef;
		if (my $open = $if_ends{ length($block // $head) }) { condition($open, length($block // $head)) }
		elsif (defined $block || $head =~ /([;}:]|\belse)\z/)
		{
			check([ $at, $at ], 'if (mutant_is_here(@)) ', '', substr($c, $at, 80) =~ s/\n.*//sr) unless substr($c, $at, 6) eq 'return' || $head =~ /[=?:]\z/;
		}
		pos($c) = $after;
	}
}

sub instrument
{
	($source) = @_;
	@edits = ();
	$c = do { local $/; open my $f, '<', $source or die "$source: $!"; <$f> };
	checks_of(qr/\bverify_report\(|message = verify_message\(run, VERIFY_CUT\)|if \(late\+\+ == 0\)/);
	checks_of(qr/\b(?:return|problem =) (?:not_canonical|"(?!could not|out of))/);
	while ($c =~ /\breturn (\w+) \? NULL : "/g) { check([ $-[1], $+[1] ], '(', ' || !mutant_is_here(@))') }
	# what answers yes or no: all of a file that is a reader, the comparisons of one that is not
	my $all = $source !~ /\/(verify|reconcile)/;
	while ($c =~ /^(?:static )?bool\n(\w+)\(.*?^\{\n(.*?)^\}/gms)
	{
		my ($name, $from, $to) = ($1, $-[2], $+[2]);
		my $go_on = pos($c);
		if ($all ? $name !~ /^tree_(?!verify)|_(?:append|hash|root)\b/ : $name =~ /^verify_(?:leaf_columns|context|find_log_key|says|batch_time)$|^verify_may_be/)
		{
			pos($c) = $from;
			while ($c =~ /\breturn false;/g)
			{
				last if $-[0] > $to;
				my $head = substr($c, 0, $-[0]) =~ s/\s+\z//r =~ s/\{\z//r =~ s/\s+\z//r;
				my $resume = pos($c);
				pos($c) = $from;
				while ($c =~ /\bif (?=\()/g && pos($c) < length $head)
				{
					my $open = pos($c);
					my $end = closing($open);
					condition($open, $end) if $end == length $head;
					pos($c) = $open;
				}
				pos($c) = $resume;
			}
			pos($c) = $from;
			while ($c =~ /\breturn (?!true|false|NULL)([^;]+);/g && $-[0] < $to)
			{
				my ($start, $end) = ($-[1], $+[1]);
				check($_, '((', ') || !mutant_is_here(@))') for operands($start, $end, '&&');
				pos($c) = $end;
			}
		}
		pos($c) = $go_on;
	}
	# what no condition leads to: sums that must agree, and what queries find
	while ($c =~ /\bevery = (pg_atomic[^;]+);/g)
	{
		my $end = pos($c);
		check($_, '((', ') && mutant_is_here(@))') for operands($-[1], $+[1], '||');
		pos($c) = $end;
	}
	my $there = "pg_catalog.current_setting('regress.mutant', true) IS DISTINCT FROM '\@'";
	while ($c =~ /\bWHEN ((?:(?!\bWHEN|\bTHEN).)+?)(?:\s*"\s*"|\s+)THEN 'its/gs) { check([ $-[1], $+[1] ], '(', ") AND $there ") }
	while ($c =~ /(f\.prosrc OPERATOR.*?'immiiq_capture'|f\.probin OPERATOR.*?immiiq\$'|f\.prolang OPERATOR.*?'c'\))/gs) { check([ $-[1], $+[1] ], '(', " AND $there)") }
	# later edits first; at one place what closes comes before what opens
	my $i = 0;
	for my $e (sort { $b->[0] <=> $a->[0] || $b->[2] <=> $a->[2] } map { [ @$_, $i++ ] } @edits)
	{
		substr($c, $e->[0], 0) = $e->[1];
	}
	open my $f, '>', $source or die;
	print $f "extern int mutant_is_here(int n);\n$c";
	close $f;
}

# What every check asks once it has found something: is it there?
sub asked
{
	my $server = $kind eq 'server';
	return ($server ? "#include \"postgres.h\"\n#include \"utils/guc.h\"\n" : '') . <<'C' . ($server ? <<'C' : '') . <<'C';
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern int mutant_is_here(int n);
int
mutant_is_here(int n)
{
	const char *gone = getenv("MUTANT");
	const char *reached = getenv("MUTANT_REACHED");
C
	if (gone == NULL)
		gone = GetConfigOption("regress.mutant", true, false);
C
	if (reached != NULL && access(reached, F_OK) == 0)
	{
		char line[16];
		int len = snprintf(line, sizeof(line), "%d\n", n);
		int file = open(reached, O_WRONLY | O_APPEND);

		if (file < 0 || write(file, line, len) != len)
			abort();
		close(file);
	}
	return gone == NULL || atoi(gone) != n;
}
C
}

#### Tests

my %binary;

# Runs a test with a check gone; what it says is wrong, undef when nothing is.
sub complaint
{
	my ($test, $gone) = @_;
	local $ENV{MUTANT} = $gone if $test !~ /\.sql$/;
	my $said;
	if ($test =~ /\.c$/) { $said = `timeout 120 $binary{$test} -q 2>&1 && { [ $gone = 0 ] || timeout 120 $binary{$test}.sanitized -q 2>&1; }`; }
	elsif ($test =~ /\.sql$/) { $said = `PGTAP_OPTIONS='-c regress.mutant=$gone' timeout 300 test/pgtap.sh $test 2>&1`; }
	else { $said = `make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS='-v --merge -I test/t' PROVE_TESTS=$test 2>&1`; }
	return if $? == 0 && $said !~ /^not ok/m;
	# a server that crashed comes back
	for (my $i = 0; $test =~ /\.sql$/ && $i < 100 && system('pg_isready -q') != 0; $i++) { select undef, undef, undef, 0.2; }
	return $said =~ /^not ok \d+ - ([^\n]*)/m ? $1 : $said =~ /(AddressSanitizer: \S+|runtime error: [^\n]+|server closed the connection)/ ? $1 : 'it stops';
}

instrument($_) for @{ $plan->{sources} };
my $asked = $kind eq 'server' ? 'src/audit/mutant.c' : "$dir/mutant.c";
open my $f, '>', $asked or die;
print $f asked();
close $f;
$ENV{MUTANT_REACHED} = $reached;
if ($kind eq 'unit')
{
	my @sources = grep { chomp; 1 } `grep -L '"postgres.h"' src/*/*.c`;
	for my $test (@{ $plan->{tests} })
	{
		$binary{$test} = "$dir/" . basename($test, '.c');
		# what reads beyond an end shows under the sanitizers alone
		for my $mode ([ '', '-O2' ], [ '.sanitized', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all' ])
		{
			my ($suffix, @flags) = @$mode;
			system('gcc', '-std=gnu11', '-w', @flags, '-Isrc', '-Itest/unit', $test, @sources, $asked, '-lsodium', '-lcrypto', '-lcrypt', '-o', "$binary{$test}$suffix") == 0 or die;
		}
	}
}
else
{
	system('make -s -j2 install > /dev/null') == 0 or die 'could not build what may lack a check';
	system('bash', '-c', '. test/server.sh && start_server && test/roles.sh > /dev/null') == 0 or die 'could not start a server';
	$ENV{PGHOST} = "$ENV{SCRATCH}/sock";
	@ENV{ 'PGDATABASE', 'PGUSER' } = ('postgres', 'postgres');
}

my @only = split ' ', $ENV{CHECKS} // '';
my %tests_of;
for my $test (@{ $plan->{tests} })
{
	open my $r, '>', $reached or die;
	close $r;
	my $said = complaint($test, 0);
	die "$test fails with every check there: $said\n" if defined $said;
	my %here;
	open $r, '<', $reached or die;
	while (<$r>) { $here{ $_ + 0 } = 1 }
	close $r;
	unlink $reached;
	push @{ $tests_of{$_} }, $test for keys %here;
	# a query does not say whether its checks found something
	if ($test =~ /audit_rows/) { $checks[$_]{query} && push @{ $tests_of{ $_ + 1 } }, $test for 0 .. $#checks; }
}

print '# no test reaches ', join(', ', map { "$checks[$_]{source}:$checks[$_]{line} $checks[$_]{text}" =~ s/#/\\#/gr } grep { !$tests_of{ $_ + 1 } } 0 .. $#checks), "\n";
my ($n, $failed, $told) = (0, 0, 0);
$| = 1;
print '1..' . (@only ? scalar @only : scalar @checks) . "\n";
for my $i (@only ? map { $_ - 1 } @only : 0 .. $#checks)
{
	my $check = $checks[$i];
	my ($said, $by);
	for my $test (@{ $tests_of{ $i + 1 } // [] })
	{
		$said = complaint($test, $i + 1);
		$by = basename($test);
		last if defined $said;
	}
	my $why = $accepted{"$check->{source} $check->{text}"};
	my $good = defined $said || defined $why;
	$failed++ unless $good;
	$told++ if defined $said;
	printf "%sok %d - %s:%d without %s: %s\n", $good ? '' : 'not ', ++$n, $check->{source}, $check->{line}, $check->{text} =~ s/#/\\#/gr,
	  defined $said ? "$by: " . ($said =~ s/#/\\#/gr) : defined $why ? "accepted, $why" : $tests_of{ $i + 1 } ? 'nobody notices' : 'no test reaches it';
}
printf "# %d of %d checks are missed by a test when they are gone\n", $told, scalar @checks;
if ($kind eq 'server') { system("pg_ctl -D $ENV{SCRATCH}/data -m fast -w stop > /dev/null"); }
exit($failed ? 1 : 0);
