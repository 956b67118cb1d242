/*
 * The library's entry: the magic block, and _PG_init, which starts every
 * capability from the lowest to the highest.  Nothing else lives here.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/base.h"
#include "context/context.h"
#include "firewall/firewall.h"
#include "erasure/erasure.h"
#include "hold/hold.h"
#include "hooks/hooks.h"
#include "journal/journal.h"
#include "keyring/keyring.h"
#include "audit/audit.h"
#include "documents/documents.h"
#include "identity/identity.h"
#include "policy/policy.h"
#include "search/search.h"
#include "stat/stat.h"
#include "types/types.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	base_init();
	stat_init();
	keyring_init();
	context_init();
	journal_init();
	search_init();
	types_init();
	policy_init();
	firewall_init();
	hold_init();
	audit_init();
	identity_init();
	documents_init();
	erasure_init();
	worker_init();
	hooks_init();
	base_init_done();
}
