/*
 * Until src/types has them: there are no sealed types yet, so nothing is one.
 */
#include "postgres.h"

#include "types/types.h"

bool __attribute__((weak)) types_is_sealed(Oid typid)
{
	return false;
}

void __attribute__((weak))
types_check_stored(Datum value, Oid typid, int32 typmod, const pg_uuid_t *org)
{
}

char *__attribute__((weak)) types_open(Datum value, Oid typid, const pg_uuid_t *org)
{
	return NULL;
}
