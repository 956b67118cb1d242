/*
 * Names and types of stored objects (RFC 6266, RFC 8187, S3's rules of keys).
 * Trusts that text is UTF-8; refuses keys that a server, a proxy or a browser
 * would take for another one.
 */
#include <string.h>

#include "documents/object.h"
#include "documents/sigv4.h"

/* Bytes of the control character at p (C0, DEL, C1), 0 when it is none. */
static int
object_control(const unsigned char *p)
{
	if (*p < 0x20 || *p == 0x7f)
		return 1;
	return p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f ? 2 : 0;
}

/* Bytes of a line separator, a mark of direction or a byte order mark at p, 0 when it is none. */
static int
object_mark(const unsigned char *p)
{
	if (p[0] == 0xe2 && p[1] == 0x80 &&
		(p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae)))
		return 3; /* U+200E, U+200F, U+2028 to U+202E */
	if (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
		return 3; /* U+2066 to U+2069 */
	return p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf ? 3 : 0;
}

bool
object_key_is_valid(const char *key)
{
	const unsigned char *p = (const unsigned char *) key;
	size_t len = strlen(key);
	size_t segment = 0; /* where the segment began */

	if (len == 0 || len > OBJECT_KEY_MAX || key[0] == '/')
		return false;
	for (size_t i = 0; i <= len; i++)
	{
		if (i < len && object_control(p + i) > 0)
			return false;
		if (i < len && key[i] != '/')
			continue;
		/* A segment ends here: empty ones may stand only behind a last slash. */
		if ((i == segment && i < len) || (i - segment == 1 && key[segment] == '.') ||
			(i - segment == 2 && key[segment] == '.' && key[segment + 1] == '.'))
			return false;
		segment = i + 1;
	}
	return true;
}

/* Characters of a token (RFC 9110), upper case left out. */
static bool
object_is_token(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		   (c != '\0' && strchr("!#$&^_.+-", c) != NULL);
}

bool
object_type_is_valid(const char *type)
{
	const char *p = type;
	const char *start = p;

	while (object_is_token((unsigned char) *p))
		p++;
	if (p == start || *p++ != '/')
		return false;
	start = p;
	while (object_is_token((unsigned char) *p))
		p++;
	if (p == start || p - type > 127)
		return false;
	if (*p == '\0')
		return true;
	if (*p++ != ';')
		return false;
	if (*p == ' ')
		p++;
	start = p;
	for (; *p != '\0'; p++)
	{
		if (!object_is_token((unsigned char) *p) && !(*p >= 'A' && *p <= 'Z') && *p != '=' &&
			*p != '"')
			return false;
	}
	return p > start && p - type <= 255;
}

bool
object_type_is_safe(const char *type)
{
	static const char *const safe[] = {"application/pdf", "image/gif",	"image/jpeg", "image/png",
									   "image/webp",	  "text/plain", "audio/mpeg", "video/mp4"};
	size_t n = strcspn(type, ";");

	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
	{
		if (strlen(safe[i]) == n && strncmp(safe[i], type, n) == 0)
			return true;
	}
	return false;
}

size_t
object_disposition_size(const char *filename)
{
	return 64 + (filename != NULL ? 4 * strlen(filename) : 0);
}

void
object_disposition(bool shown, const char *filename, char *out)
{
	const unsigned char *p;
	bool same = true; /* the fallback is the name */
	char *extended;

	strcpy(out, shown ? "inline" : "attachment");
	if (filename == NULL || filename[0] == '\0')
		return;
	out += strlen(out);
	strcpy(out, "; filename=\"");
	out += strlen(out);
	for (p = (const unsigned char *) filename; *p != '\0'; p++)
	{
		if (*p >= 0x80)
		{
			/* One '_' for a character, written at its first byte. */
			if ((*p & 0xc0) != 0x80)
				*out++ = '_';
			same = false;
		}
		else if (object_control(p) > 0 || strchr("\"\\/%", *p) != NULL)
		{
			*out++ = '_';
			same = same && *p != '"' && *p != '%';
		}
		else
			*out++ = (char) *p;
	}
	*out++ = '"';
	*out = '\0';
	if (same)
		return;

	strcpy(out, "; filename*=UTF-8''");
	extended = out + strlen(out);
	for (p = (const unsigned char *) filename; *p != '\0';)
	{
		int bad = object_control(p) > 0 ? object_control(p) : object_mark(p);
		char one[2] = {(char) *p, '\0'};

		if (bad > 0 || *p == '/' || *p == '\\')
		{
			*extended++ = '_';
			p += bad > 0 ? bad : 1;
			continue;
		}
		extended = sigv4_encode(one, false, extended);
		p++;
	}
	*extended = '\0';
}
