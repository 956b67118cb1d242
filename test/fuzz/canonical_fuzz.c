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
	if (size > 0)
	{
		static const uint8_t org[CANONICAL_UUID_BYTES] = {1};
		size_t layout_len = data[0] % (size < 64 ? size : 64);
		const uint8_t *layout = data + 1;
		const uint8_t *packed = layout + layout_len;
		CanonicalBuffer image = {.grow = realloc};
		CanonicalBuffer again = {.grow = realloc};

		/* what unpacks is an image that, packed, unpacks to itself */
		if (canonical_unpack_image(&image, packed, size - 1 - layout_len, layout, layout_len, org) &&
			canonical_check_image(image.data, image.len))
		{
			CanonicalBuffer back = {.grow = realloc};

			canonical_pack_image(&again, image.data, image.len, layout, layout_len, org);
			if (!canonical_unpack_image(&back, again.data, again.len, layout, layout_len, org) ||
				back.len != image.len || memcmp(back.data, image.data, image.len) != 0)
				abort();
			free(back.data);
		}
		free(image.data);
		free(again.data);
	}
	return 0;
}
