/*
 * Blind-index tokens and everything the planner is told about them.
 */
#ifndef IMMIIQ_SEARCH_H
#define IMMIIQ_SEARCH_H

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

extern void search_init(void);
/* Called by hooks/ before planning: turns IN and = ANY into probes and refuses what sealed columns cannot do. */
extern Query *search_rewrite_query(Query *query);
/* Called by hooks/ after planning: refuses what was inlined too late to be rewritten. */
extern void search_check_plan(PlannedStmt *plan);

#endif							/* IMMIIQ_SEARCH_H */
