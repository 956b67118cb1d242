/*
 * Root keys: from a file or a command into locked shared memory.
 * Trusts the server's configuration and user; refuses files that others can
 * read or that a base backup would copy, and never says what it read.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/command.h"
#include "keyring/keyring.h"
#include "keyring/keyring_private.h"

#define ROOTKEYS_PROBLEM_MAX 400

/*
 * An anonymous shared mapping of its own, made by the postmaster and inherited
 * by every fork: so it can be locked and kept out of core dumps even when the
 * server's shared memory is in huge pages.
 */
typedef struct RootkeysShared
{
	pg_atomic_uint64 generation;
	bool torn; /* a change of roots was begun and not ended */
	KeyringRoots roots;
	char problem[ROOTKEYS_PROBLEM_MAX];
} RootkeysShared;

static char *root_key_file = NULL;
static char *root_key_command = NULL;
static RootkeysShared *shared = NULL;
static LWLock *shared_lock = NULL;

void
rootkeys_init(void)
{
	DefineCustomStringVariable("immiiq.root_key_file",
							   "File with root keys, read when the server starts and reloads.",
							   "Owned by the server's user, mode 0600 or 0400, outside the data "
							   "directory and every tablespace.",
							   &root_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("immiiq.root_key_command",
							   "Shell command whose standard output is the root keys, run when the "
							   "server starts and reloads.",
							   NULL, &root_key_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   NULL, NULL);
}

void
rootkeys_shmem_request(void)
{
	RequestNamedLWLockTranche("immiiq_root_keys", 1);
}

/* ---- reading ---- */

/* True when path is dir or below it; both are absolute and resolved. */
static bool
is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

const char *
rootkeys_place_problem(const char *path)
{
	char resolved[PATH_MAX];
	char link[MAXPGPATH];
	const char *problem = NULL;
	struct dirent *entry;
	DIR *dir;

	if (realpath(DataDir, resolved) == NULL)
		return "the data directory could not be resolved";
	if (is_inside(path, resolved))
		return "it lies in the data directory, which base backups copy";

	snprintf(link, sizeof(link), "%s/pg_tblspc", DataDir);
	dir = opendir(link);
	if (dir == NULL)
		return "the list of tablespaces could not be read";
	while (problem == NULL && (entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] == '.')
			continue;
		snprintf(link, sizeof(link), "%s/pg_tblspc/%s", DataDir, entry->d_name);
		if (realpath(link, resolved) != NULL && is_inside(path, resolved))
			problem = "it lies in a tablespace, which base backups copy";
	}
	closedir(dir);
	return problem;
}

/* Reads the file of root keys; NULL, or what is wrong. */
static const char *
read_file(const char *path, char *buf, size_t size, size_t *len)
{
	char resolved[PATH_MAX];
	const char *problem = NULL;
	struct stat st;
	struct stat there;
	int fd;

	if (path[0] != '/')
		return "its path is not absolute";
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
	{
		switch (errno)
		{
			case ENOENT:
				return "it does not exist";
			case ELOOP:
				return "it is a symbolic link";
			case EACCES:
				return "the server's user may not read it";
			default:
				return "it could not be opened";
		}
	}
	if (fstat(fd, &st) != 0)
		problem = "it could not be examined";
	else if (!S_ISREG(st.st_mode))
		problem = "it is not a regular file";
	else if (st.st_uid != geteuid())
		problem = "it is not owned by the server's user";
	else if ((st.st_mode & 07777) != 0600 && (st.st_mode & 07777) != 0400)
		problem = "its mode is neither 0600 nor 0400";
	else if (st.st_nlink != 1)
		problem = "it has more than one name";
	else if (st.st_size > (off_t) size)
		problem = "it is longer than 16 kB";
	/* The path may lead through links to folders: what counts is where the opened file is. */
	else if (realpath(path, resolved) == NULL || stat(resolved, &there) != 0 ||
			 there.st_dev != st.st_dev || there.st_ino != st.st_ino)
		problem = "its path could not be resolved";
	else
		problem = rootkeys_place_problem(resolved);

	*len = 0;
	while (problem == NULL)
	{
		char beyond;
		ssize_t n = *len < size ? read(fd, buf + *len, size - *len) : read(fd, &beyond, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			problem = "it could not be read";
		else if (n == 0)
			break;
		else if (*len == size)
			problem = "it is longer than 16 kB";
		else
			*len += (size_t) n;
	}
	close(fd);
	return problem;
}

/* Reads root keys from where the settings say. False, with problem filled, when they are not to be had. */
static bool
read_roots(KeyringRoots *roots, char *problem, size_t problem_size)
{
	bool has_file = root_key_file != NULL && root_key_file[0] != '\0';
	bool has_command = root_key_command != NULL && root_key_command[0] != '\0';
	const char *source = has_file ? "immiiq.root_key_file" : "immiiq.root_key_command";
	const char *what;
	char *buf;
	size_t len = 0;
	int line = 0;

	if (has_file && has_command)
	{
		strlcpy(problem, "both immiiq.root_key_file and immiiq.root_key_command are set",
				problem_size);
		return false;
	}
	if (!has_file && !has_command)
	{
		strlcpy(problem, "neither immiiq.root_key_file nor immiiq.root_key_command is set",
				problem_size);
		return false;
	}
	buf = crypto_alloc_locked(KEYRING_ROOT_TEXT_MAX);
	if (buf == NULL)
	{
		strlcpy(problem, "out of memory", problem_size);
		return false;
	}
	if (has_file)
		what = read_file(root_key_file, buf, KEYRING_ROOT_TEXT_MAX, &len);
	else
		what = command_run(root_key_command, NULL, 0, buf, KEYRING_ROOT_TEXT_MAX, &len);
	if (what == NULL)
		what = keyring_parse_roots(buf, len, roots, &line);
	crypto_free_locked(buf);
	if (what == NULL)
		return true;
	if (line > 0)
		snprintf(problem, problem_size, "%s: line %d: %s", source, line, what);
	else
		snprintf(problem, problem_size, "%s: %s", source, what);
	return false;
}

/* ---- loading ---- */

static void
lock_shared(LWLockMode mode)
{
	/* The postmaster loads while it has no children, and cannot take locks. */
	if (MyProc != NULL)
		LWLockAcquire(shared_lock, mode);
}

static void
unlock_shared(void)
{
	if (MyProc != NULL)
		LWLockRelease(shared_lock);
}

/* The id of a loaded root key whose bytes the new ones would change, or NULL. */
static const char *
changed_root(const KeyringRoots *roots)
{
	for (int i = 0; i < roots->count; i++)
	{
		for (int j = 0; j < shared->roots.count; j++)
		{
			if (strcmp(roots->root[i].id, shared->roots.root[j].id) == 0 &&
				!crypto_equal(roots->root[i].key, shared->roots.root[j].key, CRYPTO_KEY_BYTES))
				return roots->root[i].id;
		}
	}
	return NULL;
}

static bool
same_roots(const KeyringRoots *a, const KeyringRoots *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		if (strcmp(a->root[i].id, b->root[i].id) != 0 ||
			!crypto_equal(a->root[i].key, b->root[i].key, CRYPTO_KEY_BYTES))
			return false;
	}
	return true;
}

void
keyring_reload(void)
{
	char problem[ROOTKEYS_PROBLEM_MAX] = "";
	char current[KEYRING_ROOT_ID_MAX + 1] = "";
	KeyringRoots *roots;
	const char *changed;
	bool kept;
	bool loaded = false;
	int count = 0;

	if (shared == NULL)
		return;
	roots = crypto_alloc_locked(sizeof(KeyringRoots));
	if (roots == NULL)
		strlcpy(problem, "out of memory", sizeof(problem));
	else
		(void) read_roots(roots, problem, sizeof(problem));

	lock_shared(LW_EXCLUSIVE);
	if (problem[0] == '\0' && (changed = changed_root(roots)) != NULL)
		snprintf(problem, sizeof(problem),
				 "root key \"%s\" is not the one that is loaded under this id; a restart would "
				 "load it",
				 changed);
	strlcpy(shared->problem, problem, sizeof(shared->problem));
	if (problem[0] == '\0' && !same_roots(roots, &shared->roots))
	{
		shared->torn = true;
		pg_write_barrier();
		crypto_wipe(&shared->roots, sizeof(shared->roots));
		memcpy(&shared->roots, roots, sizeof(shared->roots));
		pg_write_barrier();
		shared->torn = false;
		pg_atomic_fetch_add_u64(&shared->generation, 1);
		loaded = true;
	}
	count = shared->roots.count;
	kept = count > 0;
	if (kept)
		strlcpy(current, shared->roots.root[count - 1].id, sizeof(current));
	unlock_shared();
	crypto_free_locked(roots);

	if (problem[0] != '\0' && kept)
		ereport(WARNING,
				(errcode(ERRCODE_IMMIIQ_ROOT_KEY),
				 errmsg("could not load root keys, those already loaded stay in use: %s", problem)));
	else if (problem[0] != '\0')
		ereport(WARNING,
				(errcode(ERRCODE_IMMIIQ_ROOT_KEY),
				 errmsg("could not load root keys, sealed columns cannot be used: %s", problem)));
	else if (loaded)
		ereport(LOG, (errmsg("loaded %d root key(s), the current one is \"%s\"", count, current)));
}

void
rootkeys_shmem_startup(void)
{
	Size size = TYPEALIGN(sysconf(_SC_PAGESIZE), sizeof(RootkeysShared));
	void *area;

	shared_lock = &GetNamedLWLockTranche("immiiq_root_keys")->lock;

	/* After a crash of a backend the postmaster comes here again: the mapping is still there. */
	if (shared == NULL)
	{
		area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED || !crypto_init())
		{
			ereport(WARNING,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("could not make room for root keys, sealed columns cannot be used")));
			return;
		}
		if (madvise(area, size, MADV_DONTDUMP) != 0)
			ereport(WARNING, (errmsg("could not keep root keys out of core dumps: %m")));
		if (mlock(area, size) != 0)
			ereport(WARNING,
					(errmsg("could not lock root keys in memory: %m"),
					 errhint("Raise the limit on locked memory (ulimit -l, or LimitMEMLOCK= of the "
							 "service).")));
		shared = area;
		pg_atomic_init_u64(&shared->generation, 0);
	}
	if (shared->torn)
	{
		crypto_wipe(&shared->roots, sizeof(shared->roots));
		shared->torn = false;
	}
	keyring_reload();
}

/* ---- for keyring.c and heads.c ---- */

const char *
rootkeys_file(void)
{
	return root_key_file;
}

uint64
rootkeys_generation(void)
{
	return shared != NULL ? pg_atomic_read_u64(&shared->generation) : 0;
}

bool
rootkeys_find(const char *id, KeyringRoot *root)
{
	bool found = false;

	if (shared == NULL)
		return false;
	lock_shared(LW_SHARED);
	for (int i = 0; i < shared->roots.count && !found; i++)
	{
		if (strcmp(shared->roots.root[i].id, id) == 0)
		{
			*root = shared->roots.root[i];
			found = true;
		}
	}
	unlock_shared();
	return found;
}

bool
rootkeys_nth(int n, KeyringRoot *root, bool *last)
{
	bool found = false;

	if (shared == NULL)
		return false;
	lock_shared(LW_SHARED);
	if (n < shared->roots.count)
	{
		*root = shared->roots.root[n];
		*last = n == shared->roots.count - 1;
		found = true;
	}
	unlock_shared();
	return found;
}

bool
rootkeys_current(KeyringRoot *root)
{
	bool found = false;

	if (shared == NULL)
		return false;
	lock_shared(LW_SHARED);
	if (shared->roots.count > 0)
	{
		*root = shared->roots.root[shared->roots.count - 1];
		found = true;
	}
	unlock_shared();
	return found;
}

void
rootkeys_problem(char *out, size_t size)
{
	if (shared == NULL)
	{
		strlcpy(out, "immiiq was not loaded when the server started", size);
		return;
	}
	lock_shared(LW_SHARED);
	strlcpy(out, shared->problem, size);
	unlock_shared();
}
