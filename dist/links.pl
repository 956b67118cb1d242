#!/usr/bin/perl
# links.pl FILE…: every link between these pages leads to a page and, where it names one, to an anchor; no page loads anything from elsewhere.
use strict;
use warnings;

my (%anchor, %text, $bad);
for my $file (@ARGV)
{
	open my $in, '<', $file or die "$file: $!\n";
	my ($name) = $file =~ m{([^/]+)$};
	$text{$name} = do { local $/; <$in> };
	for my $id ($text{$name} =~ /\sid="([^"]+)"/g)
	{
		$bad += print "$name: two anchors $id\n" if $anchor{$name}{$id}++;
	}
}
for my $name (sort keys %text)
{
	for my $target ($text{$name} =~ /<a\s[^>]*href="([^"]*)"/g)
	{
		next if $target =~ /^(https?|mailto):/;
		my ($page, $id) = $target =~ /^([^#]*)#?(.*)$/;
		$page ||= $name;
		if (!$text{$page}) { $bad += print "$name: no page $target\n" }
		elsif (length $id && !$anchor{$page}{$id}) { $bad += print "$name: no anchor $target\n" }
	}
	$bad += print "$name: loads $1\n" while $text{$name} =~ /(<(?:script|link|iframe)\b[^>]*>|<img\b[^>]*src="(?!data:)[^"]*"|url\((?!data:)[^)]*\)|\@import[^;]*)/g;
}
exit($bad ? 1 : 0);
