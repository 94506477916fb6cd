/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/convert/form.h"
#include "agent/convert/input.h"
#include "base/cleanup.h"
#include "tests/lib/test.h"

struct place {
	struct inputs inputs;
	char path[32];
};

static void place_init(struct place *p)
{
	strcpy(p->path, "/tmp/weft-input-XXXXXX");
	EXPECT(mkdtemp(p->path));
	EXPECT_OK(inputs_init(&p->inputs));
}

static void place_done(struct place *p)
{
	char command[64];

	inputs_done(&p->inputs);
	snprintf(command, sizeof(command), "rm -rf %s", p->path);
	EXPECT_EQ(system(command), 0);
}

static const char *write_file(struct place *p, const char *name, const char *text)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", p->path, name);
	file = fopen(path, "w");
	EXPECT(file && fputs(text, file) >= 0 && fclose(file) == 0);
	return path;
}

static void read_text(struct place *p, const char *text)
{
	struct error err = {};

	EXPECT_OK(inputs_read(&p->inputs, write_file(p, "x.json", text), &err), &err);
}

/* "LINE:COLUMN field: error" of the one problem. */
static const char *problem(const struct place *p)
{
	static char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];
	const json_t *one = json_array_get(p->inputs.problems, 0);

	EXPECT_EQ(json_array_size(p->inputs.problems), 1);
	snprintf(text, sizeof(text), "%d:%d %s: %s", (int)json_path_int(one, "line", 0), (int)json_path_int(one, "column", 0),
		 json_path_string(one, "field") ?: "", json_path_string(one, "error"));
	return text;
}

TEST(a_file_holds_one_document_several_or_lists_of_them)
{
	_cleanup_(place_done) struct place p;
	static const struct {
		const char *text;
		size_t documents;
	} cases[] = {
		{ "{}", 1 },		      { "{} {}\n{}\n", 3 },		 { "[{}, {}]", 2 }, { "[{}][]{}{}", 3 },
		{ "\xef\xbb\xbf {} ", 1 }, { "{\"a\":1}{\"b\":[1,{}]}", 2 }, { "[]", 0 },
	};

	place_init(&p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const size_t before = p.inputs.document_count;

		read_text(&p, cases[i].text);
		EXPECT_EQ(p.inputs.document_count - before, cases[i].documents);
	}
	EXPECT_EQ(json_array_size(p.inputs.problems), 0);
}

TEST(what_is_wrong_with_a_document_is_told_with_its_place_in_the_file)
{
	static const struct {
		size_t document;
		const char *field;
		unsigned int line, column;
	} cases[] = {
		{ 0, "a", 1, 2 }, { 1, "a.b", 3, 9 }, { 2, "", 4, 2 }, { 3, "a", 5, 3 }, { 3, "x", 5, 2 },
	};
	_cleanup_(place_done) struct place p;

	place_init(&p);
	read_text(&p, "{\"a\": 1}\n"
		      "\n"
		      "  {\"a\":{\"b\":2}}\n"
		      "[{\"a\": 1},\n"
		      " {\"a\": 1}]\n");
	EXPECT_EQ(p.inputs.document_count, 4);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_place place;

		document_place(&p.inputs.documents[cases[i].document], cases[i].field, &place);
		EXPECT_EQ(place.line, cases[i].line);
		EXPECT_EQ(place.column, cases[i].column);
	}
}

TEST(a_fault_of_syntax_has_its_place_also_behind_other_documents)
{
	static const struct {
		const char *text, *problem;
	} cases[] = {
		{ "{\"a\": 1}\n{\"b\": nope}", "2:10 : invalid token near 'nope'" },
		{ "", "0:0 : is empty" },
		{ " \n", "0:0 : is empty" },
		{ "{\"a\": 1, \"a\": 2}", "1:12 : duplicate object key near '\"a\"'" },
		{ "{} x", "1:4 : '[' or '{' expected near 'x'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(place_done) struct place p;

		place_init(&p);
		read_text(&p, cases[i].text);
		EXPECT_STR(problem(&p), cases[i].problem);
	}
}

TEST(one_bad_file_does_not_keep_others_from_being_read)
{
	_cleanup_(place_done) struct place p;
	struct error err = {};
	char path[64];

	/* given: a good file, a bad one, one that is none of ours, a FIFO that nobody writes, all in one directory */
	place_init(&p);
	write_file(&p, "a.json", "{");
	write_file(&p, "b.json", "{}");
	write_file(&p, "c.yaml", "a: b");
	snprintf(path, sizeof(path), "%s/d.json", p.path);
	EXPECT_EQ(mkfifo(path, 0600), 0);

	EXPECT_OK(inputs_read(&p.inputs, p.path, &err), &err);
	EXPECT_OK(inputs_read(&p.inputs, "/nonexistent", &err), &err);

	EXPECT_EQ(p.inputs.document_count, 1);
	EXPECT_EQ(p.inputs.left_alone, 1);
	EXPECT_EQ(json_array_size(p.inputs.problems), 3);
	EXPECT_STR(json_path_string(json_array_get(p.inputs.problems, 1), "error"), "is not a regular file");
	EXPECT_STR(json_path_string(json_array_get(p.inputs.problems, 2), "error"), "cannot be opened: No such file or directory");
}

TEST(a_document_tells_its_form)
{
	static const struct {
		const char *text;
		int form;
	} cases[] = {
		{ "{\"meshName\": \"m\"}", FORM_CREATE },
		{ "{\"meshName\": \"m\", \"spec\": {}, \"metadata\": {}, \"status\": {}}", FORM_DESCRIBE },
		{ "{\"virtualNode\": {}}", FORM_DESCRIBE },
		{ "{\"version\": 4, \"terraform_version\": \"1.5.7\", \"resources\": []}", FORM_STATE },
		{ "{\"Resources\": {}}", FORM_TEMPLATE },
		{ "{}", FORM_CREATE },
		{ "{\"apiVersion\": \"appmesh.k8s.aws/v1beta2\", \"kind\": \"Mesh\"}", -EINVAL },
		{ "{\"virtualNodes\": []}", -EINVAL },
		{ "5", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *document = json_loads(cases[i].text, JSON_DECODE_ANY, NULL);
		enum document_form form;
		struct error err = {};
		int r = form_of_document(document, &form, &err);

		EXPECT_EQ(r < 0 ? r : (int)form, cases[i].form);
	}
}

TEST(text_that_is_no_json_is_told_for_what_it_is)
{
	struct error err = {};

	EXPECT_EQ(form_is_json("x", '{', &err), 1);
	EXPECT_EQ(form_is_json("template.yaml", 'R', &err), 0);
	EXPECT_EQ(form_is_json("dir/main.tf", 'r', &err), -EINVAL);
	EXPECT_CONTAINS(err.message, "terraform.tfstate");
	EXPECT_EQ(form_is_json("node.json", 'm', &err), -EINVAL);
}

TEST(of_yaml_templates_are_read_and_nothing_else)
{
	static const struct {
		const char *text, *problem;
	} cases[] = {
		{ "Resources:\n  A: {Type: x}\n", NULL },
		{ "meshName: m\nspec: {}\n", "1:1 : is no JSON, which begins with { or [; of YAML, templates of CloudFormation are read" },
		{ "Resources: {}\n---\nResources: {}\n", "1:1 : is several documents of YAML; a template is one" },
		{ "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\n",
		  "1:1 apiVersion: a manifest of Kubernetes (\"Mesh\") is not read in this version" },
		{ "Resources: {A: [}", "1:17 : YAML: did not find expected node content" },
		{ "some words", "1:1 : is no JSON, which begins with { or [; of YAML, templates of CloudFormation are read" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(place_done) struct place p;
		struct error err = {};

		place_init(&p);
		EXPECT_OK(inputs_read(&p.inputs, write_file(&p, "template.yaml", cases[i].text), &err), &err);
		EXPECT_EQ(p.inputs.document_count, !cases[i].problem);
		if (cases[i].problem)
			EXPECT_STR(problem(&p), cases[i].problem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_holds_one_document_several_or_lists_of_them),
		cmocka_unit_test(what_is_wrong_with_a_document_is_told_with_its_place_in_the_file),
		cmocka_unit_test(a_fault_of_syntax_has_its_place_also_behind_other_documents),
		cmocka_unit_test(one_bad_file_does_not_keep_others_from_being_read),
		cmocka_unit_test(a_document_tells_its_form),
		cmocka_unit_test(text_that_is_no_json_is_told_for_what_it_is),
		cmocka_unit_test(of_yaml_templates_are_read_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
