/*
 * What statements about databases and the extension mean for the workers.
 * Trusts the server's own checks of privileges, and makes them first; refuses
 * nothing: a worker that does not leave in time is the server's to report.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "journal/ring.h"
#include "worker/worker.h"

#define DATABASE_TERM_MS  1000 /* when it is asked with a signal */
#define DATABASE_LEAVE_MS 5000 /* how long a statement waits for the worker to leave */

static bool database_suspended = false;			/* this transaction keeps a worker away */
static bool database_created_extension = false; /* it ran CREATE EXTENSION immiiq */
static bool database_list_changed = false;		/* it created, dropped or renamed a database */

/* True when the current role may create databases. */
static bool
database_may_create(void)
{
	HeapTuple tuple;
	bool may = superuser();

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

/* The value of a DefElem that is a string, or NULL. */
static const char *
database_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* Keeps the worker of a database away until the transaction ends, and waits for it to be gone. */
static void
database_suspend(Oid database)
{
	if (!OidIsValid(database) || database == MyDatabaseId)
		return;
	for (int waited = 0; waited < DATABASE_LEAVE_MS; waited += 10)
	{
		Latch *latch = NULL;
		Latch *sealer_latch = NULL;
		int pids[2] = {0, 0};
		int slot;

		LWLockAcquire(ring_lock, LW_EXCLUSIVE);
		slot = ring_find(database);
		if (slot >= 0)
		{
			ring->slots[slot].suspended_by = MyProcPid;
			database_suspended = true;
			pids[0] = ring->slots[slot].pid;
			pids[1] = ring->slots[slot].sealer_pid;
			latch = ring->slots[slot].latch;
			sealer_latch = ring->slots[slot].sealer_latch;
		}
		LWLockRelease(ring_lock);
		if (pids[0] == 0 && pids[1] == 0)
			return;
		if (latch != NULL)
			SetLatch(latch);
		if (sealer_latch != NULL)
			SetLatch(sealer_latch);
		/* In the middle of something long: it is rolled back and done again later. */
		if (waited == DATABASE_TERM_MS)
			for (int i = 0; i < lengthof(pids); i++)
				if (pids[i] != 0)
					kill(pids[i], SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The same by name, for who owns the database. */
static void
database_suspend_owned(const char *name)
{
	Oid database = get_database_oid(name, true);

	if (OidIsValid(database) && object_ownercheck(DatabaseRelationId, database, GetUserId()))
		database_suspend(database);
}

void
worker_utility_before(Node *utility)
{
	if (ring == NULL)
		return;
	switch (nodeTag(utility))
	{
		case T_CreateExtensionStmt:
			if (strcmp(((CreateExtensionStmt *) utility)->extname, "immiiq") == 0)
				database_created_extension = true;
			break;
		case T_CreatedbStmt:
		{
			const char *template = database_option(((CreatedbStmt *) utility)->options, "template");

			database_list_changed = true;
			if (database_may_create())
				database_suspend(get_database_oid(template ? template : "template1", true));
			break;
		}
		case T_DropdbStmt:
			database_list_changed = true;
			database_suspend_owned(((DropdbStmt *) utility)->dbname);
			break;
		case T_AlterDatabaseStmt:
			database_list_changed = true;
			if (database_option(((AlterDatabaseStmt *) utility)->options, "tablespace") != NULL)
				database_suspend_owned(((AlterDatabaseStmt *) utility)->dbname);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) utility)->renameType == OBJECT_DATABASE)
			{
				database_list_changed = true;
				database_suspend_owned(((RenameStmt *) utility)->subname);
			}
			break;
		default:
			break;
	}
}

void
worker_transaction_end(bool committed)
{
	bool wake = false;

	if (!database_suspended && !database_created_extension && !database_list_changed)
		return;
	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	if (database_suspended)
	{
		for (int i = 0; i < RING_DATABASES; i++)
			if (ring->slots[i].suspended_by == MyProcPid)
				ring->slots[i].suspended_by = 0;
		wake = true;
	}
	if (database_created_extension && committed)
	{
		int slot = ring_find_or_make(MyDatabaseId);

		if (slot >= 0)
			ring->slots[slot].recheck = true;
		wake = true;
	}
	if (database_list_changed && committed)
	{
		ring->rescan = true;
		wake = true;
	}
	LWLockRelease(ring_lock);
	database_suspended = database_created_extension = database_list_changed = false;
	if (wake)
		ring_wake_launcher();
}
