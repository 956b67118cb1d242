/*
 * A clock that goes by IMMIIQ_CLOCK_OFFSET seconds wrong, for a server that is
 * to write entries of months long past; or by what the file IMMIIQ_CLOCK_FILE
 * says at each look, for one whose clock steps while it runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int
gettimeofday(struct timeval *tv, void *tz)
{
	static int (*real)(struct timeval *, void *) = NULL;
	static long offset = 0;
	static const char *file = NULL;

	if (real == NULL)
	{
		const char *value = getenv("IMMIIQ_CLOCK_OFFSET");

		offset = value != NULL ? atol(value) : 0;
		file = getenv("IMMIIQ_CLOCK_FILE");
		*(void **) &real = dlsym(RTLD_NEXT, "gettimeofday");
	}
	if (file != NULL)
	{
		char text[32] = "0";
		int fd = open(file, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
		{
			if (read(fd, text, sizeof(text) - 1) < 0)
				text[0] = '0';
			close(fd);
		}
		offset = atol(text);
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
