/*
 * JSON, JWTs and key sets: RFC vectors, tokens that openssl(1) signed, and what must be refused.
 */
#include "identity/jwks.h"
#include "tap.h"

static Jwt jwt;
static JwtJsonNode set_nodes[JWKS_NODES];
static char set_text[JWKS_MAX];

/* Tokens and keys made with openssl(1): RS256 by r1, ES256 by e1. */
static const char set_json[] =
	"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r1\",\"use\":\"sig\",\"alg\":\"RS256\",\"n\":\"vfQ-aqtS4-zA"
	"7_rtLDIHdzIN2bO-zCphvCURZ8-fYcYPZiI1BHZql4G7zmhEOxfoZUO5PG91PPmvTLMUxSfyIYOj"
	"EA5Pd4adW2mXRNzi7XjaG515qdTjiakSiqudrDxMAiVcKQg_-el6vbNDa9IplSGrV_XFWBiKQYog"
	"jubBW34Sqds7s9QbxlX7d2EpST02jHMaljkc7GqmkOqLP4WMAGjTsR1IzVE2PLmXLWXBIL9NdMsw"
	"OeudiBm4od4Sl8ox3HLk9ak6w3qCdZCF3ElBQ9jBnYDfuI9pH5NgWaDRnrizlvUKAmRqGpcoMeio"
	"C-Y_ubduSfHGrZOJNm_PzNooww\",\"e\":\"AQAB\"},{\"kty\":\"EC\",\"kid\":\"e1\",\"use\":\"sig\",\""
	"crv\":\"P-256\",\"x\":\"pDRFdRbA5in6BdhubDVpdwDjySwNFVyq-U6xKBYxuIw\",\"y\":\"n7GHpCBf"
	"CYzK1G2lk1DFlsUYWUFOTao5Sq4Of4yfrHo\"}]}";
static const char rs256[] =
	"eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lk"
	"cC5leGFtcGxlIiwiYXVkIjoiY2xpZW50LTEiLCJzdWIiOiJzdWJqZWN0LTEiLCJub25jZSI6Im4t"
	"MDEyMzQ1Njc4OWFiY2RlZiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.sYVDL"
	"Hj_m60Qt9RGYXFTiCTH91IOKaCWy5ngdTFj5eL3fI_oOv9G-8rdPL4Wmf4U1jCnQJsNbuCdhF_9d"
	"FgLmUKPj8UhE853qHPE1xaFxfsOtW3UbU_bZ6gm0o6ERMMfo-b3cM_cDmYAZjMtn-g57paWHADMm"
	"apUQwsJq8uQxI6qc9dImdL6SYqH5AdPIQK4rYuHTrQKzj2U2dsGRtrNtqIfRrJOIaCp4Je4JEx8O"
	"qtdp3J2x1YRPeWwNjJzlSe0aWE4gQA_4vnY3cg-9ir_m-Fv0db4Lut39ggpOK-XLq-m-p3c0FZiW"
	"j4LRM7xRv-1hBFlxNUEBiU_a77HeUyz6g";
static const char es256[] =
	"eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lk"
	"cC5leGFtcGxlIiwiYXVkIjoiY2xpZW50LTEiLCJzdWIiOiJzdWJqZWN0LTEiLCJub25jZSI6Im4t"
	"MDEyMzQ1Njc4OWFiY2RlZiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.sPXPw"
	"gMYoMgbHd9_2pO_-SpBmL0z1o-GdzVQ7_4a7pA039gkLWnnElmtoWYiBSSBwZ81aPejrr5ORsZ0Z"
	"T8NCw";
/* RFC 7515 A.1 */
static const char hs256[] =
	"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
	"Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/* RFC 8037 A.4 */
static const char eddsa[] =
	"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg"
	"3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
static const char eddsa_seed[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char eddsa_public[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

static bool
json_ok(const char *text)
{
	JwtJsonNode nodes[64];
	char copy[1024];

	strcpy(copy, text);
	return jwt_json_parse(copy, strlen(copy), nodes, 64);
}

static bool
parses(const char *token)
{
	return jwt_parse(token, strlen(token), &jwt);
}

/* header.payload.AA of two JSON texts */
static const char *
token_of(const char *header, const char *payload)
{
	static char out[8192];
	char *at = out;

	crypto_base64url_encode((const uint8_t *) header, strlen(header), at);
	at += crypto_base64url_encoded_len(strlen(header));
	*at++ = '.';
	crypto_base64url_encode((const uint8_t *) payload, strlen(payload), at);
	at += crypto_base64url_encoded_len(strlen(payload));
	strcpy(at, ".AA");
	return out;
}

static const char *
times(const char *payload)
{
	if (!parses(token_of("{\"alg\":\"EdDSA\"}", payload)) || !jwt_read_claims(&jwt))
		return "no claims";
	return jwt_time_problem(jwt.claims, 1000, 0, 30);
}

static bool
says(const char *got, const char *want)
{
	return want == NULL ? got == NULL : got != NULL && strcmp(got, want) == 0;
}

static bool
audience(const char *payload, const char *who)
{
	bool several;

	return parses(token_of("{\"alg\":\"EdDSA\"}", payload)) && jwt_read_claims(&jwt) &&
		   jwt_has_audience(jwt.claims, who, &several);
}

static const JwtJsonNode *
load_set(const char *text)
{
	strcpy(set_text, text);
	return jwt_json_parse(set_text, strlen(set_text), set_nodes, JWKS_NODES) ? set_nodes : NULL;
}

/* True when the token verifies by the key of the loaded set that it names. */
static bool
verifies(const char *token)
{
	JwksKey key;

	return parses(token) && jwks_find(set_nodes, jwt.kid, jwt.algorithm, &key) &&
		   jwks_verify(&key, &jwt);
}

/* Every character of a token's signature changed to another: none may verify. */
static bool
changed_signatures_fail(const char *token)
{
	char copy[2048];
	char *dot;

	strcpy(copy, token);
	dot = strrchr(copy, '.');
	for (char *at = dot + 1; at < copy + strlen(token); at += 7)
	{
		char was = *at;

		*at = was == 'A' ? 'B' : 'A';
		if (verifies(copy))
			return false;
		*at = was;
	}
	return true;
}

static void
test_json(void)
{
	JwtJsonNode nodes[16];
	char escaped[] = "[\"\\u0041\\u00e9\\ud83d\\ude00\\n\", -12, 9223372036854775807]";
	char smallest[] = "-9223372036854775808";
	char larger[] = "9223372036854775808";
	int64_t value;

	check(jwt_json_parse(escaped, strlen(escaped), nodes, 16) &&
			  jwt_json_is(&nodes[1], "A\xc3\xa9\xf0\x9f\x98\x80\n"),
		  "escapes are decoded to UTF-8");
	check(jwt_json_integer(&nodes[2], &value) && value == -12 &&
			  jwt_json_integer(&nodes[3], &value) && value == INT64_MAX,
		  "integers are read");
	check(jwt_json_parse(smallest, strlen(smallest), nodes, 16) &&
			  jwt_json_integer(nodes, &value) && value == INT64_MIN,
		  "the smallest one, too");
	check(jwt_json_parse(larger, strlen(larger), nodes, 16) && !jwt_json_integer(nodes, &value),
		  "one too large is no integer");
	check(json_ok(" {\"a\" : [ ] , \"b\":{}, \"c\":1.5e-3,\"d\":null} "), "blanks and all kinds");
	check(!json_ok("{\"a\":1,\"a\":2}"), "a name twice is refused");
	check(!json_ok("{\"a\":1,\"\\u0061\":2}"), "also when one is escaped");
	check(!json_ok("{\"x\":[{\"a\":{},\"b\":[1,2],\"a\":0}]}"), "also further inside");
	check(json_ok("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"), "the same name in two objects is not");
	check(!json_ok("\"\\u0000\"") && !json_ok("\"\x01\""), "NUL and control characters are refused");
	check(!json_ok("\"\\ud800\"") && !json_ok("\"\\udc00\"") && !json_ok("\"\\ud800\\u0041\""),
		  "lone surrogates are refused");
	check(!json_ok("\"\xff\"") && !json_ok("\"\xc0\x80\"") && !json_ok("\"\xed\xa0\x80\"") &&
			  !json_ok("\"\xf4\x90\x80\x80\"") && !json_ok("\"\xc3\""),
		  "bytes that are not UTF-8 are refused");
	check(!json_ok("") && !json_ok("{") && !json_ok("[1,]") && !json_ok("{\"a\"}") &&
			  !json_ok("{a:1}") && !json_ok("\"a") && !json_ok("[1 2]") && !json_ok("nul"),
		  "what is cut short or wrong is refused");
	check(!json_ok("1 2") && !json_ok("{}{}") && !json_ok("{}x"), "anything behind is refused");
	check(!json_ok("01") && !json_ok("-") && !json_ok("1.") && !json_ok(".5") && !json_ok("1e") &&
			  !json_ok("+1") && !json_ok("NaN") && !json_ok("0x10"),
		  "other numbers are refused");
	check(!json_ok("1e1000") && !json_ok("111111111111111111111111111111111"),
		  "numbers that are too large to read are refused");
	check(json_ok("[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]") &&
			  !json_ok("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"),
		  "nesting ends somewhere");
	check(!jwt_json_parse(escaped, strlen(escaped), nodes, 3), "and so does room");
}

static void
test_jwt(void)
{
	uint8_t seed[32];
	uint8_t pub[32];
	size_t len;
	char copy[2048];
	char signed_again[512];

	check(parses(hs256) && jwt.algorithm == JWT_OTHER && jwt_read_claims(&jwt) &&
			  jwt_json_is(jwt_json_member(jwt.claims, "iss"), "joe") && jwt_type_is(&jwt, "jwt"),
		  "RFC 7515 A.1 is taken apart, and HS256 is no algorithm of ours");
	check(parses(eddsa) && jwt.algorithm == JWT_EDDSA &&
			  crypto_base64url_decode(eddsa_public, strlen(eddsa_public), pub, &len) && len == 32 &&
			  crypto_ed25519_verify(pub, jwt.signed_text, jwt.signed_len, jwt.signature),
		  "RFC 8037 A.4 verifies");
	check(!jwt_read_claims(&jwt), "and has no claims");
	check(crypto_base64url_decode(eddsa_seed, strlen(eddsa_seed), seed, &len) &&
			  jwt_signed_size(15, 26) == strlen(eddsa) &&
			  jwt_sign(seed, "{\"alg\":\"EdDSA\"}", 15, "Example of Ed25519 signing", 26,
					   signed_again) &&
			  memcmp(signed_again, eddsa, strlen(eddsa)) == 0,
		  "and is signed again to the byte");

	check(!parses("") && !parses(".") && !parses("..") && !parses("...") && !parses("e30.e30"),
		  "fewer segments, or empty ones, are refused");
	snprintf(copy, sizeof(copy), "%s.AA", hs256);
	check(!parses(copy), "a fourth segment is refused");
	snprintf(copy, sizeof(copy), "%s=", hs256);
	check(!parses(copy), "padding is refused");
	snprintf(copy, sizeof(copy), "%s ", hs256);
	check(!parses(copy), "a blank behind is refused");
	strcpy(copy, hs256);
	copy[strlen(copy) - 1] = 'l'; /* other bits that no byte takes */
	check(!parses(copy), "base64url in a second form is refused");
	check(!jwt_parse(hs256, JWT_MAX + 1, &jwt), "a token too long is refused before it is read");
	check(parses(token_of("{\"alg\":\"none\"}", "{}")) && jwt.algorithm == JWT_OTHER,
		  "none is no algorithm");
	check(parses(token_of("{\"alg\":\"eddsa\"}", "{}")) && jwt.algorithm == JWT_OTHER,
		  "nor is another case of one");
	check(!parses(token_of("{}", "{}")) && !parses(token_of("{\"alg\":1}", "{}")) &&
			  !parses(token_of("{\"alg\":null}", "{}")) && !parses(token_of("[]", "{}")),
		  "a header without a name of an algorithm is refused");
	check(!parses(token_of("{\"alg\":\"EdDSA\",\"alg\":\"none\"}", "{}")),
		  "a header with two is refused");
	check(!parses(token_of("{\"alg\":\"EdDSA\",\"crit\":[\"exp\"],\"exp\":1}", "{}")) &&
			  !parses(token_of("{\"alg\":\"EdDSA\",\"crit\":[]}", "{}")) &&
			  !parses(token_of("{\"alg\":\"EdDSA\",\"b64\":false}", "{}")),
		  "critical extensions are refused");
	check(!parses(token_of("{\"alg\":\"EdDSA\",\"kid\":1}", "{}")) &&
			  !parses(token_of("{\"alg\":\"EdDSA\",\"kid\":\"\"}", "{}")),
		  "a kid that is no name is refused");
	check(parses(token_of("{\"alg\":\"EdDSA\",\"typ\":\"application/AT+jwt\"}", "{}")) &&
			  jwt_type_is(&jwt, "at+jwt") && !jwt_type_is(&jwt, "JWT"),
		  "a type is the same with its prefix and in any case");
	check(parses(token_of("{\"alg\":\"EdDSA\"}", "{\"a\":1,\"a\":2}")) && !jwt_read_claims(&jwt),
		  "claims with a name twice are refused");
	check(parses(token_of("{\"alg\":\"EdDSA\"}", "[]")) && !jwt_read_claims(&jwt),
		  "claims that are no object are refused");

	check(says(times("{\"exp\":1001}"), NULL), "a second before exp a token holds");
	check(says(times("{\"exp\":1000}"), "expired"), "at exp it does not");
	check(says(times("{}"), "malformed"), "without exp it does not");
	check(says(times("{\"exp\":\"2000\"}"), "malformed") &&
			  says(times("{\"exp\":2000.5}"), "malformed") &&
			  says(times("{\"exp\":2e3}"), "malformed") &&
			  says(times("{\"exp\":null}"), "malformed") &&
			  says(times("{\"exp\":-1}"), "malformed") &&
			  says(times("{\"exp\":9223372036854775807}"), "malformed"),
		  "exp must be an integer of a sane size");
	check(says(times("{\"exp\":2000,\"nbf\":1030,\"iat\":1030}"), NULL),
		  "clocks may differ a little");
	check(says(times("{\"exp\":2000,\"nbf\":1031}"), "not valid yet") &&
			  says(times("{\"exp\":2000,\"iat\":1031}"), "not valid yet"),
		  "but not more");
	check(says(times("{\"exp\":2000,\"nbf\":\"0\"}"), "malformed") &&
			  says(times("{\"exp\":2000,\"iat\":true}"), "malformed"),
		  "nbf and iat must be integers");
	check(audience("{\"aud\":\"a\"}", "a") && audience("{\"aud\":[\"b\",\"a\"]}", "a"),
		  "an audience is a string or in an array");
	check(!audience("{\"aud\":\"ab\"}", "a") && !audience("{\"aud\":[]}", "a") &&
			  !audience("{}", "a") && !audience("{\"aud\":{\"a\":\"a\"}}", "a") &&
			  !audience("{\"aud\":[\"a\",1]}", "a") && !audience("{\"aud\":[[\"a\"]]}", "a"),
		  "and nothing else is one");
}

static void
test_jwks(void)
{
	static char text[JWKS_MAX];

	check(load_set(set_json) != NULL && jwks_problem(set_nodes) == NULL, "a set is taken");
	check(verifies(rs256), "RS256 by openssl verifies");
	check(verifies(es256), "ES256 by openssl verifies");
	check(changed_signatures_fail(rs256) && changed_signatures_fail(es256),
		  "changed signatures do not");
	strcpy(text, rs256);
	text[120] = text[120] == 'A' ? 'B' : 'A';
	check(!verifies(text), "nor does another payload");
	check(!verifies(token_of("{\"alg\":\"ES256\",\"kid\":\"r1\"}", "{}")) &&
			  !verifies(token_of("{\"alg\":\"EdDSA\",\"kid\":\"r1\"}", "{}")) &&
			  !verifies(token_of("{\"alg\":\"HS256\",\"kid\":\"r1\"}", "{}")) &&
			  !verifies(token_of("{\"alg\":\"none\",\"kid\":\"r1\"}", "{}")),
		  "no key is used with another algorithm");
	check(!verifies(token_of("{\"alg\":\"RS256\"}", "{}")) &&
			  !verifies(token_of("{\"alg\":\"RS256\",\"kid\":\"r2\"}", "{}")),
		  "a token without a kid, or with an unknown one, has no key");
	strcpy(text, set_json);
	memcpy(strstr(text, "\"sig\""), "\"enc\"", 5);
	check(load_set(text) != NULL && !verifies(rs256) && verifies(es256),
		  "a key for encryption does not verify");
	/* one bit of y changed: not on the curve */
	strcpy(text, set_json);
	strstr(text, "\"y\":\"")[5] ^= 1;
	check(load_set(text) != NULL && parses(es256) && !verifies(es256),
		  "a point off the curve is no key");
	check(says(jwks_problem(load_set("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}]}")),
			   "holds a secret key"),
		  "a symmetric key is refused");
	check(says(jwks_problem(
				   load_set("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"AA\"}]}")),
			   "holds a secret key"),
		  "a private key is refused");
	check(says(jwks_problem(load_set("{}")), "has no array of keys") &&
			  says(jwks_problem(load_set("{\"keys\":{}}")), "has no array of keys") &&
			  says(jwks_problem(load_set("{\"keys\":[1]}")), "has a key that is no object"),
		  "what is no set is refused");
	check(says(jwks_problem(load_set(
				   "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\"},{\"kty\":\"EC\",\"kid\":\"a\"}]}")),
			   "names two keys alike"),
		  "two keys of one name are refused");
	check(jwks_problem(load_set(
			  "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"gQ\",\"e\":\"AQAB\"}]}")) != NULL,
		  "a set without a key of a sound size is refused");
}

int
main(void)
{
	if (!crypto_init())
		return 1;
	test_json();
	test_jwt();
	test_jwks();
	return done();
}
