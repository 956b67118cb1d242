#!/usr/bin/perl
# sbom.pl FILE: says what of an SPDX 2.3 JSON document the specification does not allow, what does not agree with the files that lie here,
# and which linked library has no package. Silent when there is nothing to say.
use strict;
use warnings;
use Digest::SHA;
use JSON::PP;

open my $file, '<', $ARGV[0] or die "$ARGV[0]: $!\n";
my $doc = decode_json(do { local $/; <$file> });
my $bad = 0;
sub wrong { print "$_[0]\n"; $bad = 1 }

wrong("spdxVersion") if $doc->{spdxVersion} ne 'SPDX-2.3';
wrong("dataLicense") if $doc->{dataLicense} ne 'CC0-1.0';
wrong("SPDXID of the document") if $doc->{SPDXID} ne 'SPDXRef-DOCUMENT';
wrong("no name") if !length $doc->{name};
wrong("documentNamespace") if $doc->{documentNamespace} !~ /^[a-z][a-z0-9+.-]*:[^#\s]+$/;
wrong("created") if $doc->{creationInfo}{created} !~ /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/;
wrong("creator $_") for grep { !/^(Person|Organization|Tool): \S/ } @{ $doc->{creationInfo}{creators} };
my %element = ($doc->{SPDXID} => 1);
for my $x (@{ $doc->{packages} }, @{ $doc->{files} })
{
	wrong("SPDXID $x->{SPDXID}") if $x->{SPDXID} !~ /^SPDXRef-[A-Za-z0-9.-]+$/ || $element{ $x->{SPDXID} }++;
	wrong("$x->{SPDXID}: $_ is neither a licence nor NOASSERTION") for grep { !/^(PostgreSQL|NOASSERTION|NONE)$/ } map { ref $_ ? @$_ : $_ // () } @$x{qw(licenseConcluded licenseDeclared licenseInfoInFiles)};
}
for my $p (@{ $doc->{packages} })
{
	wrong("$p->{SPDXID}: no $_") for grep { !length($p->{$_} // '') } qw(name downloadLocation);
	wrong("$p->{SPDXID}: filesAnalyzed without a verification code") if $p->{filesAnalyzed} && !$p->{packageVerificationCode};
	wrong("$p->{SPDXID}: supplier") if defined $p->{supplier} && $p->{supplier} !~ /^(Person|Organization): \S|^NOASSERTION$/;
	for (@{ $p->{externalRefs} // [] })
	{
		wrong("$p->{SPDXID}: $_->{referenceLocator}") if $_->{referenceCategory} ne 'PACKAGE-MANAGER' || $_->{referenceType} ne 'purl'
			|| $_->{referenceLocator} !~ m{^pkg:deb/debian/[a-z0-9.+-]+@[A-Za-z0-9.~%-]+$};
	}
}
my %length = (SHA1 => 40, SHA256 => 64);
for my $f (@{ $doc->{files} })
{
	wrong("$f->{SPDXID}: fileName") if $f->{fileName} !~ m{^\./\S+$};
	wrong("$f->{SPDXID}: no SHA1") if !grep { $_->{algorithm} eq 'SHA1' } @{ $f->{checksums} };
	for (@{ $f->{checksums} })
	{
		wrong("$f->{SPDXID}: $_->{algorithm} is not the file's") if length $_->{checksumValue} != ($length{ $_->{algorithm} } // 0)
			|| Digest::SHA->new($_->{algorithm})->addfile($f->{fileName})->hexdigest ne $_->{checksumValue};
	}
}
my %linked;
for my $r (@{ $doc->{relationships} })
{
	wrong("relationship $r->{relationshipType}") if $r->{relationshipType} !~ /^(DESCRIBES|CONTAINS|DEPENDS_ON|DYNAMIC_LINK)$/;
	wrong("$r->{relationshipType}: no $_") for grep { !$element{$_} } @$r{qw(spdxElementId relatedSpdxElement)};
	push @{ $linked{ $r->{spdxElementId} } }, $r->{relatedSpdxElement} if $r->{relationshipType} eq 'DYNAMIC_LINK';
}
wrong("it describes nothing") if 1 != grep { $_->{relationshipType} eq 'DESCRIBES' && $_->{spdxElementId} eq 'SPDXRef-DOCUMENT' } @{ $doc->{relationships} };
my %reference = map { $_->{SPDXID} => $_->{externalRefs} } @{ $doc->{packages} };
wrong("immiiq.so is linked with nothing") if !$linked{'SPDXRef-File-immiiq.so'};
wrong("$_ is of no package") for grep { !$reference{$_} } map { @$_ } values %linked;
exit $bad;
