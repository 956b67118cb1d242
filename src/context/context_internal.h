/*
 * What the files of context/ share among themselves.
 */
#ifndef IMMIIQ_CONTEXT_INTERNAL_H
#define IMMIIQ_CONTEXT_INTERNAL_H

#include "context/context.h"
#include "context/token.h"

/* Room for what is kept of a user agent, terminator included. */
#define CONTEXT_AGENT_SIZE 256

/* ---- session.c: rows of immiiq.session, member and org ---- */

/* Who the session of this token hash is, or of this id when hash is NULL. False with a reason for the journal; *org when known, else nil. */
extern bool session_resolve(const uint8_t *hash, const pg_uuid_t *session,
							ContextIdentity *identity, const char **reason);
/* True when the organisation exists. */
extern bool session_org_exists(const pg_uuid_t *org);

/* ---- context.c: the state ---- */

extern int context_session_ttl; /* seconds */

/* First identity of this transaction, active or not; NULL when there was none. */
extern const ContextIdentity *context_first(void);
/* Why a role may not ask on a member's behalf, NULL when it may. Reads the catalog. */
extern const char *context_role_refusal(Oid roleid);
/* Makes an operator's identity active for this transaction, through the setting as any other. */
extern void context_enter(const ContextIdentity *identity);
/* Narrows this transaction to the assistant, for good. */
extern void context_narrow(const char *tool);
/* The settings of this transaction, as SET LOCAL would; NULL leaves one as it is. */
extern void context_set_local(const char *name, const char *value);

/* ---- guard.c ---- */

extern void guard_init(void);

#endif /* IMMIIQ_CONTEXT_INTERNAL_H */
