#!/usr/bin/perl
# run.pl [NAME …]: all cases, or those of these names or files: the attack suite, against the server that PGHOST names. Each case is SQL of the application role's, run in a
# session of its own on a database where another organisation, beta, has canary rows. Prints one line of TAP a case, and
# "N passed, N failed". A case in a file is:
#
#   -- case NAME (IDENTITY, EXPECT[, no control]): what it tries
#   SQL for psql; with an IDENTITY (alpha_owner, alpha_lead, alpha_portal, …) in a transaction in which that member is active, with none as it stands
#
# EXPECT is hidden, refused SQLSTATE, or says /pattern/. Whatever it is, no canary may show in what psql prints and nothing of
# beta's may have changed afterwards. The control runs the same SQL as a superuser inside beta and rolls it back: there a hidden
# case must show a canary, and a refused one must not be refused; or else the case proves nothing, and fails.
use strict;
use warnings;
use File::Basename;
use IPC::Open3;

chdir dirname($0) . '/../..' or die;
my $application = 'regress_immiiq_app';
my $database = "regress_attack_$$";
my %variables;
my @out;

# What may never show: words in beta's rows, ids of them, and how many there are.
my $canary = qr/CANARY|canary-\d|be7aca4a|(?<![\d.])(?:7319|7359|6367|6407)(?![\d])/;
# What a member of alpha with a narrower scope may not see either.
my $narrow = qr/HIDDEN/;

# Runs psql on a text; everything that it prints, without the statement that an error repeats.
sub psql
{
	my ($user, $sql, @options) = @_;
	my @variables = map { ('-v', "$_=$variables{$_}") } sort keys %variables;
	local $ENV{PGOPTIONS} = '-c client_min_messages=notice -c statement_timeout=20s';
	my $pid = open3(my $in, my $from, undef, 'psql', '-X', '-q', '-A', '-t', '-U', $user, '-d', $database, '-v', 'VERBOSITY=verbose',
		@variables, @options, '-f', '-');
	local $SIG{PIPE} = 'IGNORE';
	print $in $sql;
	close $in;
	local $/;
	my $said = <$from> // '';
	waitpid $pid, 0;
	die "psql failed on:\n$sql\n$said" if $? and @options;
	return join "\n", grep { !/^(?:LINE \d+:|LOCATION:|QUERY:|CONTEXT:|STATEMENT:)/ } split /\n/, $said;
}

# One digest of all that an attacker must not change.
my $state_of = do { local (@ARGV, $/) = 'test/attack/state.sql'; <> };

sub cases
{
	my @cases;
	for my $file (sort glob 'test/attack/cases/*.sql')
	{
		open my $in, '<', $file or die;
		while (<$in>)
		{
			if (/^-- case /)
			{
				m{^-- case (\w+) \((\w+), (hidden|refused \w+|says /.+/)(, no control)?\): (.+)$} or die "$file:$.: $_";
				push @cases, { name => $1, as => $2, expect => $3, control => !$4, tries => $5, sql => '', file => basename($file, '.sql') };
			}
			elsif (@cases && $cases[-1]{file} eq basename($file, '.sql')) { $cases[-1]{sql} .= $_ }
		}
	}
	my %seen;
	$seen{ $_->{name} }++ and die "two cases $_->{name}\n" for @cases;
	return @cases;
}

# What is wrong with the outcome of a case; nothing when it passes.
sub judge
{
	my ($case, $said, $state) = @_;
	my @wrong;
	push @wrong, "a canary shows: $1" if $said =~ /(.*$canary.*)/;
	push @wrong, "a colleague's row shows: $1" if $case->{as} =~ /lead|clerk|idle|portal/ && $said =~ /(.*$narrow.*)/;
	push @wrong, 'beta is not as it was' if psql('postgres', $state_of) ne $state;
	push @wrong, "not refused with $1" if $case->{expect} =~ /^refused (\w+)/ && $said !~ /(?:ERROR|FATAL):  $1:/;
	push @wrong, "does not say $1" if $case->{expect} =~ m{^says /(.+)/$} && $said !~ /$1/m;
	push @wrong, "the server is gone: $1" if $said =~ /(server closed the connection.*|terminating connection because.*)/;
	return @wrong;
}

sub control
{
	my ($case) = @_;
	my $said = psql('postgres', "BEGIN;\nSELECT FROM immiiq.operate(:'beta', 'control') \\gset\nSAVEPOINT control;\n$case->{sql}\n;ROLLBACK;\n");
	return "the control shows no canary: $said" if $case->{expect} eq 'hidden' && $said !~ /$canary|$narrow/;
	return "the control is refused, too: $said" if $case->{expect} =~ /^refused (\w+)/ && $said =~ /ERROR:  $1:/;
	return;
}

system('createdb', $database) == 0 or die;
END { my $status = $?; system('dropdb', '--force', '--if-exists', $database) if $database; $? = $status }
%variables = map { split /=/, $_, 2 } grep { /^\w+=/ } split /\n/, psql('postgres', "\\i test/attack/setup.sql\n", '-v', 'ON_ERROR_STOP=1');
die "no tokens\n" if !$variables{beta_owner_token};
# For cases in which another session of beta's works at the same time: \! test/attack/beta.sh 'SQL'
@ENV{qw(ATTACK_DATABASE ATTACK_ALPHA_TOKEN ATTACK_BETA_TOKEN)} = ($database, @variables{qw(alpha_owner_token beta_owner_token)});
# How often each function is called.
$variables{calls} = $ENV{ATTACK_CALLS} || 5;

my ($passed, $failed) = (0, 0);
my $state = psql('postgres', $state_of);
for my $case (cases())
{
	next if @ARGV && !grep { $case->{name} =~ /^(?:$_)$/ || $case->{file} eq $_ } @ARGV;
	my $sql = $case->{as} eq 'none' ? $case->{sql}
		: "BEGIN;\nSELECT set_config('immiiq.token', :'$case->{as}_token', true) \\gset ignored_\n$case->{sql}\n;COMMIT;\n";
	my $said = psql($application, $sql);
	my @wrong = judge($case, $said, $state);
	push @wrong, control($case) if $case->{control} && !@wrong;
	if (@wrong)
	{
		$failed++;
		print "not ok - $case->{file}: $case->{name}, which $case->{tries}\n";
		print map { s/^/# /mgr . "\n" } @wrong, $said;
		$state = psql('postgres', $state_of);
	}
	else
	{
		$passed++;
		print "ok - $case->{file}: $case->{name}, which $case->{tries}\n";
	}
}
print '1..', $passed + $failed, "\n";
print "$passed passed, $failed failed\n";
exit($failed > 0 || $passed == 0);
