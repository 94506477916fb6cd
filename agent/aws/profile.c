/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

struct setting {
	const char *name; /* NULL ends the list */
	char *to;
	size_t size;
};

struct reader {
	const char *section;
	const struct setting *settings;
	bool no_session; /* a session token is an error */
	bool inside; /* of the section */
	bool found;
};

static int read_section(struct reader *reader, struct span line, int number, struct error *err)
{
	struct span name;

	if (line.data[line.length - 1] != ']')
		return error_set(err, -EINVAL, "line %d: a section without ']'", number);
	name = text_trim((struct span){ line.data + 1, line.length - 2 });
	reader->inside = text_is(name, reader->section);
	if (reader->inside && reader->found)
		return error_set(err, -EINVAL, "line %d: the profile '%s' is there twice", number, reader->section);
	reader->found = reader->found || reader->inside;
	return 0;
}

static int read_setting(struct reader *reader, struct span line, int number, struct error *err)
{
	struct span value = line, name;

	if (!text_split(&value, '=', &name) || !value.data)
		return error_set(err, -EINVAL, "line %d: neither a section nor NAME = VALUE", number);
	name = text_trim(name);
	if (reader->no_session && text_is(name, "aws_session_token"))
		return error_set(err, -EINVAL, "line %d: aws_session_token: session tokens are not taken", number);
	for (const struct setting *s = reader->settings; s->name; s++) {
		if (!text_is(name, s->name))
			continue;
		if (s->to[0])
			return error_set(err, -EINVAL, "line %d: %s is there twice", number, s->name);
		if (text_copy(text_trim(value), s->to, s->size) < 0)
			return error_set(err, -EINVAL, "line %d: %s has more than %zu characters", number, s->name, s->size - 1);
	}
	return 0;
}

static int read_line(struct reader *reader, struct span line, int number, struct error *err)
{
	if (line.length && line.data[line.length - 1] == '\n')
		line.length--;
	if (line.length && line.data[line.length - 1] == '\r')
		line.length--;
	line = text_trim(line);
	if (!line.length || line.data[0] == '#' || line.data[0] == ';')
		return 0;
	if (line.data[0] == '[')
		return read_section(reader, line, number, err);
	return reader->inside ? read_setting(reader, line, number, err) : 0;
}

static int read_lines(struct reader *reader, FILE *file, struct error *err)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t length;
	int r = 0;

	for (int number = 1; r == 0 && (length = getline(&line, &size, file)) >= 0; number++)
		r = read_line(reader, (struct span){ line, (size_t)length }, number, err);
	if (r == 0 && ferror(file))
		r = error_set(err, -EIO, "cannot be read");
	return r;
}

static int read_file(struct reader *reader, const char *path, struct error *err)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	return file ? read_lines(reader, file, err) : error_set(err, -errno, "%m");
}

static int check_found(const struct reader *reader, struct error *err)
{
	if (!reader->found)
		return error_set(err, -EINVAL, "there is no profile '%s'", reader->section);
	for (const struct setting *s = reader->settings; s->name; s++)
		if (!s->to[0])
			return error_set(err, -EINVAL, "%s of the profile '%s' is missing", s->name, reader->section);
	return 0;
}

/* What a person reads names the file. */
static int name_file(struct error *err, int r, const char *path, const struct error *own)
{
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	return r < 0 ? error_set(err, r, "%s: %s", path, error_text(own, text, sizeof(text))) : 0;
}

int aws_profile_read(const char *path, const char *profile, struct aws_credential *ret_credential, struct error *err)
{
	char id[AWS_ACCESS_KEY_ID_BYTES] = "", secret[AWS_SECRET_BYTES] = "";
	const struct setting settings[] = {
		{ "aws_access_key_id", id, sizeof(id) },
		{ "aws_secret_access_key", secret, sizeof(secret) },
		{},
	};
	struct reader reader = { .section = profile, .settings = settings, .no_session = true };
	struct error own = {};
	int r = read_file(&reader, path, &own);

	if (r == 0)
		r = check_found(&reader, &own);
	if (r == 0)
		r = aws_credential_init(span_of(id), span_of(secret), ret_credential, &own);
	return name_file(err, r, path, &own);
}

int aws_profile_setting(const char *path, const char *section, const char *name, char *ret_value, size_t size, struct error *err)
{
	const struct setting settings[] = { { name, ret_value, size }, {} };
	struct reader reader = { .section = section, .settings = settings };
	struct error own = {};
	int r;

	ret_value[0] = '\0';
	r = read_file(&reader, path, &own);
	if (r == -ENOENT)
		return 0;
	return name_file(err, r, path, &own);
}

/* --- making ------------------------------------------------------------------------------------------------------------------- */

static int write_whole(int fd, const char *text, size_t length)
{
	const int r = fd_write(fd, text, length);

	return r < 0 ? r : fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory_of(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (!copy)
		return -ENOMEM;
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* The name appears with all that is in the file, or does not: link() never replaces. */
static int create_whole(const char *path, const char *text, size_t length)
{
	char temporary[PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	r = write_whole(fd, text, length);
	if (r == 0 && link(temporary, path) < 0)
		r = -errno;
	unlink(temporary);
	return r < 0 ? r : sync_directory_of(path);
}

int aws_profile_create(const char *path, const char *comment, const struct aws_credential *credential, struct error *err)
{
	_cleanup_(buffer_done) struct buffer text = {};
	int r;

	buffer_printf(&text, "# %s\n[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", comment, credential->id,
		      credential->secret);
	r = buffer_failed(&text) ? -ENOMEM : create_whole(path, buffer_string(&text), text.length);
	return r < 0 ? error_set(err, r, "cannot make %s: %s", path, strerror(-r)) : 0;
}
