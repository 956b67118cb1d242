/*
 * Who is asking: the state behind immiiq.token, of one transaction at a time.
 * Trusts what session.c reads from the tables at the moment of SET; refuses
 * any other source of a value, and a second identity in the same transaction.
 *
 * The setting holds no token: the check hook hashes it, blanks the text and
 * hands the identity to the GUC machinery as its extra, stamped with the
 * transaction and the role.  So savepoints, SET LOCAL, RESET and DISCARD
 * behave as for every setting, and a stamp of another transaction is dead.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "context/context_internal.h"
#include "journal/journal.h"
#include "keyring/keyring.h"
#include "stat/stat.h"

/* An identity, the transaction in which it holds, and the role that it was given to. */
typedef struct ContextStamp
{
	uint64 serial; /* context_serial of its transaction; 0 for none */
	Oid role;	   /* the outer user at that moment */
	ContextIdentity identity;
} ContextStamp;

/* What one backend shows to its parallel workers. */
typedef struct ContextSlot
{
	LocalTransactionId lxid; /* InvalidLocalTransactionId: nobody */
	Oid role;
	ContextIdentity identity;
	char client_ip[CONTEXT_IP_SIZE];
	char user_agent[CONTEXT_AGENT_SIZE];
} ContextSlot;

static ContextSlot *context_slots = NULL; /* by pgprocno */

/* Counts this backend's transactions, without ever coming round as a local transaction id could. */
static uint64 context_serial = 1;

static Oid context_known_user = InvalidOid; /* the session's user when somebody was active last */
static ContextStamp context_first_stamp;	/* stays for the transaction, whatever savepoints do */
static ContextStamp context_active;			/* serial 0: nobody */
static bool context_assistant = false;		/* stays for the transaction, too */
static char context_assistant_tool[NAMEDATALEN];
static const ContextIdentity *context_entering = NULL; /* set while operate() assigns the setting */

static uint64 context_changes = 1;
static bool context_was_active = false;

static ContextRoleCheck context_role_check = NULL;
static ContextChangeCallback context_change_callback = NULL;
static ContextAccessReader context_access_reader = NULL;

/* What the tier said of its client in this transaction: said once, it stays. */
typedef struct ContextSaid
{
	uint64 serial; /* transaction in which it was said */
	char value[CONTEXT_AGENT_SIZE];
} ContextSaid;

static ContextSaid context_said_ip;
static ContextSaid context_said_agent;

/* Settings.  The strings are owned by guc.c. */
static char *context_token_setting = NULL;
static char *context_ip_setting = NULL;
static char *context_agent_setting = NULL;
int context_session_ttl = 24 * 60 * 60;

/* ---- parallel workers ---- */

/* Shows who is active to this backend's parallel workers. */
static void
context_publish(void)
{
	ContextSlot *slot;

	if (context_slots == NULL || MyProc == NULL || IsParallelWorker())
		return;
	slot = &context_slots[GetNumberFromPGProc(MyProc)];
	slot->lxid = InvalidLocalTransactionId;
	pg_write_barrier();
	if (context_active.serial != context_serial)
		return;
	slot->role = context_active.role;
	slot->identity = context_active.identity;
	strlcpy(slot->client_ip, context_client_ip(), sizeof(slot->client_ip));
	strlcpy(slot->user_agent, context_user_agent(), sizeof(slot->user_agent));
	pg_write_barrier();
	slot->lxid = context_active.identity.lxid;
}

/*
 * What the leader showed, in a parallel worker.  Read once: the leader cannot
 * change a setting while it has workers, and waits for them before it ends its
 * transaction.
 */
static const ContextSlot *
context_leader_slot(void)
{
	static ContextSlot copy;
	static bool read = false;

	if (!read)
	{
		PGPROC *leader = MyProc ? MyProc->lockGroupLeader : NULL;
		const ContextSlot *slot;

		if (context_slots == NULL || leader == NULL || leader == MyProc)
			return NULL;
		slot = &context_slots[GetNumberFromPGProc(leader)];
		copy.lxid = slot->lxid;
		pg_read_barrier();
		if (LocalTransactionIdIsValid(copy.lxid) && copy.lxid == PGPROC_LXID(leader))
			memcpy(&copy, slot, sizeof(copy));
		else
			copy.lxid = InvalidLocalTransactionId;
		read = true;
	}
	return LocalTransactionIdIsValid(copy.lxid) ? &copy : NULL;
}

/* ---- who is active ---- */

/* True when the identity may be used by the role and at the time of the current statement. */
static inline bool
context_holds(const ContextIdentity *identity, Oid role)
{
	return role == GetOuterUserId() && GetCurrentStatementStartTimestamp() < identity->expires_at;
}

const ContextIdentity *
context_current(void)
{
	const ContextIdentity *identity = NULL;

	if (context_active.serial == context_serial)
	{
		if (MyProc != NULL && PGPROC_LXID(MyProc) == context_active.identity.lxid &&
			context_holds(&context_active.identity, context_active.role))
			identity = &context_active.identity;
	}
	else if (IsParallelWorker())
	{
		const ContextSlot *slot = context_leader_slot();

		if (slot != NULL && context_holds(&slot->identity, slot->role))
			identity = &slot->identity;
	}
	if ((identity != NULL) != context_was_active)
	{
		context_was_active = (identity != NULL);
		context_changes++;
	}
	return identity;
}

const ContextIdentity *
context_require(void)
{
	const ContextIdentity *identity = context_current();

	if (identity == NULL)
	{
		base_require_preload();
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_NO_IDENTITY), errmsg("nobody is active in this transaction"),
				 errhint(
					 "Set immiiq.token in this transaction first, with set_config('immiiq.token', $1, true) or immiiq.authenticate.")));
	}
	return identity;
}

uint64
context_generation(void)
{
	(void) context_current();
	return context_changes;
}

bool
context_session_had_identity(void)
{
	return OidIsValid(context_known_user) && context_known_user == GetSessionUserId();
}

const ContextIdentity *
context_first(void)
{
	return context_first_stamp.serial == context_serial ? &context_first_stamp.identity : NULL;
}

const char *
context_client_ip(void)
{
	if (IsParallelWorker())
	{
		const ContextSlot *slot = context_leader_slot();

		return slot != NULL ? slot->client_ip : "";
	}
	return context_said_ip.serial == context_serial ? context_said_ip.value : "";
}

const char *
context_user_agent(void)
{
	if (IsParallelWorker())
	{
		const ContextSlot *slot = context_leader_slot();

		return slot != NULL ? slot->user_agent : "";
	}
	return context_said_agent.serial == context_serial ? context_said_agent.value : "";
}

/* ---- names ---- */

static const char *const context_module_names[] = {"clients",		 "cases",
												   "communications", "ai",
												   "documents",		 "invoices",
												   "reports",		 "billing",
												   "settings",		 "team_management"};

StaticAssertDecl((1 << lengthof(context_module_names)) - 1 == CONTEXT_MODULE_EVERY,
				 "every module has a name");

const char *
context_actor_name(ContextActor actor)
{
	switch (actor)
	{
		case CONTEXT_MEMBER:
			return "member";
		case CONTEXT_ASSISTANT:
			return "assistant";
		case CONTEXT_PORTAL:
			return "portal";
		case CONTEXT_OPERATOR:
			return "operator";
	}
	return "nobody";
}

const char *
context_scope_name(ContextScope scope)
{
	switch (scope)
	{
		case CONTEXT_SCOPE_ALL:
			return "all";
		case CONTEXT_SCOPE_TEAM:
			return "team";
		case CONTEXT_SCOPE_ASSIGNED:
			return "assigned";
		case CONTEXT_SCOPE_NONE:
			break;
	}
	return "none";
}

uint32
context_module_bit(const char *name)
{
	for (int i = 0; i < lengthof(context_module_names); i++)
		if (strcmp(name, context_module_names[i]) == 0)
			return (uint32) 1 << i;
	return 0;
}

const char *
context_module_name(uint32 bit)
{
	for (int i = 0; i < lengthof(context_module_names); i++)
		if (bit == (uint32) 1 << i)
			return context_module_names[i];
	return NULL;
}

/* ---- roles ---- */

void
context_set_role_check(ContextRoleCheck check)
{
	context_role_check = check;
}

void
context_set_change_callback(ContextChangeCallback callback)
{
	context_change_callback = callback;
}

void
context_set_access_reader(ContextAccessReader reader)
{
	context_access_reader = reader;
}

const char *
context_session_problem(const pg_uuid_t *session)
{
	ContextIdentity identity;
	const char *reason = NULL;

	return session_resolve(NULL, session, &identity, &reason) ? NULL : reason;
}

const char *
context_role_refusal(Oid roleid)
{
	if (superuser_arg(roleid))
		return "role is a superuser";
	if (has_bypassrls_privilege(roleid))
		return "role bypasses row security";
	if (context_role_check != NULL && context_role_check(roleid))
		return "role has the powers of an owner of a protected table";
	return NULL;
}

/* ---- the setting immiiq.token ---- */

/* Overwrites a setting's new text, all of it; one that was not empty becomes a mark. */
static void
context_blank(char *text)
{
	if (*text == '\0')
		return;
	crypto_wipe(text, strlen(text));
	*text = '-';
}

/* Where a value may come from: this session's SET and nothing else. Speaks through GUC_check_errmsg. */
static bool
context_source_allowed(GucSource source)
{
	if (!base_preloaded)
	{
		GUC_check_errcode(ERRCODE_IMMIIQ_NOT_PRELOADED);
		GUC_check_errmsg("immiiq must be loaded when the server starts");
		GUC_check_errhint(
			"Add shared_preload_libraries = 'immiiq' to postgresql.conf and restart the server.");
		return false;
	}
	if (InSecurityRestrictedOperation())
	{
		GUC_check_errcode(ERRCODE_INSUFFICIENT_PRIVILEGE);
		GUC_check_errmsg("this setting cannot be set within a security-restricted operation");
		return false;
	}
	if (source != PGC_S_SESSION)
	{
		GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
		GUC_check_errmsg("this setting cannot be stored or given at connection");
		GUC_check_errhint("Set it inside each transaction, with set_config(name, value, true).");
		return false;
	}
	return true;
}

/* Records a refusal, waits for the worker to write it down, and sets the error that SET will raise. */
static void
context_refuse_token(const char *reason, const pg_uuid_t *org)
{
	journal_record(JOURNAL_DENIAL, "token", "", reason, ERRCODE_IMMIIQ_TOKEN, org);
	(void) journal_flush(true);
	GUC_check_errcode(ERRCODE_IMMIIQ_TOKEN);
	GUC_check_errmsg("token refused");
}

/* Who the session of a token is, or the reason why it is nobody's. */
static const char *
context_read_token(const char *text, ContextIdentity *identity)
{
	static const char kinds[] = {TOKEN_SESSION, TOKEN_PORTAL, '\0'};
	const char *reason = NULL;
	uint8_t hash[CRYPTO_HASH_BYTES];
	ContextAccess access;

	memset(identity, 0, sizeof(*identity));
	if (context_access_reader == NULL || !token_may_be_jwt(text))
	{
		if (!token_hash(kinds, text, strlen(text), hash))
			return "malformed";
		return session_resolve(hash, NULL, identity, &reason) ? NULL : reason;
	}
	reason = context_access_reader(text, strlen(text), &access);
	if (reason != NULL)
		return reason;
	if (!session_resolve(NULL, &access.session, identity, &reason))
		return reason;
	if (access.portal != !base_uuid_is_nil(&identity->client))
		return "another audience";
	identity->expires_at = Min(identity->expires_at, access.expires_at);
	return NULL;
}

/* Resolves a token for the role and transaction of now; nothing here holds it afterwards, not even after an error. */
static bool
context_resolve_token(char *text, ContextStamp *stamp)
{
	const ContextIdentity *first;
	const char *volatile refused_role = NULL;
	const char *volatile reason = NULL;

	PG_TRY();
	{
		refused_role = context_role_refusal(stamp->role);
		if (refused_role == NULL)
			reason = context_read_token(text, &stamp->identity);
	}
	PG_CATCH();
	{
		context_blank(text);
		PG_RE_THROW();
	}
	PG_END_TRY();
	context_blank(text);
	if (refused_role != NULL)
	{
		journal_record(JOURNAL_DENIAL, "token", "", refused_role, ERRCODE_IMMIIQ_ROLE, NULL);
		(void) journal_flush(true);
		GUC_check_errcode(ERRCODE_IMMIIQ_ROLE);
		GUC_check_errmsg("this role cannot act for a member");
		GUC_check_errdetail(
			"Row security does not hold for superusers, for roles with BYPASSRLS, and for owners of protected tables.");
		GUC_check_errhint(
			"Connect as a role given by immiiq.grant_application; an operator's way in is immiiq.operate.");
		return false;
	}
	if (reason != NULL)
	{
		context_refuse_token(reason,
							 base_uuid_is_nil(&stamp->identity.org) ? NULL : &stamp->identity.org);
		return false;
	}
	first = context_first();
	if (first == NULL)
		return true;
	if (base_uuid_is_nil(&first->session) ||
		!base_uuid_equal(&first->session, &stamp->identity.session))
	{
		journal_record(JOURNAL_DENIAL, "token", "", "another identity was first in this transaction",
					   ERRCODE_IMMIIQ_SECOND_IDENTITY, first->every_org ? NULL : &first->org);
		(void) journal_flush(true);
		GUC_check_errcode(ERRCODE_IMMIIQ_SECOND_IDENTITY);
		GUC_check_errmsg("another identity was first in this transaction");
		GUC_check_errhint("End the transaction before acting for somebody else.");
		return false;
	}
	/* The same session again: as it was, so that nothing widens within a transaction. */
	stamp->identity = *first;
	return true;
}

static bool
context_check_token(char **newval, void **extra, GucSource source)
{
	ContextStamp stamp;

	if (source == PGC_S_DEFAULT || *newval == NULL)
		return true;
	if (InitializingParallelWorker)
	{
		/* The leader's mark: who is active stands in the leader's slot. */
		context_blank(*newval);
		return true;
	}
	if (!context_source_allowed(source))
	{
		context_blank(*newval);
		return false;
	}
	if (**newval == '\0')
		return true; /* nobody */

	memset(&stamp, 0, sizeof(stamp));
	stamp.role = GetOuterUserId();
	if (context_entering != NULL)
		stamp.identity = *context_entering;
	else if (!IsTransactionState())
	{
		context_blank(*newval);
		GUC_check_errcode(ERRCODE_IMMIIQ_TOKEN);
		GUC_check_errmsg("token refused");
		return false;
	}
	else
	{
		stat_add(STAT_TOKENS_CHECKED, 1);
		if (!context_resolve_token(*newval, &stamp))
		{
			stat_add(STAT_TOKENS_REFUSED, 1);
			return false;
		}
	}
	keyring_enter(&stamp.identity.org);
	stamp.serial = context_serial;
	stamp.identity.lxid = PGPROC_LXID(MyProc);

	*extra = guc_malloc(LOG, sizeof(stamp));
	if (*extra == NULL)
	{
		GUC_check_errcode(ERRCODE_OUT_OF_MEMORY);
		GUC_check_errmsg("out of memory");
		return false;
	}
	memcpy(*extra, &stamp, sizeof(stamp));
	return true;
}

/* Applies a checked value, at SET and whenever guc.c puts an earlier one back. */
static void
context_assign_token(const char *newval, void *extra)
{
	const ContextStamp *stamp = extra;

	if (stamp == NULL || stamp->serial != context_serial)
	{
		if (context_active.serial != 0)
		{
			context_active.serial = 0;
			context_changes++;
			context_publish();
		}
		return;
	}
	if (context_first_stamp.serial != context_serial)
		context_first_stamp = *stamp;
	context_known_user = GetSessionUserId();
	context_active = *stamp;
	if (context_assistant)
	{
		context_active.identity.actor = CONTEXT_ASSISTANT;
		strlcpy(context_active.identity.tool, context_assistant_tool, NAMEDATALEN);
	}
	context_changes++;
	context_publish();
	if (context_change_callback != NULL)
		context_change_callback(&context_active.identity);
}

/* Nobody reads the token back. */
static const char *
context_show_nothing(void)
{
	return "";
}

void
context_set_local(const char *name, const char *value)
{
	if (value == NULL)
		return;
	(void) set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

void
context_enter(const ContextIdentity *identity)
{
	context_entering = identity;
	PG_TRY();
	{
		context_set_local("immiiq.token", "-");
	}
	PG_FINALLY();
	{
		context_entering = NULL;
	}
	PG_END_TRY();
}

void
context_narrow(const char *tool)
{
	Assert(context_active.serial == context_serial);
	context_assistant = true;
	strlcpy(context_assistant_tool, tool, NAMEDATALEN);
	context_active.identity.actor = CONTEXT_ASSISTANT;
	strlcpy(context_active.identity.tool, tool, NAMEDATALEN);
	context_changes++;
	context_publish();
	if (context_change_callback != NULL)
		context_change_callback(&context_active.identity);
}

/* ---- the settings immiiq.client_ip and immiiq.user_agent ---- */

/* Accepts what was not said yet in this transaction, or the same again, and stamps it for the assign hook. */
static bool
context_check_said(const char *value, const ContextSaid *said, void **extra)
{
	uint64 *serial;

	if (said->serial == context_serial && strcmp(said->value, value) != 0)
	{
		GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
		GUC_check_errmsg("this setting was already given in this transaction");
		return false;
	}
	serial = guc_malloc(LOG, sizeof(uint64));
	if (serial == NULL)
	{
		GUC_check_errcode(ERRCODE_OUT_OF_MEMORY);
		GUC_check_errmsg("out of memory");
		return false;
	}
	*serial = context_serial;
	*extra = serial;
	return true;
}

static bool
context_check_ip(char **newval, void **extra, GucSource source)
{
	struct in6_addr address;

	if (source == PGC_S_DEFAULT || *newval == NULL || InitializingParallelWorker)
		return true;
	if (!context_source_allowed(source))
		return false;
	if (**newval == '\0')
		return true;
	if (strlen(*newval) >= CONTEXT_IP_SIZE ||
		(inet_pton(AF_INET, *newval, &address) != 1 && inet_pton(AF_INET6, *newval, &address) != 1))
	{
		GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
		GUC_check_errmsg("immiiq.client_ip is not an IPv4 or IPv6 address");
		return false;
	}
	return context_check_said(*newval, &context_said_ip, extra);
}

/* Keeps the first 255 bytes of what the tier reports, control characters replaced. */
static bool
context_check_agent(char **newval, void **extra, GucSource source)
{
	size_t len;

	if (source == PGC_S_DEFAULT || *newval == NULL || InitializingParallelWorker)
		return true;
	if (!context_source_allowed(source))
		return false;
	if (**newval == '\0')
		return true;
	len = strlen(*newval);
	if (len >= CONTEXT_AGENT_SIZE)
		(*newval)[pg_mbcliplen(*newval, len, CONTEXT_AGENT_SIZE - 1)] = '\0';
	for (unsigned char *c = (unsigned char *) *newval; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	return context_check_said(*newval, &context_said_agent, extra);
}

/* Remembers a value of this transaction; savepoints and RESET do not unsay it. */
static void
context_assign_said(const char *newval, void *extra, ContextSaid *said)
{
	if (extra == NULL || *(uint64 *) extra != context_serial || said->serial == context_serial)
		return;
	said->serial = context_serial;
	strlcpy(said->value, newval, sizeof(said->value));
	context_publish();
}

static void
context_assign_ip(const char *newval, void *extra)
{
	context_assign_said(newval, extra, &context_said_ip);
}

static void
context_assign_agent(const char *newval, void *extra)
{
	context_assign_said(newval, extra, &context_said_agent);
}

/* ---- the life of a transaction ---- */

static void
context_end_transaction(void)
{
	context_serial++;
	context_assistant = false;
	crypto_wipe(&context_first_stamp, sizeof(context_first_stamp));
	if (context_active.serial != 0)
	{
		crypto_wipe(&context_active, sizeof(context_active));
		context_changes++;
		context_publish();
	}
}

static void
context_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (context_first() != NULL)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot prepare a transaction in which somebody was active"),
								errhint("An identity ends with its transaction: use COMMIT.")));
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			context_end_transaction();
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

/* ---- start ---- */

static Size
context_shmem_size(void)
{
	return mul_size(add_size(MaxBackends, NUM_AUXILIARY_PROCS), sizeof(ContextSlot));
}

void
context_shmem_request(void)
{
	RequestAddinShmemSpace(context_shmem_size());
}

void
context_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	context_slots = ShmemInitStruct("immiiq context", context_shmem_size(), &found);
	if (!found)
		memset(context_slots, 0, context_shmem_size());
	LWLockRelease(AddinShmemInitLock);
}

void
context_init(void)
{
	DefineCustomStringVariable("immiiq.token", "The signed-in user's token, for this transaction.",
							   "Can be set inside a session only, and is never shown.",
							   &context_token_setting, "", PGC_USERSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   context_check_token, context_assign_token, context_show_nothing);
	DefineCustomStringVariable("immiiq.client_ip",
							   "The signed-in user's address as the web tier reports it, for this transaction.",
							   NULL, &context_ip_setting, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, context_check_ip,
							   context_assign_ip, NULL);
	DefineCustomStringVariable("immiiq.user_agent",
							   "The signed-in user's agent as the web tier reports it, for this transaction.",
							   NULL, &context_agent_setting, "", PGC_USERSET,
							   GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, context_check_agent,
							   context_assign_agent, NULL);
	DefineCustomIntVariable("immiiq.session_ttl", "How long a new session lasts.",
							"At most 24 hours.", &context_session_ttl, 24 * 60 * 60, 1,
							24 * 60 * 60, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	RegisterXactCallback(context_xact_callback, NULL);
	guard_init();
}
