/*
 * Who is asking: the only owner of the identity of this transaction.
 * Trusts rows of immiiq.session and immiiq.member; refuses everything that
 * does not come from SET, set_config or authenticate in this transaction.
 */
#ifndef IMMIIQ_CONTEXT_H
#define IMMIIQ_CONTEXT_H

#include "datatype/timestamp.h"
#include "nodes/plannodes.h"
#include "storage/lock.h"
#include "utils/uuid.h"

typedef enum ContextActor
{
	CONTEXT_MEMBER = 1,
	CONTEXT_ASSISTANT,			/* the member, narrowed by act_as_assistant */
	CONTEXT_PORTAL,
	CONTEXT_OPERATOR			/* break-glass: operate(org, reason) */
} ContextActor;

typedef enum ContextScope
{
	CONTEXT_SCOPE_NONE = 0,		/* nobody is active */
	CONTEXT_SCOPE_ALL,
	CONTEXT_SCOPE_TEAM,
	CONTEXT_SCOPE_ASSIGNED
} ContextScope;

/* Bits of the ten module switches, in the order of claims.md I9. */
typedef enum ContextModule
{
	CONTEXT_MODULE_CLIENTS = 1 << 0,
	CONTEXT_MODULE_CASES = 1 << 1,
	CONTEXT_MODULE_COMMUNICATIONS = 1 << 2,
	CONTEXT_MODULE_AI = 1 << 3,
	CONTEXT_MODULE_DOCUMENTS = 1 << 4,
	CONTEXT_MODULE_INVOICES = 1 << 5,
	CONTEXT_MODULE_REPORTS = 1 << 6,
	CONTEXT_MODULE_BILLING = 1 << 7,
	CONTEXT_MODULE_SETTINGS = 1 << 8,
	CONTEXT_MODULE_TEAM_MANAGEMENT = 1 << 9
} ContextModule;
#define CONTEXT_MODULE_EVERY 0x3ff

#define CONTEXT_TEAMS_INLINE 1	/* shape: one team gives an equality, several an = ANY */

typedef struct ContextIdentity
{
	LocalTransactionId lxid;	/* of the leader's transaction in which it holds */
	ContextActor actor;
	ContextScope scope;
	uint32		modules;		/* ContextModule bits */
	pg_uuid_t	org;
	pg_uuid_t	member;			/* nil for an operator */
	pg_uuid_t	session;		/* nil for an operator */
	bool		impersonated;	/* the session was made by issue_session */
	TimestampTz expires_at;
	char		operator_role[NAMEDATALEN];	/* login role behind operate() */
	char		tool[NAMEDATALEN];	/* the assistant's tool */
} ContextIdentity;

extern void context_init(void);
extern void context_shmem_request(void);
extern void context_shmem_startup(void);

/* Who is active in this transaction (parallel workers: in the leader's), or NULL. Never raises. */
extern const ContextIdentity *context_current(void);
/* The same, ERROR IQ011 with a hint when nobody is. */
extern const ContextIdentity *context_require(void);
/* A number that changes whenever who is active changes in this backend; memo keys use it. */
extern uint64 context_generation(void);
/* "member", "assistant", "portal", "operator". */
extern const char *context_actor_name(ContextActor actor);
/* Module bit by name, 0 when unknown; name by bit. */
extern uint32 context_module_bit(const char *name);
extern const char *context_module_name(uint32 bit);
extern const char *context_scope_name(ContextScope scope);
/* The address and agent that the tier reported, "" when none. */
extern const char *context_client_ip(void);
extern const char *context_user_agent(void);

/* Called by hooks/: refuses or redacts what a utility statement would do to the identity. */
extern void context_utility_before(PlannedStmt *pstmt, const char *query_string);
/* Called by hooks/ for every log line: true when statement and detail must not be written to the server's log. */
extern bool context_log_is_secret(const char *statement);
/* Called by hooks/: true when the current login role may not execute this function (activity and such). */
extern bool context_function_is_denied(Oid funcid);

/* Registers what must be told when the shape of a scope changes (policy's plan reset). */
extern bool context_role_is_application(Oid roleid);

#endif							/* IMMIIQ_CONTEXT_H */
