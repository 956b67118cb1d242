/*
 * A strict reader of small JSON texts: see the header for what it refuses.
 * Trusts nothing in the text.  Strings are decoded in place: what an escape
 * stands for is never longer than the escape.
 */
#include <string.h>

#include "identity/jwt_json.h"

#define JSON_DEPTH_MAX	16
#define JSON_NUMBER_MAX 32

typedef struct JsonReader
{
	char *at;
	char *end;
	JwtJsonNode *nodes;
	int used;
	int max;
} JsonReader;

static bool json_read_value(JsonReader *reader, int depth);

static void
json_skip_blanks(JsonReader *reader)
{
	while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
										*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

/* The next character, which is taken; false for any other. */
static bool
json_take(JsonReader *reader, char c)
{
	if (reader->at >= reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

/* A node for what follows, or NULL when there is no more room. */
static JwtJsonNode *
json_new_node(JsonReader *reader, JwtJsonKind kind)
{
	JwtJsonNode *node;

	if (reader->used >= reader->max)
		return NULL;
	node = &reader->nodes[reader->used++];
	node->kind = kind;
	node->span = 1;
	node->text = NULL;
	node->len = 0;
	return node;
}

/* Four hexadecimal digits; -1 for anything else. */
static int
json_read_hex(JsonReader *reader)
{
	int value = 0;

	if (reader->end - reader->at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char c = *reader->at++;

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value << 4 | (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/* What follows \u, as UTF-8 at out; the bytes written, 0 when it is refused. */
static int
json_read_escaped_codepoint(JsonReader *reader, char *out)
{
	int unit = json_read_hex(reader);
	uint32_t c;

	if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return 0;
	c = (uint32_t) unit;
	if (unit >= 0xd800 && unit <= 0xdbff)
	{
		int low;

		if (!json_take(reader, '\\') || !json_take(reader, 'u'))
			return 0;
		low = json_read_hex(reader);
		if (low < 0xdc00 || low > 0xdfff)
			return 0;
		c = 0x10000 + ((uint32_t) (unit - 0xd800) << 10) + (uint32_t) (low - 0xdc00);
	}
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xc0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xe0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3f));
		out[2] = (char) (0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3f));
	out[2] = (char) (0x80 | (c >> 6 & 0x3f));
	out[3] = (char) (0x80 | (c & 0x3f));
	return 4;
}

/* Length of the UTF-8 sequence at p; 0 when it is none, is overlong, or is a surrogate. */
static int
json_utf8_len(const unsigned char *p, size_t left)
{
	int len = p[0] < 0x80	? 1
			  : p[0] < 0xc2 ? 0
			  : p[0] < 0xe0 ? 2
			  : p[0] < 0xf0 ? 3
			  : p[0] < 0xf5 ? 4
							: 0;

	if (len == 0 || (size_t) len > left)
		return 0;
	for (int i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static bool
json_read_string(JsonReader *reader)
{
	JwtJsonNode *node = json_new_node(reader, JWT_JSON_STRING);
	char *out;

	if (node == NULL || !json_take(reader, '"'))
		return false;
	node->text = out = reader->at;
	while (reader->at < reader->end)
	{
		unsigned char c = (unsigned char) *reader->at;
		int len;

		if (c == '"')
		{
			reader->at++;
			node->len = (size_t) (out - node->text);
			return true;
		}
		if (c < 0x20)
			return false;
		if (c != '\\')
		{
			len = json_utf8_len((unsigned char *) reader->at, (size_t) (reader->end - reader->at));
			if (len == 0)
				return false;
			memmove(out, reader->at, (size_t) len);
			out += len;
			reader->at += len;
			continue;
		}
		reader->at++;
		if (reader->at >= reader->end)
			return false;
		switch (*reader->at++)
		{
			case '"':
				*out++ = '"';
				break;
			case '\\':
				*out++ = '\\';
				break;
			case '/':
				*out++ = '/';
				break;
			case 'b':
				*out++ = '\b';
				break;
			case 'f':
				*out++ = '\f';
				break;
			case 'n':
				*out++ = '\n';
				break;
			case 'r':
				*out++ = '\r';
				break;
			case 't':
				*out++ = '\t';
				break;
			case 'u':
				len = json_read_escaped_codepoint(reader, out);
				if (len == 0)
					return false;
				out += len;
				break;
			default:
				return false;
		}
	}
	return false;
}

/* One digit or more; false for none. */
static bool
json_read_digits(JsonReader *reader)
{
	char *start = reader->at;

	while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
		reader->at++;
	return reader->at > start;
}

static bool
json_read_number(JsonReader *reader)
{
	JwtJsonNode *node = json_new_node(reader, JWT_JSON_NUMBER);
	char *start = reader->at;

	if (node == NULL)
		return false;
	(void) json_take(reader, '-');
	if (!json_take(reader, '0') && !json_read_digits(reader))
		return false;
	if (json_take(reader, '.') && !json_read_digits(reader))
		return false;
	if (json_take(reader, 'e') || json_take(reader, 'E'))
	{
		char *exponent;

		if (!json_take(reader, '+'))
			(void) json_take(reader, '-');
		exponent = reader->at;
		/* 10^999 is still a number to everybody who reads the claims */
		if (!json_read_digits(reader) || reader->at - exponent > 3)
			return false;
	}
	node->text = start;
	node->len = (size_t) (reader->at - start);
	return node->len <= JSON_NUMBER_MAX;
}

static bool
json_read_word(JsonReader *reader, const char *word, JwtJsonKind kind)
{
	size_t len = strlen(word);

	if ((size_t) (reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
		return false;
	reader->at += len;
	return json_new_node(reader, kind) != NULL;
}

/* True when no name before this one in the object is the same. */
static bool
json_name_is_new(const JwtJsonNode *object, const JwtJsonNode *name)
{
	for (const JwtJsonNode *other = object + 1; other < name; other += 1 + other[1].span)
		if (other->len == name->len && memcmp(other->text, name->text, name->len) == 0)
			return false;
	return true;
}

static bool
json_read_object(JsonReader *reader, int depth)
{
	JwtJsonNode *object = json_new_node(reader, JWT_JSON_OBJECT);

	if (object == NULL || !json_take(reader, '{'))
		return false;
	json_skip_blanks(reader);
	if (!json_take(reader, '}'))
	{
		do
		{
			int name = reader->used;

			json_skip_blanks(reader);
			if (!json_read_string(reader) || !json_name_is_new(object, &reader->nodes[name]))
				return false;
			json_skip_blanks(reader);
			if (!json_take(reader, ':') || !json_read_value(reader, depth + 1))
				return false;
			json_skip_blanks(reader);
		} while (json_take(reader, ','));
		if (!json_take(reader, '}'))
			return false;
	}
	object->span = (int) (&reader->nodes[reader->used] - object);
	return true;
}

static bool
json_read_array(JsonReader *reader, int depth)
{
	JwtJsonNode *array = json_new_node(reader, JWT_JSON_ARRAY);

	if (array == NULL || !json_take(reader, '['))
		return false;
	json_skip_blanks(reader);
	if (!json_take(reader, ']'))
	{
		do
		{
			if (!json_read_value(reader, depth + 1))
				return false;
			json_skip_blanks(reader);
		} while (json_take(reader, ','));
		if (!json_take(reader, ']'))
			return false;
	}
	array->span = (int) (&reader->nodes[reader->used] - array);
	return true;
}

static bool
json_read_value(JsonReader *reader, int depth)
{
	json_skip_blanks(reader);
	if (depth > JSON_DEPTH_MAX || reader->at >= reader->end)
		return false;
	switch (*reader->at)
	{
		case '{':
			return json_read_object(reader, depth);
		case '[':
			return json_read_array(reader, depth);
		case '"':
			return json_read_string(reader);
		case 't':
			return json_read_word(reader, "true", JWT_JSON_TRUE);
		case 'f':
			return json_read_word(reader, "false", JWT_JSON_FALSE);
		case 'n':
			return json_read_word(reader, "null", JWT_JSON_NULL);
		default:
			return json_read_number(reader);
	}
}

bool
jwt_json_parse(char *text, size_t len, JwtJsonNode *nodes, int max)
{
	JsonReader reader = {.at = text, .end = text + len, .nodes = nodes, .used = 0, .max = max};

	if (!json_read_value(&reader, 1))
		return false;
	json_skip_blanks(&reader);
	return reader.at == reader.end;
}

const JwtJsonNode *
jwt_json_member(const JwtJsonNode *node, const char *name)
{
	size_t len = strlen(name);

	if (node == NULL || node->kind != JWT_JSON_OBJECT)
		return NULL;
	for (const JwtJsonNode *at = node + 1; at < node + node->span; at += 1 + at[1].span)
		if (at->len == len && memcmp(at->text, name, len) == 0)
			return at + 1;
	return NULL;
}

bool
jwt_json_is(const JwtJsonNode *node, const char *text)
{
	return node != NULL && node->kind == JWT_JSON_STRING && node->len == strlen(text) &&
		   memcmp(node->text, text, node->len) == 0;
}

bool
jwt_json_integer(const JwtJsonNode *node, int64_t *value)
{
	bool negative;
	int64_t sum = 0;

	if (node == NULL || node->kind != JWT_JSON_NUMBER)
		return false;
	negative = node->text[0] == '-';
	for (size_t i = negative ? 1 : 0; i < node->len; i++)
	{
		if (node->text[i] < '0' || node->text[i] > '9' ||
			__builtin_mul_overflow(sum, (int64_t) 10, &sum) ||
			__builtin_sub_overflow(sum, (int64_t) (node->text[i] - '0'), &sum))
			return false;
	}
	/* summed below zero, where there is one more */
	if (!negative && sum == INT64_MIN)
		return false;
	*value = negative ? sum : -sum;
	return true;
}
