/*
 * RFC 6962 Merkle trees: appending by the frontier, roots, proofs.  No
 * postgres.h: unit tests link this with crypto/ alone.  False means that
 * hashing failed or a proof does not hold; nothing else can go wrong.
 */
#ifndef IMMIIQ_TREE_H
#define IMMIIQ_TREE_H

#include "crypto/crypto.h"

#define TREE_HASH_BYTES CRYPTO_HASH_BYTES
#define TREE_MAX_NODES	64
#define TREE_TILE_BITS	8 /* every eighth level is kept, the leaves being level 0 */
#define TREE_MAX_TILES	(TREE_MAX_NODES / TREE_TILE_BITS)
#define TREE_MAX_PROOF	(2 * TREE_MAX_NODES)

/* The roots of the full subtrees that make up a tree of this size, the largest first: one for every bit of size. */
typedef struct TreeFrontier
{
	uint64_t size;
	uint8_t nodes[TREE_MAX_NODES][TREE_HASH_BYTES];
} TreeFrontier;

/* Number of nodes in the frontier of a tree of this size. */
extern size_t tree_node_count(uint64_t size);
/* SHA-256(0x00 ‖ data). */
extern bool tree_leaf_hash(const void *data, size_t len,
						   uint8_t out[TREE_HASH_BYTES]) CRYPTO_MUST_USE;
/* SHA-256(0x01 ‖ left ‖ right). */
extern bool tree_node_hash(const uint8_t left[TREE_HASH_BYTES], const uint8_t right[TREE_HASH_BYTES],
						   uint8_t out[TREE_HASH_BYTES]) CRYPTO_MUST_USE;
/* Appends one leaf by its hash. */
extern bool tree_append(TreeFrontier *tree, const uint8_t leaf[TREE_HASH_BYTES]) CRYPTO_MUST_USE;
/* The same; notes the roots of full subtrees of 2^8, 2^16, … leaves that this leaf completes, the smallest first. */
extern bool tree_append_noting(TreeFrontier *tree, const uint8_t leaf[TREE_HASH_BYTES],
							   uint8_t tiles[TREE_MAX_TILES][TREE_HASH_BYTES],
							   int *count) CRYPTO_MUST_USE;
/* Appends a full subtree of 2^level leaves by its root; the size must be a multiple of that. */
extern bool tree_append_full(TreeFrontier *tree, unsigned level,
							 const uint8_t root[TREE_HASH_BYTES]) CRYPTO_MUST_USE;
/* The root; of an empty tree SHA-256 of nothing. */
extern bool tree_root(const TreeFrontier *tree, uint8_t out[TREE_HASH_BYTES]) CRYPTO_MUST_USE;
/* RFC 9162, 2.1.3.2: true when the leaf stands at index (from 0) in the tree of this size and root. */
extern bool tree_verify_inclusion(const uint8_t leaf[TREE_HASH_BYTES], uint64_t index, uint64_t size,
								  const uint8_t (*proof)[TREE_HASH_BYTES], size_t proof_len,
								  const uint8_t root[TREE_HASH_BYTES]) CRYPTO_MUST_USE;

/*
 * Where hashes of full subtrees of 2^level leaves come from, level being a
 * multiple of TREE_TILE_BITS: fills out with count of them from number first on.
 * False when one is not there.
 */
typedef struct TreeSource
{
	bool (*read)(void *arg, unsigned level, uint64_t first, uint32_t count,
				 uint8_t (*out)[TREE_HASH_BYTES]);
	void *arg;
} TreeSource;

/* The frontier of a tree of this size. */
extern bool tree_read_frontier(const TreeSource *source, uint64_t size,
							   TreeFrontier *out) CRYPTO_MUST_USE;
/* RFC 6962, 2.1.1: the path of the leaf at index (from 0) in the tree of this size. */
extern bool tree_prove_inclusion(const TreeSource *source, uint64_t index, uint64_t size,
								 uint8_t (*proof)[TREE_HASH_BYTES], size_t *len) CRYPTO_MUST_USE;
/* RFC 6962, 2.1.2: that the tree of the old size, at least 1, is the beginning of the one of the new size. */
extern bool tree_prove_consistency(const TreeSource *source, uint64_t old_size, uint64_t new_size,
								   uint8_t (*proof)[TREE_HASH_BYTES], size_t *len) CRYPTO_MUST_USE;
/* RFC 9162, 2.1.4.2. */
extern bool tree_verify_consistency(uint64_t old_size, const uint8_t old_root[TREE_HASH_BYTES],
									uint64_t new_size, const uint8_t new_root[TREE_HASH_BYTES],
									const uint8_t (*proof)[TREE_HASH_BYTES],
									size_t proof_len) CRYPTO_MUST_USE;

#endif /* IMMIIQ_TREE_H */
