/* SPDX-License-Identifier: Apache-2.0 */
/* Times by a pattern. What a second looks like is kept for each thread: lines come many a second, and strftime() is slow. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/access_log/internal.h"
#include "agent/access_log/put.h"
#include "base/cleanup.h"
#include "base/time.h"

#define DEFAULT_PATTERN "%Y-%m-%dT%H:%M:%S.%3fZ"
#define FRACTIONS_MAX 8
#define FRACTION_DIGITS 9

enum piece_kind {
	PIECE_CALENDAR, /* for strftime() */
	PIECE_SECONDS, /* since the epoch */
	PIECE_FRACTION,
	PIECE_TEXT,
};

struct piece {
	enum piece_kind kind;
	unsigned digits; /* of a fraction */
	char text[16]; /* for strftime(), or as it is; pieces of a pattern are short */
};

struct time_format {
	uint64_t serial; /* no other format of this process has it */
	size_t piece_count;
	struct piece pieces[];
};

/* --- a pattern read --------------------------------------------------------------------------------------------------------- */

/* Letters of strftime() as ISO C and glibc have them; behind E and O, those of POSIX, which mean the same in the C locale. */
static const char letters[] = "aAbBcCdDeFgGhHIjklmMpPrRStTuUVwWxXyYzZ", letters_e[] = "cCxXyY", letters_o[] = "deHImMSuUVwWy";

struct conversion {
	struct piece pieces[2];
	size_t piece_count, used;
};

static struct piece piece_of(enum piece_kind kind, const char *text, size_t length)
{
	struct piece piece = { .kind = kind };

	memcpy(piece.text, text, MIN(length, sizeof(piece.text) - 1));
	return piece;
}

static struct piece fraction_of(unsigned digits)
{
	return (struct piece){ .kind = PIECE_FRACTION, .digits = digits };
}

static bool among(char c, const char *set)
{
	return c && strchr(set, c);
}

/* What is Envoy's or Abseil's own, and not strftime()'s. */
static bool read_extension(struct span at, struct conversion *conversion)
{
	const char *c = at.data;
	const bool digit = at.length > 2 && c[1] >= '1' && c[1] <= '9';
	const bool e_digit = at.length > 3 && c[1] == 'E' && c[2] >= '1' && c[2] <= '9';

	if (at.length > 1 && c[1] == 'f') {
		*conversion = (struct conversion){ { fraction_of(FRACTION_DIGITS) }, 1, 2 };
	} else if (digit && c[2] == 'f') {
		*conversion = (struct conversion){ { fraction_of((unsigned)(c[1] - '0')) }, 1, 3 };
	} else if (at.length > 1 && c[1] == 's') {
		*conversion = (struct conversion){ { piece_of(PIECE_SECONDS, "", 0) }, 1, 2 };
	} else if (at.length > 1 && c[1] == '%') {
		*conversion = (struct conversion){ { piece_of(PIECE_TEXT, "%", 1) }, 1, 2 };
	} else if (e_digit && c[3] == 'f') {
		*conversion = (struct conversion){ { fraction_of((unsigned)(c[2] - '0')) }, 1, 4 };
	} else if (e_digit && c[3] == 'S') {
		*conversion = (struct conversion){ { piece_of(PIECE_CALENDAR, "%S.", 3), fraction_of((unsigned)(c[2] - '0')) }, 2, 4 };
	} else if (e_digit && c[2] == '4' && c[3] == 'Y') {
		*conversion = (struct conversion){ { piece_of(PIECE_CALENDAR, "%Y", 2) }, 1, 4 };
	} else if (at.length > 2 && c[1] == 'E' && c[2] == 'z') {
		*conversion = (struct conversion){ { piece_of(PIECE_TEXT, "+00:00", 6) }, 1, 3 };
	} else if (at.length > 2 && c[1] == 'E' && c[2] == 'T') {
		*conversion = (struct conversion){ { piece_of(PIECE_TEXT, "T", 1) }, 1, 3 };
	} else {
		return false;
	}
	return true;
}

/* "%Y", "%-d", "%10B", "%Ey": how long it is; 0: strftime() has no such conversion, or it is a newline. */
static size_t calendar_length(struct span at)
{
	const char *set = letters;
	size_t i = 1;

	while (i < at.length && among(at.data[i], "_-0^#"))
		i++;
	for (size_t digits = 0; i < at.length && at.data[i] >= '0' && at.data[i] <= '9'; i++)
		if (++digits > 2)
			return 0;
	if (i < at.length && (at.data[i] == 'E' || at.data[i] == 'O'))
		set = at.data[i++] == 'E' ? letters_e : letters_o;
	if (i >= at.length || !among(at.data[i], set) || i + 1 >= sizeof(((struct piece *)0)->text))
		return 0;
	return i + 1;
}

/* As much of a conversion as is worth showing; never half a character. */
static int shown_length(struct span at)
{
	int length = 0;

	while (length < 4 && (size_t)length < at.length && at.data[length] >= ' ' && at.data[length] < 0x7f)
		length++;
	return length;
}

static int read_conversion(struct span at, struct conversion *conversion, struct error *err)
{
	size_t length;

	if (read_extension(at, conversion))
		return 0;
	length = calendar_length(at);
	if (length == 0)
		return error_set(err, -EINVAL, "'%.*s' is no conversion of times", shown_length(at), at.data);
	*conversion = (struct conversion){ { piece_of(PIECE_CALENDAR, at.data, length) }, 1, length };
	return 0;
}

static int read_pieces(struct time_format *format, struct span pattern, struct error *err)
{
	size_t fractions = 0;

	while (pattern.length > 0) {
		const char *percent = memchr(pattern.data, '%', pattern.length);
		const size_t plain = percent ? (size_t)(percent - pattern.data) : pattern.length;
		struct conversion conversion = {};
		int r = 0;

		if (plain > 0)
			conversion = (struct conversion){ { piece_of(PIECE_TEXT, pattern.data, plain) }, 1,
							  MIN(plain, sizeof(format->pieces[0].text) - 1) };
		else
			r = read_conversion(pattern, &conversion, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < conversion.piece_count; i++) {
			if (conversion.pieces[i].kind == PIECE_FRACTION && ++fractions > FRACTIONS_MAX)
				return error_set(err, -EINVAL, "more than %d fractions of a second", FRACTIONS_MAX);
			format->pieces[format->piece_count++] = conversion.pieces[i];
		}
		pattern.data += conversion.used;
		pattern.length -= conversion.used;
	}
	return 0;
}

/* --- a second put together -------------------------------------------------------------------------------------------------- */

struct second_text {
	uint64_t serial, second;
	size_t length;
	size_t fraction_count;
	struct {
		size_t at;
		unsigned digits;
	} fractions[FRACTIONS_MAX];
	char text[TIME_TEXT_MAX_BYTES];
};

/* False: it does not fit. */
static bool add_piece(struct second_text *to, const struct piece *piece, uint64_t second, const struct tm *tm)
{
	const size_t room = sizeof(to->text) - to->length;
	char *end = to->text + to->length;
	size_t length = 0;

	if (piece->kind == PIECE_CALENDAR) {
		/* Of what is empty, as %p may be in other locales, strftime() says what it says of no room. */
		length = strftime(end, room, piece->text, tm);
		if (length == 0)
			return false;
	} else if (piece->kind == PIECE_SECONDS && room >= DECIMAL_BYTES) {
		length = decimal_write(end, second);
	} else if (piece->kind == PIECE_FRACTION && room >= piece->digits) {
		to->fractions[to->fraction_count].at = to->length;
		to->fractions[to->fraction_count++].digits = piece->digits;
		length = piece->digits;
	} else if (piece->kind == PIECE_TEXT && room >= strlen(piece->text)) {
		length = strlen(piece->text);
		memcpy(end, piece->text, length);
	} else {
		return false;
	}
	to->length += length;
	return true;
}

static bool fill(struct second_text *to, const struct time_format *format, uint64_t second)
{
	const time_t time = (time_t)second;
	struct tm tm;

	to->serial = format->serial;
	to->second = second;
	to->length = to->fraction_count = 0;
	gmtime_r(&time, &tm);
	tm.tm_zone = "UTC"; /* glibc has GMT */
	for (size_t i = 0; i < format->piece_count; i++)
		if (!add_piece(to, &format->pieces[i], second, &tm))
			return false;
	return true;
}

/* --- formats ---------------------------------------------------------------------------------------------------------------- */

/* The 30th of September 2026, a Wednesday, 23:59:59: no second that 64 bits of nanoseconds can tell is longer. */
#define LONGEST_SECOND 1790812799

static int check_length(const struct time_format *format, struct error *err)
{
	struct second_text longest;

	if (fill(&longest, format, LONGEST_SECOND))
		return 0;
	return error_set(err, -EINVAL, "times may be longer than %d bytes", TIME_TEXT_MAX_BYTES);
}

int time_format_new(struct span pattern, struct time_format **ret_format, struct error *err)
{
	static _Atomic uint64_t serials = 2;
	const bool is_default = pattern.length == 0;
	struct time_format *format;
	int r;

	if (is_default)
		pattern = SPAN(DEFAULT_PATTERN);
	if (memchr(pattern.data, '\n', pattern.length) || memchr(pattern.data, '\0', pattern.length))
		return error_set(err, -EINVAL, "a newline or NUL in a time");
	/* At most two pieces for each byte. */
	format = calloc(1, sizeof(*format) + 2 * pattern.length * sizeof(format->pieces[0]));
	if (!format)
		return error_set(err, -ENOMEM, "out of memory");
	/* The default is one for all: it finds the same second in the memory of a thread. */
	format->serial = is_default ? 1 : atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed);
	r = read_pieces(format, pattern, err);
	if (r == 0)
		r = check_length(format, err);
	if (r < 0) {
		free(format);
		return r;
	}
	*ret_format = format;
	return 0;
}

struct time_format *time_format_free(struct time_format *format)
{
	free(format);
	return NULL;
}

struct span time_format_text(const struct time_format *format, uint64_t wall_ns)
{
	static _Thread_local struct second_text kept[8]; /* serial 0: nothing yet */
	struct second_text *text = &kept[format->serial % ARRAY_SIZE(kept)];
	const uint64_t second = wall_ns / NSEC_PER_SEC;
	uint32_t fraction = (uint32_t)(wall_ns % NSEC_PER_SEC);
	char digits[FRACTION_DIGITS];

	if (text->serial != format->serial || text->second != second)
		fill(text, format, second);
	for (size_t i = FRACTION_DIGITS; i-- > 0; fraction /= 10)
		digits[i] = (char)('0' + fraction % 10);
	for (size_t i = 0; i < text->fraction_count; i++)
		memcpy(text->text + text->fractions[i].at, digits, text->fractions[i].digits);
	return (struct span){ text->text, text->length };
}
