/*
 * AWS Signature Version 4 for URLs and browser forms (AWS documentation,
 * "Authenticating Requests: Using Query Parameters").  Trusts the caller for
 * what may be signed; refuses control characters and ambiguous names.
 */
#include <stdlib.h>
#include <string.h>

#include "documents/sigv4.h"

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_PAYLOAD	"UNSIGNED-PAYLOAD"
#define SIGV4_TERMINAL	"aws4_request"
#define SIGV4_SERVICE	"s3"
#define SIGV4_OWN		6 /* parameters that sigv4_presign adds, the signature not counted */

static const char sigv4_hex[] = "0123456789abcdef";

/* Writes text without its terminator; returns the end. */
static char *
sigv4_put(char *out, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return out + n;
}

/* Writes a number with at least width digits; returns the end. */
static char *
sigv4_put_number(char *out, uint32_t value, int width)
{
	char digits[10];
	int n = 0;

	do
		digits[n++] = (char) ('0' + value % 10);
	while ((value /= 10) != 0);
	while (n < width)
		digits[n++] = '0';
	while (n > 0)
		*out++ = digits[--n];
	return out;
}

static char *
sigv4_put_hex(char *out, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		*out++ = sigv4_hex[bytes[i] >> 4];
		*out++ = sigv4_hex[bytes[i] & 15];
	}
	return out;
}

static bool
sigv4_is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '.' || c == '_' || c == '~';
}

char *
sigv4_encode(const char *text, bool keep_slash, char *out)
{
	for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++)
	{
		if (sigv4_is_unreserved(*p) || (keep_slash && *p == '/'))
			*out++ = (char) *p;
		else
		{
			*out++ = '%';
			*out++ = "0123456789ABCDEF"[*p >> 4];
			*out++ = "0123456789ABCDEF"[*p & 15];
		}
	}
	return out;
}

bool
sigv4_date(int64_t at, char out[SIGV4_DATE_LEN + 1])
{
	int64_t days = at / 86400;
	uint32_t second = (uint32_t) (at % 86400);
	uint32_t era, day_of_era, year_of_era, day_of_year, month, day, year;

	if (at < 0 || at > INT64_C(253402300799))
		return false;
	/* Days since 1970 to a civil date, by eras of 400 years that begin in March. */
	days += 719468;
	era = (uint32_t) (days / 146097);
	day_of_era = (uint32_t) (days % 146097);
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153;
	day = day_of_year - (153 * month + 2) / 5 + 1;
	month = month < 10 ? month + 3 : month - 9;
	year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);

	out = sigv4_put_number(out, year, 4);
	out = sigv4_put_number(out, month, 2);
	out = sigv4_put_number(out, day, 2);
	*out++ = 'T';
	out = sigv4_put_number(out, second / 3600, 2);
	out = sigv4_put_number(out, second / 60 % 60, 2);
	out = sigv4_put_number(out, second % 60, 2);
	*out++ = 'Z';
	*out = '\0';
	return true;
}

/* HMAC of data under a key, once. */
static bool
sigv4_mac(const uint8_t *key, size_t key_len, const void *data, size_t len,
		  uint8_t out[CRYPTO_HASH_BYTES])
{
	CryptoHmac h;
	bool ok = crypto_hmac_init(&h, key, key_len) && crypto_hmac(&h, data, len, out);

	crypto_wipe(&h, sizeof(h));
	return ok;
}

bool
sigv4_sign(const char *secret, const char *date, const char *region, const void *text, size_t len,
		   char out[SIGV4_SIGNATURE_LEN + 1])
{
	size_t secret_len = strlen(secret);
	uint8_t *first = malloc(4 + secret_len);
	uint8_t key[CRYPTO_HASH_BYTES];
	bool ok = first != NULL;

	if (ok)
	{
		memcpy(first, "AWS4", 4);
		memcpy(first + 4, secret, secret_len);
		ok = sigv4_mac(first, 4 + secret_len, date, 8, key) &&
			 sigv4_mac(key, sizeof(key), region, strlen(region), key) &&
			 sigv4_mac(key, sizeof(key), SIGV4_SERVICE, strlen(SIGV4_SERVICE), key) &&
			 sigv4_mac(key, sizeof(key), SIGV4_TERMINAL, strlen(SIGV4_TERMINAL), key) &&
			 sigv4_mac(key, sizeof(key), text, len, key);
		crypto_wipe(first, 4 + secret_len);
		free(first);
	}
	if (ok)
		*sigv4_put_hex(out, key, sizeof(key)) = '\0';
	crypto_wipe(key, sizeof(key));
	return ok;
}

/* True for text without control characters; with printable, for printable ASCII without space alone. */
static bool
sigv4_is_plain(const char *text, bool printable)
{
	for (const unsigned char *p = (const unsigned char *) text; *p != '\0'; p++)
	{
		if (*p < 0x20 || *p == 0x7f || (printable && (*p == ' ' || *p > 0x7e)))
			return false;
	}
	return true;
}

/* True when the request has one way to be written. */
static bool
sigv4_is_sound(const Sigv4Request *r)
{
	if (r->expires < 1 || r->expires > SIGV4_MAX_EXPIRES || r->path[0] != '/' || r->n_query < 0 ||
		r->n_query > SIGV4_MAX_PARAMETERS || r->n_headers < 0 ||
		r->n_headers > SIGV4_MAX_PARAMETERS || !sigv4_is_plain(r->host, true) ||
		!sigv4_is_plain(r->method, true) || !sigv4_is_plain(r->scheme, true) ||
		!sigv4_is_plain(r->region, true) || strchr(r->region, '/') != NULL ||
		!sigv4_is_plain(r->access_key, true) || r->access_key[0] == '\0' ||
		!sigv4_is_plain(r->path, false))
		return false;
	for (int i = 0; i < r->n_query; i++)
	{
		for (const char *p = r->query[i].name; *p != '\0'; p++)
		{
			if (!sigv4_is_unreserved((unsigned char) *p))
				return false;
		}
		if (r->query[i].name[0] == '\0' || strcmp(r->query[i].name, "X-Amz-Signature") == 0)
			return false;
	}
	for (int i = 0; i < r->n_headers; i++)
	{
		const char *value = r->headers[i].value;
		size_t n = strlen(value);

		for (const char *p = r->headers[i].name; *p != '\0'; p++)
		{
			if (!sigv4_is_unreserved((unsigned char) *p) || (*p >= 'A' && *p <= 'Z'))
				return false;
		}
		if (r->headers[i].name[0] == '\0' || strcmp(r->headers[i].name, "host") == 0 ||
			!sigv4_is_plain(value, false) ||
			(n > 0 && (value[0] == ' ' || value[n - 1] == ' ' || strstr(value, "  ") != NULL)))
			return false;
	}
	return true;
}

/* By name, then by value, as bytes of the encoded form: names need no encoding. */
static int
sigv4_compare(const Sigv4Parameter *a, const Sigv4Parameter *b)
{
	int c = strcmp(a->name, b->name);

	return c != 0 ? c : strcmp(a->value, b->value);
}

static void
sigv4_sort(Sigv4Parameter *list, int n)
{
	for (int i = 1; i < n; i++)
	{
		Sigv4Parameter one = list[i];
		int j = i;

		for (; j > 0 && sigv4_compare(&one, &list[j - 1]) < 0; j--)
			list[j] = list[j - 1];
		list[j] = one;
	}
}

/* Writes name=value pairs joined by '&', values encoded; returns the end. */
static char *
sigv4_put_query(char *out, const Sigv4Parameter *list, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			*out++ = '&';
		out = sigv4_put(out, list[i].name);
		*out++ = '=';
		out = sigv4_encode(list[i].value, false, out);
	}
	return out;
}

size_t
sigv4_url_size(const Sigv4Request *r)
{
	size_t size = 1024 + strlen(r->method) + strlen(r->scheme) + 2 * strlen(r->host) +
				  3 * strlen(r->path) + 3 * strlen(r->region) + 3 * strlen(r->access_key);

	if (r->session_token != NULL)
		size += 3 * strlen(r->session_token);
	for (int i = 0; i < r->n_query; i++)
		size += strlen(r->query[i].name) + 3 * strlen(r->query[i].value) + 2;
	for (int i = 0; i < r->n_headers; i++)
		size += 5 * strlen(r->headers[i].name) + strlen(r->headers[i].value) + 8;
	return size;
}

bool
sigv4_presign(const Sigv4Request *r, char *url, size_t size)
{
	Sigv4Parameter query[SIGV4_MAX_PARAMETERS + SIGV4_OWN + 1];
	Sigv4Parameter headers[SIGV4_MAX_PARAMETERS + 1];
	int n_query = r->n_query;
	int n_headers = r->n_headers;
	char date[SIGV4_DATE_LEN + 1];
	char expires[12];
	char signature[SIGV4_SIGNATURE_LEN + 1];
	uint8_t hash[CRYPTO_HASH_BYTES];
	char *scratch;
	char *credential;
	char *scope;
	char *signed_headers;
	char *canonical;
	char *p;
	bool ok;

	if (size < sigv4_url_size(r) || !sigv4_is_sound(r) || !sigv4_date(r->at, date))
		return false;
	/* Credential, signed headers and the canonical request: each is shorter than the URL may be. */
	scratch = malloc(3 * size);
	if (scratch == NULL)
		return false;

	if (n_query > 0)
		memcpy(query, r->query, n_query * sizeof(Sigv4Parameter));
	if (n_headers > 0)
		memcpy(headers, r->headers, n_headers * sizeof(Sigv4Parameter));
	headers[n_headers].name = "host";
	headers[n_headers++].value = r->host;
	sigv4_sort(headers, n_headers);

	credential = scratch;
	p = sigv4_put(credential, r->access_key);
	*p++ = '/';
	scope = p;
	memcpy(p, date, 8);
	p += 8;
	*p++ = '/';
	p = sigv4_put(p, r->region);
	p = sigv4_put(p, "/" SIGV4_SERVICE "/" SIGV4_TERMINAL);
	*p = '\0';

	signed_headers = scratch + size;
	p = signed_headers;
	for (int i = 0; i < n_headers; i++)
	{
		if (i > 0)
			*p++ = ';';
		p = sigv4_put(p, headers[i].name);
	}
	*p = '\0';

	*sigv4_put_number(expires, (uint32_t) r->expires, 1) = '\0';
	query[n_query++] = (Sigv4Parameter){"X-Amz-Algorithm", SIGV4_ALGORITHM};
	query[n_query++] = (Sigv4Parameter){"X-Amz-Credential", credential};
	query[n_query++] = (Sigv4Parameter){"X-Amz-Date", date};
	query[n_query++] = (Sigv4Parameter){"X-Amz-Expires", expires};
	query[n_query++] = (Sigv4Parameter){"X-Amz-SignedHeaders", signed_headers};
	if (r->session_token != NULL)
		query[n_query++] = (Sigv4Parameter){"X-Amz-Security-Token", r->session_token};
	sigv4_sort(query, n_query);

	canonical = scratch + 2 * size;
	p = sigv4_put(canonical, r->method);
	*p++ = '\n';
	p = sigv4_encode(r->path, true, p);
	*p++ = '\n';
	p = sigv4_put_query(p, query, n_query);
	*p++ = '\n';
	for (int i = 0; i < n_headers; i++)
	{
		p = sigv4_put(p, headers[i].name);
		*p++ = ':';
		p = sigv4_put(p, headers[i].value);
		*p++ = '\n';
	}
	*p++ = '\n';
	p = sigv4_put(p, signed_headers);
	*p++ = '\n';
	p = sigv4_put(p, SIGV4_PAYLOAD);
	ok = crypto_sha256(canonical, (size_t) (p - canonical), hash);

	/* The text to sign takes the place of what it was made from. */
	p = sigv4_put(canonical, SIGV4_ALGORITHM "\n");
	p = sigv4_put(p, date);
	*p++ = '\n';
	p = sigv4_put(p, scope);
	*p++ = '\n';
	p = sigv4_put_hex(p, hash, sizeof(hash));
	ok = ok &&
		 sigv4_sign(r->secret, date, r->region, canonical, (size_t) (p - canonical), signature);
	if (ok)
	{
		query[n_query++] = (Sigv4Parameter){"X-Amz-Signature", signature};
		sigv4_sort(query, n_query);
		p = sigv4_put(url, r->scheme);
		p = sigv4_put(p, "://");
		p = sigv4_put(p, r->host);
		p = sigv4_encode(r->path, true, p);
		*p++ = '?';
		p = sigv4_put_query(p, query, n_query);
		*p = '\0';
	}
	crypto_wipe(scratch, 3 * size);
	free(scratch);
	return ok;
}
