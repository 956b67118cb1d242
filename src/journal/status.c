/*
 * What SQL sees of the journal: the guard of append-only tables, who may read
 * which entries, and the state of the ring.  Trusts privileges on
 * immiiq.journal and the active identity; refuses every change of a row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/prune.h"
#include "journal/ring.h"

PG_FUNCTION_INFO_V1(immiiq_refuse_change);
PG_FUNCTION_INFO_V1(immiiq_journal_reader);
PG_FUNCTION_INFO_V1(immiiq_journal_org);
PG_FUNCTION_INFO_V1(immiiq_journal_status);

/* Trigger; raises IQ040 whatever fired it, but for the DELETE of what is old. */
Datum
immiiq_refuse_change(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("can only be called as a trigger")));
	if (prune_at_work() && TRIGGER_FIRED_BY_DELETE(((TriggerData *) fcinfo->context)->tg_event))
		return PointerGetDatum(NULL);
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_APPEND_ONLY),
			 errmsg("cannot change rows of append-only table \"%s\"",
					RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation))));
	PG_RETURN_NULL();
}

/* journal_reader() → bool: true for roles with SELECT on immiiq.journal. */
Datum
immiiq_journal_reader(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pg_class_aclcheck(base_relation("journal"), GetUserId(), ACL_SELECT) ==
				   ACLCHECK_OK);
}

/*
 * journal_org() → uuid: the active organisation, for a member or operator with
 * scope all and the module reports; else null.
 */
Datum
immiiq_journal_org(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *org;

	if (identity == NULL ||
		(identity->actor != CONTEXT_MEMBER && identity->actor != CONTEXT_OPERATOR) ||
		identity->scope != CONTEXT_SCOPE_ALL || (identity->modules & CONTEXT_MODULE_REPORTS) == 0)
		PG_RETURN_NULL();
	org = palloc(sizeof(pg_uuid_t));
	*org = identity->org;
	PG_RETURN_UUID_P(org);
}

static const char *
status_state_name(RingState state)
{
	switch (state)
	{
		case RING_FREE:
			return "none";
		case RING_WANTED:
			return "wanted";
		case RING_STARTING:
			return "starting";
		case RING_RUNNING:
			return "running";
		case RING_REFUSED:
			return "not listed";
	}
	return "none";
}

/*
 * journal_status() → one row: state of this database's worker, its pid, events
 * waiting, places in the ring, events put, written and lost since the server
 * started, time of the last write, pid of the launcher.  IQ001 unless preloaded.
 */
Datum
immiiq_journal_status(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[9];
	bool nulls[9] = {0};
	RingSlot slot;
	int launcher_pid;
	int i;

	base_require_preload();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(&slot, 0, sizeof(slot));
	LWLockAcquire(ring_lock, LW_SHARED);
	i = ring_find(MyDatabaseId);
	if (i >= 0)
		slot = ring->slots[i];
	launcher_pid = ring->launcher_pid;
	LWLockRelease(ring_lock);

	values[0] = CStringGetTextDatum(status_state_name(slot.state));
	values[1] = Int32GetDatum(slot.pid);
	nulls[1] = slot.pid == 0;
	values[2] = Int32GetDatum(slot.depth);
	values[3] = Int32GetDatum(RING_EVENTS);
	values[4] = Int64GetDatum((int64) slot.enqueued);
	values[5] = Int64GetDatum((int64) slot.settled);
	values[6] = Int64GetDatum((int64) slot.lost);
	values[7] = TimestampTzGetDatum(slot.written_at);
	nulls[7] = slot.written_at == 0;
	values[8] = Int32GetDatum(launcher_pid);
	nulls[8] = launcher_pid == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
