/*
 * Work on protected tables as their owners, as foreign keys do: private to policy/.
 */
#ifndef IMMIIQ_ACCESS_H
#define IMMIIQ_ACCESS_H

#include "postgres_ext.h"

/* Who runs what follows; given back with access_run_as_caller. */
typedef struct AccessUser
{
	Oid user;
	int security;
} AccessUser;

/* The table's owner, whom row security does not bind here, with nothing that outlives the statement. */
extern void access_run_as_owner(Oid owner, AccessUser *saved);
extern void access_run_as_caller(const AccessUser *saved);
/* The owner of a table. */
extern Oid access_owner(Oid relid);
/* Runs one statement as the owner of what it changes, inside SPI; the number of rows. */
extern uint64 access_change(Oid owner, const char *statement, int nargs, Oid *types, Datum *args,
							const char *nulls);

/* Starts newclient.c. */
extern void newclient_init(void);

#endif /* IMMIIQ_ACCESS_H */
