/*
 * RFC 6962 Merkle trees.  Trusts that a frontier was made here; refuses proofs
 * that are too long, too short, or that lead to another root.
 */
#include "audit/tree.h"

#include <string.h>

size_t
tree_node_count(uint64_t size)
{
	return (size_t) __builtin_popcountll(size);
}

bool
tree_leaf_hash(const void *data, size_t len, uint8_t out[TREE_HASH_BYTES])
{
	static const uint8_t prefix = 0x00;

	return crypto_sha256_3(&prefix, 1, data, len, NULL, 0, out);
}

bool
tree_node_hash(const uint8_t left[TREE_HASH_BYTES], const uint8_t right[TREE_HASH_BYTES],
			   uint8_t out[TREE_HASH_BYTES])
{
	static const uint8_t prefix = 0x01;

	return crypto_sha256_3(&prefix, 1, left, TREE_HASH_BYTES, right, TREE_HASH_BYTES, out);
}

bool
tree_append_noting(TreeFrontier *tree, const uint8_t leaf[TREE_HASH_BYTES],
				   uint8_t tiles[TREE_MAX_TILES][TREE_HASH_BYTES], int *noted)
{
	size_t count = tree_node_count(tree->size);
	uint8_t node[TREE_HASH_BYTES];
	unsigned level = 0;

	*noted = 0;
	memcpy(node, leaf, TREE_HASH_BYTES);
	/* every trailing one bit is a full subtree as large as what has been merged so far */
	for (uint64_t rest = tree->size; (rest & 1) != 0; rest >>= 1)
	{
		count--;
		if (!tree_node_hash(tree->nodes[count], node, node))
			return false;
		if (++level % TREE_TILE_BITS == 0)
			memcpy(tiles[(*noted)++], node, TREE_HASH_BYTES);
	}
	memcpy(tree->nodes[count], node, TREE_HASH_BYTES);
	tree->size++;
	return true;
}

bool
tree_append(TreeFrontier *tree, const uint8_t leaf[TREE_HASH_BYTES])
{
	uint8_t tiles[TREE_MAX_TILES][TREE_HASH_BYTES];
	int noted;

	return tree_append_noting(tree, leaf, tiles, &noted);
}

bool
tree_append_full(TreeFrontier *tree, unsigned level, const uint8_t root[TREE_HASH_BYTES])
{
	size_t count = tree_node_count(tree->size);
	uint8_t node[TREE_HASH_BYTES];

	if (level >= TREE_MAX_NODES || tree->size % (UINT64_C(1) << level) != 0)
		return false;
	memcpy(node, root, TREE_HASH_BYTES);
	for (uint64_t rest = tree->size >> level; (rest & 1) != 0; rest >>= 1)
	{
		count--;
		if (!tree_node_hash(tree->nodes[count], node, node))
			return false;
	}
	memcpy(tree->nodes[count], node, TREE_HASH_BYTES);
	tree->size += UINT64_C(1) << level;
	return true;
}

bool
tree_root(const TreeFrontier *tree, uint8_t out[TREE_HASH_BYTES])
{
	size_t count = tree_node_count(tree->size);

	if (count == 0)
		return crypto_sha256("", 0, out);
	memcpy(out, tree->nodes[count - 1], TREE_HASH_BYTES);
	for (size_t i = count - 1; i > 0; i--)
	{
		if (!tree_node_hash(tree->nodes[i - 1], out, out))
			return false;
	}
	return true;
}

bool
tree_verify_inclusion(const uint8_t leaf[TREE_HASH_BYTES], uint64_t index, uint64_t size,
					  const uint8_t (*proof)[TREE_HASH_BYTES], size_t proof_len,
					  const uint8_t root[TREE_HASH_BYTES])
{
	uint64_t fn = index;
	uint64_t sn = size - 1;
	uint8_t node[TREE_HASH_BYTES];

	if (index >= size)
		return false;
	memcpy(node, leaf, TREE_HASH_BYTES);
	for (size_t i = 0; i < proof_len; i++)
	{
		if (sn == 0)
			return false;
		if ((fn & 1) != 0 || fn == sn)
		{
			if (!tree_node_hash(proof[i], node, node))
				return false;
			while ((fn & 1) == 0 && fn != 0)
			{
				fn >>= 1;
				sn >>= 1;
			}
		}
		else if (!tree_node_hash(node, proof[i], node))
			return false;
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && crypto_equal(node, root, TREE_HASH_BYTES);
}

/* The root of the full subtree of 2^level leaves with this number. */
static bool
tree_full(const TreeSource *source, unsigned level, uint64_t number, uint8_t out[TREE_HASH_BYTES])
{
	uint8_t nodes[1 << (TREE_TILE_BITS - 1)][TREE_HASH_BYTES];
	unsigned rest = level % TREE_TILE_BITS;
	uint32_t count = UINT32_C(1) << rest;

	if (!source->read(source->arg, level - rest, number << rest, count, nodes))
		return false;
	for (; count > 1; count /= 2)
	{
		for (uint32_t i = 0; i < count / 2; i++)
		{
			if (!tree_node_hash(nodes[2 * i], nodes[2 * i + 1], nodes[i]))
				return false;
		}
	}
	memcpy(out, nodes[0], TREE_HASH_BYTES);
	return true;
}

bool
tree_read_frontier(const TreeSource *source, uint64_t size, TreeFrontier *out)
{
	size_t count = tree_node_count(size);

	/* from the smallest full subtree at the right end */
	for (uint64_t rest = size; rest != 0; rest &= rest - 1)
	{
		unsigned level = (unsigned) __builtin_ctzll(rest);

		if (!tree_full(source, level, (rest & (rest - 1)) >> level, out->nodes[--count]))
			return false;
	}
	out->size = size;
	return true;
}

/* The root over the leaves from low on, size of them; low is a multiple of the power of two that holds size. */
static bool
tree_range(const TreeSource *source, uint64_t low, uint64_t size, uint8_t out[TREE_HASH_BYTES])
{
	bool first = true;

	/* full subtrees, from the smallest one at the right end */
	for (uint64_t rest = size; rest != 0; rest &= rest - 1)
	{
		unsigned level = (unsigned) __builtin_ctzll(rest);
		uint8_t node[TREE_HASH_BYTES];

		if (!tree_full(source, level, (low + (rest & (rest - 1))) >> level, node))
			return false;
		if (first)
			memcpy(out, node, TREE_HASH_BYTES);
		else if (!tree_node_hash(node, out, out))
			return false;
		first = false;
	}
	return !first;
}

/* The largest power of two below n, which is at least 2. */
static uint64_t
tree_split(uint64_t n)
{
	return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

static void
tree_reverse(uint8_t (*proof)[TREE_HASH_BYTES], size_t len)
{
	for (size_t i = 0; i < len / 2; i++)
	{
		uint8_t swap[TREE_HASH_BYTES];

		memcpy(swap, proof[i], TREE_HASH_BYTES);
		memcpy(proof[i], proof[len - 1 - i], TREE_HASH_BYTES);
		memcpy(proof[len - 1 - i], swap, TREE_HASH_BYTES);
	}
}

bool
tree_prove_inclusion(const TreeSource *source, uint64_t index, uint64_t size,
					 uint8_t (*proof)[TREE_HASH_BYTES], size_t *len)
{
	uint64_t low = 0;

	*len = 0;
	if (index >= size)
		return false;
	/* from the root down; proofs go the other way */
	while (size > 1)
	{
		uint64_t k = tree_split(size);
		bool left = index < k;

		if (!tree_range(source, left ? low + k : low, left ? size - k : k, proof[(*len)++]))
			return false;
		if (!left)
		{
			low += k;
			index -= k;
		}
		size = left ? k : size - k;
	}
	tree_reverse(proof, *len);
	return true;
}

bool
tree_prove_consistency(const TreeSource *source, uint64_t old_size, uint64_t new_size,
					   uint8_t (*proof)[TREE_HASH_BYTES], size_t *len)
{
	uint64_t low = 0;
	bool whole = true; /* the old tree is a subtree of its own: its root is known */

	*len = 0;
	if (old_size == 0 || old_size > new_size)
		return false;
	while (old_size != new_size)
	{
		uint64_t k = tree_split(new_size);
		bool left = old_size <= k;

		if (!tree_range(source, left ? low + k : low, left ? new_size - k : k, proof[(*len)++]))
			return false;
		if (!left)
		{
			low += k;
			old_size -= k;
			whole = false;
		}
		new_size = left ? k : new_size - k;
	}
	if (!whole && !tree_range(source, low, new_size, proof[(*len)++]))
		return false;
	tree_reverse(proof, *len);
	return true;
}

bool
tree_verify_consistency(uint64_t old_size, const uint8_t old_root[TREE_HASH_BYTES],
						uint64_t new_size, const uint8_t new_root[TREE_HASH_BYTES],
						const uint8_t (*proof)[TREE_HASH_BYTES], size_t proof_len)
{
	uint64_t fn = old_size - 1;
	uint64_t sn = new_size - 1;
	size_t next = 0;
	uint8_t fr[TREE_HASH_BYTES];
	uint8_t sr[TREE_HASH_BYTES];

	if (old_size == 0 || old_size > new_size)
		return false;
	if (old_size == new_size)
		return proof_len == 0 && crypto_equal(old_root, new_root, TREE_HASH_BYTES);
	while ((fn & 1) != 0)
	{
		fn >>= 1;
		sn >>= 1;
	}
	if (fn == 0)
		memcpy(fr, old_root, TREE_HASH_BYTES); /* the old size is a power of two */
	else if (proof_len == 0)
		return false;
	else
		memcpy(fr, proof[next++], TREE_HASH_BYTES);
	memcpy(sr, fr, TREE_HASH_BYTES);
	for (; next < proof_len; next++)
	{
		if (sn == 0)
			return false;
		if ((fn & 1) != 0 || fn == sn)
		{
			if (!tree_node_hash(proof[next], fr, fr) || !tree_node_hash(proof[next], sr, sr))
				return false;
			while ((fn & 1) == 0 && fn != 0)
			{
				fn >>= 1;
				sn >>= 1;
			}
		}
		else if (!tree_node_hash(sr, proof[next], sr))
			return false;
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && crypto_equal(fr, old_root, TREE_HASH_BYTES) &&
		   crypto_equal(sr, new_root, TREE_HASH_BYTES);
}
