/* SPDX-License-Identifier: Apache-2.0 */
/* weft iam: the access keys of the API. */
#include <errno.h>
#include <string.h>

#include "agent/ctl/client.h"
#include "agent/ctl/grid.h"
#include "base/cleanup.h"

#define PATH "/v1/access-keys"

struct iam_arguments {
	struct ctl ctl;
	const char *user;
};
static const struct option options[] = {
	{ .name = "user-name", .type = OPTION_STRING, .offset = OPTION(struct iam_arguments, user), .argument = "USER",
	  .help = "whose key it will be (default: root's)" },
	CTL_OPTIONS
};

static int create_key(const struct iam_arguments *a, const char *id, struct error *err)
{
	_cleanup_json_ json_t *body = json_pack("{s:s*}", "userName", a->user), *answer = NULL;
	int r = id ? error_set(err, -EINVAL, "unexpected argument '%s': the id is made", id) : 0;

	if (r == 0)
		r = client_call(&a->ctl, "POST", PATH, NULL, body, &answer, err);
	if (r < 0)
		return r;
	if (a->ctl.json)
		ctl_print_json(answer);
	else /* as ~/.aws/credentials has it */
		printf("aws_access_key_id = %s\naws_secret_access_key = %s\n", json_path_string(answer, "accessKeyId"),
		       json_path_string(answer, "secretAccessKey"));
	return 0;
}

static int list_keys(const struct iam_arguments *a, const char *id, struct error *err)
{
	static const struct grid_column columns[] = { { .title = "ACCESS KEY ID" }, { .title = "USER" },	 { .title = "STATUS" },
						      { .title = "CREATED" },	    { .title = "LAST USED" }, {} };
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_(grid_done) struct grid grid;
	int r = id ? error_set(err, -EINVAL, "unexpected argument '%s'", id) : 0;

	grid_init(&grid, columns);
	if (r == 0)
		r = client_call(&a->ctl, "GET", PATH, NULL, NULL, &answer, err);
	if (r < 0)
		return r;
	if (a->ctl.json) {
		ctl_print_json(answer);
		return 0;
	}
	for (size_t i = 0; i < json_path_count(answer, "accessKeys"); i++) {
		const json_t *key = json_path_at(answer, "accessKeys", i);
		const char *user = json_path_string(key, "userName");

		if (a->user && (!user || strcmp(user, a->user) != 0))
			continue;
		grid_add(&grid, json_path_string(key, "accessKeyId"));
		grid_add(&grid, json_path_bool(key, "root", false) ? "(root key)" : user && *user ? user : "(root)");
		grid_add(&grid, json_path_string(key, "status"));
		grid_add(&grid, json_path_string(key, "createdAt"));
		grid_add(&grid, json_path_string(key, "lastUsedAt"));
	}
	if (grid_rows(&grid) && grid_print(&grid, stdout) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int delete_key(const struct iam_arguments *a, const char *id, struct error *err)
{
	const struct parameter parameters[] = { { "accessKeyId", id }, {} };
	_cleanup_json_ json_t *answer = NULL;

	if (!id)
		return error_set(err, -EINVAL, "the id of the key is missing");
	return client_call(&a->ctl, "DELETE", PATH, parameters, NULL, &answer, err);
}

static const struct {
	const char *name;
	int (*run)(const struct iam_arguments *a, const char *id, struct error *err);
} actions[] = {
	{ "create-access-key", create_key },
	{ "list-access-keys", list_keys },
	{ "delete-access-key", delete_key },
};

static int iam_run(const void *arguments, const struct words *words)
{
	const char *action = words->count > 0 ? words->values[0] : "";
	struct error err = {};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].name, action) == 0)
			return actions[i].run(arguments, words->count > 1 ? words->values[1] : NULL, &err) < 0 ? ctl_fail(&err) : EXIT_SUCCESS;
	error_set(&err, -EINVAL, "'%s' is none of create-access-key, list-access-keys, delete-access-key", action);
	return ctl_fail(&err);
}

const struct command iam_command = {
	.name = "iam",
	.synopsis = "create-access-key|list-access-keys|delete-access-key [ID] [options]",
	.summary = "makes, lists and deletes access keys of the API",
	.more = "\nA new key is printed as ~/.aws/credentials has it, and its secret is never shown again. The root key is that of weftd's\n"
		"environment, or of the file `credentials` in its state directory, and is only listed.",
	.options = options,
	.arguments_size = sizeof(struct iam_arguments),
	.words_max = 2,
	.run = iam_run,
};
