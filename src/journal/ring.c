/*
 * The ring in shared memory: a pool of fixed-size events and one queue a
 * database.  Trusts its callers for the content; refuses to grow, to block,
 * and to let denials take the room kept for operators' events.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "journal/ring.h"
#include "stat/stat.h"

#define RING_TRANCHE "immiiq_journal"

Ring *ring = NULL;
LWLock *ring_lock = NULL;

void
ring_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Ring)));
	RequestNamedLWLockTranche(RING_TRANCHE, 1);
}

void
ring_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	ring = ShmemInitStruct("immiiq journal", sizeof(Ring), &found);
	ring_lock = &GetNamedLWLockTranche(RING_TRANCHE)->lock;
	if (!found)
	{
		memset(ring, 0, sizeof(Ring));
		for (int i = 0; i < RING_EVENTS; i++)
			ring->events[i].next = i + 1 < RING_EVENTS ? i + 1 : -1;
		ring->free_head = 0;
		ring->free_count = RING_EVENTS;
	}
	LWLockRelease(AddinShmemInitLock);
}

int
ring_find(Oid database)
{
	static int last = 0;

	if (ring->slots[last].database == database)
		return last;
	for (int i = 0; i < RING_DATABASES; i++)
	{
		if (ring->slots[i].database == database)
		{
			last = i;
			return i;
		}
	}
	return -1;
}

int
ring_find_or_make(Oid database)
{
	int slot = ring_find(database);

	if (slot >= 0)
		return slot;
	slot = ring_find(InvalidOid);
	if (slot < 0)
		return -1;
	memset(&ring->slots[slot], 0, sizeof(RingSlot));
	ring->slots[slot].database = database;
	ring->slots[slot].state = RING_WANTED;
	ring->slots[slot].head = -1;
	ring->slots[slot].tail = -1;
	return slot;
}

void
ring_wake_launcher(void)
{
	Latch *latch = ring->launcher;

	if (latch != NULL)
		SetLatch(latch);
}

bool
ring_database_installed(Oid database)
{
	int slot;

	if (ring == NULL || !OidIsValid(database))
		return false;
	slot = ring_find(database);
	return slot >= 0 && ring->slots[slot].installed;
}

void
ring_wake_worker(Oid database)
{
	Latch *latch = NULL;
	int slot;

	LWLockAcquire(ring_lock, LW_SHARED);
	slot = ring_find(database);
	if (slot >= 0 && ring->slots[slot].pid != 0)
		latch = ring->slots[slot].latch;
	LWLockRelease(ring_lock);
	if (latch != NULL)
		SetLatch(latch);
}

bool
ring_worker_wanted(Oid database)
{
	bool wanted;
	bool absent;
	int slot;

	if (ring == NULL)
		return false;
	LWLockAcquire(ring_lock, LW_SHARED);
	slot = ring_find(database);
	absent = slot < 0;
	wanted = slot >= 0 && ring->slots[slot].state != RING_REFUSED;
	LWLockRelease(ring_lock);
	if (absent)
	{
		LWLockAcquire(ring_lock, LW_EXCLUSIVE);
		wanted = ring_find_or_make(database) >= 0;
		LWLockRelease(ring_lock);
		ring_wake_launcher();
	}
	return wanted;
}

RingResult
ring_put(Oid database, const RingEvent *event, uint64 *ticket)
{
	RingResult result;
	Latch *latch = NULL;
	bool wake_launcher = false;
	/* what anybody can cause leaves room for the rest */
	int keep = event->kind == JOURNAL_DENIAL || event->kind == JOURNAL_SIGN_IN ? RING_RESERVED : 0;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find_or_make(database);
	if (slot < 0 || ring->slots[slot].state == RING_REFUSED)
		result = RING_NO_WORKER;
	else
	{
		RingSlot *s = &ring->slots[slot];

		if (ring->free_count <= keep)
			result = RING_FULL;
		else
		{
			int i = ring->free_head;

			ring->free_head = ring->events[i].next;
			ring->free_count--;
			ring->events[i] = *event;
			ring->events[i].next = -1;
			if (s->tail < 0)
				s->head = i;
			else
				ring->events[s->tail].next = i;
			s->tail = i;
			s->depth++;
			*ticket = ++s->enqueued;
			result = RING_PUT;
		}
		if (s->pid != 0)
			latch = s->latch;
		else
			wake_launcher = true;
	}
	LWLockRelease(ring_lock);

	if (latch != NULL)
		SetLatch(latch);
	if (wake_launcher)
		ring_wake_launcher();
	return result;
}

bool
ring_is_settled(Oid database, uint64 ticket)
{
	bool settled;
	int slot;

	LWLockAcquire(ring_lock, LW_SHARED);
	slot = ring_find(database);
	settled = slot >= 0 && ring->slots[slot].settled >= ticket;
	LWLockRelease(ring_lock);
	return settled;
}

void
ring_count_lost(Oid database, uint64 n)
{
	Latch *latch = NULL;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(database);
	if (slot >= 0)
	{
		ring->slots[slot].lost += n;
		if (ring->slots[slot].pid != 0)
			latch = ring->slots[slot].latch;
	}
	LWLockRelease(ring_lock);
	if (latch != NULL)
		SetLatch(latch);
}

int
ring_peek(int slot, RingEvent *out, int max)
{
	int n = 0;

	LWLockAcquire(ring_lock, LW_SHARED);
	for (int i = ring->slots[slot].head; i >= 0 && n < max; i = ring->events[i].next)
		out[n++] = ring->events[i];
	LWLockRelease(ring_lock);
	return n;
}

void
ring_settle(int slot, int n)
{
	int waiters[64];

	while (n > 0)
	{
		int nwaiters = 0;
		int chunk = Min(n, lengthof(waiters));

		LWLockAcquire(ring_lock, LW_EXCLUSIVE);
		for (int k = 0; k < chunk && ring->slots[slot].head >= 0; k++)
		{
			RingSlot *s = &ring->slots[slot];
			int i = s->head;

			if (ring->events[i].waiter >= 0)
				waiters[nwaiters++] = ring->events[i].waiter;
			s->head = ring->events[i].next;
			if (s->head < 0)
				s->tail = -1;
			s->depth--;
			s->settled++;
			ring->events[i].next = ring->free_head;
			ring->free_head = i;
			ring->free_count++;
		}
		LWLockRelease(ring_lock);
		for (int k = 0; k < nwaiters; k++)
			SetLatch(&ProcGlobal->allProcs[waiters[k]].procLatch);
		n -= chunk;
	}
}

void
ring_release_slot(int slot)
{
	RingSlot *s = &ring->slots[slot];

	stat_forget(s->database);
	for (int i = s->head; i >= 0;)
	{
		int next = ring->events[i].next;

		ring->events[i].next = ring->free_head;
		ring->free_head = i;
		ring->free_count++;
		i = next;
	}
	memset(s, 0, sizeof(RingSlot));
	s->head = s->tail = -1;
}
