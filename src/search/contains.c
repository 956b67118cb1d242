/*
 * jsonb's @> on a document's text, read from the start to as far as needed.
 * Trusts nothing in the text: it stays inside, and says so when it cannot read
 * what stands there.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "search/contains.h"

/* Where reading is; once bad, everything is "no" until the outermost call says that it was unreadable. */
typedef struct ContainsReader
{
	const char *at;
	const char *end;
	bool *bad;
} ContainsReader;

/* The longest number that is compared by its value; jsonb writes longer ones, too, and reads them itself. */
#define CONTAINS_NUMBER_MAX 64

static bool contains_value(ContainsReader *reader, JsonbContainer *wanted);

static bool
contains_bad(ContainsReader *reader)
{
	*reader->bad = true;
	reader->at = reader->end;
	return false;
}

/* The next character that is no blank; '\0' at the end. */
static inline char
contains_peek(ContainsReader *reader)
{
	while (reader->at < reader->end && *reader->at == ' ')
		reader->at++;
	return reader->at < reader->end ? *reader->at : '\0';
}

/* Moves over a character that has to come next. */
static inline bool
contains_take(ContainsReader *reader, char c)
{
	if (contains_peek(reader) != c)
		return contains_bad(reader);
	reader->at++;
	return true;
}

/* Moves over a string; *from and *len tell what stands between its quotes, *plain whether nothing of it is escaped. */
static bool
contains_string(ContainsReader *reader, const char **from, size_t *len, bool *plain)
{
	if (!contains_take(reader, '"'))
		return false;
	*from = reader->at;
	*plain = true;
	while (reader->at < reader->end && *reader->at != '"')
	{
		if (*reader->at == '\\')
		{
			*plain = false;
			reader->at++;
		}
		reader->at++;
	}
	if (reader->at >= reader->end)
		return contains_bad(reader);
	*len = reader->at++ - *from;
	return true;
}

/* Moves over a number or a word. */
static void
contains_scalar(ContainsReader *reader, const char **from, size_t *len)
{
	(void) contains_peek(reader);
	*from = reader->at;
	while (reader->at < reader->end && *reader->at != ',' && *reader->at != ']' &&
		   *reader->at != '}' && *reader->at != ' ')
		reader->at++;
	*len = reader->at - *from;
	if (*len == 0)
		(void) contains_bad(reader);
}

/* Moves over one value of any kind. */
static void
contains_skip(ContainsReader *reader)
{
	const char *from;
	size_t len;
	bool plain;
	int64 depth = 0;

	do
	{
		switch (contains_peek(reader))
		{
			case '"':
				(void) contains_string(reader, &from, &len, &plain);
				break;
			case '{':
			case '[':
				depth++;
				reader->at++;
				break;
			case '}':
			case ']':
				if (depth-- == 0)
					(void) contains_bad(reader);
				else
					reader->at++;
				break;
			case ',':
			case ':':
				if (depth == 0)
					(void) contains_bad(reader);
				else
					reader->at++;
				break;
			default:
				contains_scalar(reader, &from, &len);
				break;
		}
	} while (depth > 0 && !*reader->bad);
}

/* What an escaped string means against what is wanted. */
static bool
contains_escaped(ContainsReader *reader, const char *from, size_t len, const char *wanted,
				 size_t wanted_len)
{
	const char *end = from + len;
	size_t n = 0;

	while (from < end)
	{
		char c = *from++;

		if (c == '\\')
		{
			c = *from++; /* there is one, or the string would not have ended */
			switch (c)
			{
				case 'b':
					c = '\b';
					break;
				case 'f':
					c = '\f';
					break;
				case 'n':
					c = '\n';
					break;
				case 'r':
					c = '\r';
					break;
				case 't':
					c = '\t';
					break;
				case '"':
				case '\\':
				case '/':
					break;
				default:
					/* jsonb writes \u for control characters only, which are rare. */
					return contains_bad(reader);
			}
		}
		if (n == wanted_len || wanted[n] != c)
			return false;
		n++;
	}
	return n == wanted_len;
}

static bool
contains_same_string(ContainsReader *reader, const char *from, size_t len, bool plain,
					 const JsonbValue *wanted)
{
	if (plain)
		return len == wanted->val.string.len && memcmp(from, wanted->val.string.val, len) == 0;
	return contains_escaped(reader, from, len, wanted->val.string.val, wanted->val.string.len);
}

/* True for what jsonb writes of a number: digits, and some behind a point. */
static bool
contains_is_number(const char *number)
{
	size_t digits;

	number += *number == '-';
	digits = strspn(number, "0123456789");
	if (digits == 0)
		return false;
	number += digits;
	return *number == '\0' || (*number == '.' && number[1] != '\0' &&
							   strspn(number + 1, "0123456789") == strlen(number + 1));
}

/* Moves over a scalar; true when it is the one that is wanted. A container is moved over, and is none. */
static bool
contains_same_scalar(ContainsReader *reader, const JsonbValue *wanted)
{
	char first = contains_peek(reader);
	char number[CONTAINS_NUMBER_MAX];
	const char *from;
	size_t len;
	bool plain;
	Datum value;
	bool same;

	if (first == '{' || first == '[')
	{
		contains_skip(reader);
		return false;
	}
	if (first == '"')
		return contains_string(reader, &from, &len, &plain) && wanted->type == jbvString &&
			   contains_same_string(reader, from, len, plain, wanted);
	contains_scalar(reader, &from, &len);
	switch (wanted->type)
	{
		case jbvNull:
			return len == 4 && memcmp(from, "null", 4) == 0;
		case jbvBool:
			return wanted->val.boolean ? len == 4 && memcmp(from, "true", 4) == 0
									   : len == 5 && memcmp(from, "false", 5) == 0;
		case jbvNumeric:
			if (first != '-' && (first < '0' || first > '9'))
				return false;
			if (len >= sizeof(number))
				return contains_bad(reader);
			memcpy(number, from, len);
			number[len] = '\0';
			if (!contains_is_number(number))
				return contains_bad(reader);
			value = DirectFunctionCall3(numeric_in, CStringGetDatum(number),
										ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
			same = DatumGetBool(
				DirectFunctionCall2(numeric_eq, value, NumericGetDatum(wanted->val.numeric)));
			pfree(DatumGetPointer(value));
			return same;
		default:
			return false;
	}
}

/* The value of a key of the object that begins here; false when there is none. */
static bool
contains_find_key(ContainsReader *reader, const JsonbValue *key)
{
	const char *from;
	size_t len;
	bool plain;

	if (!contains_take(reader, '{') || contains_peek(reader) == '}')
		return false;
	for (;;)
	{
		bool same;

		if (!contains_string(reader, &from, &len, &plain))
			return false;
		same = contains_same_string(reader, from, len, plain, key);
		if (!contains_take(reader, ':'))
			return false;
		if (same)
			return true;
		contains_skip(reader);
		if (contains_peek(reader) == '}')
			return false;
		if (!contains_take(reader, ','))
			return false;
	}
}

/* True when one element of the array that begins here is, or contains, what is wanted. */
static bool
contains_element(ContainsReader *reader, JsonbValue *wanted)
{
	if (!contains_take(reader, '[') || contains_peek(reader) == ']')
		return false;
	for (;;)
	{
		char first = contains_peek(reader);

		if (wanted->type != jbvBinary)
		{
			if (contains_same_scalar(reader, wanted))
				return true;
		}
		else
		{
			ContainsReader inner = *reader;

			if ((first == '{' || first == '[') && contains_value(&inner, wanted->val.binary.data))
				return true;
			contains_skip(reader);
		}
		if (contains_peek(reader) == ']')
			return false;
		if (!contains_take(reader, ','))
			return false;
	}
}

/* True when the container that begins here contains the other, as jsonb has it. Where the reader stands then means nothing. */
static bool
contains_value(ContainsReader *reader, JsonbContainer *wanted)
{
	ContainsReader start = *reader;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue value;
	bool result = true;

	check_stack_depth();
	if (contains_peek(&start) != (JsonContainerIsObject(wanted) ? '{' : '['))
		return false;
	iterator = JsonbIteratorInit(wanted);
	token = JsonbIteratorNext(&iterator, &key, true);
	while (result && (token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		ContainsReader from = start;

		if (token == WJB_ELEM)
			result = contains_element(&from, &key);
		else if (token == WJB_KEY)
		{
			(void) JsonbIteratorNext(&iterator, &value, true);
			result = contains_find_key(&from, &key) &&
					 (value.type == jbvBinary ? contains_value(&from, value.val.binary.data)
											  : contains_same_scalar(&from, &value));
		}
	}
	if (iterator != NULL)
		pfree(iterator);
	return result;
}

/* A lone scalar is an array of its own in jsonb, which contains lone scalars only. */
static bool
contains_lone(ContainsReader *reader, Jsonb *wanted)
{
	JsonbValue scalar;

	return JB_ROOT_IS_SCALAR(wanted) && JsonbExtractScalar(&wanted->root, &scalar) &&
		   contains_same_scalar(reader, &scalar);
}

ContainsAnswer
contains_json(const char *text, size_t len, Jsonb *wanted)
{
	bool bad = false;
	ContainsReader reader = {text, text + len, &bad};
	char first = contains_peek(&reader);
	bool result;

	if (first == '{' || first == '[')
		result = contains_value(&reader, &wanted->root);
	else
		result = contains_lone(&reader, wanted);
	return bad ? CONTAINS_UNREADABLE : result ? CONTAINS_YES : CONTAINS_NO;
}
