#!/usr/bin/perl
# sbom.pl: prints an SPDX 2.3 document of what make builds: the files with their checksums, and the packages that the library and the
# verifier are linked with, as the linker recorded them and dpkg knows them. The same build gives the same document.
use strict;
use warnings;
use Digest::SHA;
use JSON::PP;
use POSIX 'strftime';

my ($server, $sql) = @ARGV;
open my $file, '<', 'META.json' or die "META.json: $!\n";
my $meta = decode_json(do { local $/; <$file> });
my $license = { postgresql => 'PostgreSQL' }->{ $meta->{license} } or die "META.json: no SPDX name for licence $meta->{license}\n";

my @files = map {
	my $path = $_;
	-e $path or die "$path is not built: make first\n";
	{   fileName => "./$path", SPDXID => 'SPDXRef-File-' . $path =~ s/[^A-Za-z0-9.]+/-/gr,
		checksums => [ map { { algorithm => $_, checksumValue => Digest::SHA->new($_)->addfile($path)->hexdigest } } 'SHA1', 'SHA256' ],
		licenseConcluded => $license, licenseInfoInFiles => ['NOASSERTION'], copyrightText => 'NOASSERTION' }
} 'immiiq.so', 'immiiq-verify', $sql, 'immiiq.control';

# Libraries that are named in the files themselves, and where this system has them from.
my (%package, @links);
for my $binary ('immiiq.so', 'immiiq-verify')
{
	my %found = map { /^\s*(\S+) => (\/\S+)/ ? ($1 => $2) : () } `ldd ./$binary`;
	for my $library (sort map { /\(NEEDED\).*\[(.*)\]/ ? $1 : () } `readelf -d $binary`)
	{
		my ($debian) = map { s/:.*//sr } grep { !/^diversion/ } map { my $path = $_; `dpkg -S $path 2>/dev/null` } map { $_, "/usr$_" } ($found{$library} // '') =~ s{^/usr}{}r;
		my ($name, $version, $source) = $debian ? split /\t/, `dpkg-query -W -f '\${source:Package}\t\${Version}\t\${binary:Package}' $debian` : ($library, '', '');
		my $id = 'SPDXRef-Package-' . ($name =~ s/[^A-Za-z0-9.]+/-/gr);
		$package{$id} = {
			name => $name, SPDXID => $id, downloadLocation => 'NOASSERTION', filesAnalyzed => JSON::PP::false, licenseConcluded => 'NOASSERTION',
			licenseDeclared => 'NOASSERTION', copyrightText => 'NOASSERTION', $version ? (versionInfo => $version) : (),
			$debian ? (externalRefs => [ { referenceCategory => 'PACKAGE-MANAGER', referenceType => 'purl',
				referenceLocator => "pkg:deb/debian/$debian\@" . $version =~ s/\+/%2B/gr =~ s/:/%3A/gr } ]) : () };
		push @links, { spdxElementId => 'SPDXRef-File-' . $binary =~ s/[^A-Za-z0-9.]+/-/gr, relationshipType => 'DYNAMIC_LINK', relatedSpdxElement => $id };
	}
}
my %seen;
@links = grep { !$seen{"$_->{spdxElementId} $_->{relatedSpdxElement}"}++ } @links;
my $itself = { name => $meta->{name}, SPDXID => 'SPDXRef-Package-immiiq', versionInfo => $meta->{version}, supplier => "Organization: $meta->{maintainer}",
	downloadLocation => 'NOASSERTION', filesAnalyzed => JSON::PP::false, licenseConcluded => $license, licenseDeclared => $license, copyrightText => "Copyright $meta->{maintainer}",
	summary => $meta->{abstract} };
my $runtime = { name => 'postgresql', SPDXID => 'SPDXRef-Package-postgresql-server', versionInfo => $server, downloadLocation => 'NOASSERTION',
	filesAnalyzed => JSON::PP::false, licenseConcluded => 'PostgreSQL', licenseDeclared => 'PostgreSQL', copyrightText => 'NOASSERTION' };
my @packages = ($itself, $runtime, map { $package{$_} } sort keys %package);

my $json = JSON::PP->new->canonical->pretty;
my $digest = Digest::SHA::sha256_hex($json->encode([ \@files, \@packages, \@links ]));
my $created = $ENV{SOURCE_DATE_EPOCH} // `git log -1 --format=%ct 2>/dev/null` || time;
print $json->encode({
	spdxVersion => 'SPDX-2.3', dataLicense => 'CC0-1.0', SPDXID => 'SPDXRef-DOCUMENT', name => "immiiq-$meta->{version}",
	documentNamespace => sprintf('urn:uuid:%s-%s-8%s-8%s-%s', $digest =~ /^(.{8})(.{4})(.{3})(.{3})(.{12})/),
	creationInfo => { created => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $created), creators => [ 'Tool: immiiq-make-sbom', "Organization: $meta->{maintainer}" ] },
	packages => \@packages, files => \@files,
	relationships => [
		{ spdxElementId => 'SPDXRef-DOCUMENT', relationshipType => 'DESCRIBES', relatedSpdxElement => 'SPDXRef-Package-immiiq' },
		(map { { spdxElementId => 'SPDXRef-Package-immiiq', relationshipType => 'CONTAINS', relatedSpdxElement => $_->{SPDXID} } } @files),
		{ spdxElementId => 'SPDXRef-Package-immiiq', relationshipType => 'DEPENDS_ON', relatedSpdxElement => 'SPDXRef-Package-postgresql-server' },
		@links ] });
