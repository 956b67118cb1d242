/*
 * Any text as the header of a webhook, as a key, type or file name, and as the
 * parts of a URL to sign: nothing crashes, what is accepted can be written in
 * one way only, and no signature is right by chance.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "documents/object.h"
#include "documents/sigv4.h"
#include "documents/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next text of the input, up to a newline that may stand anywhere: malloc'd, so that reading on is found. */
static char *
next_text(const uint8_t **data, size_t *size, char until)
{
	const uint8_t *end = *size > 0 ? memchr(*data, until, *size) : NULL;
	size_t n = end != NULL ? (size_t) (end - *data) : *size;
	char *text = malloc(n + 1);

	if (text == NULL)
		abort();
	if (n > 0)
		memcpy(text, *data, n);
	text[n] = '\0';
	*data += end != NULL ? n + 1 : n;
	*size -= end != NULL ? n + 1 : n;
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *rest = data;
	size_t left = size;
	char *a, *b, *c;
	char *out;
	Sigv4Request r = {0};
	Sigv4Parameter query, header;
	size_t n;

	if (!crypto_init())
		abort();
	a = next_text(&rest, &left, '\0');
	b = next_text(&rest, &left, '\0');
	c = next_text(&rest, &left, '\0');

	assert(webhook_check_stripe("whsec_k3FnA1cJ", a, rest, left, 1700000000) != WEBHOOK_VALID);
	assert(webhook_check_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", a, b, c, rest, left,
								  1700000000) != WEBHOOK_VALID);
	if (webhook_check_standard(a, b, "1", c, rest, left, 1) == WEBHOOK_VALID)
		assert(strncmp(c, "v1,", 3) == 0 || strstr(c, " v1,") != NULL);

	if (object_key_is_valid(a))
		assert(a[0] != '\0' && a[0] != '/' && strstr(a, "//") == NULL && strstr(a, "/../") == NULL &&
			   strpbrk(a, "\r\n\t\x7f") == NULL && strlen(a) <= OBJECT_KEY_MAX);
	if (object_type_is_valid(a))
		assert(strpbrk(a, "\r\n") == NULL && strchr(a, '/') != NULL);
	(void) object_type_is_safe(a);
	out = malloc(object_disposition_size(a));
	if (out == NULL)
		abort();
	object_disposition(true, a, out);
	for (char *p = out; *p != '\0'; p++)
		assert(*p >= 0x20 && *p < 0x7f);
	n = strlen(out) + 1;
	assert(n <= object_disposition_size(a));
	free(out);

	query = (Sigv4Parameter){b, a};
	header = (Sigv4Parameter){c, a};
	r.method = "GET";
	r.scheme = "https";
	r.host = "h";
	r.path = a;
	r.region = b;
	r.access_key = c;
	r.secret = b;
	r.session_token = c;
	r.at = (int64_t) (left * INT64_C(1000003));
	r.expires = (int32_t) (size % 700000);
	r.query = &query;
	r.n_query = 1;
	r.headers = &header;
	r.n_headers = (int) (size & 1);
	n = sigv4_url_size(&r);
	out = malloc(n);
	if (out == NULL)
		abort();
	if (sigv4_presign(&r, out, n))
	{
		assert(strlen(out) < n && strstr(out, "&X-Amz-Signature=") != NULL);
		for (char *p = out; *p != '\0'; p++)
			assert(*p > 0x20 && *p < 0x7f);
	}
	free(out);
	free(a);
	free(b);
	free(c);
	return 0;
}
