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
	fputs("usage: immiiq-verify -k KEY [-c CHECKPOINT -p PROOF] EXPORT…\n"
		  "  -k KEY         verifier key of the log, as immiiq.log_verifier() gives it: name+hash+key\n"
		  "  -c CHECKPOINT  file with an earlier checkpoint that you have kept\n"
		  "  -p PROOF       file with immiiq.prove_consistency(its size), made with the export\n"
		  "  EXPORT         files of immiiq.export_audit(), - for standard input\n",
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

/* Reads one export; 0 when it is whole, and then head has its checkpoint. */
static int
verify_file(const char *name, const ExportKey *key, ExportHead *head)
{
	ExportReader reader = {.key = key};
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
	const char *problem = NULL;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	unsigned long long number = 0;

	if (f == NULL)
	{
		perror(name);
		return 2;
	}
	while (problem == NULL && (len = getline(&line, &size, f)) >= 0)
	{
		number++;
		problem = line[len - 1] != '\n' ? "line does not end"
										: export_read_line(&reader, line, (size_t) len - 1);
	}
	if (problem == NULL && ferror(f))
		problem = "cannot be read";
	if (problem == NULL)
	{
		number = 0;
		problem = export_finish(&reader);
	}
	if (problem == NULL)
		printf("%s: whole: %llu entries, positions %llu to %llu, under the checkpoint of %llu "
			   "batches; %llu columns shown, %llu kept back\n",
			   name, (unsigned long long) reader.lines, (unsigned long long) reader.first,
			   (unsigned long long) reader.last, (unsigned long long) reader.head.size,
			   (unsigned long long) reader.shown, (unsigned long long) reader.kept);
	else
		fail(name, number, problem);
	*head = reader.head;
	export_free(&reader);
	free(line);
	if (f != stdin)
		fclose(f);
	return problem == NULL ? 0 : 1;
}

/* Whether the checkpoint of an export continues an earlier one. */
static int
verify_continues(const char *checkpoint, const char *proof, const ExportKey *key,
				 const ExportHead *head)
{
	ExportHead before;
	size_t note_len;
	size_t proof_len;
	char *note = read_file(checkpoint, &note_len);
	char *hashes = read_file(proof, &proof_len);
	const char *problem = export_parse_checkpoint(key, note, note_len, &before);
	int result = 0;

	if (problem != NULL)
		result = fail(checkpoint, 0, problem);
	else if ((problem = export_check_consistency(&before, head, hashes, proof_len)) != NULL)
		result = fail(proof, 0, problem);
	free(note);
	free(hashes);
	return result;
}

int
main(int argc, char **argv)
{
	const char *key_text = NULL;
	const char *checkpoint = NULL;
	const char *proof = NULL;
	const char *problem;
	ExportKey key;
	ExportHead head;
	int first = 1;
	int result = 0;

	for (; first + 1 < argc && argv[first][0] == '-' && argv[first][1] != '\0'; first += 2)
	{
		if (strcmp(argv[first], "-k") == 0)
			key_text = argv[first + 1];
		else if (strcmp(argv[first], "-c") == 0)
			checkpoint = argv[first + 1];
		else if (strcmp(argv[first], "-p") == 0)
			proof = argv[first + 1];
		else
			usage();
	}
	if (key_text == NULL || first >= argc || (checkpoint == NULL) != (proof == NULL))
		usage();
	if (!crypto_init())
		return fail("libsodium", 0, "does not start");
	problem = export_parse_key(key_text, &key);
	if (problem != NULL)
		return fail("verifier key", 0, problem);
	for (; first < argc; first++)
	{
		int one = verify_file(argv[first], &key, &head);

		if (one == 0 && checkpoint != NULL)
			one = verify_continues(checkpoint, proof, &key, &head);
		if (one > result)
			result = one;
	}
	return result;
}
