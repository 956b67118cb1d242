/*
 * Radix-4 intervals (docs/search.md).  Trusts its caller that points lie on the
 * line; frozen, because stored tokens depend on it.
 */
#include "search/interval.h"

void
interval_of_point(uint32_t point, int levels, TreeInterval *out)
{
	int level;

	for (level = 0; level < levels; level++)
	{
		out[level].level = (uint8_t) level;
		out[level].index = point >> (2 * level);
	}
}

size_t
interval_cover(uint32_t low, uint32_t high, int levels, TreeInterval out[INTERVAL_COVER_MAX])
{
	/* Wide enough for one beyond either end. */
	int64_t a = low;
	int64_t b = high;
	size_t n = 0;
	int level;

	for (level = 0; level < levels; level++)
	{
		/* The largest intervals are not gathered into larger ones. */
		int last = level == levels - 1;

		while (a <= b && (last || (a & 3) != 0))
		{
			out[n].level = (uint8_t) level;
			out[n++].index = (uint32_t) a++;
		}
		while (a <= b && (b & 3) != 3)
		{
			out[n].level = (uint8_t) level;
			out[n++].index = (uint32_t) b--;
		}
		if (a > b)
			break;
		a >>= 2;
		b >>= 2;
	}
	return n;
}
