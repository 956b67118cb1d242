/*
 * Overwrites what deleted and replaced rows leave in the pages of
 * immiiq.wrapped_key and subject_key: dead rows, and the holes that pruning makes.  Trusts
 * commit states; touches no row that anybody may still read.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "keyring/keyring_private.h"

/* True when any byte from at on is not zero. */
static bool
wipe_is_dirty(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (at[i] != 0)
			return true;
	}
	return false;
}

/*
 * Zeroes the wrapped keys of dead rows and the hole of one page, and logs the
 * page.  False when a row is dead that an older snapshot may still see: a dump
 * that is being taken needs it whole.
 */
static bool
wipe_page(Relation rel, AttrNumber column, BlockNumber block, TransactionId horizon)
{
	Buffer buffer = ReadBuffer(rel, block);
	GenericXLogState *state;
	Page page;
	Page image;
	PageHeader header;
	bool changed = false;
	bool done = true;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	if (PageIsNew(page))
	{
		UnlockReleaseBuffer(buffer);
		return true;
	}
	header = (PageHeader) page;
	if (wipe_is_dirty((char *) page + header->pd_lower, header->pd_upper - header->pd_lower))
		changed = true;
	state = GenericXLogStart(rel);
	image = GenericXLogRegisterBuffer(state, buffer, GENERIC_XLOG_FULL_IMAGE);
	for (OffsetNumber at = FirstOffsetNumber; at <= PageGetMaxOffsetNumber(page); at++)
	{
		ItemId item = PageGetItemId(page, at);
		HeapTupleData tuple;
		HTSV_Result state_of_row;
		struct varlena *wrapped;
		Datum value;
		bool isnull;

		if (!ItemIdIsNormal(item))
			continue;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		tuple.t_tableOid = RelationGetRelid(rel);
		ItemPointerSet(&tuple.t_self, block, at);
		state_of_row = HeapTupleSatisfiesVacuum(&tuple, horizon, buffer);
		if (state_of_row == HEAPTUPLE_RECENTLY_DEAD || state_of_row == HEAPTUPLE_DELETE_IN_PROGRESS)
			done = false;
		if (state_of_row != HEAPTUPLE_DEAD)
			continue;
		tuple.t_data = (HeapTupleHeader) PageGetItem(image, PageGetItemId(image, at));
		value = heap_getattr(&tuple, column, RelationGetDescr(rel), &isnull);
		wrapped = (struct varlena *) DatumGetPointer(value);
		if (isnull || VARATT_IS_EXTERNAL(wrapped) ||
			!wipe_is_dirty(VARDATA_ANY(wrapped), VARSIZE_ANY_EXHDR(wrapped)))
			continue;
		memset(VARDATA_ANY(wrapped), 0, VARSIZE_ANY_EXHDR(wrapped));
		changed = true;
	}
	if (changed)
	{
		memset((char *) image + header->pd_lower, 0, header->pd_upper - header->pd_lower);
		(void) GenericXLogFinish(state);
	}
	else
		GenericXLogAbort(state);
	UnlockReleaseBuffer(buffer);
	return done;
}

static bool
wipe_table(const char *relname, AttrNumber column)
{
	Relation rel = table_open(base_relation(relname), ShareUpdateExclusiveLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	TransactionId horizon = GetOldestNonRemovableTransactionId(rel);
	bool done = true;

	for (BlockNumber block = 0; block < blocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!wipe_page(rel, column, block, horizon))
			done = false;
	}
	/* On the disk, too, not only in a buffer. */
	FlushRelationBuffers(rel);
	smgrimmedsync(RelationGetSmgr(rel), MAIN_FORKNUM);
	table_close(rel, NoLock);
	return done;
}

bool
keyring_wipe(void)
{
	bool done = wipe_table("wrapped_key", KEYRING_ANUM_WRAPPED);

	return wipe_table("subject_key", KEYRING_ANUM_SUBJECT_WRAPPED) && done;
}
