/* The values in a text of SQL are overwritten, and nothing else. */
#include "context/blank.h"
#include "tap.h"

static void
check_blank(const char *text, bool code, bool escapes, const char *expected)
{
	char out[200];

	strcpy(out, text);
	blank_values(out, code, escapes);
	if (strcmp(out, expected) != 0)
		printf("# %s\n", out);
	check(strcmp(out, expected) == 0, expected);
}

int
main(void)
{
	check_blank("CALL f('Müller', 17, t1.c2)", false, false, "CALL f('*******', 00, t1.c2)");
	check_blank("SELECT 'it''s', '', 'a'", false, false, "SELECT '**''*', '', '*'");
	check_blank("SELECT E'a\\'b\\\\', 'c\\', 'd'", false, false, "SELECT E'******', '**', '*'");
	check_blank("SELECT 'c\\', 'd'", false, true, "SELECT '*****'d'");
	check_blank("SELECT \"it's 7\" || 'x'", false, false, "SELECT \"it's 7\" || '*'");
	check_blank("SELECT 'x' -- it's\n, 'y' /* ' /* ' */ ' */, 'z'", false, false,
				"SELECT '*' -- it's\n, '*' /* ' /* ' */ ' */, '*'");
	check_blank("SELECT $$a'b$$, $t$c$$d$t$, $1, a$b$c, 2", false, false,
				"SELECT $$***$$, $t$****$t$, $1, a$b$c, 0");
	check_blank("DO $$ v := 'x'; w := $q$y$q$; n := 1.5e3; $$", true, false,
				"DO $$ v := '*'; w := $q$*$q$; n := 0.000; $$");
	check_blank("SELECT 0xDEAD, 1_000, -5, .25, b'101', x'1f', U&'\\0041'", false, false,
				"SELECT 000000, 00000, -0, .00, b'***', x'**', U&'*****'");
	check_blank("SELECT 'never closed", false, false, "SELECT '************");
	check_blank("SELECT $a$never closed$a", false, false, "SELECT $a$**************");
	check_blank("SELECT /* never 'closed'", false, false, "SELECT /* never 'closed'");
	check_blank("", false, false, "");
	return done();
}
