#!/usr/bin/env python3
"""Writes fold_table.h: what "fold v1" does with each code point (docs/search.md).

The table is frozen: tags in customers' databases depend on it.  It was made with
Unicode 14.0.0; a newer Unicode would be fold v2, under a token kind of its own.

    python3 src/search/make_fold_table.py > src/search/fold_table.h
"""
import sys
import unicodedata as u

UNICODE = "14.0.0"
if u.unidata_version != UNICODE:
    sys.exit(f"fold v1 is defined by Unicode {UNICODE}, this python has {u.unidata_version}")

# Marks that are removed: of Latin, Greek, Cyrillic, Hebrew and Arabic, of all scripts, and of symbols.
# All other marks carry sounds (Indic, Thai, Tibetan, kana) and are kept.
REMOVED_MARKS = [
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06ED), (0x0898, 0x089F), (0x08CA, 0x08FF), (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0x2CEF, 0x2CF1), (0x2DE0, 0x2DFF), (0xA66F, 0xA67D),
    (0xA69E, 0xA69F), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0xE0100, 0xE01EF),
]
# Modifier letters that stand for apostrophes, stress and the like; and the Arabic tatweel.
REMOVED_LETTERS = [(0x02B9, 0x02C1), (0x02C6, 0x02D1), (0x02EC, 0x02EC), (0x02EE, 0x02EE), (0x0640, 0x0640)]
# Letters that decomposition leaves whole.
SPECIAL = {
    "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i", "ħ": "h",
    "ŧ": "t", "ŋ": "n", "ĸ": "k", "ƒ": "f",
}


def within(cp, ranges):
    return any(a <= cp <= b for a, b in ranges)


def fold(ch):
    """The folded form of one code point, by definition; '' when it is removed."""
    s = u.normalize("NFD", ch)
    s = u.normalize("NFKD", s.casefold())
    s = u.normalize("NFKD", s.casefold())
    out = []
    for c in s:
        cp, category = ord(c), u.category(c)
        if c in SPECIAL:
            out.append(SPECIAL[c])
        elif category == "Nd":
            out.append(str(u.digit(c)))
        elif category in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "No"):
            if not within(cp, REMOVED_LETTERS):
                out.append(c)
        elif category[0] == "M":
            if not within(cp, REMOVED_MARKS):
                out.append(c)
        elif category in ("Cn", "Co"):
            out.append(c)  # unassigned and private code points stay: no two values may fall together by mistake
        # P, S, Z, Cc, Cf are removed
    return "".join(out)


def main():
    removed, moved, mapped, order = [], [], [], []
    for cp in range(0x110000):
        if 0xD800 <= cp <= 0xDFFF or 0xAC00 <= cp <= 0xD7A3:
            continue  # surrogates cannot occur; Hangul syllables are decomposed by arithmetic
        f = fold(chr(cp))
        if f == chr(cp):
            if u.combining(f):
                order.append((cp, u.combining(f)))
            continue
        if f == "":
            if removed and removed[-1][1] == cp - 1:
                removed[-1][1] = cp
            else:
                removed.append([cp, cp])
        elif len(f) == 1:
            delta = ord(f) - cp
            for run in reversed(moved[-2:]):
                if run[3] == delta and cp - run[1] in (1, 2) and run[2] in (0, cp - run[1]):
                    run[1], run[2] = cp, cp - run[1]
                    break
            else:
                moved.append([cp, cp, 0, delta])
        else:
            mapped.append((cp, f))
    pool, where = "", {}
    for _, f in sorted(mapped, key=lambda m: -len(m[1])):
        if f not in where:
            at = pool.find(f)
            if at < 0:
                at = len(pool)
                pool += f
            where[f] = at
    # Ranges of one stride may interleave with others: cut them where they do not help a binary search.
    moved.sort()
    flat = []
    for first, last, step, delta in moved:
        flat.append((first, last, step or 1, delta))
    overlap = any(flat[i][1] >= flat[i + 1][0] for i in range(len(flat) - 1))
    if overlap:
        # split interleaved runs into single entries
        cells = sorted((cp, d) for a, b, s, d in flat for cp in range(a, b + 1, s))
        flat = []
        for cp, d in cells:
            if flat and flat[-1][3] == d and cp - flat[-1][1] in (1, 2) and flat[-1][2] in (0, cp - flat[-1][1]):
                flat[-1][2] = cp - flat[-1][1]
                flat[-1][1] = cp
            else:
                flat.append([cp, cp, 0, d])
        flat = [(a, b, s or 1, d) for a, b, s, d in flat]
    assert all(flat[i][1] < flat[i + 1][0] for i in range(len(flat) - 1))
    longest = max(len(f) for _, f in mapped)
    growth = max(-(-len(f.encode()) // len(chr(cp).encode())) for cp, f in mapped)

    def table(rows, per_line):
        rows = list(rows)
        return "\n".join("\t" + " ".join(rows[i:i + per_line]) for i in range(0, len(rows), per_line))

    print("/*\n * Made by make_fold_table.py from Unicode 14.0.0; never edited, never made anew for fold v1.\n */")
    print("#ifndef IMMIIQ_FOLD_TABLE_H\n#define IMMIIQ_FOLD_TABLE_H\n\n#include <stdint.h>\n")
    print(f"#define FOLD_LONGEST\t{longest}\t/* code points that one code point can become */")
    print(f"#define FOLD_GROWTH\t\t{growth}\t/* bytes that one byte can become at most */\n")
    print("/* Code points that are removed: first, last. */\nstatic const uint32_t fold_removed[][2] = {")
    print(table((f"{{0x{a:X}, 0x{b:X}}}," for a, b in removed), 4) + "\n};\n")
    print("/* Code points that become one other: first, last, every so many, distance. */")
    print("static const struct\n{\n\tuint32_t\tfirst;\n\tuint32_t\tlast;\n\tint32_t\t\tstep;\n\tint32_t\t\tdistance;\n}\t\t\tfold_moved[] = {")
    print(table((f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}," for a, b, s, d in flat), 3) + "\n};\n")
    print("/* Code points that become several: code point, where in fold_pool, how many. */")
    print("static const struct\n{\n\tuint32_t\tcp;\n\tuint16_t\tat;\n\tuint16_t\tn;\n}\t\t\tfold_mapped[] = {")
    print(table((f"{{0x{cp:X}, {where[f]}, {len(f)}}}," for cp, f in mapped), 5) + "\n};\n")
    print("static const uint32_t fold_pool[] = {")
    print(table((f"0x{ord(c):X}," for c in pool), 11) + "\n};\n")
    print("/* Marks that are kept and have a canonical combining class: code point, class. */")
    print("static const struct\n{\n\tuint32_t\tcp;\n\tuint8_t\t\torder;\n}\t\t\tfold_order[] = {")
    print(table((f"{{0x{cp:X}, {c}}}," for cp, c in order), 6) + "\n};\n")
    print("#endif\t\t\t\t\t\t\t/* IMMIIQ_FOLD_TABLE_H */")


if __name__ == "__main__":
    main()
