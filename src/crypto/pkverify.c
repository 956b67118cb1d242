/*
 * Signatures that others made with RSA or ECDSA, verified through OpenSSL.
 * Trusts its callers for sizes; refuses keys outside the sizes that are allowed
 * and points off the curve.  Public values only: nothing here is secret.
 */
#include <limits.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "crypto/crypto.h"

#define RSA_MIN_BYTES 256 /* 2048 bits */
#define RSA_MAX_BYTES 512
#define RSA_MAX_E	  8

/* A public key of this type from its parameters; NULL when OpenSSL does not take it. */
static EVP_PKEY *
public_key(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* True when the key's structure holds what OpenSSL asks of a public key. */
static bool
public_key_is_sound(EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool sound = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;

	EVP_PKEY_CTX_free(ctx);
	return sound;
}

static bool
sha256_verify(EVP_PKEY *key, const void *msg, size_t len, const uint8_t *sig, size_t sig_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx != NULL &&
				EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
				EVP_DigestVerify(ctx, sig, sig_len, msg, len) == 1;

	EVP_MD_CTX_free(ctx);
	return good;
}

bool
crypto_rs256_verify(const uint8_t *n, size_t n_len, const uint8_t *e, size_t e_len, const void *msg,
					size_t len, const uint8_t *sig, size_t sig_len)
{
	OSSL_PARAM_BLD *build;
	OSSL_PARAM *params = NULL;
	BIGNUM *modulus;
	BIGNUM *exponent;
	EVP_PKEY *key = NULL;
	bool good;

	if (n_len < RSA_MIN_BYTES || n_len > RSA_MAX_BYTES || n[0] < 0x80 || (n[n_len - 1] & 1) == 0 ||
		e_len < 1 || e_len > RSA_MAX_E || e[0] == 0 || (e[e_len - 1] & 1) == 0 ||
		(e_len == 1 && e[0] < 3) || sig_len != n_len)
		return false;
	build = OSSL_PARAM_BLD_new();
	modulus = BN_bin2bn(n, (int) n_len, NULL);
	exponent = BN_bin2bn(e, (int) e_len, NULL);
	good = build != NULL && modulus != NULL && exponent != NULL &&
		   OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		   OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1 &&
		   (params = OSSL_PARAM_BLD_to_param(build)) != NULL &&
		   (key = public_key("RSA", params)) != NULL && sha256_verify(key, msg, len, sig, sig_len);
	EVP_PKEY_free(key);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	BN_free(modulus);
	BN_free(exponent);
	return good;
}

bool
crypto_es256_verify(const uint8_t x[32], const uint8_t y[32], const void *msg, size_t len,
					const uint8_t sig[64])
{
	uint8_t point[65];
	char group[] = "P-256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
						   OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point,
															 sizeof(point)),
						   OSSL_PARAM_construct_end()};
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, 32, NULL);
	BIGNUM *s = BN_bin2bn(sig + 32, 32, NULL);
	uint8_t *der = NULL;
	int der_len = 0;
	EVP_PKEY *key = NULL;
	bool good = false;

	point[0] = 4; /* uncompressed */
	memcpy(point + 1, x, 32);
	memcpy(point + 33, y, 32);
	if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1)
	{
		r = s = NULL; /* the pair's now */
		der_len = i2d_ECDSA_SIG(pair, &der);
		key = public_key("EC", params);
		good = der_len > 0 && key != NULL && public_key_is_sound(key) &&
			   sha256_verify(key, msg, len, der, (size_t) der_len);
	}
	EVP_PKEY_free(key);
	OPENSSL_free(der);
	ECDSA_SIG_free(pair);
	BN_free(r);
	BN_free(s);
	return good;
}
