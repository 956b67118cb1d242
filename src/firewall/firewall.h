/*
 * What an application role may not do although PostgreSQL lets everybody:
 * look at other tenants through estimates, counters and sizes, reach them
 * through locks and notifications, or leave something behind on a connection.
 */
#ifndef IMMIIQ_FIREWALL_H
#define IMMIIQ_FIREWALL_H

#include "nodes/plannodes.h"

extern void firewall_init(void);

/* Called by hooks/ for every utility statement: refuses it, or returns what is to run in its place. */
extern PlannedStmt *firewall_utility_before(PlannedStmt *pstmt);
/* Called by hooks/ before planning: plans, with their estimates, are not printed to an application role. */
extern void firewall_before_planning(void);
/* Called by hooks/ (object access): true when the firewall denies this function to who calls it. */
extern bool firewall_function_is_denied(Oid funcid);
/* Called by hooks/ when privileges are checked: false, or an error, when a statement reads counters in the catalog. */
extern bool firewall_check_relations(List *range_table PERMISSIONS_PARAMETER, bool raise);
/* Called by hooks/ before commit and prepare: what was SET while somebody was active ends with the transaction. */
extern void firewall_before_commit(void);

#endif /* IMMIIQ_FIREWALL_H */
