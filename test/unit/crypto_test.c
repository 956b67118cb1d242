/*
 * Primitives against published vectors: C2SP XAES-256-GCM on both paths,
 * RFC 5869 HKDF, RFC 4231 HMAC, RFC 8037 Ed25519, RFC 4648 base64url; and that
 * a fork never repeats a nonce.
 */
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/crypto.h"
#include "tap.h"

static void
test_xaes_vectors(const char *path)
{
	static const uint8_t nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX";
	static const char aad[] = "c2sp.org/XAES-256-GCM";
	const uint8_t *plain = (const uint8_t *) "XAES-256-GCM";
	uint8_t key[CRYPTO_KEY_BYTES];
	uint8_t out[28];
	uint8_t opened[12];
	char name[80];
	CryptoXaes *x;

	memset(key, 1, sizeof(key));
	x = crypto_xaes_new(key);
	snprintf(name, sizeof(name), "%s: C2SP vector 1 seals", path);
	check(crypto_xaes_seal(x, nonce, NULL, 0, plain, 12, out) &&
			  is_hex(out, 28, "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
		  name);
	snprintf(name, sizeof(name), "%s: and opens", path);
	check(crypto_xaes_open(x, nonce, NULL, 0, out, 28, opened) && memcmp(opened, plain, 12) == 0,
		  name);
	crypto_xaes_free(x);

	memset(key, 3, sizeof(key));
	x = crypto_xaes_new(key);
	snprintf(name, sizeof(name), "%s: C2SP vector 2, with AAD, seals", path);
	check(crypto_xaes_seal(x, nonce, (const uint8_t *) aad, strlen(aad), plain, 12, out) &&
			  is_hex(out, 28, "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
		  name);
	snprintf(name, sizeof(name), "%s: and opens", path);
	check(crypto_xaes_open(x, nonce, (const uint8_t *) aad, strlen(aad), out, 28, opened) &&
			  memcmp(opened, plain, 12) == 0,
		  name);
	crypto_xaes_free(x);
}

/* C2SP's accumulated test: 10,000 random messages; everything that is sealed is opened again. */
static void
test_xaes_accumulated(const char *path)
{
	enum
	{
		ROUNDS = 10000,
		ROUND_MAX = 32 + 24 + 1 + 255 + 1 + 255
	};
	uint8_t *stream = malloc(ROUNDS * ROUND_MAX);
	const uint8_t *p = stream;
	EVP_MD_CTX *shake = EVP_MD_CTX_new();
	uint8_t sealed[255 + CRYPTO_MAC_BYTES];
	uint8_t opened[255 + CRYPTO_MAC_BYTES];
	uint8_t digest[32];
	bool opens = true;
	bool in_place = true;
	bool ok;
	char name[80];

	ok = EVP_DigestInit_ex(shake, EVP_shake128(), NULL) == 1 &&
		 EVP_DigestFinalXOF(shake, stream, ROUNDS * ROUND_MAX) == 1 &&
		 EVP_DigestInit_ex(shake, EVP_shake128(), NULL) == 1;
	for (int i = 0; ok && i < ROUNDS; i++)
	{
		const uint8_t *key = p;
		const uint8_t *nonce = p + 32;
		size_t plain_len = p[56];
		const uint8_t *plain = p + 57;
		size_t aad_len = plain[plain_len];
		const uint8_t *aad = plain + plain_len + 1;
		CryptoXaes *x = crypto_xaes_new(key);

		p = aad + aad_len;
		ok = x != NULL && crypto_xaes_seal(x, nonce, aad, aad_len, plain, plain_len, sealed) &&
			 EVP_DigestUpdate(shake, sealed, plain_len + CRYPTO_MAC_BYTES) == 1;
		opens = opens &&
				crypto_xaes_open(x, nonce, aad, aad_len, sealed, plain_len + CRYPTO_MAC_BYTES,
								 opened) &&
				memcmp(opened, plain, plain_len) == 0;
		memcpy(opened, plain, plain_len);
		in_place =
			in_place && crypto_xaes_seal(x, nonce, aad, aad_len, opened, plain_len, opened) &&
			memcmp(opened, sealed, plain_len + CRYPTO_MAC_BYTES) == 0 &&
			crypto_xaes_open(x, nonce, aad, aad_len, opened, plain_len + CRYPTO_MAC_BYTES, opened) &&
			memcmp(opened, plain, plain_len) == 0;
		crypto_xaes_free(x);
	}
	ok = ok && EVP_DigestFinalXOF(shake, digest, sizeof(digest)) == 1;
	snprintf(name, sizeof(name), "%s: C2SP accumulated test, 10,000 rounds", path);
	check(ok && is_hex(digest, sizeof(digest),
					   "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"),
		  name);
	snprintf(name, sizeof(name), "%s: every one opens", path);
	check(opens, name);
	snprintf(name, sizeof(name), "%s: in place too", path);
	check(in_place, name);
	EVP_MD_CTX_free(shake);
	free(stream);
}

/* Whatever does not authenticate gives nothing, and leaves nothing behind. */
static void
test_xaes_refuses(const char *path)
{
	uint8_t key[CRYPTO_KEY_BYTES] = {7};
	uint8_t nonce[CRYPTO_NONCE_BYTES] = {9};
	uint8_t aad[5] = "aad.";
	uint8_t plain[33];
	uint8_t sealed[sizeof(plain) + CRYPTO_MAC_BYTES];
	uint8_t out[sizeof(plain)];
	CryptoXaes *x = crypto_xaes_new(key);
	bool sealed_ok;
	bool refused = true;
	bool wiped = true;
	char name[80];

	memset(plain, 0xa5, sizeof(plain));
	sealed_ok = crypto_xaes_seal(x, nonce, aad, sizeof(aad), plain, sizeof(plain), sealed);
	for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++)
	{
		memset(out, 0xee, sizeof(out));
		sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
		refused =
			refused && !crypto_xaes_open(x, nonce, aad, sizeof(aad), sealed, sizeof(sealed), out);
		sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
		for (size_t i = 0; i < sizeof(out); i++)
			wiped = wiped && out[i] == 0;
	}
	snprintf(name, sizeof(name), "%s: every bit of ciphertext and MAC matters", path);
	check(sealed_ok && refused, name);
	snprintf(name, sizeof(name), "%s: no plaintext is left after a refusal", path);
	check(wiped, name);

	refused = true;
	for (size_t bit = 0; bit < 8 * sizeof(nonce); bit++)
	{
		nonce[bit / 8] ^= (uint8_t) (1 << bit % 8);
		refused =
			refused && !crypto_xaes_open(x, nonce, aad, sizeof(aad), sealed, sizeof(sealed), out);
		nonce[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	snprintf(name, sizeof(name), "%s: every bit of the nonce matters", path);
	check(refused, name);
	snprintf(name, sizeof(name), "%s: so does the AAD, and its length", path);
	check(!crypto_xaes_open(x, nonce, aad, sizeof(aad) - 1, sealed, sizeof(sealed), out) &&
			  !crypto_xaes_open(x, nonce, NULL, 0, sealed, sizeof(sealed), out),
		  name);
	refused = true;
	for (size_t n = 0; n < sizeof(sealed); n++)
		refused = refused && !crypto_xaes_open(x, nonce, aad, sizeof(aad), sealed, n, out);
	snprintf(name, sizeof(name), "%s: no truncation opens", path);
	check(refused, name);
	snprintf(name, sizeof(name), "%s: and the whole still opens", path);
	check(crypto_xaes_open(x, nonce, aad, sizeof(aad), sealed, sizeof(sealed), out) &&
			  memcmp(out, plain, sizeof(plain)) == 0,
		  name);
	check(!crypto_xaes_open(x, nonce, aad, sizeof(aad), sealed, (size_t) 1 << 40, out),
		  "a length that no message has is refused before it is read");
	crypto_xaes_free(x);
	crypto_xaes_free(NULL);
}

static void
test_hmac(void)
{
	uint8_t key[131];
	uint8_t out[CRYPTO_HASH_BYTES];
	CryptoHmac h;
	CryptoHmac copy;

	memset(key, 0x0b, 20);
	check(crypto_hmac_init(&h, key, 20) && crypto_hmac(&h, "Hi There", 8, out) &&
			  is_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
		  "HMAC-SHA256: RFC 4231 case 1");
	check(crypto_hmac_init(&h, (const uint8_t *) "Jefe", 4) &&
			  crypto_hmac(&h, "what do ya want for nothing?", 28, out) &&
			  is_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
		  "HMAC-SHA256: RFC 4231 case 2");
	copy = h;
	check(crypto_hmac(&copy, "what do ya want for nothing?", 28, out) &&
			  is_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
		  "states can be copied and used again");
	memset(key, 0xaa, sizeof(key));
	check(crypto_hmac_init(&h, key, sizeof(key)) &&
			  crypto_hmac(&h, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out) &&
			  is_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
		  "HMAC-SHA256: RFC 4231 case 6, a key longer than a block");
	check(crypto_sha256("abc", 3, out) &&
			  is_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
		  "SHA-256: FIPS 180");
	check(crypto_sha256_3("a", 1, "b", 1, "c", 1, out) &&
			  is_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
		  "SHA-256 in three parts");
	check(crypto_sha256_3(NULL, 0, NULL, 0, NULL, 0, out) &&
			  is_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
		  "SHA-256 of nothing");
}

/* Messages that take the short way, and those that just do not, beside libsodium's. */
static void
test_sha_lengths(void)
{
	uint8_t data[200];
	uint8_t out[CRYPTO_HASH_BYTES];
	uint8_t theirs[CRYPTO_HASH_BYTES];
	uint8_t key[CRYPTO_KEY_BYTES];
	bool sha = true;
	bool split = true;
	bool hmac = true;
	CryptoHmac h;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 7 + 1);
	memset(key, 0x42, sizeof(key));
	check(crypto_hmac_init(&h, key, sizeof(key)), "HMAC states for every length");
	for (size_t n = 0; n <= sizeof(data); n++)
	{
		crypto_hash_sha256(theirs, data, n);
		sha = sha && crypto_sha256(data, n, out) && memcmp(out, theirs, sizeof(out)) == 0;
		split = split &&
				crypto_sha256_3(data, n / 3, data + n / 3, n / 5, data + n / 3 + n / 5,
								n - n / 3 - n / 5, out) &&
				memcmp(out, theirs, sizeof(out)) == 0;
		crypto_auth_hmacsha256(theirs, data, n, key);
		hmac = hmac && crypto_hmac(&h, data, n, out) && memcmp(out, theirs, sizeof(out)) == 0;
	}
	check(sha, "SHA-256 of 0 to 200 bytes is libsodium's");
	check(split, "and in three parts");
	check(hmac, "HMAC-SHA256 of 0 to 200 bytes is libsodium's");
}

static void
test_hkdf(void)
{
	uint8_t ikm[80];
	uint8_t salt[80];
	uint8_t info[80];
	uint8_t out[82];
	static uint8_t longest[255 * 32 + 1];

	memset(ikm, 0x0b, 22);
	unhex("000102030405060708090a0b0c", salt, sizeof(salt));
	unhex("f0f1f2f3f4f5f6f7f8f9", info, sizeof(info));
	check(crypto_hkdf(ikm, 22, salt, 13, info, 10, out, 42) &&
			  is_hex(out, 42,
					 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
					 "34007208d5b887185865"),
		  "HKDF-SHA256: RFC 5869 case 1");
	for (int i = 0; i < 80; i++)
	{
		ikm[i] = (uint8_t) i;
		salt[i] = (uint8_t) (0x60 + i);
		info[i] = (uint8_t) (0xb0 + i);
	}
	check(crypto_hkdf(ikm, 80, salt, 80, info, 80, out, 82) &&
			  is_hex(out, 82,
					 "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
					 "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
					 "cc30c58179ec3e87c14c01d5c1f3434f1d87"),
		  "HKDF-SHA256: RFC 5869 case 2");
	memset(ikm, 0x0b, 22);
	check(crypto_hkdf(ikm, 22, NULL, 0, NULL, 0, out, 42) &&
			  is_hex(out, 42,
					 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
					 "9d201395faa4b61a96c8"),
		  "HKDF-SHA256: RFC 5869 case 3");
	check(crypto_hkdf(ikm, 22, NULL, 0, NULL, 0, longest, 255 * 32) &&
			  !crypto_hkdf(ikm, 22, NULL, 0, NULL, 0, longest, 255 * 32 + 1),
		  "HKDF gives 255 blocks and refuses one byte more");
}

static void
test_ed25519(void)
{
	static const char message[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
	uint8_t seed[CRYPTO_SEED_BYTES];
	uint8_t pub[CRYPTO_PUB_BYTES];
	uint8_t sig[CRYPTO_SIG_BYTES];
	uint8_t want[CRYPTO_SIG_BYTES + 2];
	char text[44];
	size_t len;

	check(crypto_base64url_decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", 43, want, &len) &&
			  len == sizeof(seed),
		  "RFC 8037: the seed decodes");
	memcpy(seed, want, sizeof(seed));
	check(crypto_ed25519_public(seed, pub), "its public key");
	crypto_base64url_encode(pub, sizeof(pub), text);
	check(memcmp(text, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", 43) == 0, "is RFC 8037's");
	check(crypto_base64url_decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsP"
								  "t9g7sVvpAr_MuM0KAg",
								  86, want, &len) &&
			  len == sizeof(sig) && crypto_ed25519_sign(seed, message, strlen(message), sig) &&
			  memcmp(sig, want, sizeof(sig)) == 0,
		  "so is its signature");
	check(crypto_ed25519_verify(pub, message, strlen(message), sig), "which verifies");
	sig[3] ^= 1;
	check(!crypto_ed25519_verify(pub, message, strlen(message), sig), "changed it does not");
	sig[3] ^= 1;
	check(!crypto_ed25519_verify(pub, message, strlen(message) - 1, sig), "nor for another message");
	pub[0] ^= 1;
	check(!crypto_ed25519_verify(pub, message, strlen(message), sig), "nor under another key");
}

/* Every text that decodes encodes to itself; every other text of up to three digits is refused. */
static void
test_base64url(void)
{
	static const char *const texts[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
	static const char *const bad[] = {"Z",		"Zm9vY", "Zh",		"Zm9",	   "Zg==",
									  "Zm8=",	"Zm9v ", " Zm9v",	"Zm+v",	   "Zm/v",
									  "Zm9v\n", "Zm\0v", "Zm9\x80", "Zm9vYg=", "Zg\n"};
	uint8_t bytes[64];
	char text[64];
	size_t len;
	bool ok = true;
	int accepted = 0;

	for (size_t n = 0; n < 7; n++)
	{
		crypto_base64url_encode((const uint8_t *) "foobar", n, text);
		ok = ok && crypto_base64url_encoded_len(n) == strlen(texts[n]) &&
			 memcmp(text, texts[n], strlen(texts[n])) == 0 &&
			 crypto_base64url_decode(texts[n], strlen(texts[n]), bytes, &len) && len == n &&
			 memcmp(bytes, "foobar", n) == 0;
	}
	check(ok, "base64url: RFC 4648 vectors, without padding");
	ok = true;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok = ok && !crypto_base64url_decode(bad[i], i == 11 ? 4 : strlen(bad[i]), bytes, &len);
	check(ok, "padding, white space, other alphabets, odd lengths and loose bits are refused");

	for (int a = 0; a < 256; a++)
	{
		for (int b = 0; b < 256; b++)
		{
			char two[3] = {(char) a, (char) b, 'A'};
			char again[4];

			if (crypto_base64url_decode(two, 2, bytes, &len))
			{
				accepted++;
				crypto_base64url_encode(bytes, len, again);
				ok = ok && len == 1 && memcmp(again, two, 2) == 0;
			}
		}
	}
	check(ok && accepted == 256, "of all pairs of characters 256 decode, each to a byte of its own");
	for (int a = 0; a < 256; a++)
		bytes[a % 64] = (uint8_t) a;
	for (size_t n = 0; n <= 32; n++)
	{
		uint8_t back[64];

		crypto_base64url_encode(bytes, n, text);
		ok = ok && crypto_base64url_decode(text, crypto_base64url_encoded_len(n), back, &len) &&
			 len == n && memcmp(back, bytes, n) == 0;
	}
	check(ok, "lengths 0 to 32 come back");
}

/* Nonces of a child that was forked after the buffer was filled differ from its parent's. */
static void
test_nonce_fork(void)
{
	enum
	{
		N = 64
	};
	uint8_t mine[N][CRYPTO_NONCE_BYTES];
	uint8_t theirs[2][N][CRYPTO_NONCE_BYTES];
	int ends[2];
	bool repeated = false;
	bool read_ok = true;

	crypto_nonce(mine[0], sizeof(mine[0])); /* fills the buffer */
	for (int child = 0; child < 2; child++)
	{
		pid_t pid;

		if (pipe(ends) != 0 || (pid = fork()) < 0)
			abort();
		if (pid == 0)
		{
			for (int i = 0; i < N; i++)
				crypto_nonce(theirs[0][i], CRYPTO_NONCE_BYTES);
			_exit(write(ends[1], theirs[0], sizeof(theirs[0])) == sizeof(theirs[0]) ? 0 : 1);
		}
		close(ends[1]);
		for (size_t got = 0; got < sizeof(theirs[child]);)
		{
			ssize_t n = read(ends[0], (uint8_t *) theirs[child] + got, sizeof(theirs[child]) - got);

			if (n <= 0)
			{
				read_ok = false;
				break;
			}
			got += (size_t) n;
		}
		close(ends[0]);
		waitpid(pid, NULL, 0);
	}
	for (int i = 0; i < N; i++)
		crypto_nonce(mine[i], CRYPTO_NONCE_BYTES);
	for (int i = 0; i < N; i++)
	{
		for (int j = 0; j < N; j++)
			repeated = repeated || memcmp(mine[i], theirs[0][j], CRYPTO_NONCE_BYTES) == 0 ||
					   memcmp(mine[i], theirs[1][j], CRYPTO_NONCE_BYTES) == 0 ||
					   memcmp(theirs[0][i], theirs[1][j], CRYPTO_NONCE_BYTES) == 0 ||
					   (i != j && memcmp(mine[i], mine[j], CRYPTO_NONCE_BYTES) == 0);
	}
	check(read_ok && !repeated, "parent and two children draw no nonce twice");
}

static int
compare_nonces(const void *a, const void *b)
{
	return memcmp(a, b, CRYPTO_NONCE_BYTES);
}

/* More than one buffer's worth, and more than a buffer at once. */
static void
test_nonce_stream(void)
{
	enum
	{
		N = 2000
	};
	static uint8_t all[N][CRYPTO_NONCE_BYTES];
	static uint8_t large[10000];
	bool repeated = false;
	int zeros = 0;

	for (int i = 0; i < N; i++)
		crypto_nonce(all[i], CRYPTO_NONCE_BYTES);
	qsort(all, N, sizeof(all[0]), compare_nonces);
	for (int i = 1; i < N; i++)
		repeated = repeated || memcmp(all[i - 1], all[i], CRYPTO_NONCE_BYTES) == 0;
	check(!repeated, "2,000 nonces are all different");
	crypto_nonce(large, sizeof(large));
	for (size_t i = 0; i < sizeof(large); i++)
		zeros += large[i] == 0;
	check(zeros < 200, "a request larger than the buffer is random throughout");
}

int
main(void)
{
	check(crypto_init() && crypto_init(), "starts, and starts again");
	for (int fallback = 0; fallback < 2; fallback++)
	{
		const char *path;

		crypto_force_fallback(fallback);
		path = crypto_is_accelerated() ? "AES-NI" : "OpenSSL";
		check(!fallback || !crypto_is_accelerated(), "the fallback is what it says");
		test_xaes_vectors(path);
		test_xaes_accumulated(path);
		test_xaes_refuses(path);
	}
	crypto_force_fallback(false);
	test_hmac();
	test_sha_lengths();
	test_hkdf();
	test_ed25519();
	test_base64url();
	test_nonce_fork();
	test_nonce_stream();
	check(crypto_equal("abcd", "abcd", 4) && !crypto_equal("abcd", "abce", 4),
		  "equal bytes, and not");
	{
		uint8_t *p = crypto_alloc_locked(100);

		check(p != NULL && p[0] == 0 && p[99] == 0, "locked memory is there, and zero");
		crypto_free_locked(p);
		crypto_free_locked(NULL);
	}
	return done();
}
