/*
 * Merkle trees against the RFC 6962 reference tree and against the RFC's own recursion, written out here.
 */
#include "audit/tree.h"
#include "tap.h"

#define LEAVES 70

static uint8_t leaf[LEAVES][32];

/* RFC 6962, 2.1: the root of leaves first to last - 1. */
static void
naive_root(int first, int last, uint8_t out[32])
{
	uint8_t left[32];
	uint8_t right[32];
	int split = 1;

	if (last - first == 1)
	{
		memcpy(out, leaf[first], 32);
		return;
	}
	while (split * 2 < last - first)
		split *= 2;
	naive_root(first, first + split, left);
	naive_root(first + split, last, right);
	if (!tree_node_hash(left, right, out))
		abort();
}

/* RFC 6962, 2.1.1: the proof of one leaf among first to last - 1; how many hashes. */
static int
naive_proof(int index, int first, int last, uint8_t (*proof)[32])
{
	int split = 1;
	int n;

	if (last - first == 1)
		return 0;
	while (split * 2 < last - first)
		split *= 2;
	if (index < first + split)
	{
		n = naive_proof(index, first, first + split, proof);
		naive_root(first + split, last, proof[n]);
	}
	else
	{
		n = naive_proof(index, first + split, last, proof);
		naive_root(first, first + split, proof[n]);
	}
	return n + 1;
}

static void
reference_tree(void)
{
	static const char *const inputs[8] = {"",
										  "00",
										  "10",
										  "2021",
										  "3031",
										  "40414243",
										  "5051525354555657",
										  "606162636465666768696a6b6c6d6e6f"};
	static const char *const roots[9] =
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		 "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		 "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		 "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		 "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		 "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		 "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		 "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		 "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
	TreeFrontier tree = {0};
	uint8_t root[32];

	for (int size = 0; size <= 8; size++)
	{
		char name[64];

		snprintf(name, sizeof(name), "reference root of %d leaves", size);
		check(tree_root(&tree, root) && is_hex(root, 32, roots[size]), name);
		if (size < 8)
		{
			uint8_t data[16];
			uint8_t hash[32];
			size_t n = unhex(inputs[size], data, sizeof(data));

			if (!tree_leaf_hash(data, n, hash) || !tree_append(&tree, hash))
				abort();
		}
	}
}

static void
against_recursion(void)
{
	TreeFrontier tree = {0};
	bool roots = true;
	bool counts = true;
	bool proofs = true;
	bool others = true;

	for (int size = 1; size <= LEAVES; size++)
	{
		uint8_t root[32];
		uint8_t want[32];
		uint8_t proof[64][32];

		if (!tree_append(&tree, leaf[size - 1]) || !tree_root(&tree, root))
			abort();
		naive_root(0, size, want);
		roots &= memcmp(root, want, 32) == 0;
		counts &= tree.size == (uint64_t) size &&
				  tree_node_count(size) == (size_t) __builtin_popcount(size);
		for (int index = 0; index < size; index++)
		{
			const uint8_t(*p)[32] = (const uint8_t(*)[32]) proof;
			int n = naive_proof(index, 0, size, proof);

			proofs &= tree_verify_inclusion(leaf[index], index, size, p, n, root);
			/* another leaf, another place, a proof cut or drawn out, another root, one bit of the proof */
			others &= !tree_verify_inclusion(leaf[(index + 1) % LEAVES], index, size, p, n, root);
			others &= size == 1 ||
					  !tree_verify_inclusion(leaf[index], (index + 1) % size, size, p, n, root);
			others &= n == 0 || !tree_verify_inclusion(leaf[index], index, size, p, n - 1, root);
			memcpy(proof[n], root, 32);
			others &= !tree_verify_inclusion(leaf[index], index, size, p, n + 1, root);
			others &=
				!tree_verify_inclusion(leaf[index], index, size, p, n, leaf[(index + 1) % LEAVES]);
			if (n > 0)
			{
				proof[n / 2][7] ^= 1;
				others &= !tree_verify_inclusion(leaf[index], index, size, p, n, root);
			}
		}
		others &= !tree_verify_inclusion(leaf[0], size, size, NULL, 0, root);
	}
	check(roots, "the frontier gives the recursion's root at every size to 70");
	check(counts, "a frontier has one node for every bit of its size");
	check(proofs, "every leaf's proof holds at every size to 70");
	check(others, "no proof holds for another leaf, place, length or root");
	check(!tree_verify_inclusion(leaf[0], 0, 0, NULL, 0, leaf[0]), "nothing is in an empty tree");
}

/* Proofs of another length, with roots made to fit them. */
static void
fitted_roots(void)
{
	bool none = true;

	for (int size = 2; size <= LEAVES; size++)
	{
		uint8_t root[32];
		uint8_t fitted[32];
		uint8_t old[32];
		uint8_t proof[64][32];
		const uint8_t(*p)[32] = (const uint8_t(*)[32]) proof;
		int n;

		naive_root(0, size, root);
		for (int index = 0; index < size; index++)
		{
			n = naive_proof(index, 0, size, proof);
			/* one hash more: H(extra, root) */
			memcpy(proof[n], leaf[0], 32);
			if (!tree_node_hash(proof[n], root, fitted))
				abort();
			none &= !tree_verify_inclusion(leaf[index], index, size, p, n + 1, fitted);
			if (!tree_node_hash(root, proof[n], fitted))
				abort();
			none &= !tree_verify_inclusion(leaf[index], index, size, p, n + 1, fitted);
			/* none at all: the leaf as root; and all but the last, whose root is that of a part */
			none &= !tree_verify_inclusion(leaf[index], index, size, p, 0, leaf[index]);
			if (index < size / 2 && (size & (size - 1)) == 0)
			{
				naive_root(0, size / 2, fitted);
				none &= !tree_verify_inclusion(leaf[index], index, size, p, n - 1, fitted);
			}
		}
		/* equal sizes with a hash; the earlier root of a power of two, alone, for both */
		none &= !tree_verify_consistency(size, root, size, root, p, 1);
		if ((size & (size - 1)) == 0)
		{
			none &= !tree_verify_consistency(size, root, size + 1, root, p, 0);
			none &= !tree_verify_consistency(size, root, size * 2, root, p, 0);
			/* the proof from there to twice the size, and a hash more */
			if (size * 2 <= LEAVES)
			{
				naive_root(size, size * 2, proof[0]);
				naive_root(0, size * 2, fitted);
				none &= tree_verify_consistency(size, root, size * 2, fitted, p, 1);
				memcpy(proof[1], leaf[0], 32);
				if (!tree_node_hash(proof[1], root, old) ||
					!tree_node_hash(proof[1], fitted, fitted))
					abort();
				none &= !tree_verify_consistency(size, root, size * 2, fitted, p, 2);
				none &= !tree_verify_consistency(size, old, size * 2, fitted, p, 2);
			}
		}
	}
	{
		/* RFC 6962, 2.1.2: from 3 leaves to 4, and a hash more */
		uint8_t proof[4][32];
		const uint8_t(*p)[32] = (const uint8_t(*)[32]) proof;
		uint8_t old[32];
		uint8_t now[32];

		memcpy(proof[0], leaf[2], 32);
		memcpy(proof[1], leaf[3], 32);
		naive_root(0, 2, proof[2]);
		memcpy(proof[3], leaf[0], 32);
		naive_root(0, 3, old);
		naive_root(0, 4, now);
		none &= tree_verify_consistency(3, old, 4, now, p, 3);
		if (!tree_node_hash(proof[3], old, old) || !tree_node_hash(proof[3], now, now))
			abort();
		none &= !tree_verify_consistency(3, old, 4, now, p, 4);
	}
	check(none, "no proof of another length holds, though the root be made to fit it");
}

/* A TreeSource over a tree of many leaves, with every eighth level as the sealer keeps it. */
#define MANY 70000
static uint8_t (*many)[32];
static uint8_t (*tiles8)[32];
static uint8_t (*tiles16)[32];
static uint8_t (*many_roots)[32];

static bool
many_read(void *arg, unsigned level, uint64_t first, uint32_t count, uint8_t (*out)[32])
{
	uint8_t(*from)[32] = level == 0 ? many : level == 8 ? tiles8 : tiles16;
	uint64_t have = (uint64_t) MANY >> level;

	if (level > 16 || first + count > have)
		return false;
	memcpy(out, from + first, (size_t) count * 32);
	return true;
}

/* Proofs made from leaves and kept levels hold, and for nothing else. */
static void
made_proofs(void)
{
	static const uint64_t sizes[] = {1,	  2,	3,	   255,	  256,	 257,	511, 512,
									 513, 1000, 65535, 65536, 65537, 65792, MANY};
	TreeFrontier tree = {0};
	TreeSource source = {.read = many_read};
	bool inclusion = true;
	bool consistency = true;
	bool others = true;
	bool longest = true;

	many = malloc(MANY * 32);
	many_roots = malloc(MANY * 32);
	tiles8 = malloc((MANY >> 8) * 32);
	tiles16 = malloc((MANY >> 16) * 32);
	for (uint64_t i = 0; i < MANY; i++)
	{
		uint8_t noted[TREE_MAX_TILES][32];
		int count;

		if (!tree_leaf_hash(&i, sizeof(i), many[i]) ||
			!tree_append_noting(&tree, many[i], noted, &count) || !tree_root(&tree, many_roots[i]))
			abort();
		if (count > 0)
			memcpy(tiles8[((i + 1) >> 8) - 1], noted[0], 32);
		if (count > 1)
			memcpy(tiles16[((i + 1) >> 16) - 1], noted[1], 32);
	}
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
	{
		uint64_t size = sizes[s];
		const uint8_t *root = many_roots[size - 1];
		uint8_t proof[TREE_MAX_PROOF][32];
		const uint8_t(*p)[32] = (const uint8_t(*)[32]) proof;
		size_t len;

		for (size_t t = 0; t < sizeof(sizes) / sizeof(sizes[0]) && sizes[t] <= size; t++)
		{
			uint64_t index = sizes[t] - 1;
			uint64_t old = sizes[t];

			inclusion &= tree_prove_inclusion(&source, index, size, proof, &len) &&
						 tree_verify_inclusion(many[index], index, size, p, len, root);
			longest &= len <= 17;
			consistency &= tree_prove_consistency(&source, old, size, proof, &len) &&
						   tree_verify_consistency(old, many_roots[old - 1], size, root, p, len);
			others &=
				old == size || !tree_verify_consistency(old, many_roots[old], size, root, p, len);
			others &= !tree_verify_consistency(old, many_roots[old - 1], size, many[0], p, len) ||
					  size == 1;
			others &= len == 0 ||
					  !tree_verify_consistency(old, many_roots[old - 1], size, root, p, len - 1);
			memcpy(proof[len], root, 32);
			others &= !tree_verify_consistency(old, many_roots[old - 1], size, root, p, len + 1);
			if (len > 0)
			{
				proof[len / 2][5] ^= 0x10;
				others &= !tree_verify_consistency(old, many_roots[old - 1], size, root, p, len);
			}
		}
		others &= !tree_prove_inclusion(&source, size, size, proof, &len);
		others &= !tree_prove_consistency(&source, 0, size, proof, &len);
		others &= !tree_prove_consistency(&source, size + 1, size, proof, &len);
		others &= !tree_verify_consistency(0, root, size, root, p, 0);
		others &= !tree_verify_consistency(size + 1, root, size, root, p, 0);
	}
	check(inclusion,
		  "paths made from leaves and kept levels hold, up to 70,000 leaves and at every edge");
	check(longest, "no path is longer than the tree is high");
	check(consistency, "proofs of consistency hold between all those sizes");
	check(others, "none holds for another size, root or length, or with a bit changed");
	free(many);
	free(many_roots);
	free(tiles8);
	free(tiles16);
}

int
main(void)
{
	if (!crypto_init())
		abort();
	for (int i = 0; i < LEAVES; i++)
	{
		if (!tree_leaf_hash(&i, sizeof(i), leaf[i]))
			abort();
	}
	reference_tree();
	against_recursion();
	fitted_roots();
	made_proofs();
	return done();
}
