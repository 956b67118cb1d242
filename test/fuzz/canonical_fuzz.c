/*
 * The log's bytes from anybody: parsing reads nothing beyond them, and a clear part that parses writes itself again.
 */
#include <stdlib.h>
#include <string.h>

#include "audit/canonical.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CanonicalEntry entry;
	CanonicalWho who;
	CanonicalOrigin origin;

	if (canonical_parse_entry(data, size, &entry))
	{
		CanonicalBuffer again = {.grow = realloc};

		canonical_put_entry(&again, &entry);
		if (again.failed || again.len != entry.clear_len || memcmp(again.data, data, again.len) != 0)
			abort();
		free(again.data);
	}
	if (canonical_parse_who(data, size, &who))
	{
		CanonicalBuffer again = {.grow = realloc};

		canonical_put_who(&again, &who);
		if (again.len != size || memcmp(again.data, data, size) != 0)
			abort();
		free(again.data);
	}
	if (canonical_parse_origin(data, size, &origin))
	{
		CanonicalBuffer again = {.grow = realloc};

		canonical_put_origin(&again, &origin);
		if (again.len != size || (size > 0 && memcmp(again.data, data, size) != 0))
			abort();
		free(again.data);
	}
	(void) canonical_check_image(data, size);
	return 0;
}
