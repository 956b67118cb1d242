/*
 * Finds strings and numbers as PostgreSQL's scanner does, and overwrites them.
 * Trusts nothing in the text; refuses nothing.
 */
#include "context/blank.h"

#include <stddef.h>
#include <string.h>

static bool
blank_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
blank_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

/* Past the quotation mark that ends what begins at text (after its own), overwriting what is between if asked. */
static char *
blank_quoted(char *text, char *end, char quote, bool escapes, bool overwrite)
{
	for (; text < end; text++)
	{
		if (*text == quote && (text + 1 == end || text[1] != quote))
			return text + 1;
		if (*text == quote)
		{
			text++;
			continue;
		}
		if (escapes && *text == '\\' && text + 1 < end)
			*text++ = '*';
		if (overwrite)
			*text = '*';
	}
	return end;
}

/* Past a comment that begins at text; comments in slashes and stars nest. */
static char *
blank_comment(char *text, char *end)
{
	int depth = 0;

	if (*text == '-')
	{
		while (text < end && *text != '\n' && *text != '\r')
			text++;
		return text;
	}
	while (text + 1 < end)
	{
		if (text[0] == '/' && text[1] == '*')
			depth++;
		else if (text[0] == '*' && text[1] == '/')
			depth--;
		else
		{
			text++;
			continue;
		}
		text += 2;
		if (depth == 0)
			return text;
	}
	return end;
}

/* The length of the dollar quote that begins at text, 0 when there is none. */
static size_t
blank_dollar_quote(const char *text, const char *end)
{
	const char *at = text + 1;

	if (at < end && blank_is_letter(*at))
		while (at < end && (blank_is_letter(*at) || blank_is_digit(*at)))
			at++;
	return at < end && *at == '$' ? (size_t) (at + 1 - text) : 0;
}

/* Where a dollar quote stands again, end when it does not. */
static char *
blank_find(char *text, char *end, const char *quote, size_t len)
{
	for (; (size_t) (end - text) >= len; text++)
		if (memcmp(text, quote, len) == 0)
			return text;
	return end;
}

static void
blank_range(char *text, char *end, bool code, bool escapes)
{
	while (text < end)
	{
		size_t quote = *text == '$' ? blank_dollar_quote(text, end) : 0;

		if (*text == '\'')
			text = blank_quoted(text + 1, end, '\'', escapes, true);
		else if ((*text == 'e' || *text == 'E') && text + 1 < end && text[1] == '\'')
			text = blank_quoted(text + 2, end, '\'', true, true);
		else if (*text == '"')
			text = blank_quoted(text + 1, end, '"', false, false);
		else if (end - text > 1 &&
				 ((text[0] == '-' && text[1] == '-') || (text[0] == '/' && text[1] == '*')))
			text = blank_comment(text, end);
		else if (quote > 0)
		{
			char *to = blank_find(text + quote, end, text, quote);

			if (code)
				blank_range(text + quote, to, false, escapes);
			else
				memset(text + quote, '*', (size_t) (to - text) - quote);
			text = to < end ? to + quote : end;
		}
		else if (*text == '$')
			for (text++; text < end && blank_is_digit(*text); text++)
				continue;
		else if (blank_is_digit(*text))
			for (; text < end && (blank_is_digit(*text) || blank_is_letter(*text)); text++)
				*text = '0';
		else if (blank_is_letter(*text))
			while (text < end && (blank_is_letter(*text) || blank_is_digit(*text) || *text == '$'))
				text++;
		else
			text++;
	}
}

void
blank_values(char *text, bool code, bool escapes)
{
	blank_range(text, text + strlen(text), code, escapes);
}
