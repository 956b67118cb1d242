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
	return done();
}
