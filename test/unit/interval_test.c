/*
 * Covers against counting: every stretch of a short line, and stretches of a
 * long one by their ends.
 */
#include <stdlib.h>
#include <string.h>

#include "search/interval.h"
#include "tap.h"

static int
covered(uint32_t point, const TreeInterval *cover, size_t n)
{
	int times = 0;

	for (size_t i = 0; i < n; i++)
		times += point >> (2 * cover[i].level) == cover[i].index;
	return times;
}

int
main(void)
{
	TreeInterval cover[INTERVAL_COVER_MAX + 1];
	TreeInterval path[INTERVAL_LEVELS_MAX];
	bool exact = true;
	bool few = true;
	bool ends = true;
	size_t most = 0;

	for (uint32_t low = 0; low < 256; low++)
	{
		for (uint32_t high = 0; high < 256; high++)
		{
			size_t n = interval_cover(low, high, 4, cover);

			for (uint32_t point = 0; point < 256; point++)
				exact = exact && covered(point, cover, n) == (point >= low && point <= high);
			few = few && n <= 24 && (low <= high || n == 0);
			for (size_t i = 0; i < n; i++)
				few = few && cover[i].level < 4;
		}
	}
	check(exact, "every point of a stretch is covered once, and no other point");
	check(few, "by few intervals");
	srand(1);
	for (int i = 0; i < 100000; i++)
	{
		uint32_t a = ((uint32_t) rand() << 16) ^ (uint32_t) rand();
		uint32_t b = i % 3 == 0 ? a + (uint32_t) (rand() % 1000)
								: ((uint32_t) rand() << 16) ^ (uint32_t) rand();
		uint32_t low = a < b ? a : b;
		uint32_t high = a < b ? b : a;
		size_t n = interval_cover(low, high, 16, cover);

		ends = ends && covered(low, cover, n) == 1 && covered(high, cover, n) == 1 &&
			   (low == 0 || covered(low - 1, cover, n) == 0) &&
			   (high == UINT32_MAX || covered(high + 1, cover, n) == 0);
		most = n > most ? n : most;
	}
	check(ends, "on a long line stretches end where they should");
	check(most <= INTERVAL_COVER_MAX, "and stay in the room for them");
	check(interval_cover(0, UINT32_MAX, 16, cover) == 4, "the whole line is four intervals");
	check(interval_cover(UINT32_MAX, UINT32_MAX, 16, cover) == 1 && cover[0].level == 0 &&
			  interval_cover(0, 0, 16, cover) == 1 && cover[0].level == 0,
		  "a point is one");
	interval_of_point(0x89abcdef, 16, path);
	check(path[0].index == 0x89abcdef && path[1].index == 0x89abcdef >> 2 && path[15].index == 2 &&
			  path[15].level == 15,
		  "a point lies in one interval of each level");
	return done();
}
