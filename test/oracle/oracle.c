/*
 * Our side of a comparison: reads requests, one a line with fields between
 * tabs, and prints what we make of each.
 *
 *   presign  method scheme host path region key secret token at expires n (name value)… m (name value)…
 *   policy   secret date region base64
 *   stripe   secret header body(hex) now
 *   standard secret id timestamp signatures body(hex) now
 */
#include "../unit/tap.h"

#include "documents/sigv4.h"
#include "documents/webhook.h"

#define FIELDS 128

static char *fields[FIELDS];
static int next;

static char *
field(void)
{
	return next < FIELDS && fields[next] != NULL ? fields[next++] : "";
}

static int
parameters(Sigv4Parameter *list)
{
	int n = atoi(field());

	if (n > SIGV4_MAX_PARAMETERS)
		abort();
	for (int i = 0; i < n; i++)
	{
		list[i].name = field();
		list[i].value = field();
	}
	return n;
}

static void
presign(void)
{
	Sigv4Parameter query[SIGV4_MAX_PARAMETERS];
	Sigv4Parameter headers[SIGV4_MAX_PARAMETERS];
	Sigv4Request r = {0};
	static char url[65536];

	r.method = field();
	r.scheme = field();
	r.host = field();
	r.path = field();
	r.region = field();
	r.access_key = field();
	r.secret = field();
	r.session_token = field();
	if (r.session_token[0] == '\0')
		r.session_token = NULL;
	r.at = atoll(field());
	r.expires = atoi(field());
	r.n_query = parameters(query);
	r.query = query;
	r.n_headers = parameters(headers);
	r.headers = headers;
	puts(sigv4_presign(&r, url, sizeof(url)) ? url : "refused");
}

static void
policy(void)
{
	const char *secret = field();
	const char *date = field();
	const char *region = field();
	const char *text = field();
	char signature[SIGV4_SIGNATURE_LEN + 1];

	puts(sigv4_sign(secret, date, region, text, strlen(text), signature) ? signature : "refused");
}

static void
webhook(bool stripe)
{
	static uint8_t body[65536];
	const char *secret = field();
	const char *id = stripe ? "" : field();
	const char *at = stripe ? "" : field();
	const char *signatures = field();
	size_t n = unhex(field(), body, sizeof(body));
	int64_t now = atoll(field());
	WebhookResult result = stripe ? webhook_check_stripe(secret, signatures, body, n, now)
								  : webhook_check_standard(secret, id, at, signatures, body, n, now);

	puts(result == WEBHOOK_VALID ? "valid" : "refused");
}

int
main(void)
{
	static char line[262144];

	if (!crypto_init())
		return 1;
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		char *p = line;

		line[strcspn(line, "\n")] = '\0';
		memset(fields, 0, sizeof(fields));
		for (int i = 0; i < FIELDS && p != NULL; i++)
			fields[i] = strsep(&p, "\t");
		next = 1;
		if (strcmp(fields[0], "presign") == 0)
			presign();
		else if (strcmp(fields[0], "policy") == 0)
			policy();
		else
			webhook(strcmp(fields[0], "stripe") == 0);
	}
	return 0;
}
