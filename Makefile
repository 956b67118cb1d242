# make, make install, make installcheck    the ordinary PGXS targets; PG_CONFIG= chooses the server
# make check, make demo                    everything in a scratch server; installs missing Debian packages
# make psql [MEMBER=…]                     psql on the demo's data as one of its members
# make portal [PORT=…]                    docs/examples/portal on the demo's data, for your browser
# make attack [CASES=…]                    the attack suite alone: any SQL against another organisation's rows
# make mutants                            the log's verifiers with each of their checks gone in turn: a test must miss it
# make soak [MINUTES=30]                   64 clients that come and go among 10,000 organisations: nothing grows that should not
# make check-slow, make bench [BENCH=…]    sanitizers, fuzzers, other people's clients and servers, a fresh Debian; measurements
# make cassert, make valgrind               make check on a server with assertions, pgTAP files under valgrind (cassert does both)
# make check-versions                      make check on PostgreSQL 17 and 18, in fresh Debians of their own; a dump from 15 over 17 to 18
# make dist, make sbom                     the archive for PGXN, the SPDX bill of materials; debian/ builds packages (dpkg-buildpackage -us -uc -b)
# make package                             builds, installs and tests the Debian package in a fresh Debian
# make docs                                README.md and docs/ as HTML, in html/; installs pandoc
# make format                              src/ and test/ as .clang-format says

EXTENSION = immiiq
EXTVERSION = 1.0
MODULE_big = immiiq

# The targets that bring their own server: they need no PostgreSQL to start with.
SCRATCH = check carry attack mutants soak check-slow valgrind demo psql portal bench
CHROOTS = fresh check-versions radosgw cassert package check-package docs
ifneq ($(filter $(SCRATCH) $(CHROOTS),$(MAKECMDGOALS)),)

.PHONY: $(SCRATCH) $(CHROOTS) $(MAKECMDGOALS)
$(SCRATCH):
	@test/scratch.sh $@
check-slow: fresh radosgw cassert package
fresh:
	@test/fresh.sh
check-versions:
	@test/versions.sh
package:
	@test/fresh.sh check-package
check-package:
	@test/package.sh
docs:
	@dist/html.sh
radosgw:
	@test/oracle/radosgw.sh
cassert:
	@test/cassert.sh
$(filter-out $(SCRATCH) $(CHROOTS),$(MAKECMDGOALS)):
	@$(MAKE) $@

else

# Install SQL, in order: a part may use what stands above it.
SQL_PARTS = 00_base 10_keyring 20_types 30_search 40_context 45_journal 50_policy \
            60_audit 62_event 70_directory 72_rekey 74_hold 75_identity 76_jwt 78_documents \
            79_erasure 79_export 80_posture 84_migrating 85_advisor 86_report 87_stat 90_promises
INSTALL_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql

OBJS = $(patsubst $(srcdir)/%.c,%.o,$(sort $(wildcard $(srcdir)/src/*.c $(srcdir)/src/*/*.c)))
DATA_built = $(INSTALL_SQL)
# The script that writes an export into files, users find it in $(pg_config --sharedir)/extension; scripts from version to version.
DATA = $(patsubst $(srcdir)/%,%,$(srcdir)/sql/immiiq-export.psql $(sort $(wildcard $(srcdir)/sql/updates/*.sql)))
# The verifier of exported logs: a program of its own, without a server.
SCRIPTS_built = immiiq-verify
VERIFY_SOURCES = verify/immiiq-verify.c $(addprefix src/,audit/export.c audit/commit.c audit/canonical.c audit/tree.c crypto/crypto.c)

PG_CPPFLAGS = -I$(srcdir)/src -DIMMIIQ_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -std=gnu11 -fno-semantic-interposition -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -MMD -MP
SHLIB_LINK = -Wl,-Bsymbolic-functions -lsodium -lcrypto -lcrypt
ifneq ($(findstring clang,$(CC)),)
# What a server built by gcc asks of clang in its own flags and headers.
PG_CFLAGS += -Wno-ignored-optimization-argument -Wno-unknown-warning-option -Wno-ignored-attributes
endif
EXTRA_CLEAN = $(OBJS:.o=.d) build
override with_llvm = no

# make installcheck: against a running server that has immiiq in shared_preload_libraries, a root key, and the roles of test/roles.sh.
REGRESS = $(patsubst $(srcdir)/test/sql/%.sql,%,$(sort $(wildcard $(srcdir)/test/sql/*.sql)))
REGRESS_OPTS = --inputdir=$(srcdir)/test --load-extension=$(EXTENSION)
ISOLATION = $(patsubst $(srcdir)/test/isolation/specs/%.spec,%,$(sort $(wildcard $(srcdir)/test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --load-extension=$(EXTENSION)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) not found: install postgresql-server-dev-15, or say where with PG_CONFIG=; make check and make demo install what they need)
endif
include $(PGXS)
PROVE_FLAGS += -I test/t

-include $(OBJS:.o=.d)
ifdef VPATH
$(shell mkdir -p sql $(dir $(OBJS)))
endif

$(INSTALL_SQL): $(SQL_PARTS:%=$(srcdir)/sql/parts/%.sql) $(srcdir)/Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	  cat $(SQL_PARTS:%=$(srcdir)/sql/parts/%.sql); } > $@.tmp && mv $@.tmp $@

immiiq-verify: $(VERIFY_SOURCES:%=$(srcdir)/%) $(wildcard $(srcdir)/src/audit/*.h $(srcdir)/src/crypto/*.h)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -O2 -I$(srcdir)/src $(filter %.c,$^) $(LDFLAGS) -lsodium -lcrypto -o $@

.PHONY: format dist sbom
format:
	clang-format-14 -i $$($(srcdir)/test/formatted.sh)
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(EXTENSION)-$(EXTVERSION).zip HEAD
sbom: all
	$(srcdir)/dist/sbom.pl '$(VERSION)' $(INSTALL_SQL) > $(EXTENSION)-$(EXTVERSION).spdx.json.tmp
	mv $(EXTENSION)-$(EXTVERSION).spdx.json.tmp $(EXTENSION)-$(EXTVERSION).spdx.json

endif
