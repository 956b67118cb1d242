/*
 * Who is asking: the only owner of the identity of this transaction.
 * Trusts rows of immiiq.session and immiiq.member; refuses everything that
 * does not come from SET, set_config or authenticate in this transaction.
 */
#ifndef IMMIIQ_CONTEXT_H
#define IMMIIQ_CONTEXT_H

#include "datatype/timestamp.h"
#include "executor/execdesc.h"
#include "nodes/plannodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef enum ContextActor
{
	CONTEXT_MEMBER = 1,
	CONTEXT_ASSISTANT, /* the member, narrowed by act_as_assistant */
	CONTEXT_PORTAL,
	CONTEXT_OPERATOR /* break-glass: operate(org, reason) */
} ContextActor;

typedef enum ContextScope
{
	CONTEXT_SCOPE_NONE = 0, /* nobody is active */
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

/* Room for a textual address and its terminator. */
#define CONTEXT_IP_SIZE 46

/* The permission to see the rows of every office. */
#define CONTEXT_CROSS_OFFICE "cross_office"

typedef struct ContextIdentity
{
	LocalTransactionId lxid; /* of the leader's transaction in which it holds */
	ContextActor actor;
	ContextScope scope;
	uint32 modules;			  /* ContextModule bits */
	uint32 assistant_modules; /* where the assistant may write */
	bool cross_office;		  /* sees the rows of every office */
	bool every_org;			  /* operate_all(): org is nil */
	pg_uuid_t org;
	pg_uuid_t member;  /* nil for an operator and in the portal */
	pg_uuid_t session; /* nil for an operator */
	pg_uuid_t client;  /* of a portal session, else nil */
	bool impersonated; /* the session was made by issue_session */
	TimestampTz expires_at;
	char operator_role[NAMEDATALEN]; /* login role behind operate() */
	char tool[NAMEDATALEN];			 /* the assistant's tool */
	bool several_teams;				 /* scope team, and more than one, sub-teams counted */
	char address[CONTEXT_IP_SIZE];	 /* of the session's sign-in, "" when none was told */
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

/*
 * What higher capabilities ask to be told.  The role check says whether a role
 * has the powers of an owner of a protected table (it may read the catalog).
 * The change callback runs whenever somebody becomes active, inside GUC code:
 * it must neither raise nor read the catalog (policy resets plans there).
 */
typedef bool (*ContextRoleCheck)(Oid roleid);
typedef void (*ContextChangeCallback)(const ContextIdentity *identity);
extern void context_set_role_check(ContextRoleCheck check);
extern void context_set_change_callback(ContextChangeCallback callback);

/*
 * Who reads tokens that are no opaque ones (identity/ does: JWTs).  The reader
 * says which session a token names, or why not, for the journal; the session
 * itself is read here as any other.  It may raise errors.
 */
typedef struct ContextAccess
{
	pg_uuid_t session;
	TimestampTz expires_at; /* of the token */
	bool portal;			/* for a client's session, and for no other */
} ContextAccess;
typedef const char *(*ContextAccessReader)(const char *text, size_t len, ContextAccess *access);
extern void context_set_access_reader(ContextAccessReader reader);
/* Why a session cannot be used now, as immiiq.token would find; NULL when it can. */
extern const char *context_session_problem(const pg_uuid_t *session);
/* What is stored of a session: id, organisation, member or client, expiry, address. False, and why, when it has ended; organisation nil when there is none. */
extern bool context_read_session(const pg_uuid_t *session, ContextIdentity *identity,
								 const char **reason);
/* True while the member and its organisation are active; *email, unless NULL, is the member's address then. */
extern bool context_member_acts(const pg_uuid_t *org, const pg_uuid_t *member, char **email);
/* The organisation's allowlist: true when it is empty, or one of its networks holds the address; "" is in none. */
extern bool context_address_allowed(const pg_uuid_t *org, const char *address);

/*
 * Called by hooks/ for every utility statement, nested ones too: refuses what
 * it would do to the identity, and returns the text to pass on, in which every
 * token is blanked (query_string itself when there is none).
 */
extern const char *context_utility_before(PlannedStmt *pstmt, const char *query_string,
										  ProcessUtilityContext stage);
/*
 * Called by hooks/ around every utility statement: lets a dump come back as it
 * is.  *level goes from before to after; the statement may be replaced.
 */
extern PlannedStmt *context_restore_before(PlannedStmt *pstmt, ProcessUtilityContext stage,
										   int *level);
extern void context_restore_after(int level);
/* For a trigger on one of immiiq's own tables: true when it is called for rows that come from a dump. */
extern bool context_row_restored(Relation relation);
/* Called by hooks/ before ExecutorStart goes on: blanks tokens in the statement's text wherever others will see it. */
extern void context_executor_start(QueryDesc *query_desc);
/* Called by hooks/ for every log line and detail: true when it must not be written to the server's log. Never raises. */
extern bool context_log_is_secret(const char *statement);
/* Called by hooks/ (object access): true when the current login role may not execute this function (activity and such). */
extern bool context_function_is_denied(Oid funcid);

/* True when the role is recorded by grant_application, or member of one that is; superusers never. Reads the catalog. */
extern bool context_role_is_application(Oid roleid);
/* The same for this session's user, from a cache that is filled inside transactions; false while unknown. Never raises. */
extern bool context_session_is_application(void);
/*
 * True when an application role acts now: in a session of one, and not inside
 * a SECURITY DEFINER function of somebody else's.  Reads the catalog when it must.
 */
extern bool context_application_acts(void);
/* True when somebody is active in this transaction, or was. */
extern bool context_had_identity(void);
/* True when somebody has ever been active on this connection. */
extern bool context_session_had_identity(void);

#endif /* IMMIIQ_CONTEXT_H */
