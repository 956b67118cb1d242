/*
 * Shell commands of the server's configuration: root keys, signatures, anchors.
 * Trusts who writes the configuration; refuses output without end and commands
 * without one, and never says what they said.  Neither popen nor OpenPipeStream:
 * they cannot be given a deadline, and buffer what is secret where nobody wipes.
 */
#include "postgres.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/command.h"

/* In the child: becomes the shell. Only calls that are safe after fork. */
static void
command_exec(const char *command, int in, int out)
{
	sigset_t none;

	setpgid(0, 0);
	if (in < 0)
		in = open("/dev/null", O_RDONLY);
	if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", "-c", command, (char *) NULL);
	_exit(127);
}

/* Makes the pipe of its input and fills it; false when that could not be. */
static bool
command_fill(int ends[2], const char *input, size_t input_len)
{
	ssize_t n;

	if (pipe(ends) != 0)
		return false;
	/* there is room for so little before anybody reads */
	if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0)
		n = -1;
	else
		n = write(ends[1], input, input_len);
	close(ends[1]);
	if (n >= 0 && (size_t) n == input_len)
		return true;
	close(ends[0]);
	return false;
}

bool
command_start(Command *c, const char *command, const char *input, size_t input_len, char *buf,
			  size_t size)
{
	int in[2] = {-1, -1};
	int out[2];

	memset(c, 0, sizeof(*c));
	c->start = GetCurrentTimestamp();
	c->buf = buf;
	c->size = size;
	c->out = -1;
	if (input != NULL && !command_fill(in, input, input_len))
	{
		c->problem = "its input could not be made";
		return false;
	}
	if (pipe(out) != 0)
	{
		if (in[0] >= 0)
			close(in[0]);
		c->problem = "no pipe could be made";
		return false;
	}
	fflush(stdout);
	fflush(stderr);
	c->pid = fork();
	if (c->pid == 0)
		command_exec(command, in[0], out[1]);
	close(out[1]);
	if (in[0] >= 0)
		close(in[0]);
	if (c->pid < 0)
	{
		close(out[0]);
		c->pid = 0;
		c->problem = "no process could be started";
		return false;
	}
	setpgid(c->pid, c->pid);
	c->out = out[0];
	return true;
}

void
command_kill(Command *c)
{
	int status;

	if (c->out >= 0)
		close(c->out);
	c->out = -1;
	if (c->pid <= 0)
		return;
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
}

/* Why it must end now; NULL when it need not. */
static const char *
command_interrupted(const Command *c)
{
	if (ProcDiePending)
		return "the server is stopping";
	if (QueryCancelPending)
		return "the statement was cancelled";
	if (TimestampDifferenceExceeds(c->start, GetCurrentTimestamp(), COMMAND_TIMEOUT_MS))
		return "it did not end within 30 seconds";
	return NULL;
}

/* Reads once, when there is something to read within this time. */
static const char *
command_read(Command *c, long wait_ms)
{
	struct pollfd wait = {.fd = c->out, .events = POLLIN};
	char beyond;
	ssize_t n;

	if (poll(&wait, 1, (int) wait_ms) <= 0)
		return NULL;
	n = c->len < c->size ? read(c->out, c->buf + c->len, c->size - c->len)
						 : read(c->out, &beyond, 1);
	if (n < 0)
		return errno == EINTR ? NULL : "its output could not be read";
	if (n > 0 && c->len == c->size)
		return "its output is longer than 16 kB";
	c->len += (size_t) n;
	if (n == 0)
	{
		close(c->out);
		c->out = -1;
	}
	return NULL;
}

bool
command_step(Command *c, long wait_ms)
{
	int status = 0;
	pid_t reaped;
	size_t before;

	do
	{
		c->problem = command_interrupted(c);
		before = c->len;
		if (c->problem == NULL && c->out >= 0)
			c->problem = command_read(c, wait_ms);
	} while (c->problem == NULL && c->len != before);
	if (c->problem == NULL && c->out >= 0)
		return false;
	if (c->problem != NULL)
	{
		command_kill(c);
		return true;
	}
	/* it may close its output and go on */
	reaped = waitpid(c->pid, &status, WNOHANG);
	if (reaped == 0 || (reaped < 0 && errno == EINTR))
	{
		if (wait_ms > 0)
			pg_usleep(1000L);
		return false;
	}
	if (reaped != c->pid)
		c->problem = "its exit status is unknown";
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		c->problem = "it failed";
	c->pid = 0;
	return true;
}

const char *
command_run(const char *command, const char *input, size_t input_len, char *buf, size_t size,
			size_t *len)
{
	Command c;

	*len = 0;
	if (!command_start(&c, command, input, input_len, buf, size))
		return c.problem;
	while (!command_step(&c, 100))
		;
	*len = c.len;
	return c.problem;
}
