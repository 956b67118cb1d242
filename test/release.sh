# release.sh: what this release of Debian has, for the scripts that source it.
case $(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}") in
trixie) MAJOR=17 CLANG=clang CLANG_FORMAT= ;;
forky) MAJOR=18 CLANG=clang CLANG_FORMAT= ;;
noble) MAJOR=16 CLANG=clang CLANG_FORMAT= ;;		# Ubuntu 24.04
*) MAJOR=15 CLANG=clang-14 CLANG_FORMAT=clang-format-14 ;;
esac
