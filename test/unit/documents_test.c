/*
 * Signature V4 against AWS's published examples, keys and file names, and
 * webhook signatures against Standard Webhooks' vectors.
 */
#include "tap.h"

#include "documents/object.h"
#include "documents/sigv4.h"
#include "documents/webhook.h"

#define KEY_ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

static Sigv4Request
example(void)
{
	Sigv4Request r = {0};

	r.method = "GET";
	r.scheme = "https";
	r.host = "examplebucket.s3.amazonaws.com";
	r.path = "/test.txt";
	r.region = "us-east-1";
	r.access_key = KEY_ID;
	r.secret = SECRET;
	r.at = 1369353600;
	r.expires = 86400;
	return r;
}

static const char *
presign(const Sigv4Request *r)
{
	static char url[16384];

	return sigv4_presign(r, url, sizeof(url)) ? url : NULL;
}

static const char *
disposition(bool shown, const char *filename)
{
	static char out[4096];

	object_disposition(shown, filename, out);
	return out;
}

static void
test_sigv4(void)
{
	Sigv4Request r = example();
	char date[SIGV4_DATE_LEN + 1];
	char signature[SIGV4_SIGNATURE_LEN + 1];
	char first[4096];
	Sigv4Parameter two[2] = {{"Param-3", "Value3"}, {"Param", "Value1"}};
	Sigv4Parameter header = {"content-type", "image/png"};
	/* The policy of AWS's page "Authenticating Requests in Browser-Based Uploads". */
	static const char policy[] =
		"eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAg"
		"ICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAi"
		"dXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25f"
		"cmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxf"
		"dXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQog"
		"ICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRl"
		"LWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAi"
		"Il0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMt"
		"ZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEy"
		"NTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";

	check(strcmp(presign(&r),
				 "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
				 "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
				 "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-Signature="
				 "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
				 "&X-Amz-SignedHeaders=host") == 0,
		  "AWS's example of a GET");
	check(sigv4_sign(SECRET, "20151229", "us-east-1", policy, strlen(policy), signature) &&
			  strcmp(signature,
					 "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e") == 0,
		  "AWS's example of a browser's POST policy");

	strcpy(first, presign(&r));
	r.method = "HEAD";
	check(strcmp(first, presign(&r)) != 0, "another method, another signature");
	r = example();
	r.n_query = 2;
	r.query = two;
	check(strstr(presign(&r), "?Param=Value1&Param-3=Value3&X-Amz-") != NULL,
		  "parameters go by name, then value: Param before Param-3");
	r = example();
	r.access_key = "AK+IA";
	check(strstr(presign(&r), "Credential=AK%2BIA%2F2013") != NULL,
		  "'+' in an access key is encoded");
	r = example();
	r.path = "/a b+c/\xc3\xa9!'()*~.txt";
	check(strstr(presign(&r), ".com/a%20b%2Bc/%C3%A9%21%27%28%29%2A~.txt?") != NULL,
		  "paths are encoded once, slashes kept");
	r = example();
	r.session_token = "to/ken==";
	check(strstr(presign(&r), "&X-Amz-Security-Token=to%2Fken%3D%3D&X-Amz-Signature=") != NULL,
		  "the session's token is signed");
	r = example();
	r.n_headers = 1;
	r.headers = &header;
	check(strstr(presign(&r), "&X-Amz-SignedHeaders=content-type%3Bhost") != NULL,
		  "headers are signed beside the host");
	header.value = "a\r\nx-evil: 1";
	check(presign(&r) == NULL, "a line end in a header is refused");
	header = (Sigv4Parameter){"Content-Type", "a"};
	check(presign(&r) == NULL, "a header's name in upper case is refused");
	r = example();
	r.expires = 0;
	check(presign(&r) == NULL, "0 seconds are refused");
	r.expires = 604801;
	check(presign(&r) == NULL, "604,801 seconds are refused");
	r.expires = 604800;
	check(presign(&r) != NULL, "604,800 seconds are signed");
	r = example();
	r.path = "test.txt";
	check(presign(&r) == NULL, "a path without its slash is refused");
	r = example();
	two[0].name = "a&b";
	r.n_query = 2;
	r.query = two;
	check(presign(&r) == NULL, "a parameter's name that needs encoding is refused");
	r = example();
	check(!sigv4_presign(&r, first, 100), "a buffer too small is refused");

	check(sigv4_date(951782400, date) && strcmp(date, "20000229T000000Z") == 0, "29 February 2000");
	check(sigv4_date(4107542399, date) && strcmp(date, "21000228T235959Z") == 0,
		  "the last second of 28 February 2100");
	check(sigv4_date(4107542400, date) && strcmp(date, "21000301T000000Z") == 0,
		  "2100 is no leap year");
	check(sigv4_date(0, date) && strcmp(date, "19700101T000000Z") == 0, "1970");
	check(!sigv4_date(-1, date) && !sigv4_date(INT64_C(253402300800), date),
		  "years outside 1970 to 9999 are refused");
}

static void
test_object(void)
{
	static const char *const good[] =
		{"a",		 "a/b.pdf", "\xe6\x97\xa5\xe6\x9c\xac/\xc3\xbc.png", "..a/b..", "a/...",
		 "a b+c%2e", "folder/"};
	static const char *const bad[] = {"",	 "/a",	 "a//b", ".",	  "..",			"a/../b", "a/.",
									  "./a", "a/..", "a\nb", "a\x7f", "a\xc2\x85z", "a//"};
	static const char *const types[] = {"image/png", "text/html; charset=utf-8",
										"application/vnd.oasis.opendocument.text"};
	static const char *const no_types[] = {"",	   "image",		"image/",
										   "/png", "Image/png", "a/b\r\nx: y",
										   "a/b;", "a/b; x\ny", "a b/c"};
	char longest[OBJECT_KEY_MAX + 2];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		check(object_key_is_valid(good[i]), "a key that is one");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(!object_key_is_valid(bad[i]), "a key that is refused");
	memset(longest, 'k', sizeof(longest) - 1);
	longest[OBJECT_KEY_MAX + 1] = '\0';
	check(!object_key_is_valid(longest), "1,025 bytes are too many");
	longest[OBJECT_KEY_MAX] = '\0';
	check(object_key_is_valid(longest), "1,024 bytes are a key");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		check(object_type_is_valid(types[i]), "a content type that is one");
	for (size_t i = 0; i < sizeof(no_types) / sizeof(no_types[0]); i++)
		check(!object_type_is_valid(no_types[i]), "a content type that is refused");
	check(object_type_is_safe("application/pdf") && object_type_is_safe("text/plain; charset=utf-8"),
		  "PDF and plain text may be shown");
	check(!object_type_is_safe("text/html") && !object_type_is_safe("image/svg+xml") &&
			  !object_type_is_safe("text/plainx") && !object_type_is_safe("application/xhtml+xml"),
		  "what a browser could run may not");

	check(strcmp(disposition(false, NULL), "attachment") == 0, "no name, no parameter");
	check(strcmp(disposition(true, "scan.pdf"), "inline; filename=\"scan.pdf\"") == 0,
		  "a plain name stands alone");
	check(strcmp(disposition(false, "J\xc3\xbcrgen \xe2\x82\xac.pdf"),
				 "attachment; filename=\"J_rgen _.pdf\"; "
				 "filename*=UTF-8''J%C3%BCrgen%20%E2%82%AC.pdf") == 0,
		  "another has a fallback and RFC 8187");
	check(strcmp(disposition(false, "a\r\nSet-Cookie: x"),
				 "attachment; filename=\"a__Set-Cookie: x\"") == 0,
		  "line ends do not get through");
	check(strcmp(disposition(false, "../../etc/passwd"),
				 "attachment; filename=\".._.._etc_passwd\"") == 0,
		  "separators of paths do not get through");
	check(strcmp(disposition(false, "a\"b.pdf"),
				 "attachment; filename=\"a_b.pdf\"; filename*=UTF-8''a%22b.pdf") == 0,
		  "a quote does not end the name");
	check(strcmp(disposition(false, "exe\xe2\x80\xae"
									"fdp.exe"),
				 "attachment; filename=\"exe_fdp.exe\"; filename*=UTF-8''exe_fdp.exe") == 0,
		  "marks that turn the direction do not get through");
}

static WebhookResult
standard(const char *secret, const char *id, const char *at, const char *signatures,
		 const char *body, int64_t now)
{
	return webhook_check_standard(secret, id, at, signatures, (const uint8_t *) body, strlen(body),
								  now);
}

static void
test_webhook(void)
{
	static const char one[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
	static const char one_id[] = "msg_p5jXN8AQM9LWM0D4loKWxJek";
	static const char one_body[] = "{\"test\": 2432232314}";
	static const char one_sig[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
	static const char two[] = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
	static const char two_body[] = "{\"email\":\"test@example.com\",\"username\":\"test_user\"}";
	static const char stripe[] = "whsec_test_secret";
	static const char body[] = "{\"id\":\"evt_1\",\"object\":\"event\"}";
#define V1 "0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd"
	static const uint8_t *raw = (const uint8_t *) body;
	const size_t n = sizeof(body) - 1;
	const int64_t t = 1700000000;
	static const char *const malformed[] = {"",
											"t=1700000000",
											"v1=" V1,
											"t=,v1=" V1,
											"t=1700000000,v0=" V1,
											"t=1700000000,v1=",
											"t=1700000000,t=1700000000,v1=" V1,
											"t=+1700000000,v1=" V1,
											"t=1700000000 ,v1=" V1,
											"t=99999999999999999999,v1=" V1,
											"t=1700000000,v1=" V1 "00",
											"t=-1,v1=" V1};

	check(standard(one, one_id, "1614265330", one_sig, one_body, 1614265330) == WEBHOOK_VALID,
		  "Standard Webhooks' first vector");
	check(standard(two, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553",
				   "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", two_body,
				   1649367553) == WEBHOOK_VALID,
		  "Standard Webhooks' second vector");
	check(standard(one + 6, one_id, "1614265330", one_sig, one_body, 1614265330) == WEBHOOK_VALID,
		  "the secret without its prefix");
	check(standard(one, one_id, "1614265330",
				   "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", one_body,
				   1614265330) == WEBHOOK_VALID,
		  "one good signature of several is enough");
	check(standard(two, one_id, "1614265330", one_sig, one_body, 1614265330) == WEBHOOK_BAD_SIGNATURE,
		  "another secret");
	check(standard(one, one_id, "1614265331", one_sig, one_body, 1614265330) == WEBHOOK_BAD_SIGNATURE,
		  "another time");
	check(standard(one, "msg_other", "1614265330", one_sig, one_body, 1614265330) ==
			  WEBHOOK_BAD_SIGNATURE,
		  "another id");
	check(standard(one, one_id, "1614265330", one_sig, "{\"test\":2432232314}", 1614265330) ==
			  WEBHOOK_BAD_SIGNATURE,
		  "a body written anew");
	check(standard(one, one_id, "1614265330", one_sig + 3, one_body, 1614265330) == WEBHOOK_MALFORMED,
		  "a signature without version");
	check(standard(one, "a.b", "1614265330", one_sig, one_body, 1614265330) == WEBHOOK_MALFORMED,
		  "a full stop in the id");
	check(standard("whsec_!", one_id, "1614265330", one_sig, one_body, 1614265330) ==
			  WEBHOOK_MALFORMED,
		  "a secret that is no base64");
	check(standard(one, one_id, "1614265330", one_sig, one_body, 1614265330 + 300) == WEBHOOK_VALID &&
			  standard(one, one_id, "1614265330", one_sig, one_body, 1614265330 - 300) ==
				  WEBHOOK_VALID,
		  "300 seconds either way are within tolerance");
	check(standard(one, one_id, "1614265330", one_sig, one_body, 1614265330 + 301) ==
				  WEBHOOK_OUTSIDE_TOLERANCE &&
			  standard(one, one_id, "1614265330", one_sig, one_body, 1614265330 - 301) ==
				  WEBHOOK_OUTSIDE_TOLERANCE,
		  "301 seconds either way are not");

	check(webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n, t) == WEBHOOK_VALID,
		  "Stripe's scheme");
	check(webhook_check_stripe(stripe, "t=1700000000,v1=" V1 ",v0=aa,v1=00", raw, n, t) ==
			  WEBHOOK_VALID,
		  "several signatures, one of them good");
	check(webhook_check_stripe(stripe,
							   "v1=" V1
							   ",v1=0000000000000000000000000000000000000000000000000000000000000000"
							   ",t=1700000000",
							   raw, n, t) == WEBHOOK_VALID,
		  "in any order");
	check(webhook_check_stripe(stripe, "t=1700000001,v1=" V1, raw, n, t) == WEBHOOK_BAD_SIGNATURE,
		  "another time is another signature");
	check(webhook_check_stripe("whsec_other", "t=1700000000,v1=" V1, raw, n, t) ==
			  WEBHOOK_BAD_SIGNATURE,
		  "another secret");
	check(webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n - 1, t) == WEBHOOK_BAD_SIGNATURE,
		  "a byte less");
	check(webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n, t + 300) == WEBHOOK_VALID &&
			  webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n, t - 300) == WEBHOOK_VALID,
		  "300 seconds either way");
	check(webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n, t + 301) ==
				  WEBHOOK_OUTSIDE_TOLERANCE &&
			  webhook_check_stripe(stripe, "t=1700000000,v1=" V1, raw, n, t - 301) ==
				  WEBHOOK_OUTSIDE_TOLERANCE,
		  "301 seconds either way");
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		check(webhook_check_stripe(stripe, malformed[i], raw, n, t) == WEBHOOK_MALFORMED,
			  "a header that cannot be read");
	check(webhook_check_stripe("", "t=1700000000,v1=" V1, raw, n, t) == WEBHOOK_MALFORMED,
		  "an empty secret verifies nothing");
}

int
main(void)
{
	if (!crypto_init())
		return 1;
	test_sigv4();
	test_object();
	test_webhook();
	return done();
}
