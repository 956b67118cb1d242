#!/bin/bash
# html.sh: writes README.md and docs/ as HTML into html/, each page whole in itself, by pandoc; then follows every link and anchor.
set -eu
cd "$(dirname "$0")/.."
test/packages.sh docs
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" immiiq.control)
sources=(README.md SECURITY.md CHANGELOG.md docs/*.md docs/examples/*/README.md)

page() {
	case $1 in
	README.md) echo index.html ;;
	docs/examples/*) echo "$(basename "$(dirname "$1")").html" ;;
	*) basename "${1,,}" .md | sed 's/$/.html/' ;;
	esac
}
PAGES=
for source in "${sources[@]}"; do
	PAGES+="$source=$(page "$source") "
done
export PAGES
mkdir -p html
rm -f html/*.html
for source in "${sources[@]}"; do
	page=$(page "$source")
	title=$(sed -n 's/^# //p;/^# /q' "$source")
	SOURCE=$source pandoc --from gfm --to html5 --standalone --self-contained --resource-path "$(dirname "$source")" --no-highlight \
		--template dist/page.html --lua-filter dist/page.lua --metadata pagetitle="$title - immiiq" --variable page="${page%.html}" --variable version="$version" \
		--output "html/$page" "$source"
done
dist/links.pl html/*.html
echo "html/index.html and $((${#sources[@]} - 1)) more pages"
