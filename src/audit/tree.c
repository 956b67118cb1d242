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
tree_append(TreeFrontier *tree, const uint8_t leaf[TREE_HASH_BYTES])
{
	size_t count = tree_node_count(tree->size);
	uint8_t node[TREE_HASH_BYTES];

	memcpy(node, leaf, TREE_HASH_BYTES);
	/* every trailing one bit is a full subtree as large as what has been merged so far */
	for (uint64_t rest = tree->size; (rest & 1) != 0; rest >>= 1)
	{
		count--;
		if (!tree_node_hash(tree->nodes[count], node, node))
			return false;
	}
	memcpy(tree->nodes[count], node, TREE_HASH_BYTES);
	tree->size++;
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

	if (size == 0 || index >= size)
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
