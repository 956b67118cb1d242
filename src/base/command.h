/*
 * Shell commands of the server's configuration, with a deadline.
 */
#ifndef IMMIIQ_COMMAND_H
#define IMMIIQ_COMMAND_H

#include <sys/types.h>

#include "datatype/timestamp.h"

#define COMMAND_TIMEOUT_MS 30000
/* Room for what a command may say. */
#define COMMAND_OUTPUT_MAX (16 * 1024)

/* A command at work. */
typedef struct Command
{
	pid_t pid; /* 0: none */
	int out;   /* -1 once it has closed its output */
	TimestampTz start;
	char *buf; /* the caller's: its standard output, as it is, without an end */
	size_t size;
	size_t len;
	const char *problem; /* when it is over: what went wrong, NULL when nothing */
} Command;

/* Starts a command with this standard input of up to 4 kB (NULL: none). False, with problem set, when it could not be. */
extern bool command_start(Command *c, const char *command, const char *input, size_t input_len,
						  char *buf, size_t size);
/* Takes what it says, waiting so long at most. True once it is over, be it for its deadline. */
extern bool command_step(Command *c, long wait_ms);
/* Ends it and its children at once, if there is one. */
extern void command_kill(Command *c);
/* Runs a command to its end: NULL, or what is wrong. */
extern const char *command_run(const char *command, const char *input, size_t input_len, char *buf,
							   size_t size, size_t *len);

#endif /* IMMIIQ_COMMAND_H */
