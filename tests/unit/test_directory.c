/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of resource files: the examples that users have, faults, and the watch. */
#include "agent/spec/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/time.h"
#include "tests/unit/test_spec.h"

#define EXAMPLES "tests/data/examples"
#define MESH "{\"meshName\": \"m\"}"
#define NODE "{\"meshName\": \"m\", \"virtualNodeName\": \"n\", \"spec\": {}}"
#define BAD_NODE                                                                                                              \
	"{\"meshName\": \"m\", \"virtualNodeName\": \"n\", \"spec\": {\"listeners\": "                                       \
	"[{\"portMapping\": {\"port\": 0, \"protocol\": \"tcp\"}}]}}"

/* A temporary directory `path`, in a directory of its own: what a test makes beside it goes as well. */
struct place {
	char base[64], path[128];
};

/* Paths live until the fourth one after them. */
static const char *path_of(const char *directory, const char *name)
{
	static char paths[4][PATH_MAX];
	static size_t next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, PATH_MAX, "%s/%s", directory, name);
	return path;
}

static const char *in(const struct place *p, const char *name)
{
	return path_of(p->path, name);
}

static const char *beside(const struct place *p, const char *name)
{
	return path_of(p->base, name);
}

static struct place place_make(void)
{
	struct place p = { .base = "/tmp/weft-test-directory-XXXXXX" };

	EXPECT(mkdtemp(p.base) != NULL);
	snprintf(p.path, sizeof(p.path), "%s/mesh", p.base);
	EXPECT_EQ(mkdir(p.path, 0755), 0);
	return p;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void place_done(struct place *p)
{
	nftw(p->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
}

/* What a directory has is read into the set, and kept. */
static int read_once(const char *path, struct resources *set, struct error *err)
{
	struct directory *directory;
	int r;

	EXPECT_OK(directory_new(path, &directory));
	r = directory_read(directory, set, err);
	directory_free(directory);
	if (r == 0)
		resources_commit(set, NULL, NULL);
	return r;
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

static void no_unresolved(const struct resource *from, const char *field, const char *missing, void *arg)
{
	(void)arg;
	fail_msg("%s: %s: %s is missing", from->source, field, missing);
}

static int all_resolved(const struct resource *resource, void *arg)
{
	resources_unresolved(arg, resource, no_unresolved, NULL);
	return 0;
}

TEST(the_examples_that_users_have_are_accepted_as_they_are)
{
	static const struct {
		const char *directory;
		size_t count;
	} rows[] = {
		{ "", 47 }, { "/production-mesh", 23 }, { "/ecommerce-prod", 8 }, { "/global-mesh", 6 }, { "/terraform-mesh", 10 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(resources_done) struct resources set;
		struct error err = {};
		char path[PATH_MAX];

		resources_init(&set);
		snprintf(path, sizeof(path), "%s%s", EXAMPLES, rows[i].directory);
		EXPECT_OK(read_once(path, &set, &err), &err);
		EXPECT_EQ(set.count, rows[i].count);
		EXPECT_OK(resources_each(&set, all_resolved, &set));
	}
}

TEST(each_resource_knows_its_file)
{
	_cleanup_(resources_done) struct resources set;
	const struct resource *route;
	struct error err = {};

	resources_init(&set);
	EXPECT_OK(read_once(EXAMPLES, &set, &err), &err);
	route = resources_get(&set, "mesh/production-mesh/virtualRouter/checkout-router/route/checkout-route");
	EXPECT(route != NULL);
	EXPECT_STR(route->source, EXAMPLES "/production-mesh/route-checkout-canary.json");
}

TEST(only_visible_json_files_are_read_below_directories_and_links)
{
	_cleanup_(place_done) struct place p = place_make();
	_cleanup_(resources_done) struct resources set;
	struct error err = {};

	put(in(&p, "mesh.json"), MESH);
	put(in(&p, "README"), "not JSON");
	put(in(&p, ".node.json.swp.json"), "not JSON");
	put(in(&p, "json"), "not JSON");
	EXPECT_EQ(mkdir(in(&p, ".git"), 0755), 0);
	put(in(&p, ".git/x.json"), "not JSON");
	EXPECT_EQ(mkdir(in(&p, "a.json"), 0755), 0);
	put(in(&p, "a.json/node.json"), NODE);
	EXPECT_EQ(symlink("nowhere", in(&p, "README.link")), 0);
	EXPECT_EQ(mkdir(beside(&p, "elsewhere"), 0755), 0);
	put(beside(&p, "elsewhere/service.json"), "{\"meshName\": \"m\", \"virtualServiceName\": \"s\", \"spec\": {}}");
	EXPECT_EQ(symlink("../elsewhere", in(&p, "linked")), 0);

	resources_init(&set);
	EXPECT_OK(read_once(p.path, &set, &err), &err);
	EXPECT_EQ(set.count, 3);
	EXPECT(resources_get(&set, "mesh/m/virtualNode/n") != NULL);
	EXPECT(resources_get(&set, "mesh/m/virtualService/s") != NULL);
}

/* A set with one mesh, "kept", stays as it is when the directory is refused so. */
static void expect_refused(const struct place *p, int code, const char *field, const char *words)
{
	_cleanup_(resources_done) struct resources set;
	_cleanup_json_ json_t *kept = json_pack("{s:s}", "meshName", "kept");
	struct error err = {};

	resources_init(&set);
	EXPECT_OK(resources_add_json(&set, kept, NULL, &err), &err);
	resources_commit(&set, NULL, NULL);
	EXPECT_EQ(read_once(p->path, &set, &err), code);
	EXPECT_STR(err.field, field);
	EXPECT_CONTAINS(err.message, words);
	EXPECT_EQ(set.count, 1);
	EXPECT(resources_get(&set, "mesh/kept") != NULL);
}

TEST(a_bad_field_is_reported_with_file_field_and_reason_and_nothing_is_taken)
{
	_cleanup_(place_done) struct place p = place_make();

	put(in(&p, "a.json"), MESH);
	put(in(&p, "node.json"), BAD_NODE);
	expect_refused(&p, -EINVAL, "spec.listeners[0].portMapping.port", "/mesh/node.json': is 0, allowed are 1 to 65535");
}

TEST(text_that_is_no_json_is_reported_with_file_and_line)
{
	_cleanup_(place_done) struct place p = place_make();

	put(in(&p, "node.json"), "{\n\"meshName\": \"m\",\n}");
	expect_refused(&p, -EINVAL, "", "/mesh/node.json': line 3, column 1: ");
	put(in(&p, "node.json"), "");
	expect_refused(&p, -EINVAL, "", "/mesh/node.json': line 1, ");
	put(in(&p, "node.json"), "{\"meshName\": \"m\", \"meshName\": \"n\"}");
	expect_refused(&p, -EINVAL, "", "/mesh/node.json': line 1, ");
}

TEST(one_resource_in_two_files_names_both)
{
	_cleanup_(place_done) struct place p = place_make();
	char words[512];

	put(in(&p, "b.json"), NODE);
	put(in(&p, "a.json"), NODE);
	snprintf(words, sizeof(words), "mesh/m/virtualNode/n is defined twice: in '%s/a.json' and in '%s/b.json'", p.path, p.path);
	expect_refused(&p, -EEXIST, "virtualNodeName", words);
}

TEST(a_rule_between_two_files_is_reported_with_the_file_at_fault)
{
	_cleanup_(place_done) struct place p = place_make();

	put(in(&p, "router.json"), "{\"meshName\": \"m\", \"virtualRouterName\": \"r\", \"spec\": {\"listeners\": "
				   "[{\"portMapping\": {\"port\": 80, \"protocol\": \"grpc\"}}]}}");
	put(in(&p, "route.json"), "{\"meshName\": \"m\", \"virtualRouterName\": \"r\", \"routeName\": \"t\", \"spec\": {\"tcpRoute\": "
				  "{\"action\": {\"weightedTargets\": [{\"virtualNode\": \"n\", \"weight\": 1}]}}}}");
	expect_refused(&p, -EINVAL, "spec.tcpRoute",
		       "/mesh/route.json': mesh/m/virtualRouter/r/route/t: tcpRoute needs a listener of protocol tcp");
}

TEST(what_cannot_be_read_is_reported)
{
	_cleanup_(place_done) struct place p = place_make();

	EXPECT_EQ(mkfifo(in(&p, "a.json"), 0644), 0);
	expect_refused(&p, -EINVAL, "", "/mesh/a.json' is not a regular file");
	EXPECT_EQ(unlink(in(&p, "a.json")), 0);
	EXPECT_EQ(symlink("nowhere", in(&p, "a.json")), 0);
	expect_refused(&p, -ENOENT, "", "cannot open '");
	EXPECT_EQ(unlink(in(&p, "a.json")), 0);
	EXPECT_EQ(symlink(".", in(&p, "loop")), 0);
	expect_refused(&p, -ELOOP, "", "more than 8 directories deep");
	EXPECT_EQ(unlink(in(&p, "loop")), 0);
	EXPECT_EQ(rmdir(p.path), 0);
	expect_refused(&p, -ENOENT, "", "cannot read directory '");
}

static void append_change(const struct resource *before, const struct resource *now, void *arg)
{
	buffer_printf(arg, "%s%s%s\n", before ? "-" : "", now ? "+" : "", (now ?: before)->full_name);
}

/* One directory, read again and again into a set that has something else as well. */
struct reader {
	struct place place;
	struct directory *directory;
	struct resources set;
};

static struct reader *reader_start(void)
{
	struct reader *r = calloc(1, sizeof(*r));

	r->place = place_make();
	resources_init(&r->set);
	given(&r->set, "{'meshName': 'kept'}");
	resources_commit(&r->set, NULL, NULL);
	EXPECT_OK(directory_new(r->place.path, &r->directory));
	return r;
}

static void reader_done(struct reader **reader)
{
	struct reader *r = *reader;

	directory_free(r->directory);
	EXPECT(resources_get(&r->set, "mesh/kept") != NULL);
	resources_done(&r->set);
	place_done(&r->place);
	free(r);
}
#define _cleanup_reader_ _cleanup_(reader_done)

static void expect_read(struct reader *r, const char *changes)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct error err = {};

	EXPECT_OK(directory_read(r->directory, &r->set, &err), &err);
	resources_commit(&r->set, append_change, &text);
	EXPECT_STR(buffer_string(&text), changes);
}

TEST(a_directory_read_again_changes_what_its_files_changed)
{
	_cleanup_reader_ struct reader *r = reader_start();

	expect_read(r, "");
	put(in(&r->place, "a.json"), MESH);
	put(in(&r->place, "b.json"), NODE);
	expect_read(r, "+mesh/m\n+mesh/m/virtualNode/n\n");
	EXPECT_EQ(directory_files(r->directory), 2);
	expect_read(r, "");
	put(in(&r->place, "a.json"), MESH "\n"); /* means the same */
	expect_read(r, "");
	EXPECT_EQ(rename(in(&r->place, "b.json"), in(&r->place, "c.json")), 0); /* by another name */
	expect_read(r, "");
	EXPECT_STR(strrchr(resources_get(&r->set, "mesh/m/virtualNode/n")->source, '/'), "/c.json");
	EXPECT_EQ(unlink(in(&r->place, "c.json")), 0);
	put(in(&r->place, "a.json"), "{\"meshName\": \"o\"}");
	expect_read(r, "-mesh/m\n-mesh/m/virtualNode/n\n+mesh/o\n");
	EXPECT_EQ(unlink(in(&r->place, "a.json")), 0);
	expect_read(r, "-mesh/o\n");
	EXPECT_EQ(directory_files(r->directory), 0);
}

#define MANY 1000 /* enough for several threads */

static const char *many_path(const struct place *p, int number)
{
	char name[32];

	snprintf(name, sizeof(name), "node-%04d.json", number);
	return in(p, name);
}

static void put_many(const struct place *p, int number, const char *node)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"meshName\": \"m\", \"virtualNodeName\": \"%s\", \"spec\": {\"backends\": [{\"virtualService\": "
				     "{\"virtualServiceName\": \"s-%d\"}}]}}", node, number);
	put(many_path(p, number), text);
}

static void count_referrer(const struct resource *from, void *arg)
{
	(void)from;
	++*(size_t *)arg;
}

static size_t referrers(const struct resources *set, const char *full_name)
{
	size_t count = 0;

	resources_referrers(set, full_name, count_referrer, &count);
	return count;
}

TEST(of_many_files_with_faults_the_first_one_is_told_and_nothing_is_taken)
{
	_cleanup_reader_ struct reader *r = reader_start();
	struct error err = {};
	char node[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(node, sizeof(node), "n-%d", i);
		put_many(&r->place, i, node);
	}
	put(many_path(&r->place, 990), "no JSON");
	put(many_path(&r->place, 700), BAD_NODE);
	put_many(&r->place, 500, "n-400");
	EXPECT_EQ(directory_read(r->directory, &r->set, &err), -EEXIST);
	EXPECT_CONTAINS(err.message, "/node-0400.json' and in '");
	EXPECT_EQ(r->set.count, 1);
	put_many(&r->place, 500, "n-500");
	err = (struct error){};
	EXPECT_EQ(directory_read(r->directory, &r->set, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "/mesh/node-0700.json': ");
	EXPECT_STR(err.field, "spec.listeners[0].portMapping.port");
	EXPECT_EQ(r->set.count, 1);
	EXPECT_EQ(referrers(&r->set, "mesh/m"), 0);
	put_many(&r->place, 700, "n-700");
	EXPECT_EQ(unlink(many_path(&r->place, 990)), 0);
	EXPECT_OK(directory_read(r->directory, &r->set, &err), &err);
	resources_commit(&r->set, NULL, NULL);
	EXPECT_EQ(r->set.count, MANY);
	EXPECT_EQ(referrers(&r->set, "mesh/m"), MANY - 1);
	EXPECT_EQ(referrers(&r->set, "mesh/m/virtualService/s-700"), 1);
	EXPECT_EQ(referrers(&r->set, "mesh/m/virtualService/s-990"), 0);
}

TEST(what_was_looked_at_ahead_is_read_as_it_is_by_then)
{
	_cleanup_reader_ struct reader *r = reader_start();

	put(in(&r->place, "a.json"), MESH);
	put(in(&r->place, "b.json"), "no JSON");
	put(in(&r->place, "c.json"), "no JSON");
	directory_look_ahead(r->directory);
	put(in(&r->place, "b.json"), NODE);
	EXPECT_EQ(unlink(in(&r->place, "c.json")), 0);
	expect_read(r, "+mesh/m\n+mesh/m/virtualNode/n\n");
	put(in(&r->place, "c.json"), "{\"meshName\": \"o\"}");
	expect_read(r, "+mesh/o\n");
}

TEST(a_fault_of_the_look_ahead_is_the_next_readings_and_it_is_made_again)
{
	_cleanup_reader_ struct reader *r = reader_start();
	struct error err = {};

	EXPECT_EQ(rmdir(r->place.path), 0);
	directory_look_ahead(r->directory);
	EXPECT_EQ(directory_read(r->directory, &r->set, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "cannot read directory '");
	EXPECT_EQ(mkdir(r->place.path, 0755), 0);
	put(in(&r->place, "a.json"), MESH);
	expect_read(r, "+mesh/m\n");
}

TEST(a_directory_may_go_while_it_is_looked_at)
{
	_cleanup_reader_ struct reader *r = reader_start();

	for (int i = 0; i < MANY; i++)
		put_many(&r->place, i, "n");
	directory_look_ahead(r->directory);
	r->directory = directory_free(r->directory);
}

TEST(two_files_may_change_names_in_one_reading)
{
	_cleanup_reader_ struct reader *r = reader_start();

	put(in(&r->place, "a.json"), MESH);
	put(in(&r->place, "b.json"), NODE);
	expect_read(r, "+mesh/m\n+mesh/m/virtualNode/n\n");
	put(in(&r->place, "a.json"), NODE);
	put(in(&r->place, "b.json"), MESH);
	expect_read(r, "");
}

TEST(what_was_good_beside_a_fault_is_taken_once_the_fault_is_gone)
{
	_cleanup_reader_ struct reader *r = reader_start();
	struct error err = {};

	put(in(&r->place, "a.json"), MESH);
	expect_read(r, "+mesh/m\n");
	put(in(&r->place, "a.json"), "{\"meshName\": \"o\"}");
	put(in(&r->place, "node.json"), BAD_NODE);
	EXPECT_EQ(directory_read(r->directory, &r->set, &err), -EINVAL);
	EXPECT(resources_get(&r->set, "mesh/m") && !resources_get(&r->set, "mesh/o"));
	put(in(&r->place, "node.json"), NODE);
	expect_read(r, "-mesh/m\n+mesh/o\n+mesh/m/virtualNode/n\n");
}

/* --- watching ---------------------------------------------------------------------------------------------------------- */

#define DEADLINE_NS (10 * NSEC_PER_SEC)

struct watcher {
	struct place place;
	struct loop *loop;
	struct directory *directory;
	struct resources set; /* what a call finds is read into it, unless the directory is at fault */
	size_t calls;
	uint64_t called_ns;
	size_t stop_at; /* calls */
};

static void on_change(void *arg)
{
	struct watcher *w = arg;

	struct error err = {};

	w->called_ns = time_now_ns();
	if (directory_read(w->directory, &w->set, &err) == 0)
		resources_commit(&w->set, NULL, NULL);
	if (++w->calls == w->stop_at)
		loop_stop(w->loop, 1);
}

static void on_deadline(struct loop_timer *timer, void *arg)
{
	(void)timer;
	loop_stop(arg, -ETIMEDOUT);
}

/* Runs the loop until there was one more call, or `within_ns` passed. */
static bool called_within(struct watcher *w, uint64_t within_ns)
{
	struct loop_timer *timer;
	int r;

	w->stop_at = w->calls + 1;
	EXPECT_OK(loop_timer_new(w->loop, on_deadline, w->loop, &timer));
	loop_timer_arm(timer, time_now_ns() + within_ns);
	r = loop_run(w->loop);
	loop_timer_free(timer);
	return r == 1;
}
#define EXPECT_CALL(w) EXPECT(called_within(w, DEADLINE_NS))
/* What is there to be told comes within 100 ms; longer than twice that is silence. */
#define EXPECT_SILENCE(w) EXPECT(!called_within(w, 250 * NSEC_PER_MSEC))

static void watcher_begin(struct watcher *w, const char *path)
{
	struct error err = {};

	EXPECT_OK(loop_new(&w->loop));
	resources_init(&w->set);
	EXPECT_OK(directory_new(path ?: w->place.path, &w->directory));
	EXPECT_OK(directory_watch(w->directory, w->loop, on_change, w, &err), &err);
}

static struct watcher *watcher_start(void)
{
	struct watcher *w = calloc(1, sizeof(*w));

	w->place = place_make();
	watcher_begin(w, NULL);
	return w;
}

static void watcher_done(struct watcher **w)
{
	directory_free((*w)->directory);
	resources_done(&(*w)->set);
	loop_free((*w)->loop);
	place_done(&(*w)->place);
	free(*w);
}
#define _cleanup_watcher_ _cleanup_(watcher_done)

TEST(writing_replacing_and_removing_a_file_are_changes)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();

	EXPECT_SILENCE(w);
	put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
	put(in(&w->place, "a.json"), NODE);
	EXPECT_CALL(w);
	put(beside(&w->place, "new"), MESH);
	EXPECT_EQ(rename(beside(&w->place, "new"), in(&w->place, "a.json")), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(chmod(in(&w->place, "a.json"), 0600), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(unlink(in(&w->place, "a.json")), 0);
	EXPECT_CALL(w);
	EXPECT_SILENCE(w);
}

TEST(reading_and_neighbours_are_no_changes)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();
	struct resources set;
	struct error err = {};

	put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
	resources_init(&set);
	EXPECT_OK(read_once(w->place.path, &set, &err), &err);
	resources_done(&set);
	put(beside(&w->place, "neighbour.json"), MESH);
	EXPECT_EQ(mkdir(beside(&w->place, "mesh2"), 0755), 0);
	EXPECT_SILENCE(w);
}

TEST(new_and_renamed_sub_directories_are_watched)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();

	EXPECT_EQ(mkdir(in(&w->place, "sub"), 0755), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(mkdir(in(&w->place, "sub/deep"), 0755), 0);
	EXPECT_CALL(w);
	put(in(&w->place, "sub/deep/a.json"), MESH);
	EXPECT_CALL(w);
	EXPECT_EQ(rename(in(&w->place, "sub"), in(&w->place, "other")), 0);
	EXPECT_CALL(w);
	put(in(&w->place, "other/deep/a.json"), NODE);
	EXPECT_CALL(w);
	/* Gone from the tree: nobody's business any more. */
	EXPECT_EQ(rename(in(&w->place, "other"), beside(&w->place, "outside")), 0);
	EXPECT_CALL(w);
	put(beside(&w->place, "outside/deep/a.json"), MESH);
	EXPECT_SILENCE(w);
}

TEST(a_link_to_another_version_is_a_change_and_the_new_version_is_watched)
{
	_cleanup_watcher_ struct watcher *w = calloc(1, sizeof(*w));

	w->place = place_make();
	EXPECT_EQ(mkdir(in(&w->place, "..v1"), 0755), 0);
	EXPECT_EQ(mkdir(in(&w->place, "..v2"), 0755), 0);
	put(in(&w->place, "..v1/a.json"), MESH);
	put(in(&w->place, "..v2/a.json"), NODE);
	EXPECT_EQ(symlink("..v1", in(&w->place, "..data")), 0);
	EXPECT_EQ(symlink("..data/a.json", in(&w->place, "a.json")), 0);
	EXPECT_EQ(symlink("mesh", beside(&w->place, "current")), 0);
	watcher_begin(w, beside(&w->place, "current"));

	/* As Kubernetes replaces the files of a ConfigMap. */
	EXPECT_EQ(symlink("..v2", in(&w->place, "..data_tmp")), 0);
	EXPECT_EQ(rename(in(&w->place, "..data_tmp"), in(&w->place, "..data")), 0);
	EXPECT_CALL(w);
	/* The watched path itself leads elsewhere. */
	EXPECT_EQ(mkdir(beside(&w->place, "next"), 0755), 0);
	EXPECT_EQ(symlink("next", beside(&w->place, "current_tmp")), 0);
	EXPECT_EQ(rename(beside(&w->place, "current_tmp"), beside(&w->place, "current")), 0);
	EXPECT_CALL(w);
	put(beside(&w->place, "next/a.json"), MESH);
	EXPECT_CALL(w);
	put(in(&w->place, "b.json"), MESH);
	EXPECT_SILENCE(w);
}

TEST(a_directory_that_goes_and_comes_back_is_watched_again)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();

	EXPECT_EQ(rmdir(w->place.path), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(mkdir(w->place.path, 0755), 0);
	EXPECT_CALL(w);
	put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
	/* Replaced as a whole. */
	EXPECT_EQ(rename(w->place.path, beside(&w->place, "old")), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(rename(beside(&w->place, "old"), w->place.path), 0);
	EXPECT_CALL(w);
	put(in(&w->place, "a.json"), NODE);
	EXPECT_CALL(w);
}

TEST(a_directory_whose_parents_come_later_is_watched_then)
{
	_cleanup_watcher_ struct watcher *w = calloc(1, sizeof(*w));

	w->place = place_make();
	watcher_begin(w, in(&w->place, "x/y//z/"));
	EXPECT_EQ(mkdir(in(&w->place, "x"), 0755), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(mkdir(in(&w->place, "x/y"), 0755), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(mkdir(in(&w->place, "x/other"), 0755), 0);
	EXPECT_SILENCE(w);
	EXPECT_EQ(mkdir(in(&w->place, "x/y/z"), 0755), 0);
	EXPECT_CALL(w);
	put(in(&w->place, "x/y/z/a.json"), MESH);
	EXPECT_CALL(w);
}

TEST(a_relative_path_is_watched_where_it_was)
{
	_cleanup_watcher_ struct watcher *w = calloc(1, sizeof(*w));
	_cleanup_close_ int home = open(".", O_RDONLY | O_DIRECTORY);

	w->place = place_make();
	EXPECT_EQ(chdir(w->place.base), 0);
	watcher_begin(w, "mesh");
	EXPECT_EQ(fchdir(home), 0);
	put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
}

TEST(changes_close_together_are_one_and_none_waits_long)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();
	uint64_t begin_ns;

	for (size_t i = 0; i < 50; i++)
		put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
	EXPECT_EQ(w->calls, 1);
	EXPECT_SILENCE(w);

	/* A writer that hardly ever pauses is told of all the same. */
	begin_ns = time_now_ns();
	do {
		put(in(&w->place, "a.json"), MESH);
	} while (!called_within(w, 50 * NSEC_PER_USEC) && time_now_ns() - begin_ns < DEADLINE_NS);
	EXPECT(w->calls >= 2); /* more where the machine paused us */
}

TEST(files_that_the_watch_names_are_read_and_only_those)
{
	_cleanup_watcher_ struct watcher *w = watcher_start();
	const struct resource *mesh;

	put(in(&w->place, "a.json"), MESH);
	EXPECT_CALL(w);
	mesh = resources_get(&w->set, "mesh/m");
	EXPECT(mesh != NULL);
	put(in(&w->place, "b.json"), NODE);
	EXPECT_CALL(w);
	EXPECT(resources_get(&w->set, "mesh/m/virtualNode/n") != NULL);
	EXPECT(resources_get(&w->set, "mesh/m") == mesh);
	put(in(&w->place, ".c.json.tmp"), "half of it");
	put(in(&w->place, "README"), "nothing");
	EXPECT_SILENCE(w);
	EXPECT_EQ(mkdir(in(&w->place, "sub"), 0755), 0);
	EXPECT_CALL(w);
	EXPECT_EQ(rename(in(&w->place, "b.json"), in(&w->place, "sub/b.json")), 0);
	EXPECT_CALL(w);
	EXPECT(strstr(resources_get(&w->set, "mesh/m/virtualNode/n")->source, "/sub/b.json"));
	EXPECT_EQ(rename(in(&w->place, "sub"), beside(&w->place, "sub")), 0);
	EXPECT_CALL(w);
	EXPECT(!resources_get(&w->set, "mesh/m/virtualNode/n"));
	EXPECT_EQ(w->set.count, 1);
}

static void free_watch(void *arg)
{
	struct watcher *w = arg;

	w->directory = directory_free(w->directory);
	loop_stop(w->loop, 1);
}

TEST(a_watch_may_be_freed_by_its_own_call)
{
	_cleanup_watcher_ struct watcher *w = calloc(1, sizeof(*w));
	struct error err = {};

	w->place = place_make();
	EXPECT_OK(loop_new(&w->loop));
	resources_init(&w->set);
	EXPECT_OK(directory_new(w->place.path, &w->directory));
	EXPECT_OK(directory_watch(w->directory, w->loop, free_watch, w, &err), &err);
	put(in(&w->place, "a.json"), MESH);
	EXPECT(called_within(w, DEADLINE_NS));
	EXPECT(!w->directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_that_users_have_are_accepted_as_they_are),
		cmocka_unit_test(each_resource_knows_its_file),
		cmocka_unit_test(only_visible_json_files_are_read_below_directories_and_links),
		cmocka_unit_test(a_bad_field_is_reported_with_file_field_and_reason_and_nothing_is_taken),
		cmocka_unit_test(text_that_is_no_json_is_reported_with_file_and_line),
		cmocka_unit_test(one_resource_in_two_files_names_both),
		cmocka_unit_test(a_rule_between_two_files_is_reported_with_the_file_at_fault),
		cmocka_unit_test(what_cannot_be_read_is_reported),
		cmocka_unit_test(a_directory_read_again_changes_what_its_files_changed),
		cmocka_unit_test(of_many_files_with_faults_the_first_one_is_told_and_nothing_is_taken),
		cmocka_unit_test(what_was_looked_at_ahead_is_read_as_it_is_by_then),
		cmocka_unit_test(a_fault_of_the_look_ahead_is_the_next_readings_and_it_is_made_again),
		cmocka_unit_test(a_directory_may_go_while_it_is_looked_at),
		cmocka_unit_test(two_files_may_change_names_in_one_reading),
		cmocka_unit_test(what_was_good_beside_a_fault_is_taken_once_the_fault_is_gone),
		cmocka_unit_test(writing_replacing_and_removing_a_file_are_changes),
		cmocka_unit_test(reading_and_neighbours_are_no_changes),
		cmocka_unit_test(new_and_renamed_sub_directories_are_watched),
		cmocka_unit_test(a_link_to_another_version_is_a_change_and_the_new_version_is_watched),
		cmocka_unit_test(a_directory_that_goes_and_comes_back_is_watched_again),
		cmocka_unit_test(a_directory_whose_parents_come_later_is_watched_then),
		cmocka_unit_test(a_relative_path_is_watched_where_it_was),
		cmocka_unit_test(changes_close_together_are_one_and_none_waits_long),
		cmocka_unit_test(files_that_the_watch_names_are_read_and_only_those),
		cmocka_unit_test(a_watch_may_be_freed_by_its_own_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
