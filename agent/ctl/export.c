/* SPDX-License-Identifier: Apache-2.0 */
/* weft export: resources of the API as files, which apply, validate and import read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/ctl/collect.h"
#include "agent/ctl/progress.h"
#include "base/bytes.h"
#include "base/cleanup.h"

struct export_arguments {
	struct ctl ctl;
	struct remote_options remote;
	const char *mesh, *output, *form;
};
static const struct option options[] = {
	{ .name = "mesh", .type = OPTION_STRING, .offset = OPTION(struct export_arguments, mesh), .argument = "MESH",
	  .help = "this mesh only" },
	{ .name = "output", .type = OPTION_STRING, .offset = OPTION(struct export_arguments, output), .argument = "DIR",
	  .help = "a file for each resource, in a directory that is not there or is empty (default: all on standard output)" },
	{ .name = "form", .type = OPTION_STRING, .offset = OPTION(struct export_arguments, form), .argument = "FORM",
	  .help = "describe (default): with identity and tags, for `weft import`; create: for weftd --config and `aws appmesh create-*`" },
	REMOTE_OPTIONS(struct export_arguments, remote),
	CTL_OPTIONS_JSON("no difference: it is JSON")
};

/* {"virtualNode": {...}, "tags": [...]} */
static json_t *describe_form(const struct collected *one)
{
	return json_pack("{s:O, s:O}", resource_kinds[one->target.kind].path_word, one->body, "tags", one->tags);
}

static json_t *create_form(const struct collected *one)
{
	_cleanup_json_ json_t *document = json_deep_copy(one->target.input);

	if (!document || json_object_set(document, "spec", json_object_get(one->body, "spec")) < 0 ||
	    (json_array_size(one->tags) && json_object_set(document, "tags", one->tags) < 0))
		return NULL;
	return TAKE_PTR(document);
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* --- files ------------------------------------------------------------------------------------------------------------------------ */

/* Made where it is missing; one with anything in it would be read as part of what is exported. */
static int prepare(const char *path, struct error *err)
{
	const struct dirent *entry;
	DIR *dir;
	bool empty = true;

	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return error_set_field(err, -errno, "--output", "'%s' cannot be made: %m", path);
	dir = opendir(path);
	if (!dir)
		return error_set_field(err, -errno, "--output", "'%s' cannot be read: %m", path);
	while ((entry = readdir(dir)))
		empty &= entry->d_name[0] == '.';
	closedir(dir);
	return empty ? 0 : error_set_field(err, -ENOTEMPTY, "--output", "'%s' is not empty", path);
}

/* A name of a resource as one of a file: letters, digits and "._-" stay, but for a dot at the beginning. */
static void add_file_name(struct buffer *path, const char *name, size_t length)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	for (size_t i = 0; i < length; i++) {
		if (strchr(plain, name[i]) && name[i] && (i > 0 || name[i] != '.'))
			buffer_append(path, &name[i], 1);
		else
			buffer_printf(path, "%%%02X", (unsigned char)name[i]);
	}
}

/* DIR/mesh/M/virtualRouter/R/route/T.json, with the directories on the way. */
static int make_path(const char *directory, const char *full_name, struct buffer *path, struct error *err)
{
	buffer_add(path, directory);
	for (const char *at = full_name; *at;) {
		const size_t length = strcspn(at, "/");

		buffer_add(path, "/");
		add_file_name(path, at, length);
		at += length + (at[length] == '/');
		if (*at && mkdir(buffer_string(path), 0777) < 0 && errno != EEXIST)
			return error_set(err, -errno, "'%s' cannot be made: %m", buffer_string(path));
	}
	buffer_add(path, ".json");
	return buffer_failed(path) ? no_memory(err) : 0;
}

static int write_file(const char *directory, const struct collected *one, const json_t *document, struct error *err)
{
	_cleanup_(buffer_done) struct buffer path = {};
	FILE *file;
	int r = make_path(directory, one->target.full_name, &path, err);

	if (r < 0)
		return r;
	file = fopen(buffer_string(&path), "wxe");
	if (!file)
		return error_set(err, -errno, "'%s' cannot be made: %m", buffer_string(&path));
	if (json_dumpf(document, file, JSON_INDENT(2)) < 0 || fputc('\n', file) < 0)
		r = -EIO;
	if (fclose(file) != 0)
		r = -errno;
	return r < 0 ? error_set(err, r, "'%s' cannot be written", buffer_string(&path)) : 0;
}

/* --- all -------------------------------------------------------------------------------------------------------------------------- */

static int write_all(const struct export_arguments *a, const struct collection *c, struct error *err)
{
	const bool create = a->form && strcmp(a->form, "create") == 0;

	for (size_t i = 0; i < c->count; i++) {
		_cleanup_json_ json_t *document = create ? create_form(&c->list[i]) : describe_form(&c->list[i]);
		int r = document ? 0 : no_memory(err);

		if (r == 0 && a->output)
			r = write_file(a->output, &c->list[i], document, err);
		else if (r == 0)
			ctl_print_json(document);
		if (r < 0)
			return r;
		progress_show("written", i + 1, c->count);
	}
	progress_clear();
	return 0;
}

static int export_run(const void *arguments, const struct words *words)
{
	const struct export_arguments *a = arguments;
	_cleanup_(cleanup_remote) struct remote *remote = NULL;
	_cleanup_(collection_done) struct collection c = {};
	struct error err = {};
	int r = 0;

	(void)words;
	if (a->form && strcmp(a->form, "create") != 0 && strcmp(a->form, "describe") != 0)
		r = error_set_field(&err, -EINVAL, "--form", "'%s' is neither describe nor create", a->form);
	if (r == 0 && a->output)
		r = prepare(a->output, &err);
	if (r == 0)
		r = remote_open(&a->ctl, &a->remote, &remote, &err);
	if (r == 0)
		r = collect(remote, COLLECT_WITH_TAGS, a->mesh, &c, &err);
	if (r == 0)
		r = write_all(a, &c, &err);
	if (r < 0)
		return ctl_fail(&err);
	if (a->output)
		printf("%zu resource%s written to %s\n", c.count, c.count == 1 ? "" : "s", a->output);
	return EXIT_SUCCESS;
}

const struct command export_command = {
	.name = "export",
	.synopsis = "[options]",
	.summary = "writes the API's resources as files",
	.more = "\nOf one region. A resource is DIR/mesh/M/virtualNode/N.json and so on; what a file's name cannot have is written as %XX.",
	.options = options,
	.arguments_size = sizeof(struct export_arguments),
	.words_max = 0,
	.run = export_run,
};
