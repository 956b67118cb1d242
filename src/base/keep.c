/*
 * Settings that say how long something is kept.  Trusts PostgreSQL's parser of
 * intervals; refuses what is none, and what is less than a day.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/keep.h"

#define KEEP_TEXT 256

/* True for less than a day. */
static bool
keep_is_short(const Interval *keep)
{
	static const Interval least = {.day = 1};

	return DatumGetBool(
		DirectFunctionCall2(interval_lt, IntervalPGetDatum(keep), IntervalPGetDatum(&least)));
}

/* Reads an interval without ever raising; false for what is none, or does not fit. */
static bool
keep_parse(const char *text, Interval *keep)
{
	char work[KEEP_TEXT];
	char *field[MAXDATEFIELDS];
	int ftype[MAXDATEFIELDS];
	int nf;
	int dtype;
	int bad;
	struct pg_itm_in itm = {0};

	bad = ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf);
	if (bad == 0)
		bad = DecodeInterval(field, ftype, nf, INTERVAL_FULL_RANGE, &dtype, &itm);
	if (bad == DTERR_BAD_FORMAT && strlen(text) < KEEP_TEXT)
	{
		strlcpy(work, text, sizeof(work));
		bad = DecodeISO8601Interval(work, &dtype, &itm);
	}
	return bad == 0 && dtype == DTK_DELTA && itmin2interval(&itm, keep) == 0;
}

bool
keep_check(char **newval, void **extra, GucSource source)
{
	Interval keep;

	if ((*newval)[0] == '\0')
		return true;
	if (!keep_parse(*newval, &keep))
	{
		GUC_check_errdetail(
			"It takes an interval such as \"7 years\", or nothing at all to keep everything "
			"for ever.");
		return false;
	}
	if (keep_is_short(&keep))
	{
		GUC_check_errdetail("It is kept for a day at least.");
		return false;
	}
	return true;
}

bool
keep_read(const char *setting, Interval *keep)
{
	return setting != NULL && setting[0] != '\0' && keep_parse(setting, keep);
}

void
keep_require_day(const Interval *keep)
{
	if (keep_is_short(keep))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("what is kept is kept for a day at least")));
}
