/*
 * Holds: what must be kept, whoever asks for it to go.  Rows are asked for one
 * by one; who places a hold waits for those that are removing already.
 */
#ifndef IMMIIQ_HOLD_H
#define IMMIIQ_HOLD_H

#include "executor/tuptable.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

extern void hold_init(void);

/*
 * Called by the capture trigger for a row that is deleted (new is NULL) or
 * changed: ERROR IQ050, recorded, when a hold keeps it, or keeps it where it is.
 * client is 0 for a table without one.
 */
extern void hold_check_row(Relation rel, TupleTableSlot *old, TupleTableSlot *new,
						   const pg_uuid_t *org, AttrNumber client);
/* True when what is of this client (NULL: of none) is kept. No hold comes then before the transaction ends. */
extern bool hold_keeps(const pg_uuid_t *org, const pg_uuid_t *client);
/* Called by hooks/ for every utility statement: ERROR IQ050 for what would take the holds themselves away. */
extern void hold_utility_before(Node *utility);

#endif /* IMMIIQ_HOLD_H */
