/*
 * The teams and clients of who is asking, read once a statement: private to policy/.
 */
#ifndef IMMIIQ_SCOPE_H
#define IMMIIQ_SCOPE_H

#include "context/context.h"
#include "utils/array.h"
#include "utils/uuid.h"

/* A set of clients up to this size is offered to indexes as = ANY(…). */
#define SCOPE_INDEXED_CLIENTS 500

extern void scope_init(void);
/* Teams of the member and all teams below them; the array lives until the memo is next refreshed: copy what must stay. */
extern int scope_teams(const ContextIdentity *who, const pg_uuid_t **teams);
/* Offices of the member: those among the teams above, and those that their teams lie in. */
extern int scope_offices(const ContextIdentity *who, const pg_uuid_t **offices);
/* True when the member has the permission, by themselves or through teams and groups. */
extern bool scope_has_permission(const ContextIdentity *who, const char *name);
/* True when the client is assigned to the member or, with scope team, to one of the member's teams. */
extern bool scope_has_client(const ContextIdentity *who, const pg_uuid_t *client);
/* Has the client in scope as long as the statement runs: a row of it is on its way, and the client is new. */
extern void scope_add_new_client(const pg_uuid_t *client);
/* The whole set, a fresh uuid[] in the current memory context. */
extern ArrayType *scope_clients(const ContextIdentity *who);
/* How many clients the set has. */
extern int64 scope_client_count(const ContextIdentity *who);
/* uuid[] of n ids in the current memory context. */
extern ArrayType *scope_uuid_array(const pg_uuid_t *ids, int n);

#endif /* IMMIIQ_SCOPE_H */
