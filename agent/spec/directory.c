/* SPDX-License-Identifier: Apache-2.0 */
/* Files and what was read from them. A file is read again when the watch has told its name, or when a walk through the directory
 * finds that stat() says something else than when it was read. */
#include "agent/spec/directory.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/spec/directory_internal.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "base/in_order.h"
#include "base/thread.h"
#include "base/time.h"

/* A file that changed so shortly before it was read may change once more without a later time: it is read again by the next walk. */
#define SETTLED_NS (100 * NSEC_PER_MSEC)

int directory_join(char path[PATH_MAX], const char *directory, const char *name, struct error *err)
{
	const size_t length = strlen(directory), name_bytes = strlen(name) + 1;

	if (length + 1 + name_bytes > PATH_MAX)
		return error_set(err, -ENAMETOOLONG, "the path of '%s' is too long", name);
	memcpy(path, directory, length);
	path[length] = '/';
	memcpy(path + length + 1, name, name_bytes);
	return 0;
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

struct file {
	struct table_node node; /* of directory.files, by path, which the resource has as its source, or directory.paths */
	uint64_t stamp : 62; /* of stat() when it was read last; 0: read it in any case */
	uint64_t seen : 1; /* by the walk at hand */
	uint64_t unlisted : 1; /* the last walk did not come by */
	struct resource *resource; /* what the set has from it; NULL: nothing */
	struct list changed_link; /* alone, or in directory.changed */
};

struct reading { /* of a file that changed, by the directory_read() at hand */
	struct file *file;
	struct resource *fresh; /* NULL: nothing */
	char *references; /* of it, until the set has it */
	struct error *fault; /* NULL: none */
	uint64_t stamp;
	int r; /* of reading it */
	bool gone;
};

static const char *path_of(const struct file *file)
{
	return file->node.key;
}

static struct file *file_of(struct table_node *node)
{
	return node ? container_of(node, struct file, node) : NULL;
}

static struct file *changed_file(struct list *link)
{
	return container_of(link, struct file, changed_link);
}

/* Paths one behind the other, for tens of thousands of files are new together and then known by other copies of theirs: so what they took is
 * free in large pieces. */
struct paths {
	struct paths *next;
	size_t used, size;
	char text[];
};
#define PATHS_FIRST_BYTES (2 * PATH_MAX)
#define PATHS_LARGEST_BYTES (256 * 1024)

static const char *keep_path(struct directory *d, const char *path)
{
	const size_t bytes = strlen(path) + 1; /* PATH_MAX at most */
	struct paths *paths = d->paths;

	if (!paths || paths->size - paths->used < bytes) {
		const size_t size = paths ? MIN(4 * paths->size, PATHS_LARGEST_BYTES) : PATHS_FIRST_BYTES;

		paths = malloc(sizeof(*paths) + size);
		if (!paths)
			return NULL;
		*paths = (struct paths){ .next = d->paths, .size = size };
		d->paths = paths;
	}
	paths->used += bytes;
	return memcpy(paths->text + paths->used - bytes, path, bytes);
}

static void drop_paths(struct directory *d)
{
	for (struct paths *paths = d->paths, *next; paths; paths = next) {
		next = paths->next;
		free(paths);
	}
	d->paths = NULL;
}

static int file_make(struct directory *d, const char *path, struct file **ret_file)
{
	struct file *file = file_of(table_get(&d->files, path));

	if (!file) {
		const char *kept = keep_path(d, path);

		file = kept ? calloc(1, sizeof(*file)) : NULL;
		if (!file)
			return -ENOMEM;
		list_init(&file->changed_link);
		if (table_add(&d->files, &file->node, kept) < 0) {
			free(file);
			return -ENOMEM;
		}
	}
	*ret_file = file;
	return 0;
}

/* What the set has from it is this one from now on, which is taken over. */
static void file_set(struct file *file, struct resource *resource)
{
	file->node.key = resource->source; /* the same path */
	resource_unref(file->resource);
	file->resource = resource;
}

static void file_free(struct directory *d, struct file *file)
{
	table_remove(&d->files, &file->node);
	list_remove(&file->changed_link);
	resource_unref(file->resource);
	free(file);
}

static void file_changed(struct directory *d, struct file *file)
{
	if (list_empty(&file->changed_link))
		list_append(&d->changed, &file->changed_link);
}

int directory_file_changed(struct directory *d, const char *path)
{
	struct file *file;
	int r = file_make(d, path, &file);

	if (r < 0)
		return r;
	file->stamp = 0;
	file->unlisted = false;
	file_changed(d, file);
	return 0;
}

/* --- a walk through all of it -------------------------------------------------------------------------------------------- */

struct listing {
	struct dirent **entries;
	int count;
};

static void cleanup_listing(struct listing *listing)
{
	for (int i = 0; i < listing->count; i++)
		free(listing->entries[i]);
	free(listing->entries);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* By bytes: which file of two that define one resource is called the second must not depend on the locale. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

bool directory_is_json(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && strcmp(dot, ".json") == 0;
}

static bool is_directory(const char *path, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	/* What cannot be looked at and is not meant for us does not stop the rest. */
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int each_below(const char *directory, size_t depth, directory_file_fn *fn, void *arg, struct error *err)
{
	_cleanup_(cleanup_listing) struct listing listing = {};
	char path[PATH_MAX];
	int r = 0;

	if (depth > DIRECTORY_DEPTH)
		return error_set(err, -ELOOP, "'%s' is more than %d directories deep", directory, DIRECTORY_DEPTH);
	listing.count = scandir(directory, &listing.entries, is_visible, compare_entries);
	if (listing.count < 0)
		return error_set(err, -errno, "cannot read directory '%s': %m", directory);
	for (int i = 0; i < listing.count && r >= 0; i++) {
		r = directory_join(path, directory, listing.entries[i]->d_name, err);
		if (r < 0)
			return r;
		if (is_directory(path, listing.entries[i]))
			r = each_below(path, depth + 1, fn, arg, err);
		else
			r = fn(path, arg, err);
	}
	return r;
}

int directory_each(const char *path, directory_file_fn *fn, void *arg, struct error *err)
{
	return each_below(path, 0, fn, arg, err);
}

/* A race with the writer is the watch's to tell: what counts here is that a file that stays as it is reads as unchanged. */
static uint64_t stamp_of(const struct stat *st)
{
	const uint64_t words[] = { st->st_dev, st->st_ino, (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
				   (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec };
	uint64_t stamp = 0;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		stamp = hash_join(stamp, words[i]);
	return stamp >> 2 ?: 1; /* in as many bits as file.stamp has */
}

static int note_file(const char *path, void *arg, struct error *err)
{
	struct directory *d = arg;
	struct file *file;
	struct stat st;

	if (!directory_is_json(path))
		return 0;
	if (file_make(d, path, &file) < 0)
		return error_set(err, -ENOMEM, "no memory for '%s'", path);
	file->seen = true;
	if (file->stamp && stat(path, &st) == 0 && stamp_of(&st) == file->stamp)
		return 0;
	file_changed(d, file);
	return 0;
}

static int walk(struct directory *d, struct error *err)
{
	int r;

	for (struct table_node *node = table_first(&d->files); node; node = table_next(&d->files, node))
		file_of(node)->seen = false;
	r = directory_each(d->path, note_file, d, err);
	if (r < 0)
		return r;
	for (struct table_node *node = table_first(&d->files); node; node = table_next(&d->files, node)) {
		struct file *file = file_of(node);

		file->unlisted = !file->seen;
		if (file->unlisted)
			file_changed(d, file);
	}
	return 0;
}

static void *look(void *arg)
{
	struct directory *d = arg;

	d->ahead.r = walk(d, &d->ahead.err);
	return NULL;
}

void directory_look_ahead(struct directory *d)
{
	d->ahead.begun = thread_start(&d->ahead.thread, NULL, NULL, look, d) == 0;
}

static void await_look(struct directory *d)
{
	if (d->ahead.begun)
		pthread_join(d->ahead.thread, NULL);
	d->ahead.begun = false;
}

static int look_now(struct directory *d, struct error *err)
{
	if (!d->ahead.begun)
		return d->walk_needed ? walk(d, err) : 0;
	await_look(d);
	if (d->ahead.r < 0 && err)
		*err = d->ahead.err;
	return d->ahead.r;
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

static bool is_settled(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - st->st_ctim.tv_sec) * (int64_t)NSEC_PER_SEC + now.tv_nsec - st->st_ctim.tv_nsec > (int64_t)SETTLED_NS;
}

static bool is_gone(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

static int read_file(struct reading *reading, struct error *err)
{
	const struct file *file = reading->file;
	_cleanup_json_ json_t *document = NULL;
	struct stat st;
	int r;

	reading->gone = file->unlisted;
	if (reading->gone)
		return 0;
	r = json_parse_file_stat(path_of(file), &st, &document, err);
	reading->gone = (r == -ENOENT || r == -ENOTDIR) && is_gone(path_of(file));
	if (reading->gone)
		return 0;
	if (r < 0)
		return r;
	if (is_settled(&st))
		reading->stamp = stamp_of(&st);
	r = resource_parse(document, NULL, path_of(file), &reading->fresh, &reading->references, err);
	if (r < 0)
		error_prefix(err, "'%s'", path_of(file));
	return r;
}

static int path_order(const void *a, const void *b)
{
	return strcmp(path_of(((const struct reading *)a)->file), path_of(((const struct reading *)b)->file));
}

struct readings {
	struct reading *list;
	size_t count;
};

static void readings_done(struct readings *readings)
{
	for (size_t i = 0; i < readings->count; i++) {
		resource_unref(readings->list[i].fresh);
		free(readings->list[i].references);
		free(readings->list[i].fault);
	}
	free(readings->list);
}

static int changed_in_order(struct directory *d, struct readings *ret_readings)
{
	struct readings readings = {};

	list_for_each(it, &d->changed)
		readings.count++;
	readings.list = calloc(readings.count + 1, sizeof(*readings.list));
	if (!readings.list)
		return -ENOMEM;
	readings.count = 0;
	list_for_each(it, &d->changed)
		readings.list[readings.count++].file = changed_file(it);
	qsort(readings.list, readings.count, sizeof(*readings.list), path_order);
	*ret_readings = readings;
	return 0;
}

struct bringing {
	struct resources *set;
	const struct readings *readings;
	struct error *err;
};

/* On any thread. */
static void read_one(size_t index, void *arg)
{
	const struct bringing *bringing = arg;
	struct reading *reading = &bringing->readings->list[index];
	struct error err = {};

	reading->r = read_file(reading, &err);
	if (reading->r >= 0)
		return;
	reading->fault = malloc(sizeof(err));
	if (reading->fault)
		*reading->fault = err;
	else
		reading->r = -ENOMEM;
}

static int add_one(size_t index, void *arg)
{
	const struct bringing *bringing = arg;
	struct reading *reading = &bringing->readings->list[index];
	int r = reading->r;

	if (r < 0 && !reading->fault)
		return error_set(bringing->err, r, "no memory to read '%s'", path_of(reading->file));
	if (r < 0) {
		if (bringing->err)
			*bringing->err = *reading->fault;
		return r;
	}
	if (!reading->fresh)
		return 0;
	r = resources_add_parsed(bringing->set, reading->fresh, reading->references, bringing->err);
	free(reading->references);
	reading->references = NULL;
	if (r < 0)
		error_prefix(bringing->err, "'%s'", path_of(reading->file));
	return r;
}

/* First all that was goes, then all that is comes: so a name may move from one file to another. */
static int bring_in_line(struct resources *set, const struct readings *readings, struct error *err)
{
	struct bringing bringing = { .set = set, .readings = readings, .err = err };
	int r;

	for (size_t i = 0; i < readings->count; i++) {
		const struct resource *resource = readings->list[i].file->resource;

		if (resource && resources_remove(set, resource->full_name) == -ENOMEM)
			return error_set(err, -ENOMEM, "no memory to read the files");
	}
	r = in_order_run(&(struct in_order){ .work = read_one, .take = add_one, .arg = &bringing }, readings->count);
	return r < 0 ? r : resources_check(set, err);
}

/* What the files are known for from now on. */
static void settle(struct directory *d, const struct readings *readings)
{
	for (size_t i = 0; i < readings->count; i++) {
		struct reading *reading = &readings->list[i];
		struct file *file = reading->file;

		list_remove(&file->changed_link);
		if (reading->gone) {
			file_free(d, file);
			continue;
		}
		file_set(file, TAKE_PTR(reading->fresh));
		file->stamp = reading->stamp;
	}
	drop_paths(d);
}

int directory_read(struct directory *d, struct resources *set, struct error *err)
{
	_cleanup_(readings_done) struct readings readings = {};
	int r = look_now(d, err);

	if (r >= 0 && (r = changed_in_order(d, &readings)) < 0)
		error_set(err, r, "no memory to read '%s'", d->path);
	if (r >= 0)
		r = bring_in_line(set, &readings, err);
	if (r < 0) {
		resources_rollback(set);
		return r;
	}
	settle(d, &readings);
	d->walk_needed = !d->watch;
	return 0;
}

/* --- the directory ------------------------------------------------------------------------------------------------------- */

int directory_new(const char *path, struct directory **ret_directory)
{
	struct directory *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	list_init(&d->changed);
	d->walk_needed = true;
	d->path = strdup(path);
	if (!d->path) {
		free(d);
		return -ENOMEM;
	}
	*ret_directory = d;
	return 0;
}

size_t directory_files(const struct directory *d)
{
	return d->files.count;
}

struct directory *directory_free(struct directory *d)
{
	if (!d)
		return NULL;
	await_look(d);
	directory_watch_free(d->watch);
	for (struct table_node *node = table_first(&d->files), *next; node; node = next) {
		next = table_next(&d->files, node);
		file_free(d, file_of(node));
	}
	table_done(&d->files);
	drop_paths(d);
	free(d->path);
	free(d);
	return NULL;
}
