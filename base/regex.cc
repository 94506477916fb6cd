/* SPDX-License-Identifier: Apache-2.0 */
#include "base/regex.h"

#include <cerrno>
#include <memory>
#include <new>
#include <re2/re2.h>

struct regex {
	RE2 re;

	regex(const char *pattern, const RE2::Options &options) : re(pattern, options)
	{
	}
};

int regex_new(const char *pattern, struct regex **ret_regex, struct error *err)
try {
	RE2::Options options;

	options.set_log_errors(false);
	options.set_max_mem(REGEX_MEMORY_BYTES);
	options.set_never_capture(true);
	std::unique_ptr<regex> made(new regex(pattern, options));
	if (!made->re.ok())
		return error_set(err, -EINVAL, "'%s' is no regular expression of RE2: %s", pattern, made->re.error().c_str());
	*ret_regex = made.release();
	return 0;
} catch (const std::bad_alloc &) {
	return error_set(err, -ENOMEM, "out of memory");
}

struct regex *regex_free(struct regex *regex)
{
	delete regex;
	return nullptr;
}

bool regex_matches(const struct regex *regex, struct span text)
{
	return RE2::FullMatch(re2::StringPiece(text.data, text.length), regex->re);
}
