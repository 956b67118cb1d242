/*
 * The end of what the journal keeps: immiiq.journal_keep.
 */
#ifndef IMMIIQ_PRUNE_H
#define IMMIIQ_PRUNE_H

extern void prune_init(void);

/* True while old rows are being taken away: the guards of append-only tables let that DELETE through. */
extern bool prune_at_work(void);

/* Called by the worker: due once an hour, and at every turn while there is more; cheap. */
extern bool prune_due(void);
/* Called by the worker outside a transaction: takes away one batch and commits. */
extern void prune_round(void);

#endif /* IMMIIQ_PRUNE_H */
