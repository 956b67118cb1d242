/*
 * Heads of the ledgers of erasures, in a file that no backup of the database
 * has.  Trusts the server's user; refuses a damaged file, and a place that a
 * base backup would copy.
 *
 * Lines of one width, the first with their number, the others sorted; each ends
 * with a check over itself:
 *   installation (32 hex) organisation (uuid) seq (20 digits) hash (64 hex) check (16 hex)
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/base.h"
#include "keyring/heads.h"
#include "keyring/keyring_private.h"

#define HEADS_MAGIC		  "immiiq-ledger/v1"
#define HEADS_KEY_WIDTH	  69  /* installation and organisation, with the space between */
#define HEADS_BODY_WIDTH  155 /* up to the check */
#define HEADS_CHECK_WIDTH 16
#define HEADS_WIDTH		  (HEADS_BODY_WIDTH + 1 + HEADS_CHECK_WIDTH + 1)
#define HEADS_LOCK_TRIES  1000 /* of 10 ms */

static char *ledger_file = NULL;

void
heads_init(void)
{
	DefineCustomStringVariable("immiiq.ledger_file",
							   "File that says how far each organisation's ledger of erasures is.",
							   "Beside the root key when empty: immiiq.root_key_file with .ledger "
							   "appended. Outside the data directory and every tablespace, in a "
							   "directory that the server's user may write.",
							   &ledger_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

/* Fills path; false when no setting names a file. */
static bool
heads_path(char path[MAXPGPATH])
{
	const char *root = rootkeys_file();

	if (ledger_file != NULL && ledger_file[0] != '\0')
		return strlcpy(path, ledger_file, MAXPGPATH) < MAXPGPATH;
	return root != NULL && root[0] != '\0' &&
		   snprintf(path, MAXPGPATH, "%s.ledger", root) < MAXPGPATH;
}

pg_noreturn static void
raise_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_QUARANTINE), errmsg("the file of ledger heads is damaged"),
			 errhint("Sealed values stay shut until it is put back: a copy, or none once it "
					 "is certain that no database was restored from before an erasure.")));
}

/* ---- lines ---- */

static void
hex_of(const uint8 *bytes, int n, char *out)
{
	hex_encode((const char *) bytes, n, out);
}

static void
set_check(char *line)
{
	uint8 hash[CRYPTO_HASH_BYTES];

	if (!crypto_sha256((const uint8 *) line, HEADS_BODY_WIDTH, hash))
		elog(ERROR, "could not hash");
	line[HEADS_BODY_WIDTH] = ' ';
	hex_of(hash, HEADS_CHECK_WIDTH / 2, line + HEADS_BODY_WIDTH + 1);
	line[HEADS_WIDTH - 1] = '\n';
}

static void
require_check(const char *line)
{
	char copy[HEADS_WIDTH];

	memcpy(copy, line, HEADS_BODY_WIDTH);
	set_check(copy);
	if (memcmp(copy, line, HEADS_WIDTH) != 0)
		raise_damaged();
}

static void
put_header(char *line, uint64 lines)
{
	char text[HEADS_WIDTH];

	snprintf(text, sizeof(text), "%s %020llu", HEADS_MAGIC, (unsigned long long) lines);
	memset(line, ' ', HEADS_BODY_WIDTH);
	memcpy(line, text, strlen(text));
	set_check(line);
}

/* How many lines follow a header; damaged unless the file is as long as that. */
static uint64
read_header(const char *line, uint64 size)
{
	char again[HEADS_WIDTH];

	put_header(again, size / HEADS_WIDTH - 1);
	if (size % HEADS_WIDTH != 0 || memcmp(line, again, HEADS_WIDTH) != 0)
		raise_damaged();
	return size / HEADS_WIDTH - 1;
}

static void
put_line(char *line, const uint8_t *installation, const pg_uuid_t *org, const LedgerHead *head)
{
	char seq[21];

	hex_of(installation, HEADS_INSTALLATION_BYTES, line);
	line[32] = ' ';
	memcpy(line + 33, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(org))), 36);
	snprintf(seq, sizeof(seq), "%020llu", (unsigned long long) head->seq);
	line[HEADS_KEY_WIDTH] = ' ';
	memcpy(line + HEADS_KEY_WIDTH + 1, seq, 20);
	line[HEADS_KEY_WIDTH + 21] = ' ';
	hex_of(head->hash, CRYPTO_HASH_BYTES, line + HEADS_KEY_WIDTH + 22);
	set_check(line);
}

static void
read_line(const char *line, LedgerHead *head)
{
	char seq[21];

	require_check(line);
	memcpy(seq, line + HEADS_KEY_WIDTH + 1, 20);
	seq[20] = '\0';
	head->seq = strtoull(seq, NULL, 10);
	hex_decode(line + HEADS_KEY_WIDTH + 22, CRYPTO_HASH_BYTES * 2, (char *) head->hash);
}

/* ---- the file ---- */

/* -1 when it is not there. */
static int
open_heads(const char *path, uint64 *size)
{
	struct stat st;
	int fd = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | PG_BINARY);

	if (fd < 0 && errno == ENOENT)
		return -1;
	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_QUARANTINE),
						errmsg("could not read the file of ledger heads: %m")));
	if (!S_ISREG(st.st_mode) || st.st_size < HEADS_WIDTH)
		raise_damaged();
	*size = st.st_size;
	return fd;
}

static void
read_at(int fd, uint64 n, char *line)
{
	if (pg_pread(fd, line, HEADS_WIDTH, n * HEADS_WIDTH) != HEADS_WIDTH)
		raise_damaged();
}

bool
heads_exist(void)
{
	char path[MAXPGPATH];

	return heads_path(path) && (access(path, F_OK) == 0 || errno != ENOENT);
}

/* The first line whose key is not below this one's; *same tells whether it is this one's. */
static uint64
search_line(int fd, uint64 lines, const char *wanted, char *line, bool *same)
{
	uint64 low = 0;
	uint64 high = lines;

	*same = false;
	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;
		char one[HEADS_WIDTH];
		int order;

		read_at(fd, middle + 1, one);
		require_check(one);
		order = memcmp(one, wanted, HEADS_KEY_WIDTH);
		if (order < 0)
			low = middle + 1;
		else
		{
			high = middle;
			if (order == 0)
			{
				memcpy(line, one, HEADS_WIDTH);
				*same = true;
			}
		}
	}
	return low;
}

bool
heads_find(const uint8_t installation[HEADS_INSTALLATION_BYTES], const pg_uuid_t *org,
		   LedgerHead *head)
{
	static const LedgerHead none = {0};
	char path[MAXPGPATH];
	char wanted[HEADS_WIDTH];
	char line[HEADS_WIDTH];
	uint64 size;
	bool same;
	int fd;

	if (!heads_path(path) || (fd = open_heads(path, &size)) < 0)
		return false;
	read_at(fd, 0, line);
	put_line(wanted, installation, org, &none);
	(void) search_line(fd, read_header(line, size), wanted, line, &same);
	CloseTransientFile(fd);
	if (same)
		read_line(line, head);
	return same;
}

/* The folder of a file, resolved. */
static bool
folder_of(const char *path, char folder[PATH_MAX])
{
	char parent[MAXPGPATH];

	if (path[0] != '/')
		return false;
	strlcpy(parent, path, sizeof(parent));
	get_parent_directory(parent);
	return realpath(parent, folder) != NULL;
}

/* Databases and servers that share the file write one after another; the lock goes with the descriptor. */
static int
lock_folder(const char *folder)
{
	int fd = OpenTransientFile(folder, O_RDONLY | PG_BINARY);

	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open the folder of the file of ledger heads: %m")));
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
	{
		if (i == HEADS_LOCK_TRIES || (errno != EWOULDBLOCK && errno != EINTR))
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not lock the folder of the file of ledger heads: %m")));
		CHECK_FOR_INTERRUPTS();
		pg_usleep(10000L);
	}
	return fd;
}

bool
heads_put(const uint8_t installation[HEADS_INSTALLATION_BYTES], const pg_uuid_t *org,
		  const LedgerHead *head)
{
	char path[MAXPGPATH];
	char fresh[MAXPGPATH + 8];
	char folder[PATH_MAX];
	char wanted[HEADS_WIDTH];
	char line[HEADS_WIDTH];
	const char *problem = heads_problem();
	uint64 size = HEADS_WIDTH;
	uint64 lines = 0;
	uint64 place = 0;
	bool same = false;
	char *all;
	int lock;
	int fd;

	if (!heads_path(path))
		return false;
	if (problem != NULL || !folder_of(path, folder))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the head of the ledger could not be kept: %s",
						problem != NULL ? problem : "its folder is not there"),
				 errhint("Set immiiq.ledger_file to a file in a folder of the server's user.")));
	put_line(wanted, installation, org, head);
	lock = lock_folder(folder);
	fd = open_heads(path, &size);
	if (fd >= 0)
	{
		LedgerHead kept;

		read_at(fd, 0, line);
		lines = read_header(line, size);
		place = search_line(fd, lines, wanted, line, &same);
		if (same)
			read_line(line, &kept);
		if (same && kept.seq >= head->seq)
		{
			CloseTransientFile(fd);
			CloseTransientFile(lock);
			return true;
		}
	}

	all = MemoryContextAllocHuge(CurrentMemoryContext, size + HEADS_WIDTH);
	put_header(all, lines + (same ? 0 : 1));
	for (uint64 i = 0; i < lines; i++)
	{
		char *to = all + (i + 1 + (i >= place && !same ? 1 : 0)) * HEADS_WIDTH;

		read_at(fd, i + 1, to);
		require_check(to);
	}
	memcpy(all + (place + 1) * HEADS_WIDTH, wanted, HEADS_WIDTH);
	size = (lines + 1 + (same ? 0 : 1)) * HEADS_WIDTH;
	if (fd >= 0)
		CloseTransientFile(fd);

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	(void) unlink(fresh);
	fd = OpenTransientFilePerm(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | PG_BINARY, 0600);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("the head of the ledger could not be kept: %m"),
				 errhint("Its folder must be writable by the server's user.")));
	for (uint64 done = 0; done < size;)
	{
		ssize_t n = write(fd, all + done, size - done);

		if (n <= 0)
		{
			if (n == 0)
				errno = ENOSPC;
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("the head of the ledger could not be kept: %m")));
		}
		done += n;
	}
	CloseTransientFile(fd);
	/* Flushes the file, then the folder. */
	if (durable_rename(fresh, path, LOG) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("the head of the ledger could not be kept: %m")));
	CloseTransientFile(lock);
	pfree(all);
	return true;
}

const char *
heads_problem(void)
{
	char path[MAXPGPATH];
	char folder[PATH_MAX];
	const char *problem;

	if (!heads_path(path))
		return "neither immiiq.ledger_file nor immiiq.root_key_file is set";
	if (!folder_of(path, folder))
		return "the folder of the file of ledger heads is not there";
	if ((problem = rootkeys_place_problem(folder)) != NULL)
		return problem;
	if (access(folder, W_OK | X_OK) != 0)
		return "the server's user may not write the folder of the file of ledger heads";
	return NULL;
}
