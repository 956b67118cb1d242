/*
 * immiiq-verify: holds an export of the log against a public key, without a
 * database.  Trusts the verifier key and the earlier checkpoint that it is
 * given; says what is wrong and where, and exits with 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/export.h"

static void
usage(void)
{
	fputs("usage: immiiq-verify -k KEY [-c CHECKPOINT -p PROOF] EXPORT\n"
		  "  -k KEY         verifier key of the log, as immiiq.log_verifier() gives it: name+hash+key\n"
		  "  -c CHECKPOINT  file with an earlier checkpoint that you have kept\n"
		  "  -p PROOF       file with immiiq.prove_consistency(its size), made with the export\n"
		  "  EXPORT         file of immiiq.export_audit(), - for standard input\n",
		  stderr);
	exit(2);
}

/* The whole of a file; exits when it cannot be read. */
static char *
read_file(const char *name, size_t *len)
{
	FILE *f = fopen(name, "rb");
	size_t size = 4096;
	char *data = malloc(size);

	*len = 0;
	while (f != NULL && data != NULL)
	{
		*len += fread(data + *len, 1, size - *len, f);
		if (*len < size)
			break;
		size *= 2;
		data = realloc(data, size);
	}
	if (f == NULL || data == NULL || ferror(f))
	{
		perror(name);
		exit(2);
	}
	fclose(f);
	return data;
}

static int
fail(const char *where, unsigned long long line, const char *problem)
{
	if (line != 0)
		printf("%s, line %llu: %s\n", where, line, problem);
	else
		printf("%s: %s\n", where, problem);
	return 1;
}

int
main(int argc, char **argv)
{
	const char *key_text = NULL;
	const char *checkpoint = NULL;
	const char *proof = NULL;
	const char *name = NULL;
	const char *problem = NULL;
	ExportKey key;
	ExportReader reader = {.key = &key};
	FILE *f;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	unsigned long long number = 0;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "-k") == 0 && i + 1 < argc)
			key_text = argv[++i];
		else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			checkpoint = argv[++i];
		else if (strcmp(argv[i], "-p") == 0 && i + 1 < argc)
			proof = argv[++i];
		else if (name == NULL && (argv[i][0] != '-' || argv[i][1] == '\0'))
			name = argv[i];
		else
			usage();
	}
	if (key_text == NULL || name == NULL || (checkpoint == NULL) != (proof == NULL))
		usage();
	if (!crypto_init())
		return fail("libsodium", 0, "does not start");
	problem = export_parse_key(key_text, &key);
	if (problem != NULL)
		return fail("verifier key", 0, problem);
	f = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
	if (f == NULL)
	{
		perror(name);
		return 2;
	}
	while ((len = getline(&line, &size, f)) >= 0)
	{
		number++;
		if (len == 0 || line[len - 1] != '\n')
			problem = "line does not end";
		else
			problem = export_read_line(&reader, line, (size_t) len - 1);
		if (problem != NULL)
			return fail(name, number, problem);
	}
	if (ferror(f))
	{
		perror(name);
		return 2;
	}
	problem = export_finish(&reader);
	if (problem != NULL)
		return fail(name, 0, problem);
	if (checkpoint != NULL)
	{
		ExportHead before;
		size_t note_len;
		size_t proof_len;
		char *note = read_file(checkpoint, &note_len);
		char *hashes = read_file(proof, &proof_len);

		problem = export_parse_checkpoint(&key, note, note_len, &before);
		if (problem != NULL)
			return fail(checkpoint, 0, problem);
		problem = export_check_consistency(&before, &reader.head, hashes, proof_len);
		if (problem != NULL)
			return fail(proof, 0, problem);
		free(note);
		free(hashes);
	}
	printf("whole: %llu entries, positions %llu to %llu, under the checkpoint of %llu batches; "
		   "%llu columns shown, %llu kept back\n",
		   (unsigned long long) reader.lines, (unsigned long long) reader.first,
		   (unsigned long long) reader.last, (unsigned long long) reader.head.size,
		   (unsigned long long) reader.shown, (unsigned long long) reader.kept);
	export_free(&reader);
	free(line);
	if (f != stdin)
		fclose(f);
	return 0;
}
