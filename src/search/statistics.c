/*
 * What ANALYZE keeps of a sealed column: null fraction, width and number of
 * distinct values.  No common values and no histogram: those are a frequency
 * attack in a table that anybody may read.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_statistic.h"
#include "commands/vacuum.h"
#include "fmgr.h"

#include "base/base.h"
#include "search/value.h"

#define STATISTICS_ROWS_PER_TARGET 300

static int
statistics_compare(const void *a, const void *b)
{
	return memcmp(a, b, ENVELOPE_TAG_BYTES);
}

/* Fills stats from a sample: distinct values by their tags (Haas and Stokes' estimator, as ANALYZE has it). */
static void
statistics_compute(VacAttrStatsP stats, AnalyzeAttrFetchFunc fetch, int samplerows, double totalrows)
{
	uint8 *tags = palloc((Size) Max(samplerows, 1) * ENVELOPE_TAG_BYTES);
	int nulls = 0;
	int values = 0;
	int tagged = 0;
	int distinct = 0;
	int once = 0;
	double width = 0;

	for (int i = 0; i < samplerows; i++)
	{
		bool isnull;
		Datum value = fetch(stats, i, &isnull);
		uint8 prefix[VALUE_PREFIX_BYTES];
		Envelope env;

		vacuum_delay_point(true);
		if (isnull)
		{
			nulls++;
			continue;
		}
		values++;
		width += VARSIZE_ANY(DatumGetPointer(value));
		if (value_read_prefix(value, prefix, &env) && env.tag != NULL)
			memcpy(tags + (Size) ENVELOPE_TAG_BYTES * tagged++, env.tag, ENVELOPE_TAG_BYTES);
	}
	if (nulls + values == 0)
		return;
	stats->stats_valid = true;
	stats->stanullfrac = (double) nulls / (nulls + values);
	stats->stawidth = values > 0 ? width / values : 0;
	stats->stadistinct = 0.0;
	if (values == 0)
		return;
	if (tagged < values)
	{
		/* Without tags every ciphertext is its own. */
		stats->stadistinct = -1.0 * (1.0 - stats->stanullfrac);
		return;
	}
	qsort(tags, tagged, ENVELOPE_TAG_BYTES, statistics_compare);
	for (int i = 0; i < tagged;)
	{
		int j = i + 1;

		while (j < tagged && statistics_compare(tags + (Size) ENVELOPE_TAG_BYTES * i,
												tags + (Size) ENVELOPE_TAG_BYTES * j) == 0)
			j++;
		distinct++;
		if (j == i + 1)
			once++;
		i = j;
	}
	if (once == distinct)
		stats->stadistinct = -1.0 * (1.0 - stats->stanullfrac);
	else if (once == 0)
		stats->stadistinct = distinct;
	else
	{
		double n = tagged;
		double rows = totalrows * (1.0 - stats->stanullfrac);
		double estimate = 0;

		if (rows > 0)
			estimate = n * distinct / (n - once + once * n / rows);
		stats->stadistinct = floor(Min(Max(estimate, distinct), Max(rows, distinct)) + 0.5);
	}
	if (stats->stadistinct > 0.1 * totalrows)
		stats->stadistinct = -(stats->stadistinct / totalrows);
}

PG_FUNCTION_INFO_V1(enc_typanalyze);
/* Type support: internal → bool, true. */
Datum
enc_typanalyze(PG_FUNCTION_ARGS)
{
	VacAttrStats *stats = (VacAttrStats *) PG_GETARG_POINTER(0);

	if (VACATTR_TARGET(stats) < 0)
		VACATTR_TARGET(stats) = default_statistics_target;
	stats->compute_stats = statistics_compute;
	stats->minrows = STATISTICS_ROWS_PER_TARGET * Max(VACATTR_TARGET(stats), 1);
	PG_RETURN_BOOL(true);
}
