/*
 * A clock that goes by IMMIIQ_CLOCK_OFFSET seconds wrong, for a server that is
 * to write entries of months long past.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

int
gettimeofday(struct timeval *tv, void *tz)
{
	static int (*real)(struct timeval *, void *) = NULL;
	static long offset = 0;

	if (real == NULL)
	{
		const char *value = getenv("IMMIIQ_CLOCK_OFFSET");

		offset = value != NULL ? atol(value) : 0;
		*(void **) &real = dlsym(RTLD_NEXT, "gettimeofday");
	}
	if (real(tv, tz) != 0)
		return -1;
	tv->tv_sec += offset;
	return 0;
}

time_t
time(time_t *out)
{
	struct timeval tv;

	(void) gettimeofday(&tv, NULL);
	if (out != NULL)
		*out = tv.tv_sec;
	return tv.tv_sec;
}
