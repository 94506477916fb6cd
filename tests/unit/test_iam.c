/* SPDX-License-Identifier: Apache-2.0 */
/* Access keys, the root key's file, whom keys stand for, and GetCallerIdentity. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/aws/profile.h"
#include "agent/iam/keys.h"
#include "agent/iam/principal.h"
#include "agent/iam/root.h"
#include "agent/iam/sts.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "tests/lib/test.h"

#define NOW_NS 1440938160000000000ull
#define ACCOUNT "123456789012"

/* --- files -------------------------------------------------------------------------------------------------------------------- */

struct place {
	char directory[32];
	char path[64];
};

static void place_init(struct place *place)
{
	strcpy(place->directory, "/tmp/weft-iam-XXXXXX");
	EXPECT(mkdtemp(place->directory));
	snprintf(place->path, sizeof(place->path), "%s/credentials", place->directory);
}

/* The directory must hold nothing else: no file of an attempt is left. */
static void place_done(struct place *place)
{
	unlink(place->path);
	EXPECT_OK(rmdir(place->directory));
}

static void write_file(const struct place *place, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = open(place->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
	EXPECT_OK(fchmod(fd, mode));
}

static void read_text(const struct place *place, char *text, size_t size)
{
	_cleanup_close_ int fd = open(place->path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);

	EXPECT(length >= 0);
	text[length] = '\0';
}

TEST(the_first_start_makes_a_root_key_that_later_ones_find)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential first, second;
	enum iam_root_origin origin;
	struct error err = {};
	struct stat st;
	char text[512];

	place_init(&place);
	EXPECT_OK(iam_root_take(NULL, "", place.path, &first, &origin, &err), &err);
	EXPECT_EQ(origin, IAM_ROOT_MADE);
	EXPECT_OK(stat(place.path, &st));
	EXPECT_EQ(st.st_mode & 07777, 0600);
	read_text(&place, text, sizeof(text));
	EXPECT_CONTAINS(text, "\n[default]\naws_access_key_id = AKIA");
	EXPECT_CONTAINS(text, first.secret);
	EXPECT_OK(iam_root_take("", NULL, place.path, &second, &origin, &err), &err);
	EXPECT_EQ(origin, IAM_ROOT_FILE);
	EXPECT_STR(second.id, first.id);
	EXPECT_STR(second.secret, first.secret);
}

TEST(the_aws_command_line_s_library_reads_the_file_that_is_made)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential made;
	enum iam_root_origin origin;
	struct error err = {};
	char command[512], line[256];
	FILE *botocore;

	place_init(&place);
	EXPECT_OK(iam_root_take(NULL, NULL, place.path, &made, &origin, &err), &err);
	snprintf(command, sizeof(command),
		 "AWS_SHARED_CREDENTIALS_FILE=%s /usr/bin/python3 -c 'import botocore.session as s; "
		 "c = s.Session(profile=\"default\").get_credentials(); print(c.access_key, c.secret_key)'",
		 place.path);
	botocore = popen(command, "re");
	EXPECT(botocore && fgets(line, sizeof(line), botocore));
	EXPECT_EQ(pclose(botocore), 0);
	snprintf(command, sizeof(command), "%s %s\n", made.id, made.secret);
	EXPECT_STR(line, command);
}

TEST(a_file_that_is_there_is_never_overwritten)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential credential;
	enum iam_root_origin origin;
	struct error err = {};
	char text[64];

	place_init(&place);
	write_file(&place, "[default]\n", 0600);
	EXPECT_OK(iam_make_credential(&credential));
	EXPECT_EQ(aws_profile_create(place.path, "comment", &credential, &err), -EEXIST);
	EXPECT_EQ(iam_root_take(NULL, NULL, place.path, &credential, &origin, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "aws_access_key_id of the profile 'default' is missing");
	EXPECT_CONTAINS(err.message, place.path);
	read_text(&place, text, sizeof(text));
	EXPECT_STR(text, "[default]\n");
}

TEST(a_file_that_others_may_read_is_refused)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential credential;
	enum iam_root_origin origin;

	place_init(&place);
	for (const mode_t *mode = (const mode_t[]){ 0640, 0604, 0620, 0602, 0 }; *mode; mode++) {
		struct error err = {};

		write_file(&place, "[default]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=12345678\n", *mode);
		EXPECT_EQ(iam_root_take(NULL, NULL, place.path, &credential, &origin, &err), -EPERM);
		EXPECT_CONTAINS(err.message, "chmod 600");
	}
	write_file(&place, "[default]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=12345678\n", 0400);
	EXPECT_OK(iam_root_take(NULL, NULL, place.path, &credential, &origin, NULL));
}

TEST(the_root_key_of_the_environment_counts_before_the_file)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential credential;
	enum iam_root_origin origin;
	struct error err = {};

	place_init(&place);
	EXPECT_OK(iam_root_take("admin", "password", place.path, &credential, &origin, &err), &err);
	EXPECT_EQ(origin, IAM_ROOT_ENVIRONMENT);
	EXPECT_STR(credential.id, "admin");
	EXPECT_STR(credential.secret, "password");
	EXPECT_EQ(access(place.path, F_OK), -1);
	EXPECT_EQ(iam_root_take("admin", "", place.path, &credential, &origin, &err), -EINVAL);
	EXPECT_STR(err.field, "WEFT_ROOT_SECRET_ACCESS_KEY");
	EXPECT_EQ(iam_root_take(NULL, "password", place.path, &credential, &origin, &err), -EINVAL);
	EXPECT_STR(err.field, "WEFT_ROOT_ACCESS_KEY_ID");
	EXPECT_EQ(iam_root_take("admin", "short", place.path, &credential, &origin, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "WEFT_ROOT_SECRET_ACCESS_KEY");
	EXPECT(!strstr(err.message, "short"));
}

TEST(a_directory_that_cannot_be_written_is_told)
{
	struct aws_credential credential;
	enum iam_root_origin origin;
	struct error err = {};

	EXPECT_EQ(iam_root_take(NULL, NULL, "/proc/nowhere/credentials", &credential, &origin, &err), -ENOENT);
	EXPECT_CONTAINS(err.message, "cannot make /proc/nowhere/credentials");
}

TEST(profiles_are_told_apart_and_other_settings_left_alone)
{
	_cleanup_(place_done) struct place place;
	struct aws_credential credential;
	struct error err = {};

	place_init(&place);
	write_file(&place,
		   "; comment\n  # another\n\n[other]\naws_access_key_id = OTHER\naws_session_token = x\nnonsense\n"
		   "[ mesh ]\r\n\taws_access_key_id=AKIDEXAMPLE\r\nregion = us-east-1\naws_secret_access_key = a=b/c+d#e;f \n[last]\n",
		   0600);
	EXPECT_OK(aws_profile_read(place.path, "mesh", &credential, &err), &err);
	EXPECT_STR(credential.id, "AKIDEXAMPLE");
	EXPECT_STR(credential.secret, "a=b/c+d#e;f");
	EXPECT_EQ(aws_profile_read(place.path, "default", &credential, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "there is no profile 'default'");
	EXPECT_EQ(aws_profile_read(place.path, "last", &credential, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "aws_access_key_id of the profile 'last' is missing");
	EXPECT_EQ(aws_profile_read(place.path, "other", &credential, &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "line 6: aws_session_token");
}

TEST(faults_of_a_profile_are_told_with_their_line)
{
	static const struct {
		const char *text, *message;
	} faults[] = {
		{ "[default\n", "line 1: a section without ']'" },
		{ "[\n", "line 1: a section without ']'" },
		{ "[default]\nnonsense\n", "line 2: neither a section nor NAME = VALUE" },
		{ "[default]\n[default]\n", "line 2: the profile 'default' is there twice" },
		{ "[default]\naws_access_key_id = a_b\naws_access_key_id = a_b\n", "line 3: aws_access_key_id is there twice" },
		{ "[default]\naws_access_key_id = a-b\naws_secret_access_key = 12345678", "access key id: 'a-b'" },
		{ "[default]\naws_access_key_id = a_b\naws_secret_access_key = 1234567", "secret access key: is not 8 to 128" },
		{ "[default]\naws_access_key_id = 01234567890123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567890123456789012345678\n", "line 2: aws_access_key_id has more than 128" },
		{ "[default]\naws_access_key_id = a_b\naws_secret_access_key =\n",
		  "aws_secret_access_key of the profile 'default' is missing" },
	};
	_cleanup_(place_done) struct place place;

	place_init(&place);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct aws_credential credential;
		struct error err = {};

		write_file(&place, faults[i].text, 0600);
		EXPECT_EQ(aws_profile_read(place.path, "default", &credential, &err), -EINVAL);
		EXPECT_CONTAINS(err.message, faults[i].message);
	}
}

/* --- keys --------------------------------------------------------------------------------------------------------------------- */

static void cleanup_keys(struct iam_keys **keys)
{
	iam_keys_free(*keys);
}

static struct iam_keys *given_keys(void)
{
	struct aws_credential root;
	struct iam_keys *keys;

	EXPECT_OK(aws_credential_init(span_of("AKIDROOT"), span_of("root/secret"), &root, NULL));
	EXPECT_OK(iam_keys_new(&root, &keys));
	return keys;
}

/* As the caller does: makes one, stores its record, tells. */
static struct iam_key given_key(struct iam_keys *keys, const char *user, uint64_t now_ns)
{
	_cleanup_free_ char *record = NULL;
	struct error err = {};
	struct iam_key key;

	EXPECT_OK(iam_key_make(keys, user, now_ns, &key, &err), &err);
	EXPECT(!iam_keys_get(keys, key.credential.id));
	record = iam_key_record(&key);
	EXPECT(record);
	EXPECT_OK(iam_keys_take(keys, key.credential.id, record, strlen(record), &err), &err);
	return key;
}

TEST(a_key_is_known_once_it_is_taken_until_it_is_dropped)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct iam_key made = given_key(keys, "deploy@ci", NOW_NS);
	struct aws_credential *found = iam_keys_look_up(made.credential.id, keys);

	EXPECT(found);
	EXPECT_STR(found->secret, made.credential.secret);
	EXPECT_STR(iam_key_of(found)->user, "deploy@ci");
	EXPECT_EQ(iam_key_of(found)->created_ns, NOW_NS);
	EXPECT_EQ(strlen(made.credential.id), 20);
	EXPECT_EQ(strncmp(made.credential.id, "AKIA", 4), 0);
	EXPECT_EQ(strlen(made.credential.secret), 40);
	iam_keys_drop(keys, made.credential.id);
	iam_keys_drop(keys, made.credential.id);
	EXPECT(!iam_keys_look_up(made.credential.id, keys));
}

TEST(the_root_key_is_always_there)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct aws_credential *root = iam_keys_look_up("AKIDROOT", keys);
	struct iam_key made = given_key(keys, "", NOW_NS);
	_cleanup_free_ char *record = iam_key_record(&made);
	const struct iam_key **list;
	struct error err = {};
	size_t count;

	EXPECT(root && iam_key_of(root)->is_root_key);
	iam_keys_drop(keys, "AKIDROOT");
	EXPECT(iam_keys_look_up("AKIDROOT", keys) == root);
	EXPECT_EQ(iam_keys_take(keys, "AKIDROOT", record, strlen(record), &err), -EEXIST);
	EXPECT_STR(root->secret, "root/secret");
	EXPECT(!iam_key_used(root, NOW_NS));
	EXPECT_EQ(iam_key_of(root)->used_ns, NOW_NS);
	EXPECT_OK(iam_keys_list(keys, &list, &count));
	EXPECT_EQ(count, 1);
	EXPECT_STR(list[0]->credential.id, made.credential.id);
	free(list);
}

TEST(no_two_keys_are_alike)
{
	struct aws_credential one, other;

	for (int i = 0; i < 100; i++) {
		EXPECT_OK(iam_make_credential(&one));
		EXPECT_OK(iam_make_credential(&other));
		EXPECT(strcmp(one.id, other.id) != 0);
		EXPECT(strcmp(one.secret, other.secret) != 0);
	}
}

TEST(keys_are_listed_oldest_first)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	const struct iam_key **list;
	size_t count;

	EXPECT_OK(iam_keys_list(keys, &list, &count));
	EXPECT_EQ(count, 0);
	EXPECT(!list);
	given_key(keys, "second", NOW_NS + 1);
	given_key(keys, "third", NOW_NS + 2);
	given_key(keys, "first", NOW_NS);
	EXPECT_OK(iam_keys_list(keys, &list, &count));
	EXPECT_EQ(count, 3);
	EXPECT_STR(list[0]->user, "first");
	EXPECT_STR(list[1]->user, "second");
	EXPECT_STR(list[2]->user, "third");
	free(list);
}

TEST(no_more_keys_are_made_than_there_may_be)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct error err = {};
	struct iam_key key;

	for (int i = 0; i < IAM_KEYS_MAX; i++)
		key = given_key(keys, "u", NOW_NS);
	iam_keys_drop(keys, key.credential.id);
	given_key(keys, "u", NOW_NS);
	EXPECT_EQ(iam_key_make(keys, "u", NOW_NS, &key, &err), -ENOSPC);
	EXPECT_CONTAINS(err.message, "100 access keys");
}

TEST(a_user_name_is_what_iam_would_take)
{
	static const char *const bad[] = { "a b", "a/b", "\xc3\xa4", "a\n", "a:b",
					   "01234567890123456789012345678901234567890123456789012345678901234" };
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct iam_key key;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {};

		EXPECT_EQ(iam_key_make(keys, bad[i], NOW_NS, &key, &err), -EINVAL);
		EXPECT_STR(err.field, "userName");
	}
	EXPECT_OK(iam_key_make(keys, "Az09_+=,.@-", NOW_NS, &key, NULL));
	EXPECT_OK(iam_key_make(keys, "0123456789012345678901234567890123456789012345678901234567890123", NOW_NS, &key, NULL));
}

TEST(an_inactive_key_may_not_sign_and_may_be_made_active_again)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct iam_key key = given_key(keys, "u", NOW_NS);
	const char *id = key.credential.id;

	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *record = NULL;

		key.inactive = !key.inactive;
		record = iam_key_record(&key);
		EXPECT_CONTAINS(record, key.inactive ? "\"Inactive\"" : "\"Active\"");
		EXPECT_OK(iam_keys_take(keys, id, record, strlen(record), NULL));
		EXPECT_EQ(iam_keys_look_up(id, keys) != NULL, !key.inactive);
		EXPECT_EQ(iam_keys_get(keys, id)->inactive, key.inactive);
	}
}

TEST(a_use_is_written_down_four_times_an_hour_at_most)
{
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct iam_key made = given_key(keys, "u", NOW_NS);
	struct aws_credential *key = iam_keys_look_up(made.credential.id, keys);
	_cleanup_free_ char *stale = iam_key_record(&made), *record = NULL;

	EXPECT(iam_key_used(key, NOW_NS));
	record = iam_key_record(iam_key_of(key));
	EXPECT_OK(iam_keys_take(keys, made.credential.id, record, strlen(record), NULL));
	for (uint64_t at = NOW_NS; at < NOW_NS + IAM_USED_STEP_NS; at += 60 * 1000000000ull)
		EXPECT(!iam_key_used(key, at));
	EXPECT(!iam_key_used(key, NOW_NS - 1)); /* the clock was set back */
	EXPECT(iam_key_used(key, NOW_NS + IAM_USED_STEP_NS));
	EXPECT(!iam_key_used(key, NOW_NS + IAM_USED_STEP_NS));
	/* a record from before comes by a watch */
	EXPECT_OK(iam_keys_take(keys, made.credential.id, stale, strlen(stale), NULL));
	EXPECT_EQ(iam_key_of(key)->used_ns, NOW_NS + IAM_USED_STEP_NS);
}

TEST(a_record_that_is_none_changes_nothing)
{
	static const struct {
		const char *record, *message;
	} bad[] = {
		{ "", "" },
		{ "[]", "object" },
		{ "{}", "userName" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"12345678\",\"status\":\"Active\",\"createdNs\":1}", "usedNs" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"12345678\",\"status\":\"Active\",\"createdNs\":1,\"usedNs\":\"2\"}",
		  "integer" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"12345678\",\"status\":\"Active\",\"createdNs\":1,\"usedNs\":2,\"more\":3}",
		  "more" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"12345678\",\"status\":\"active\",\"createdNs\":1,\"usedNs\":2}",
		  "neither Active" },
		{ "{\"userName\":\"u v\",\"secretAccessKey\":\"12345678\",\"status\":\"Active\",\"createdNs\":1,\"usedNs\":2}", "" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"1234\",\"status\":\"Active\",\"createdNs\":1,\"usedNs\":2}", "8 to 128" },
		{ "{\"userName\":\"u\",\"secretAccessKey\":\"12345678\",\"status\":\"Active\",\"createdNs\":-1,\"usedNs\":2}", "negative" },
	};
	_cleanup_(cleanup_keys) struct iam_keys *keys = given_keys();
	struct iam_key made = given_key(keys, "u", NOW_NS);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {};

		EXPECT_EQ(iam_keys_take(keys, made.credential.id, bad[i].record, strlen(bad[i].record), &err), -EINVAL);
		EXPECT_CONTAINS(err.message, bad[i].message);
		EXPECT_EQ(iam_keys_take(keys, "OTHER", bad[i].record, strlen(bad[i].record), NULL), -EINVAL);
	}
	EXPECT_STR(iam_keys_look_up(made.credential.id, keys)->secret, made.credential.secret);
	EXPECT(!iam_keys_get(keys, "OTHER"));
}

/* --- whom they stand for ------------------------------------------------------------------------------------------------------ */

TEST(keys_stand_for_root_or_for_their_user)
{
	struct iam_key key = {};
	struct iam_principal root, user, again, elsewhere;

	iam_principal_init(NULL, ACCOUNT, &root);
	EXPECT_STR(root.type, "Root");
	EXPECT_STR(root.id, ACCOUNT);
	EXPECT_STR(root.arn, "arn:aws:iam::123456789012:root");
	iam_principal_init(&key, ACCOUNT, &root);
	EXPECT_STR(root.arn, "arn:aws:iam::123456789012:root");
	strcpy(key.user, "deploy");
	iam_principal_init(&key, ACCOUNT, &user);
	EXPECT_STR(user.type, "IAMUser");
	EXPECT_STR(user.arn, "arn:aws:iam::123456789012:user/deploy");
	EXPECT_EQ(strlen(user.id), 21);
	EXPECT_EQ(strncmp(user.id, "AIDA", 4), 0);
	iam_principal_init(&key, ACCOUNT, &again);
	EXPECT_STR(again.id, user.id);
	iam_principal_init(&key, "210987654321", &elsewhere);
	EXPECT(strcmp(elsewhere.id, user.id) != 0);
}

/* What botocore finds in an answer. */
static json_t *as_botocore_reads(const char *xml)
{
	char path[] = "/tmp/weft-sts-XXXXXX", command[256], text[2048] = "";
	_cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
	struct error err = {};
	json_t *json = NULL;
	FILE *botocore;

	EXPECT(fd >= 0 && write(fd, xml, strlen(xml)) == (ssize_t)strlen(xml));
	snprintf(command, sizeof(command), "/usr/bin/python3 tests/unit/botocore_reference.py identity <%s", path);
	botocore = popen(command, "re");
	EXPECT(botocore && fread(text, 1, sizeof(text) - 1, botocore) > 0);
	EXPECT_EQ(pclose(botocore), 0);
	unlink(path);
	EXPECT_OK(json_parse(text, strlen(text), &json, &err), &err);
	return json;
}

static void expect_identity(const struct iam_key *key, const char *arn)
{
	const struct sts_request request = { "GetCallerIdentity", "2011-06-15", "9b2f4a2e-0001" };
	_cleanup_(buffer_done) struct buffer xml = {};
	_cleanup_json_ json_t *found = NULL;
	struct iam_principal caller;

	iam_principal_init(key, ACCOUNT, &caller);
	EXPECT_EQ(sts_answer(&request, &caller, &xml), 200);
	found = as_botocore_reads(buffer_string(&xml));
	EXPECT_STR(json_path_string(found, "Arn"), arn);
	EXPECT_STR(json_path_string(found, "UserId"), caller.id);
	EXPECT_STR(json_path_string(found, "Account"), ACCOUNT);
	EXPECT_STR(json_path_string(found, "RequestId"), "9b2f4a2e-0001");
}

TEST(get_caller_identity_tells_botocore_who_it_is)
{
	struct iam_key user = { .user = "a+b=c,d.e@f-g" };

	expect_identity(NULL, "arn:aws:iam::123456789012:root");
	expect_identity(&user, "arn:aws:iam::123456789012:user/a+b=c,d.e@f-g");
}

TEST(other_actions_are_refused_as_sts_does)
{
	static const struct {
		const char *action, *version, *code, *message;
	} bad[] = {
		{ NULL, "2011-06-15", "MissingAction", "Action" },
		{ "", "2011-06-15", "MissingAction", "Action" },
		{ "AssumeRole", "2011-06-15", "InvalidAction", "Could not find operation AssumeRole for version 2011-06-15" },
		{ "GetCallerIdentity", "2010-05-08", "InvalidAction", "GetCallerIdentity for version 2010-05-08" },
		{ "GetCallerIdentity", NULL, "InvalidAction", "NO_VERSION_SPECIFIED" },
		{ "<&\">\x01\xff\xef\xbf\xbf\xc3\xa4", "v", "InvalidAction", "<&\">???\xc3\xa4 " },
	};
	struct iam_principal caller;

	iam_principal_init(NULL, ACCOUNT, &caller);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct sts_request request = { bad[i].action, bad[i].version, "1" };
		_cleanup_(buffer_done) struct buffer xml = {};
		_cleanup_json_ json_t *found = NULL;

		EXPECT_EQ(sts_answer(&request, &caller, &xml), 400);
		found = as_botocore_reads(buffer_string(&xml));
		EXPECT_STR(json_path_string(found, "Error.Code"), bad[i].code);
		EXPECT_CONTAINS(json_path_string(found, "Error.Message"), bad[i].message);
	}
}

TEST(an_action_that_is_endless_is_cut_in_the_answer)
{
	struct sts_request request = { NULL, "2011-06-15", "1" };
	_cleanup_(buffer_done) struct buffer xml = {}, action = {};
	struct iam_principal caller;

	for (int i = 0; i < 10000; i++)
		buffer_add(&action, "\xc3\xa4");
	request.action = buffer_string(&action);
	iam_principal_init(NULL, ACCOUNT, &caller);
	EXPECT_EQ(sts_answer(&request, &caller, &xml), 400);
	EXPECT(xml.length < 1024);
}

TEST(one_setting_of_a_config_file_is_found_in_its_section)
{
	_cleanup_(place_done) struct place place;
	struct error err = {};
	char value[16];

	place_init(&place);
	write_file(&place,
		   "[default]\nregion = eu-west-1\noutput = json\ns3 =\n  addressing_style = path\n[profile ops]\nregion=us-east-1\n"
		   "aws_session_token = x\nendpoint_url = http://127.0.0.1:9080\n",
		   0600);

	EXPECT_OK(aws_profile_setting(place.path, "default", "region", value, sizeof(value), &err), &err);
	EXPECT_STR(value, "eu-west-1");
	EXPECT_OK(aws_profile_setting(place.path, "profile ops", "region", value, sizeof(value), &err), &err);
	EXPECT_STR(value, "us-east-1");
	EXPECT_OK(aws_profile_setting(place.path, "profile none", "region", value, sizeof(value), &err), &err);
	EXPECT_STR(value, "");
	EXPECT_OK(aws_profile_setting("/nonexistent/config", "default", "region", value, sizeof(value), &err), &err);
	EXPECT_STR(value, "");
	EXPECT_EQ(aws_profile_setting(place.path, "profile ops", "endpoint_url", value, sizeof(value), &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "line 9: endpoint_url has more than 15 characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_setting_of_a_config_file_is_found_in_its_section),
		cmocka_unit_test(the_first_start_makes_a_root_key_that_later_ones_find),
		cmocka_unit_test(the_aws_command_line_s_library_reads_the_file_that_is_made),
		cmocka_unit_test(a_file_that_is_there_is_never_overwritten),
		cmocka_unit_test(a_file_that_others_may_read_is_refused),
		cmocka_unit_test(the_root_key_of_the_environment_counts_before_the_file),
		cmocka_unit_test(a_directory_that_cannot_be_written_is_told),
		cmocka_unit_test(profiles_are_told_apart_and_other_settings_left_alone),
		cmocka_unit_test(faults_of_a_profile_are_told_with_their_line),
		cmocka_unit_test(a_key_is_known_once_it_is_taken_until_it_is_dropped),
		cmocka_unit_test(the_root_key_is_always_there),
		cmocka_unit_test(no_two_keys_are_alike),
		cmocka_unit_test(keys_are_listed_oldest_first),
		cmocka_unit_test(no_more_keys_are_made_than_there_may_be),
		cmocka_unit_test(a_user_name_is_what_iam_would_take),
		cmocka_unit_test(an_inactive_key_may_not_sign_and_may_be_made_active_again),
		cmocka_unit_test(a_use_is_written_down_four_times_an_hour_at_most),
		cmocka_unit_test(a_record_that_is_none_changes_nothing),
		cmocka_unit_test(keys_stand_for_root_or_for_their_user),
		cmocka_unit_test(get_caller_identity_tells_botocore_who_it_is),
		cmocka_unit_test(other_actions_are_refused_as_sts_does),
		cmocka_unit_test(an_action_that_is_endless_is_cut_in_the_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
