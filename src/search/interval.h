/*
 * Radix-4 intervals over a line of 4^levels points.  No postgres.h.  A point
 * lies in one interval of each level; any stretch of the line is few intervals.
 */
#ifndef IMMIIQ_INTERVAL_H
#define IMMIIQ_INTERVAL_H

#include <stddef.h>
#include <stdint.h>

#define INTERVAL_LEVELS_MAX 16
/* The most intervals that a cover needs: three at either end of every level. */
#define INTERVAL_COVER_MAX (6 * INTERVAL_LEVELS_MAX)

/* The 4^level points from index * 4^level on. */
typedef struct TreeInterval
{
	uint8_t level;
	uint32_t index;
} TreeInterval;

/* The intervals that a point lies in, one a level, the smallest first. */
extern void interval_of_point(uint32_t point, int levels, TreeInterval *out);
/* The fewest intervals that together are low to high, both included; returns how many, 0 when low is above high. */
extern size_t interval_cover(uint32_t low, uint32_t high, int levels,
							 TreeInterval out[INTERVAL_COVER_MAX]);

#endif /* IMMIIQ_INTERVAL_H */
