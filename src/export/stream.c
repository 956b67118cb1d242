/*
 * The lines of an export, file by file, as they are read: no more of it is in
 * memory than a batch of rows.  Trusts the SQL functions export_begin, export_plan
 * and export_manifest for who may and what; refuses to go on as somebody else.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "base/compat.h"
#include "context/context.h"
#include "crypto/crypto.h"
#include "journal/journal.h"

#define STREAM_ROWS	 200		  /* of a batch, at most */
#define STREAM_BYTES (512 * 1024) /* after which a batch is not filled further */

/* How a value is written in JSON. */
typedef enum StreamKind
{
	STREAM_STRING,
	STREAM_BOOLEAN,
	STREAM_NUMBER, /* when it looks like one: NaN does not, nor does what cannot be opened */
	STREAM_JSON	   /* the same */
} StreamKind;

typedef struct StreamColumn
{
	StreamKind kind;
	FmgrInfo output;
	char *key; /* ,"name": */
	int key_len;
} StreamColumn;

/* One file that is planned. */
typedef struct StreamFile
{
	char *path;
	char *query;   /* NULL: the manifest */
	char *columns; /* jsonb text for the manifest */
} StreamFile;

/* What became of the files of this transaction, for the manifest. */
typedef struct StreamRun
{
	bool of_client;
	pg_uuid_t client;
	pg_uuid_t org;
	bool csv;
	List *done; /* of char *: JSON objects */
	struct StreamRun *next;
} StreamRun;

static StreamRun *stream_runs = NULL; /* in TopTransactionContext */
static MemoryContextCallback stream_forget_callback;

typedef struct Stream
{
	MemoryContext memory; /* of the whole call */
	MemoryContext batch;
	MemoryContext file_memory;
	Oid owner;
	StreamRun *run;
	ContextActor actor;
	pg_uuid_t org;
	bool csv;
	pg_uuid_t *client; /* NULL: the organisation */
	char *manifest;	   /* once it is made */
	char *receipts;	   /* jsonb text of files that were finished before, or NULL */
	char *snapshot;
	List *files; /* of StreamFile */
	int file;	 /* the one at hand */
	QueryDesc *query;
	bool stopped; /* by the receiver: the batch is full */
	bool at_end;  /* the query has no more rows */
	StreamColumn *columns;
	int column_count;
	bool raw; /* the one column is the line */
	int64 records;
	int64 bytes;
	CryptoSha256 hash;
	text *path;	 /* of the file at hand */
	List *lines; /* of text *, in batch */
	int line;	 /* the next one to give */
	size_t batch_bytes;
	StringInfoData buffer; /* in memory */
	DestReceiver receiver;
} Stream;

/* What has to be undone when a batch is over. */
typedef struct StreamGuard
{
	Oid user;
	int security;
	int guc_level;
} StreamGuard;

/* ---- lines ---- */

/* Counts a line into the file and keeps it for the caller. */
static void
stream_add_line(Stream *s, const char *line, size_t len)
{
	MemoryContext old = MemoryContextSwitchTo(s->batch);

	if (!crypto_sha256_add(&s->hash, line, len) || !crypto_sha256_add(&s->hash, "\n", 1))
		elog(ERROR, "could not compute a hash");
	s->bytes += len + 1;
	s->batch_bytes += len + 1;
	s->lines = lappend(s->lines, cstring_to_text_with_len(line, len));
	MemoryContextSwitchTo(old);
}

static bool
stream_looks_numeric(const char *text)
{
	if (*text == '-')
		text++;
	return *text >= '0' && *text <= '9' && text[strspn(text, "0123456789+-.eE")] == '\0';
}

static void
stream_put_json(StringInfo out, StreamKind kind, const char *text)
{
	switch (kind)
	{
		case STREAM_BOOLEAN:
			appendStringInfoString(out, *text == 't' ? "true" : "false");
			return;
		case STREAM_NUMBER:
			if (!stream_looks_numeric(text))
				break;
			appendStringInfoString(out, text);
			return;
		case STREAM_JSON:
			if (strncmp(text, "iq1:", 4) == 0)
				break;
			/* json keeps its line breaks, which stand between tokens only */
			for (; *text != '\0'; text++)
				appendStringInfoCharMacro(out, *text == '\n' || *text == '\r' ? ' ' : *text);
			return;
		case STREAM_STRING:
			break;
	}
	escape_json(out, text);
}

/* RFC 4180; an empty string is quoted, null is not. */
static void
stream_put_csv(StringInfo out, const char *text)
{
	if (*text != '\0' && text[strcspn(text, ",\"\r\n\\ \t")] == '\0')
	{
		appendStringInfoString(out, text);
		return;
	}
	appendStringInfoCharMacro(out, '"');
	for (; *text != '\0'; text++)
	{
		if (*text == '"')
			appendStringInfoCharMacro(out, '"');
		appendStringInfoCharMacro(out, *text);
	}
	appendStringInfoCharMacro(out, '"');
}

static bool
stream_receive(TupleTableSlot *slot, DestReceiver *self)
{
	Stream *s = (Stream *) ((char *) self - offsetof(Stream, receiver));
	StringInfo out = &s->buffer;
	MemoryContext old = MemoryContextSwitchTo(s->batch);

	slot_getallattrs(slot);
	resetStringInfo(out);
	if (s->raw)
	{
		if (!slot->tts_isnull[0])
			appendStringInfoString(out,
								   OutputFunctionCall(&s->columns[0].output, slot->tts_values[0]));
	}
	for (int i = 0; i < s->column_count && !s->raw; i++)
	{
		StreamColumn *column = &s->columns[i];

		if (s->csv)
		{
			if (i > 0)
				appendStringInfoCharMacro(out, ',');
			if (!slot->tts_isnull[i])
				stream_put_csv(out, OutputFunctionCall(&column->output, slot->tts_values[i]));
			continue;
		}
		appendBinaryStringInfoNT(out, column->key, column->key_len);
		if (slot->tts_isnull[i])
			appendBinaryStringInfoNT(out, "null", 4);
		else
			stream_put_json(out, column->kind,
							OutputFunctionCall(&column->output, slot->tts_values[i]));
	}
	if (!s->csv && !s->raw)
		appendBinaryStringInfo(out, s->column_count == 0 ? "{}" : "}", s->column_count == 0 ? 2 : 1);
	s->records++;
	stream_add_line(s, out->data, out->len);
	MemoryContextSwitchTo(old);
	s->stopped = s->batch_bytes >= STREAM_BYTES;
	return !s->stopped;
}

static void
stream_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
stream_shutdown(DestReceiver *self)
{
}

/* ---- the function's owner, and fixed settings ---- */

static void
stream_enter(Stream *s, StreamGuard *guard)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "iso_8601"},
		{"timezone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
	};

	GetUserIdAndSecContext(&guard->user, &guard->security);
	guard->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(s->owner, guard->security | SECURITY_LOCAL_USERID_CHANGE |
										 SECURITY_RESTRICTED_OPERATION);
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* An error needs none of this: whoever catches it restores both. */
static void
stream_leave(StreamGuard *guard)
{
	AtEOXact_GUC(true, guard->guc_level);
	SetUserIdAndSecContext(guard->user, guard->security);
}

/* ---- files ---- */

static StreamKind
stream_kind(Oid type)
{
	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
			return STREAM_BOOLEAN;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return STREAM_NUMBER;
		case JSONOID:
		case JSONBOID:
			return STREAM_JSON;
	}
	if (type == base_type("enc_int8") || type == base_type("enc_numeric"))
		return STREAM_NUMBER;
	return type == base_type("enc_jsonb") ? STREAM_JSON : STREAM_STRING;
}

static void
stream_open_file(Stream *s, StreamFile *file)
{
	MemoryContext old;
	List *raw;
	List *rewritten;
	PlannedStmt *plan;
	TupleDesc desc;

	s->file_memory = AllocSetContextCreate(s->memory, "immiiq export file", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(s->file_memory);
	s->records = s->bytes = 0;
	if (!crypto_sha256_start(&s->hash))
		elog(ERROR, "could not compute a hash");
	raw = pg_parse_query(file->query);
	rewritten =
		pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, raw), file->query, NULL, 0, NULL);
	if (list_length(rewritten) != 1 || linitial_node(Query, rewritten)->commandType != CMD_SELECT)
		elog(ERROR, "query of an export is no single SELECT");
	plan = pg_plan_query(linitial_node(Query, rewritten), file->query, 0, NULL);
	s->receiver.receiveSlot = stream_receive;
	s->receiver.rStartup = stream_startup;
	s->receiver.rShutdown = stream_shutdown;
	s->receiver.rDestroy = stream_shutdown;
	s->receiver.mydest = DestNone;
	s->query = CreateQueryDesc(plan, file->query, GetActiveSnapshot(), InvalidSnapshot,
							   &s->receiver, NULL, NULL, 0);
	ExecutorStart(s->query, 0);
	s->at_end = false;

	desc = s->query->tupDesc;
	s->column_count = desc->natts;
	s->columns = palloc0(sizeof(StreamColumn) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		StringInfoData key;
		Oid output;
		bool is_varlena;

		getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
		fmgr_info(output, &s->columns[i].output);
		s->columns[i].kind = stream_kind(attribute->atttypid);
		initStringInfo(&key);
		appendStringInfoChar(&key, i == 0 ? '{' : ',');
		escape_json(&key, NameStr(attribute->attname));
		appendStringInfoChar(&key, ':');
		s->columns[i].key = key.data;
		s->columns[i].key_len = key.len;
	}
	s->raw = file->columns != NULL && strcmp(file->columns, "[]") == 0;
	if (s->csv && !s->raw)
	{
		resetStringInfo(&s->buffer);
		for (int i = 0; i < desc->natts; i++)
		{
			if (i > 0)
				appendStringInfoChar(&s->buffer, ',');
			stream_put_csv(&s->buffer, NameStr(TupleDescAttr(desc, i)->attname));
		}
		stream_add_line(s, s->buffer.data, s->buffer.len);
	}
	MemoryContextSwitchTo(old);
}

static void
stream_end_query(Stream *s)
{
	QueryDesc *query = s->query;

	s->query = NULL;
	if (query == NULL)
		return;
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

/* What the manifest says of a file that is finished. */
static void
stream_close_file(Stream *s, StreamFile *file)
{
	uint8 digest[CRYPTO_HASH_BYTES];
	char hex[2 * CRYPTO_HASH_BYTES + 1];
	StringInfoData json;
	MemoryContext old;

	stream_end_query(s);
	if (!crypto_sha256_finish(&s->hash, digest))
		elog(ERROR, "could not compute a hash");
	hex_encode((const char *) digest, sizeof(digest), hex);
	hex[2 * CRYPTO_HASH_BYTES] = '\0';

	old = MemoryContextSwitchTo(TopTransactionContext);
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"path\":");
	escape_json(&json, file->path);
	appendStringInfo(&json,
					 ",\"records\":" INT64_FORMAT ",\"bytes\":" INT64_FORMAT
					 ",\"sha256\":\"%s\",\"snapshot\":",
					 s->records, s->bytes, hex);
	escape_json(&json, s->snapshot);
	appendStringInfo(&json, ",\"columns\":%s}", file->columns != NULL ? file->columns : "[]");
	s->run->done = lappend(s->run->done, json.data);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(s->file_memory);
	s->file_memory = NULL;
}

/* What one of the SQL functions gives for client, format, text and the receipts; in memory. */
static char *
stream_ask(Stream *s, const char *sql, const char *argument)
{
	Oid types[4] = {UUIDOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[4] = {UUIDPGetDatum(s->client), CStringGetTextDatum(s->csv ? "csv" : "jsonl"),
					   CStringGetTextDatum(argument),
					   s->receipts != NULL ? CStringGetTextDatum(s->receipts) : (Datum) 0};
	char nulls[4] = {s->client == NULL ? 'n' : ' ', ' ', ' ', s->receipts == NULL ? 'n' : ' '};
	char *value = NULL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (SPI_execute_with_args(sql, 4, types, values, nulls, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not write a manifest");
	value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (value == NULL)
		elog(ERROR, "could not write a manifest");
	value = MemoryContextStrdup(s->memory, value);
	SPI_finish();
	return value;
}

/* The manifest or its signature, whole. */
static void
stream_put_manifest(Stream *s, bool signature)
{
	StringInfoData files;
	ListCell *cell;
	const char *line;

	if (s->manifest == NULL)
	{
		initStringInfo(&files);
		appendStringInfoChar(&files, '[');
		foreach (cell, s->run->done)
			appendStringInfo(&files, "%s%s", files.len > 1 ? "," : "", (char *) lfirst(cell));
		appendStringInfoChar(&files, ']');
		s->manifest = stream_ask(s, "SELECT immiiq.export_manifest($1, $2, $3, $4)", files.data);
	}
	s->records = s->bytes = 0;
	if (!crypto_sha256_start(&s->hash))
		elog(ERROR, "could not compute a hash");
	line =
		signature ? stream_ask(s, "SELECT immiiq.export_signature($3)", s->manifest) : s->manifest;
	while (*line != '\0')
	{
		size_t len = strcspn(line, "\n");

		stream_add_line(s, line, len);
		line += len + (line[len] == '\n');
	}
}

/* ---- the call ---- */

static void
stream_forget(void *arg)
{
	stream_runs = NULL;
}

/* What this transaction has exported of this client, or of the organisation, in this form. */
static StreamRun *
stream_find_run(const pg_uuid_t *org, const pg_uuid_t *client, bool csv)
{
	for (StreamRun *run = stream_runs; run != NULL; run = run->next)
	{
		if (run->csv == csv && run->of_client == (client != NULL) &&
			base_uuid_equal(&run->org, org) &&
			(client == NULL || base_uuid_equal(&run->client, client)))
			return run;
	}
	return NULL;
}

static StreamRun *
stream_make_run(const pg_uuid_t *org, const pg_uuid_t *client, bool csv)
{
	StreamRun *run = stream_find_run(org, client, csv);
	char object[JOURNAL_OBJECT_MAX];

	if (run != NULL)
		return run;
	if (client != NULL)
		snprintf(object, sizeof(object), "client %s",
				 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(client))));
	else
		strlcpy(object, "organisation", sizeof(object));
	/* On record before the first line is out, and whatever becomes of the transaction. */
	journal_record(JOURNAL_EXPORT, client != NULL ? "export_client" : "export_org", object,
				   csv ? "csv" : "jsonl", 0, NULL);
	if (!journal_flush(true))
		ereport(ERROR, errcode(ERRCODE_IMMIIQ_JOURNAL), errmsg("could not record the export"),
				errhint("The worker of this database must run; see immiiq.doctor()."));
	if (stream_runs == NULL)
	{
		stream_forget_callback.func = stream_forget;
		stream_forget_callback.arg = NULL;
		MemoryContextRegisterResetCallback(TopTransactionContext, &stream_forget_callback);
	}
	run = MemoryContextAllocZero(TopTransactionContext, sizeof(StreamRun));
	run->of_client = client != NULL;
	if (client != NULL)
		run->client = *client;
	run->org = *org;
	run->csv = csv;
	run->next = stream_runs;
	stream_runs = run;
	return run;
}

/* Who began goes on: narrowed, or with nobody active any more, there is no further line. */
static void
stream_check_identity(Stream *s)
{
	const ContextIdentity *identity = context_require();

	if (identity->actor != s->actor || identity->every_org ||
		!base_uuid_equal(&identity->org, &s->org))
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied to export"),
				errdetail("Somebody else is active than when the export began."));
}

/* The function's owner: whose rights it reads with. */
static Oid
stream_owner(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Called at the end of the outer query, and where it stops early. */
static void
stream_release(Datum arg)
{
	stream_end_query((Stream *) DatumGetPointer(arg));
}

/* Checks, records, plans. */
static void
stream_begin(Stream *s, const pg_uuid_t *client, const char *format, Datum files,
			 bool files_is_null, Datum receipts, bool receipts_is_null)
{
	Oid types[4] = {UUIDOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum values[4] = {UUIDPGetDatum(client), CStringGetTextDatum(format), files, receipts};
	char nulls[4] = {client == NULL ? 'n' : ' ', ' ', files_is_null ? 'n' : ' ',
					 receipts_is_null ? 'n' : ' '};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (SPI_execute_with_args("SELECT path, query, columns, receipts_read, snapshot FROM "
							  "immiiq.export_begin($1, $2, $3, $4) ORDER BY place",
							  4, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not plan an export");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(s->memory);
		StreamFile *file = palloc0(sizeof(StreamFile));

		file->path = SPI_getvalue(row, desc, 1);
		file->query = SPI_getvalue(row, desc, 2);
		file->columns = SPI_getvalue(row, desc, 3);
		s->receipts = SPI_getvalue(row, desc, 4);
		s->snapshot = SPI_getvalue(row, desc, 5);
		s->files = lappend(s->files, file);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
}

/* Fills the next batch; false when there is nothing more. */
static bool
stream_fill(Stream *s)
{
	MemoryContextReset(s->batch);
	s->lines = NIL;
	s->line = 0;
	s->batch_bytes = 0;
	while (s->lines == NIL)
	{
		StreamFile *file;

		CHECK_FOR_INTERRUPTS();
		if (s->query != NULL && s->at_end)
		{
			stream_close_file(s, list_nth(s->files, s->file));
			s->file++;
		}
		if (s->query == NULL)
		{
			MemoryContext old;

			if (s->file >= list_length(s->files))
				return false;
			file = list_nth(s->files, s->file);
			old = MemoryContextSwitchTo(s->memory);
			s->path = cstring_to_text(file->path);
			MemoryContextSwitchTo(old);
			if (file->query == NULL)
			{
				stream_put_manifest(s, strcmp(file->path, "manifest.json") != 0);
				s->file++;
				continue;
			}
			stream_open_file(s, file);
		}
		PushActiveSnapshot(s->query->snapshot);
		s->stopped = false;
		ExecutorRun(s->query, ForwardScanDirection, STREAM_ROWS);
		PopActiveSnapshot();
		s->at_end = !s->stopped && s->query->estate->es_processed < STREAM_ROWS;
	}
	return true;
}

static Datum
stream_call(FunctionCallInfo fcinfo, bool of_client)
{
	FuncCallContext *call;
	Stream *s;
	StreamGuard guard;
	bool more;

	if (SRF_IS_FIRSTCALL())
	{
		int n = of_client ? 1 : 0;
		const pg_uuid_t *client = of_client && !PG_ARGISNULL(0) ? PG_GETARG_UUID_P(0) : NULL;
		char *format = PG_ARGISNULL(n) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(n));
		ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
		const ContextIdentity *identity;
		MemoryContext old;
		TupleDesc desc;

		base_require_preload();
		if (of_client && client == NULL)
			ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("client must not be null"));
		if (strcmp(format, "jsonl") != 0 && strcmp(format, "csv") != 0)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("format must be jsonl or csv"));
		identity = context_require();

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "result of an export is no row");
		call->tuple_desc = BlessTupleDesc(desc);
		s = palloc0(sizeof(Stream));
		s->memory = call->multi_call_memory_ctx;
		s->batch = AllocSetContextCreate(s->memory, "immiiq export batch", ALLOCSET_DEFAULT_SIZES);
		s->owner = stream_owner(fcinfo->flinfo->fn_oid);
		s->actor = identity->actor;
		s->org = identity->org;
		s->csv = strcmp(format, "csv") == 0;
		initStringInfo(&s->buffer);
		if (client != NULL)
		{
			s->client = palloc(sizeof(pg_uuid_t));
			*s->client = *client;
		}
		MemoryContextSwitchTo(old);
		RegisterExprContextCallback(result->econtext, stream_release, PointerGetDatum(s));

		stream_enter(s, &guard);
		stream_begin(s, client, format, PG_GETARG_DATUM(n + 1), PG_ARGISNULL(n + 1),
					 PG_GETARG_DATUM(n + 2), PG_ARGISNULL(n + 2));
		stream_leave(&guard);
		s->run = stream_make_run(&s->org, s->client, s->csv);
		call->user_fctx = s;
	}

	call = SRF_PERCALL_SETUP();
	s = call->user_fctx;
	stream_check_identity(s);
	if (s->line >= list_length(s->lines))
	{
		stream_enter(s, &guard);
		more = stream_fill(s);
		stream_leave(&guard);
		if (!more)
		{
			/* What is done frees s. */
			UnregisterExprContextCallback(((ReturnSetInfo *) fcinfo->resultinfo)->econtext,
										  stream_release, PointerGetDatum(s));
			SRF_RETURN_DONE(call);
		}
	}
	{
		Datum values[2] = {PointerGetDatum(s->path), PointerGetDatum(list_nth(s->lines, s->line++))};
		bool nulls[2] = {false, false};

		SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
	}
}

PG_FUNCTION_INFO_V1(immiiq_export_client);
/*
 * export_client(client uuid, format text, files text[], receipts text[]) → setof (path, line): everything of a client.
 * 42501 for who may not, 55000 for a column without a rule, IQ041 when it cannot be recorded.
 */
Datum
immiiq_export_client(PG_FUNCTION_ARGS)
{
	return stream_call(fcinfo, true);
}

PG_FUNCTION_INFO_V1(immiiq_export_org);
/* export_org(format text, files text[], receipts text[]) → setof (path, line): everything of the active organisation. */
Datum
immiiq_export_org(PG_FUNCTION_ARGS)
{
	return stream_call(fcinfo, false);
}

PG_FUNCTION_INFO_V1(immiiq_export_done);
/* export_done(client uuid, format text, path text) → text: what this transaction's export says of a file that it finished; null when it did not. */
Datum
immiiq_export_done(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_require();
	StringInfoData start;
	StreamRun *run;
	ListCell *cell;
	char *found = NULL;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	run = stream_find_run(&identity->org, PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0),
						  strcmp(text_to_cstring(PG_GETARG_TEXT_PP(1)), "csv") == 0);
	if (run == NULL)
		PG_RETURN_NULL();
	initStringInfo(&start);
	appendStringInfoString(&start, "{\"path\":");
	escape_json(&start, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	appendStringInfoChar(&start, ',');
	foreach (cell, run->done)
	{
		if (strncmp(lfirst(cell), start.data, start.len) == 0)
			found = lfirst(cell);
	}
	if (found == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(found));
}
