/*
 * Primitives over libsodium and OpenSSL: buffers in, codes out.
 * Trusts its callers for sizes; refuses what does not authenticate and what is
 * not canonical.  No secret stays on the stack or in a shared context.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_CTX can be copied and wiped; EVP_MD_CTX cannot */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/types.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sodium.h>

#include "crypto/crypto.h"

/* OpenSSL counts in int, and no value of PostgreSQL's is larger than 1 GB. */
#define CRYPTO_MESSAGE_MAX ((size_t) INT_MAX - 64)

#define CRYPTO_BLOCK_BYTES	   16
#define CRYPTO_GCM_NONCE_BYTES 12
#define CRYPTO_HMAC_BLOCK	   64

struct CryptoXaes
{
	EVP_CIPHER_CTX *ecb; /* AES-256 under the key, without padding */
	uint8_t k1[CRYPTO_BLOCK_BYTES];
};

typedef struct HmacStates
{
	SHA256_CTX inner;
	SHA256_CTX outer;
} HmacStates;

_Static_assert(sizeof(HmacStates) <= sizeof(CryptoHmac), "CryptoHmac is too small");
_Static_assert(_Alignof(HmacStates) <= _Alignof(CryptoHmac), "CryptoHmac is not aligned");
_Static_assert(CRYPTO_MAC_BYTES == crypto_aead_aes256gcm_ABYTES, "size of the GCM tag");

static bool crypto_started = false;
static bool crypto_fallback = false;
static EVP_CIPHER *crypto_ecb = NULL;
static EVP_CIPHER *crypto_gcm = NULL;
static EVP_CIPHER_CTX *crypto_gcm_ctx = NULL; /* of the fallback; holds no key between calls */

/* ---- start ---- */

bool
crypto_init(void)
{
	if (crypto_started)
		return true;
	if (sodium_init() < 0)
		return false;
	if (crypto_ecb == NULL)
		crypto_ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	if (crypto_gcm == NULL)
		crypto_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (crypto_ecb == NULL || crypto_gcm == NULL)
		return false;
	crypto_started = true;
	return true;
}

bool
crypto_is_accelerated(void)
{
	return crypto_started && !crypto_fallback && crypto_aead_aes256gcm_is_available() == 1;
}

void
crypto_force_fallback(bool on)
{
	crypto_fallback = on;
}

/* ---- memory ---- */

void
crypto_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

void *
crypto_alloc_locked(size_t n)
{
	void *p;

	if (!crypto_init())
		return NULL;
	p = sodium_malloc(n);
	if (p != NULL)
		memset(p, 0, n);
	return p;
}

void
crypto_free_locked(void *p)
{
	sodium_free(p);
}

/* ---- randomness ---- */

/*
 * The pool lives in a page of its own that the kernel empties in a forked
 * child (MADV_WIPEONFORK): there `left` is 0 and the pool is filled anew.
 * Where the kernel cannot do that, or takes advice that does not exist (qemu
 * and others like it say yes to all), the process id is compared at every call.
 */
typedef struct NoncePool
{
	size_t left;
	uint8_t bytes[4096 - sizeof(size_t)];
} NoncePool;

static NoncePool *nonce_pool = NULL;
static bool nonce_wipes_on_fork = false;
static pid_t nonce_pid = 0;

/* Random bytes of the kernel's in one call, which libsodium asks for 256 at a time; libsodium's where that fails. */
static void
nonce_fill(uint8_t *out, size_t n)
{
	while (n > 0)
	{
		ssize_t got = getrandom(out, n, 0);

		if (got <= 0)
		{
			if (got < 0 && errno == EINTR)
				continue;
			randombytes_buf(out, n);
			return;
		}
		out += got;
		n -= (size_t) got;
	}
}

void
crypto_nonce(uint8_t *out, size_t n)
{
	if (nonce_pool == NULL)
	{
		void *page = mmap(NULL, sizeof(NoncePool), PROT_READ | PROT_WRITE,
						  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED)
		{
			randombytes_buf(out, n);
			return;
		}
#ifdef MADV_WIPEONFORK
		nonce_wipes_on_fork = madvise(page, sizeof(NoncePool), -1) != 0 &&
							  madvise(page, sizeof(NoncePool), MADV_WIPEONFORK) == 0;
#endif
		nonce_pool = page;
		nonce_pid = getpid();
	}
	if (!nonce_wipes_on_fork && nonce_pid != getpid())
	{
		nonce_pool->left = 0;
		nonce_pid = getpid();
	}
	if (n > nonce_pool->left)
	{
		if (n > sizeof(nonce_pool->bytes))
		{
			randombytes_buf(out, n);
			return;
		}
		nonce_fill(nonce_pool->bytes, sizeof(nonce_pool->bytes));
		nonce_pool->left = sizeof(nonce_pool->bytes);
	}
	nonce_pool->left -= n;
	memcpy(out, nonce_pool->bytes + nonce_pool->left, n);
	memset(nonce_pool->bytes + nonce_pool->left, 0, n);
}

void
crypto_random(uint8_t *out, size_t n)
{
	randombytes_buf(out, n);
}

/* ---- XAES-256-GCM ---- */

CryptoXaes *
crypto_xaes_new(const uint8_t key[CRYPTO_KEY_BYTES])
{
	static const uint8_t zero[CRYPTO_BLOCK_BYTES] = {0};
	CryptoXaes *x;
	uint8_t l[CRYPTO_BLOCK_BYTES];
	uint8_t carry;
	int len = 0;
	bool ok;

	if (!crypto_init())
		return NULL;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return NULL;
	x->ecb = EVP_CIPHER_CTX_new();
	ok = x->ecb != NULL && EVP_EncryptInit_ex2(x->ecb, crypto_ecb, key, NULL, NULL) == 1 &&
		 EVP_CIPHER_CTX_set_padding(x->ecb, 0) == 1 &&
		 EVP_EncryptUpdate(x->ecb, l, &len, zero, sizeof(zero)) == 1 && len == sizeof(zero);
	if (!ok)
	{
		sodium_memzero(l, sizeof(l));
		crypto_xaes_free(x);
		return NULL;
	}

	/* K1: L doubled in GF(2^128), without a branch on its top bit. */
	carry = (uint8_t) (-(l[0] >> 7)) & 0x87;
	for (int i = 0; i < CRYPTO_BLOCK_BYTES - 1; i++)
		x->k1[i] = (uint8_t) ((l[i] << 1) | (l[i + 1] >> 7));
	x->k1[CRYPTO_BLOCK_BYTES - 1] = (uint8_t) (l[CRYPTO_BLOCK_BYTES - 1] << 1) ^ carry;
	sodium_memzero(l, sizeof(l));
	return x;
}

void
crypto_xaes_free(CryptoXaes *x)
{
	if (x == NULL)
		return;
	EVP_CIPHER_CTX_free(x->ecb); /* wipes its key schedule */
	sodium_memzero(x, sizeof(*x));
	free(x);
}

/* The key of one message, from the first half of its nonce. */
static bool
xaes_derive(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES], uint8_t key[CRYPTO_KEY_BYTES])
{
	static const uint8_t label[2][4] = {{0, 1, 'X', 0}, {0, 2, 'X', 0}};
	uint8_t m[2 * CRYPTO_BLOCK_BYTES];
	int len = 0;
	bool ok;

	for (int b = 0; b < 2; b++)
	{
		uint8_t *block = m + b * CRYPTO_BLOCK_BYTES;

		memcpy(block, label[b], 4);
		memcpy(block + 4, nonce, 12);
		for (int i = 0; i < CRYPTO_BLOCK_BYTES; i++)
			block[i] ^= x->k1[i];
	}
	ok = EVP_EncryptUpdate(x->ecb, key, &len, m, sizeof(m)) == 1 && len == sizeof(m);
	sodium_memzero(m, sizeof(m));
	return ok;
}

/* Readies the shared GCM context for one message; NULL on failure. */
static EVP_CIPHER_CTX *
gcm_begin(bool encrypt, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len)
{
	int len;

	if (crypto_gcm_ctx == NULL)
		crypto_gcm_ctx = EVP_CIPHER_CTX_new();
	if (crypto_gcm_ctx == NULL)
		return NULL;
	if (EVP_CipherInit_ex2(crypto_gcm_ctx, crypto_gcm, key, nonce, encrypt ? 1 : 0, NULL) != 1 ||
		(aad_len > 0 && EVP_CipherUpdate(crypto_gcm_ctx, NULL, &len, aad, (int) aad_len) != 1))
	{
		EVP_CIPHER_CTX_free(crypto_gcm_ctx);
		crypto_gcm_ctx = NULL;
	}
	return crypto_gcm_ctx;
}

/* Leaves no key in the shared context: overwrites its schedule, or frees it. */
static void
gcm_end(bool ok)
{
	static const uint8_t zero[CRYPTO_KEY_BYTES] = {0};

	if (crypto_gcm_ctx == NULL)
		return;
	if (ok && EVP_CipherInit_ex2(crypto_gcm_ctx, crypto_gcm, zero, zero, 1, NULL) == 1)
		return;
	EVP_CIPHER_CTX_free(crypto_gcm_ctx);
	crypto_gcm_ctx = NULL;
}

static bool
gcm_seal_evp(const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
			 const uint8_t *plain, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = gcm_begin(true, key, nonce, aad, aad_len);
	int n = 0;
	int last = 0;
	bool ok = ctx != NULL;

	if (ok && len > 0)
		ok = EVP_EncryptUpdate(ctx, out, &n, plain, (int) len) == 1 && (size_t) n == len;
	ok = ok && EVP_EncryptFinal_ex(ctx, out + len, &last) == 1 && last == 0 &&
		 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_MAC_BYTES, out + len) == 1;
	gcm_end(ok);
	return ok;
}

static bool
gcm_open_evp(const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
			 const uint8_t *sealed, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = gcm_begin(false, key, nonce, aad, aad_len);
	uint8_t mac[CRYPTO_MAC_BYTES];
	uint8_t none[CRYPTO_BLOCK_BYTES];
	int n = 0;
	int last = 0;
	bool ok = ctx != NULL;

	memcpy(mac, sealed + len, sizeof(mac));
	if (ok && len > 0)
		ok = EVP_DecryptUpdate(ctx, out, &n, sealed, (int) len) == 1 && (size_t) n == len;
	ok = ok && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, CRYPTO_MAC_BYTES, mac) == 1 &&
		 EVP_DecryptFinal_ex(ctx, none, &last) == 1 && last == 0;
	gcm_end(ok);
	return ok;
}

bool
crypto_xaes_seal(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *aad,
				 size_t aad_len, const uint8_t *plain, size_t len, uint8_t *out)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	const uint8_t *gcm_nonce = nonce + CRYPTO_GCM_NONCE_BYTES;
	bool ok;

	if (len > CRYPTO_MESSAGE_MAX || aad_len > CRYPTO_MESSAGE_MAX)
		return false;
	ok = xaes_derive(x, nonce, key);
	if (ok && crypto_is_accelerated())
	{
		crypto_aead_aes256gcm_state state;

		ok = crypto_aead_aes256gcm_beforenm(&state, key) == 0 &&
			 crypto_aead_aes256gcm_encrypt_detached_afternm(out, out + len, NULL, plain, len, aad,
															aad_len, NULL, gcm_nonce, &state) == 0;
		sodium_memzero(&state, sizeof(state));
	}
	else if (ok)
		ok = gcm_seal_evp(key, gcm_nonce, aad, aad_len, plain, len, out);
	sodium_memzero(key, sizeof(key));
	return ok;
}

bool
crypto_xaes_open(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *aad,
				 size_t aad_len, const uint8_t *sealed, size_t sealed_len, uint8_t *out)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	bool ok = xaes_derive(x, nonce, key);

	if (ok)
		ok = crypto_message_open(key, nonce, aad, aad_len, sealed, sealed_len, out);
	else if (sealed_len > CRYPTO_MAC_BYTES)
		sodium_memzero(out, sealed_len - CRYPTO_MAC_BYTES);
	sodium_memzero(key, sizeof(key));
	return ok;
}

bool
crypto_xaes_message_key(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES],
						uint8_t key[CRYPTO_KEY_BYTES])
{
	return xaes_derive(x, nonce, key);
}

bool
crypto_message_open(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t nonce[CRYPTO_NONCE_BYTES],
					const uint8_t *aad, size_t aad_len, const uint8_t *sealed, size_t sealed_len,
					uint8_t *out)
{
	const uint8_t *gcm_nonce = nonce + CRYPTO_GCM_NONCE_BYTES;
	size_t len;
	bool ok;

	if (sealed_len < CRYPTO_MAC_BYTES || sealed_len > CRYPTO_MESSAGE_MAX ||
		aad_len > CRYPTO_MESSAGE_MAX)
		return false;
	len = sealed_len - CRYPTO_MAC_BYTES;
	if (crypto_is_accelerated())
	{
		crypto_aead_aes256gcm_state state;

		ok = crypto_aead_aes256gcm_beforenm(&state, key) == 0 &&
			 crypto_aead_aes256gcm_decrypt_detached_afternm(out, NULL, sealed, len, sealed + len,
															aad, aad_len, gcm_nonce, &state) == 0;
		sodium_memzero(&state, sizeof(state));
	}
	else
		ok = gcm_open_evp(key, gcm_nonce, aad, aad_len, sealed, len, out);
	if (!ok && len > 0)
		sodium_memzero(out, len);
	return ok;
}

/* ---- XChaCha20 ---- */

bool
crypto_keystream(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t nonce[CRYPTO_NONCE_BYTES],
				 uint64_t block, uint8_t *out, size_t n)
{
	memset(out, 0, n);
	return crypto_stream_xchacha20_xor_ic(out, out, n, nonce, block, key) == 0;
}

/* ---- SHA-256, HMAC-SHA256, HKDF-SHA256 ---- */

/*
 * SHA-256 of a short message that stands at the beginning of block, 128 bytes, on
 * top of a state that has taken `before` bytes: what OpenSSL's update and final
 * spend on such a message is several times the compression itself.
 */
static void
sha256_short(SHA256_CTX *ctx, uint8_t *block, size_t len, size_t before,
			 uint8_t out[CRYPTO_HASH_BYTES])
{
	size_t blocks = len + 9 <= CRYPTO_SHA_BLOCK_BYTES ? 1 : 2;
	uint64_t bits = (uint64_t) (before + len) * 8;

	block[len] = 0x80;
	memset(block + len + 1, 0, blocks * CRYPTO_SHA_BLOCK_BYTES - len - 9);
	for (int i = 0; i < 8; i++)
		block[blocks * CRYPTO_SHA_BLOCK_BYTES - 1 - i] = (uint8_t) (bits >> (8 * i));
	for (size_t i = 0; i < blocks; i++)
		SHA256_Transform(ctx, block + i * CRYPTO_SHA_BLOCK_BYTES);
	for (int i = 0; i < 8; i++)
	{
		out[4 * i] = (uint8_t) (ctx->h[i] >> 24);
		out[4 * i + 1] = (uint8_t) (ctx->h[i] >> 16);
		out[4 * i + 2] = (uint8_t) (ctx->h[i] >> 8);
		out[4 * i + 3] = (uint8_t) ctx->h[i];
	}
}

/* Puts three pieces, together at most CRYPTO_SHA_SHORT_BYTES, one after the other. */
static size_t
sha256_join(uint8_t *block, const void *p, size_t plen, const void *a, size_t alen, const void *b,
			size_t blen)
{
	if (plen > 0)
		memcpy(block, p, plen);
	if (alen > 0)
		memcpy(block + plen, a, alen);
	if (blen > 0)
		memcpy(block + plen + alen, b, blen);
	return plen + alen + blen;
}

void
crypto_sha256_short(uint8_t block[2 * CRYPTO_SHA_BLOCK_BYTES], size_t len,
					uint8_t out[CRYPTO_HASH_BYTES])
{
	static const SHA_LONG begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
									  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	SHA256_CTX ctx;

	memcpy(ctx.h, begin, sizeof(begin));
	sha256_short(&ctx, block, len, 0, out); /* leaves the digest in the state, nothing else */
}

bool
crypto_sha256_3(const void *p, size_t plen, const void *a, size_t alen, const void *b, size_t blen,
				uint8_t out[CRYPTO_HASH_BYTES])
{
	SHA256_CTX ctx;
	bool ok;

	if (plen <= CRYPTO_SHA_SHORT_BYTES && alen <= CRYPTO_SHA_SHORT_BYTES &&
		blen <= CRYPTO_SHA_SHORT_BYTES && plen + alen + blen <= CRYPTO_SHA_SHORT_BYTES)
	{
		uint8_t block[2 * CRYPTO_SHA_BLOCK_BYTES];
		size_t len = sha256_join(block, p, plen, a, alen, b, blen);

		crypto_sha256_short(block, len, out);
		sodium_memzero(block, sizeof(block));
		return true;
	}
	ok = SHA256_Init(&ctx) == 1 && (plen == 0 || SHA256_Update(&ctx, p, plen) == 1) &&
		 (alen == 0 || SHA256_Update(&ctx, a, alen) == 1) &&
		 (blen == 0 || SHA256_Update(&ctx, b, blen) == 1) && SHA256_Final(out, &ctx) == 1;
	sodium_memzero(&ctx, sizeof(ctx));
	return ok;
}

_Static_assert(sizeof(SHA256_CTX) <= sizeof(CryptoSha256), "room for the state of SHA-256");

bool
crypto_sha256_start(CryptoSha256 *h)
{
	return SHA256_Init((SHA256_CTX *) h->opaque) == 1;
}

bool
crypto_sha256_add(CryptoSha256 *h, const void *data, size_t len)
{
	return len == 0 || SHA256_Update((SHA256_CTX *) h->opaque, data, len) == 1;
}

bool
crypto_sha256_finish(CryptoSha256 *h, uint8_t out[CRYPTO_HASH_BYTES])
{
	bool ok = SHA256_Final(out, (SHA256_CTX *) h->opaque) == 1;

	sodium_memzero(h, sizeof(*h));
	return ok;
}

bool
crypto_sha256(const void *data, size_t len, uint8_t out[CRYPTO_HASH_BYTES])
{
	return crypto_sha256_3(data, len, NULL, 0, NULL, 0, out);
}

uint64_t
crypto_short_hash(const uint8_t key[CRYPTO_SHORT_KEY_BYTES], const void *data, size_t len)
{
	uint64_t out;

	crypto_shorthash((unsigned char *) &out, data, len, key);
	return out;
}

bool
crypto_hmac_init(CryptoHmac *h, const uint8_t *key, size_t key_len)
{
	HmacStates states;
	uint8_t block[CRYPTO_HMAC_BLOCK] = {0};
	bool ok = true;

	memset(h, 0, sizeof(*h));
	if (key_len > sizeof(block))
		ok = crypto_sha256(key, key_len, block);
	else if (key_len > 0)
		memcpy(block, key, key_len);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	ok = ok && SHA256_Init(&states.inner) == 1 &&
		 SHA256_Update(&states.inner, block, sizeof(block)) == 1;
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	ok = ok && SHA256_Init(&states.outer) == 1 &&
		 SHA256_Update(&states.outer, block, sizeof(block)) == 1;
	sodium_memzero(block, sizeof(block));
	if (ok)
		memcpy(h, &states, sizeof(states));
	sodium_memzero(&states, sizeof(states));
	return ok;
}

/* HMAC of a ‖ b ‖ c. */
static bool
hmac_3(const CryptoHmac *h, const void *a, size_t alen, const void *b, size_t blen, const void *c,
	   size_t clen, uint8_t out[CRYPTO_HASH_BYTES])
{
	HmacStates states;
	uint8_t inner[CRYPTO_HASH_BYTES];
	bool ok;

	memcpy(&states, h, sizeof(states));
	if (alen <= CRYPTO_SHA_SHORT_BYTES && blen <= CRYPTO_SHA_SHORT_BYTES &&
		clen <= CRYPTO_SHA_SHORT_BYTES && alen + blen + clen <= CRYPTO_SHA_SHORT_BYTES)
	{
		uint8_t block[2 * CRYPTO_SHA_BLOCK_BYTES];
		size_t len = sha256_join(block, a, alen, b, blen, c, clen);

		sha256_short(&states.inner, block, len, CRYPTO_HMAC_BLOCK, inner);
		memcpy(block, inner, sizeof(inner));
		sha256_short(&states.outer, block, sizeof(inner), CRYPTO_HMAC_BLOCK, out);
		sodium_memzero(block, sizeof(block));
		sodium_memzero(&states, sizeof(states));
		sodium_memzero(inner, sizeof(inner));
		return true;
	}
	ok = (alen == 0 || SHA256_Update(&states.inner, a, alen) == 1) &&
		 (blen == 0 || SHA256_Update(&states.inner, b, blen) == 1) &&
		 (clen == 0 || SHA256_Update(&states.inner, c, clen) == 1) &&
		 SHA256_Final(inner, &states.inner) == 1 &&
		 SHA256_Update(&states.outer, inner, sizeof(inner)) == 1 &&
		 SHA256_Final(out, &states.outer) == 1;
	sodium_memzero(&states, sizeof(states));
	sodium_memzero(inner, sizeof(inner));
	return ok;
}

bool
crypto_hmac(const CryptoHmac *h, const void *data, size_t len, uint8_t out[CRYPTO_HASH_BYTES])
{
	return hmac_3(h, data, len, NULL, 0, NULL, 0, out);
}

bool
crypto_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len,
			const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len)
{
	CryptoHmac h;
	uint8_t prk[CRYPTO_HASH_BYTES];
	uint8_t block[CRYPTO_HASH_BYTES];
	size_t done = 0;
	bool ok;

	if (out_len > 255 * CRYPTO_HASH_BYTES)
		return false;
	/* An absent salt is 32 zero bytes, which is what an empty HMAC key is padded to. */
	ok = crypto_hmac_init(&h, salt, salt_len) && crypto_hmac(&h, ikm, ikm_len, prk) &&
		 crypto_hmac_init(&h, prk, sizeof(prk));
	for (uint8_t i = 1; ok && done < out_len; i++)
	{
		size_t n = out_len - done < sizeof(block) ? out_len - done : sizeof(block);

		ok = hmac_3(&h, block, i == 1 ? 0 : sizeof(block), info, info_len, &i, 1, block);
		if (ok)
			memcpy(out + done, block, n);
		done += n;
	}
	sodium_memzero(&h, sizeof(h));
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(block, sizeof(block));
	if (!ok)
		sodium_memzero(out, out_len);
	return ok;
}

/* ---- Ed25519 ---- */

bool
crypto_ed25519_public(const uint8_t seed[CRYPTO_SEED_BYTES], uint8_t pub[CRYPTO_PUB_BYTES])
{
	uint8_t sk[crypto_sign_SECRETKEYBYTES];
	bool ok = crypto_init() && crypto_sign_seed_keypair(pub, sk, seed) == 0;

	sodium_memzero(sk, sizeof(sk));
	return ok;
}

bool
crypto_ed25519_sign(const uint8_t seed[CRYPTO_SEED_BYTES], const void *msg, size_t len,
					uint8_t sig[CRYPTO_SIG_BYTES])
{
	/* Half of the work is the public key, which is the same as long as the seed is. */
	static uint8_t known_seed[CRYPTO_HASH_BYTES];
	static uint8_t known_pub[crypto_sign_PUBLICKEYBYTES];
	static bool known = false;
	uint8_t seed_hash[CRYPTO_HASH_BYTES];
	uint8_t sk[crypto_sign_SECRETKEYBYTES];
	bool ok = crypto_init() && crypto_sha256(seed, CRYPTO_SEED_BYTES, seed_hash);

	if (ok && !(known && memcmp(known_seed, seed_hash, sizeof(seed_hash)) == 0))
	{
		known = false;
		ok = crypto_sign_seed_keypair(known_pub, sk, seed) == 0;
		memcpy(known_seed, seed_hash, sizeof(seed_hash));
		known = ok;
	}
	if (ok)
	{
		memcpy(sk, seed, CRYPTO_SEED_BYTES);
		memcpy(sk + CRYPTO_SEED_BYTES, known_pub, sizeof(known_pub));
		ok = crypto_sign_detached(sig, NULL, msg, len, sk) == 0;
	}
	sodium_memzero(sk, sizeof(sk));
	return ok;
}

bool
crypto_ed25519_verify(const uint8_t pub[CRYPTO_PUB_BYTES], const void *msg, size_t len,
					  const uint8_t sig[CRYPTO_SIG_BYTES])
{
	return crypto_init() && crypto_sign_verify_detached(sig, msg, len, pub) == 0;
}

/* ---- base64url ---- */

static const char base64url_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Value of a digit, or -1. */
static inline int
base64url_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

size_t
crypto_base64url_encoded_len(size_t n)
{
	return n / 3 * 4 + (n % 3 == 0 ? 0 : n % 3 + 1);
}

void
crypto_base64url_encode(const uint8_t *in, size_t n, char *out)
{
	while (n >= 3)
	{
		uint32_t v = (uint32_t) in[0] << 16 | (uint32_t) in[1] << 8 | in[2];

		out[0] = base64url_digits[v >> 18];
		out[1] = base64url_digits[v >> 12 & 63];
		out[2] = base64url_digits[v >> 6 & 63];
		out[3] = base64url_digits[v & 63];
		in += 3;
		out += 4;
		n -= 3;
	}
	if (n > 0)
	{
		uint32_t v = (uint32_t) in[0] << 16 | (n == 2 ? (uint32_t) in[1] << 8 : 0);

		out[0] = base64url_digits[v >> 18];
		out[1] = base64url_digits[v >> 12 & 63];
		if (n == 2)
			out[2] = base64url_digits[v >> 6 & 63];
	}
}

bool
crypto_base64url_decode(const char *in, size_t n, uint8_t *out, size_t *out_len)
{
	const unsigned char *p = (const unsigned char *) in;
	uint8_t *start = out;

	if (n % 4 == 1)
		return false;
	while (n >= 4)
	{
		int a = base64url_value(p[0]);
		int b = base64url_value(p[1]);
		int c = base64url_value(p[2]);
		int d = base64url_value(p[3]);

		if ((a | b | c | d) < 0)
			return false;
		out[0] = (uint8_t) (a << 2 | b >> 4);
		out[1] = (uint8_t) (b << 4 | c >> 2);
		out[2] = (uint8_t) (c << 6 | d);
		p += 4;
		out += 3;
		n -= 4;
	}
	if (n > 0)
	{
		int a = base64url_value(p[0]);
		int b = base64url_value(p[1]);
		int c = n == 3 ? base64url_value(p[2]) : 0;

		if ((a | b | c) < 0)
			return false;
		/* Bits that no byte takes must be zero, or two texts would mean the same bytes. */
		if (n == 2 ? (b & 0x0f) != 0 : (c & 0x03) != 0)
			return false;
		*out++ = (uint8_t) (a << 2 | b >> 4);
		if (n == 3)
			*out++ = (uint8_t) (b << 4 | c >> 2);
	}
	*out_len = (size_t) (out - start);
	return true;
}
