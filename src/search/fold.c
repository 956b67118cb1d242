/*
 * fold v1: text without case, accents, spaces and punctuation.  Trusts nothing
 * in the bytes; what is not UTF-8 is kept whole behind the marker.
 */
#include <stdbool.h>
#include <string.h>

#include "search/fold.h"
#include "search/fold_table.h"

#define FOLD_MARKER	  0xFF /* never occurs in UTF-8 */
#define FOLD_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define HANGUL_FIRST   0xAC00
#define HANGUL_LAST	   0xD7A3
#define HANGUL_L	   0x1100
#define HANGUL_V	   0x1161
#define HANGUL_T	   0x11A7
#define HANGUL_V_COUNT 21
#define HANGUL_T_COUNT 28

size_t
fold_size(size_t n)
{
	return n * FOLD_GROWTH + 1;
}

/* Decodes one code point; returns its bytes, 0 for what is not UTF-8. */
static size_t
fold_decode(const uint8_t *in, size_t n, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len;
	size_t i;

	if (in[0] < 0x80)
	{
		*cp = in[0];
		return 1;
	}
	if (in[0] >= 0xC2 && in[0] <= 0xDF)
		len = 2;
	else if ((in[0] & 0xF0) == 0xE0)
		len = 3;
	else if (in[0] >= 0xF0 && in[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	*cp = in[0] & (0xFF >> (len + 1));
	for (i = 1; i < len; i++)
	{
		if ((in[i] & 0xC0) != 0x80)
			return 0;
		*cp = *cp << 6 | (in[i] & 0x3F);
	}
	if (*cp < least[len] || *cp > 0x10FFFF || (*cp >= 0xD800 && *cp <= 0xDFFF))
		return 0;
	return len;
}

static size_t
fold_encode(uint32_t cp, uint8_t *out)
{
	if (cp < 0x80)
	{
		out[0] = (uint8_t) cp;
		return 1;
	}
	if (cp < 0x800)
	{
		out[0] = (uint8_t) (0xC0 | cp >> 6);
		out[1] = (uint8_t) (0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000)
	{
		out[0] = (uint8_t) (0xE0 | cp >> 12);
		out[1] = (uint8_t) (0x80 | (cp >> 6 & 0x3F));
		out[2] = (uint8_t) (0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (uint8_t) (0xF0 | cp >> 18);
	out[1] = (uint8_t) (0x80 | (cp >> 12 & 0x3F));
	out[2] = (uint8_t) (0x80 | (cp >> 6 & 0x3F));
	out[3] = (uint8_t) (0x80 | (cp & 0x3F));
	return 4;
}

/* What one code point becomes: returns how many code points stand in out. */
static size_t
fold_code_point(uint32_t cp, uint32_t out[FOLD_LONGEST])
{
	size_t low;
	size_t high;

	if (cp < 0x80)
	{
		if (cp >= 'A' && cp <= 'Z')
			cp += 'a' - 'A';
		else if (!((cp >= 'a' && cp <= 'z') || (cp >= '0' && cp <= '9')))
			return 0;
		out[0] = cp;
		return 1;
	}
	if (cp >= HANGUL_FIRST && cp <= HANGUL_LAST)
	{
		uint32_t s = cp - HANGUL_FIRST;

		out[0] = HANGUL_L + s / (HANGUL_V_COUNT * HANGUL_T_COUNT);
		out[1] = HANGUL_V + s % (HANGUL_V_COUNT * HANGUL_T_COUNT) / HANGUL_T_COUNT;
		if (s % HANGUL_T_COUNT == 0)
			return 2;
		out[2] = HANGUL_T + s % HANGUL_T_COUNT;
		return 3;
	}
	for (low = 0, high = FOLD_COUNT(fold_removed); low < high;)
	{
		size_t middle = (low + high) / 2;

		if (cp < fold_removed[middle][0])
			high = middle;
		else if (cp > fold_removed[middle][1])
			low = middle + 1;
		else
			return 0;
	}
	for (low = 0, high = FOLD_COUNT(fold_moved); low < high;)
	{
		size_t middle = (low + high) / 2;

		if (cp < fold_moved[middle].first)
			high = middle;
		else if (cp > fold_moved[middle].last)
			low = middle + 1;
		else
		{
			if ((cp - fold_moved[middle].first) % (uint32_t) fold_moved[middle].step != 0)
				break;
			out[0] = (uint32_t) ((int32_t) cp + fold_moved[middle].distance);
			return 1;
		}
	}
	for (low = 0, high = FOLD_COUNT(fold_mapped); low < high;)
	{
		size_t middle = (low + high) / 2;

		if (cp < fold_mapped[middle].cp)
			high = middle;
		else if (cp > fold_mapped[middle].cp)
			low = middle + 1;
		else
		{
			memcpy(out, &fold_pool[fold_mapped[middle].at],
				   fold_mapped[middle].n * sizeof(uint32_t));
			return fold_mapped[middle].n;
		}
	}
	out[0] = cp;
	return 1;
}

/* Canonical combining class of a mark that is kept, 0 for everything else. */
static uint8_t
fold_combining(uint32_t cp)
{
	size_t low;
	size_t high;

	if (cp < fold_order[0].cp)
		return 0;
	for (low = 0, high = FOLD_COUNT(fold_order); low < high;)
	{
		size_t middle = (low + high) / 2;

		if (cp < fold_order[middle].cp)
			high = middle;
		else if (cp > fold_order[middle].cp)
			low = middle + 1;
		else
			return fold_order[middle].order;
	}
	return 0;
}

/*
 * Puts the code point at the end of out, before the marks of a higher class
 * that stand there: stable order by class, as canonical ordering has it.
 */
static size_t
fold_append(uint32_t cp, uint8_t *out, size_t at)
{
	uint8_t order = fold_combining(cp);
	size_t where = at;
	uint8_t bytes[4];
	size_t len = fold_encode(cp, bytes);

	while (order > 0 && where > 0)
	{
		size_t start = where - 1;
		uint32_t before = 0;

		while (start > 0 && (out[start] & 0xC0) == 0x80)
			start--;
		if (fold_decode(out + start, where - start, &before) == 0 || fold_combining(before) <= order)
			break;
		where = start;
	}
	memmove(out + where + len, out + where, at - where);
	memcpy(out + where, bytes, len);
	return at + len;
}

size_t
fold_text(const uint8_t *in, size_t n, uint8_t *out)
{
	size_t at = 0;
	size_t i = 0;
	bool valid = true;

	while (i < n)
	{
		uint32_t cp = 0;
		uint32_t folded[FOLD_LONGEST];
		size_t len = fold_decode(in + i, n - i, &cp);
		size_t count;
		size_t k;

		if (len == 0)
		{
			valid = false;
			break;
		}
		i += len;
		count = fold_code_point(cp, folded);
		for (k = 0; k < count; k++)
		{
			if (folded[k] < 0x80)
				out[at++] = (uint8_t) folded[k];
			else
				at = fold_append(folded[k], out, at);
		}
	}
	if (!valid || at == 0)
	{
		out[0] = FOLD_MARKER;
		if (n > 0)
			memcpy(out + 1, in, n);
		return n + 1;
	}
	return at;
}

size_t
fold_parts(const uint8_t *in, size_t n, uint8_t *out)
{
	size_t at = 0;
	size_t i = 0;

	while (i < n)
	{
		uint32_t cp = 0;
		uint32_t folded[FOLD_LONGEST];
		size_t len = fold_decode(in + i, n - i, &cp);
		size_t count;

		if (len == 0)
			break;
		i += len;
		count = fold_code_point(cp, folded);
		for (size_t k = 0; k < count; k++)
			at += fold_encode(folded[k], out + at);
	}
	return at;
}
