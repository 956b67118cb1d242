EXTENSION = immiiq
EXTVERSION = 1.0
MODULE_big = immiiq

# Install SQL, in order: a part may use what stands above it.
SQL_PARTS = 00_base 10_keyring 20_types 30_search 40_context 45_journal 50_policy \
            60_audit 70_directory 80_posture

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -MMD -MP
SHLIB_LINK = -lsodium -lcrypto
EXTRA_CLEAN = $(OBJS:.o=.d) build

with_llvm = no
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

-include $(OBJS:.o=.d)

sql/$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS:%=sql/parts/%.sql) Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	  cat $(SQL_PARTS:%=sql/parts/%.sql); } > $@.tmp && mv $@.tmp $@
