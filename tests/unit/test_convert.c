/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of other forms as create documents. tests/data/convert has one mesh (that of tests/data/examples/terraform-mesh) as
 * describe outputs, as a state of Terraform and as a template of CloudFormation. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/convert/convert.h"
#include "agent/convert/reshape.h"
#include "agent/convert/yaml.h"
#include "agent/spec/directory.h"
#include "base/bytes.h"
#include "tests/unit/test_spec.h"

#define MESH "tests/data/examples/terraform-mesh"

struct world {
	struct inputs inputs;
	struct conversion conversion;
	char path[40]; /* of a file with the text that was given; "" */
};

static void world_init(struct world *w)
{
	*w = (struct world){};
	EXPECT_OK(inputs_init(&w->inputs));
	EXPECT_OK(conversion_init(&w->conversion));
}

static void world_done(struct world *w)
{
	conversion_done(&w->conversion);
	inputs_done(&w->inputs);
	if (w->path[0])
		unlink(w->path);
}

static void convert_path(struct world *w, const char *path)
{
	struct error err = {};

	EXPECT_OK(inputs_read(&w->inputs, path, &err), &err);
	EXPECT_OK(conversion_run(&w->conversion, &w->inputs));
}

static void convert_text(struct world *w, const char *text)
{
	FILE *file;

	strcpy(w->path, "/tmp/weft-convert-XXXXXX");
	file = fdopen(mkstemp(w->path), "w");
	EXPECT(file && fputs(text, file) >= 0 && fclose(file) == 0);
	convert_path(w, w->path);
}

/* JSON with ' for ". */
static void convert_json(struct world *w, const char *text)
{
	_cleanup_json_ json_t *value = json_of(text);
	_cleanup_free_ char *quoted = json_dumps(value, JSON_INDENT(1));

	convert_text(w, quoted);
}

static void expect_no_problem(const struct world *w)
{
	const json_t *first = json_array_get(w->inputs.problems, 0);

	if (first)
		fail_msg("%s: %s", json_path_string(first, "field") ?: "", json_path_string(first, "error"));
}

/* "LINE field: error" of the one problem. */
static const char *problem(const struct world *w)
{
	static char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];
	const json_t *one = json_array_get(w->inputs.problems, 0);

	EXPECT_EQ(json_array_size(w->inputs.problems), 1);
	snprintf(text, sizeof(text), "%d %s: %s", (int)json_path_int(one, "line", 0), json_path_string(one, "field") ?: "",
		 json_path_string(one, "error"));
	return text;
}

static bool has_remark(const struct world *w, const char *field, const char *what)
{
	const json_t *one;
	size_t i;

	json_array_foreach(w->conversion.remarks, i, one)
		if (strcmp(json_path_string(one, "field"), field) == 0 && strstr(json_path_string(one, "what"), what))
			return true;
	return false;
}

static const struct converted *item_of(const struct world *w, const char *origin)
{
	for (size_t i = 0; i < w->conversion.count; i++)
		if (strcmp(w->conversion.list[i].origin, origin) == 0)
			return &w->conversion.list[i];
	fail_msg("there is no %s", origin);
	return NULL;
}

static int expect_same(const struct resource *want, void *arg)
{
	const struct resource *got = resources_get(arg, want->full_name);
	_cleanup_json_ json_t *tags = NULL, *wanted_tags = resource_tags(want);

	EXPECT(got);
	if (!resource_same_spec(got, want))
		fail_msg("%s: %s", want->full_name, got->spec_text);
	tags = resource_tags(got);
	EXPECT(wanted_tags ? json_equal(tags, wanted_tags) : json_array_size(tags) == 0);
	return 0;
}

/* Adds what was converted to a set; it is the mesh of the examples, tags included. */
static void expect_the_example(const struct world *w)
{
	_cleanup_(resources_done) struct resources set, expected;
	struct directory *directory;
	struct error err = {};

	resources_init(&set);
	resources_init(&expected);
	EXPECT_OK(directory_new(MESH, &directory));
	EXPECT_OK(directory_read(directory, &expected, &err), &err);
	directory_free(directory);
	EXPECT_EQ(w->conversion.count, expected.count);
	for (size_t i = 0; i < w->conversion.count; i++)
		EXPECT_OK(resources_add_json(&set, w->conversion.list[i].document, NULL, &err), &err);
	EXPECT_OK(resources_check(&set, &err), &err);
	EXPECT_OK(resources_each(&expected, expect_same, &set));
}

/* --- describe ------------------------------------------------------------------------------------------------------------- */

TEST(describe_outputs_are_the_resources_with_all_of_their_identity)
{
	_cleanup_(world_done) struct world w;

	world_init(&w);
	convert_path(&w, "tests/data/convert/describe");
	expect_no_problem(&w);
	expect_the_example(&w);
	for (size_t i = 0; i < w.conversion.count; i++) {
		const struct converted *item = &w.conversion.list[i];

		EXPECT_STR(item->account, "123456789012");
		EXPECT_STR(item->region, "us-east-1");
		EXPECT_EQ(json_path_int(item->metadata, "version", 0), 7);
		EXPECT_EQ(json_path_int(item->metadata, "createdAt", 0), 1709633472345);
		EXPECT_EQ(json_path_int(item->metadata, "lastUpdatedAt", 0), 1711958400000);
		EXPECT_EQ(strlen(json_path_string(item->metadata, "uid")), 36);
	}
}

TEST(what_the_api_answers_is_read_without_the_wrapper_and_times_may_be_numbers)
{
	_cleanup_(world_done) struct world w;

	world_init(&w);
	convert_json(&w, "{'meshName': 'm', 'spec': {}, 'status': {'status': 'ACTIVE'}, 'tags': [], 'metadata': {'createdAt': 1649252750.072, "
			 "'arn': 'arn:aws-cn:appmesh:cn-north-1:210987654321:mesh/m', 'odd': 1}}");
	expect_no_problem(&w);
	EXPECT_EQ(w.conversion.count, 1);
	EXPECT_STR(w.conversion.list[0].region, "cn-north-1");
	EXPECT_EQ(json_path_int(w.conversion.list[0].metadata, "createdAt", 0), 1649252750072);
	EXPECT(has_remark(&w, "metadata.odd", "no such member"));
	EXPECT(!json_object_get(w.conversion.list[0].document, "status"));
}

TEST(a_deleted_resource_is_left_out_and_said_to_be)
{
	_cleanup_(world_done) struct world w;

	world_init(&w);
	convert_json(&w, "{'mesh': {'meshName': 'm', 'spec': {}, 'metadata': {}, 'status': {'status': 'DELETED'}}}");
	expect_no_problem(&w);
	EXPECT_EQ(w.conversion.count, 0);
	EXPECT(has_remark(&w, "mesh.status.status", "is DELETED"));
}

TEST(an_identity_that_cannot_be_is_a_problem_with_its_place)
{
	static const struct {
		const char *metadata, *problem;
	} cases[] = {
		{ "{'createdAt': 'yesterday'}", "5 mesh.metadata.createdAt: is \"yesterday\", which it cannot be" },
		{ "{'createdAt': -1}", "5 mesh.metadata.createdAt: is -1, which it cannot be" },
		{ "{'version': 0}", "5 mesh.metadata.version: is 0, which it cannot be" },
		{ "{'uid': 5}", "5 mesh.metadata.uid: is 5, which it cannot be" },
		{ "{'arn': 'arn:aws:ec2:us-east-1:123456789012:x'}",
		  "5 mesh.metadata.arn: is \"arn:aws:ec2:us-east-1:123456789012:x\", which is no ARN of App Mesh" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(world_done) struct world w;
		char text[512];

		world_init(&w);
		snprintf(text, sizeof(text), "{'mesh': {'meshName': 'm', 'metadata': %s, 'spec': {}}, 'tags': []}", cases[i].metadata);
		convert_json(&w, text);
		EXPECT_STR(problem(&w), cases[i].problem);
	}
}

/* --- Terraform ------------------------------------------------------------------------------------------------------------- */

TEST(a_state_is_the_resources_with_the_identity_that_terraform_keeps)
{
	_cleanup_(world_done) struct world w;
	const struct converted *node;

	world_init(&w);
	convert_path(&w, "tests/data/convert/terraform.tfstate");
	expect_no_problem(&w);
	expect_the_example(&w);
	node = item_of(&w, "module.frontend.aws_appmesh_virtual_node.node_frontend[\"a\"]");
	EXPECT_STR(node->account, "123456789012");
	EXPECT_STR(node->region, "us-east-1");
	EXPECT_STR(json_path_string(node->metadata, "arn"),
		   "arn:aws:appmesh:us-east-1:123456789012:mesh/terraform-mesh/virtualNode/frontend-service");
	EXPECT_EQ(json_path_int(node->metadata, "createdAt", 0), 1709633472000);
	EXPECT_EQ(strlen(json_path_string(node->metadata, "uid")), 36);
	/* the id of a mesh is its name */
	EXPECT(!json_object_get(item_of(&w, "aws_appmesh_mesh.mesh")->metadata, "uid"));
	EXPECT(has_remark(&w, "resources[4].instances[0].attributes.uid", "will be a new one"));
	EXPECT(has_remark(&w, "resources[4].instances[0].attributes.version", "begins at 1"));
}

TEST(zero_is_kept_where_it_means_something_and_blocks_may_be_empty)
{
	_cleanup_(world_done) struct world w;
	_cleanup_json_ json_t *expected = json_of(
		"{'grpcRoute': {'match': {}, 'action': {'weightedTargets': [{'virtualNode': 'n', 'weight': 0}]}, "
		"'retryPolicy': {'maxRetries': 0, 'perRetryTimeout': {'unit': 'ms', 'value': 0}, 'grpcRetryEvents': ['cancelled']}}}");

	world_init(&w);
	convert_json(&w, "{'version': 4, 'terraform_version': '1.5.7', 'resources': [{'mode': 'managed', 'type': 'aws_appmesh_route', "
			 "'name': 'r', 'instances': [{'attributes': {'name': 'r', 'mesh_name': 'm', 'virtual_router_name': 'vr', 'spec': "
			 "[{'priority': 0, 'http_route': [], 'grpc_route': [{'match': [null], 'timeout': [], 'action': [{'weighted_target': "
			 "[{'virtual_node': 'n', 'weight': 0, 'port': 0}]}], 'retry_policy': [{'max_retries': 0, 'http_retry_events': [], "
			 "'grpc_retry_events': ['cancelled'], 'per_retry_timeout': [{'unit': 'ms', 'value': 0}]}]}]}]}}]}]}");
	expect_no_problem(&w);
	EXPECT_EQ(w.conversion.count, 1);
	EXPECT(json_equal(json_object_get(w.conversion.list[0].document, "spec"), expected));
}

TEST(attributes_in_a_map_are_pairs_and_every_block_has_its_api_name)
{
	_cleanup_(world_done) struct world w;
	_cleanup_json_ json_t *expected = json_of(
		"{'backendDefaults': {'clientPolicy': {'tls': {'enforce': false, 'ports': [443], 'validation': {'trust': {'acm': "
		"{'certificateAuthorityArns': ['arn:x']}}, 'subjectAlternativeNames': {'match': {'exact': ['a.b']}}}}}}, "
		"'serviceDiscovery': {'awsCloudMap': {'namespaceName': 'n', 'serviceName': 's', 'attributes': [{'key': 'k', 'value': 'v'}]}}, "
		"'logging': {'accessLog': {'file': {'path': '/x', 'format': {'json': [{'key': 'a', 'value': '%A%'}]}}}}}");

	world_init(&w);
	convert_json(&w, "{'version': 4, 'terraform_version': '1', 'resources': [{'mode': 'managed', 'type': 'aws_appmesh_virtual_node', "
			 "'name': 'n', 'instances': [{'attributes': {'name': 'n', 'mesh_name': 'm', 'spec': [{'backend_defaults': "
			 "[{'client_policy': [{'tls': [{'certificate': [], 'enforce': false, 'ports': [443], 'validation': "
			 "[{'subject_alternative_names': [{'match': [{'exact': ['a.b']}]}], 'trust': [{'acm': "
			 "[{'certificate_authority_arns': ['arn:x']}], 'file': [], 'sds': []}]}]}]}]}], 'listener': [], 'backend': [], "
			 "'service_discovery': [{'aws_cloud_map': [{'attributes': {'k': 'v'}, 'namespace_name': 'n', 'service_name': 's'}], "
			 "'dns': []}], 'logging': [{'access_log': [{'file': [{'format': [{'json': [{'key': 'a', 'value': '%A%'}], 'text': "
			 "''}], 'path': '/x'}]}]}]}]}}]}]}");
	expect_no_problem(&w);
	EXPECT(json_equal(json_object_get(w.conversion.list[0].document, "spec"), expected));
}

TEST(what_a_state_has_beyond_the_api_is_told_with_its_place)
{
	_cleanup_(world_done) struct world w;
	const char *at = "resources[0].instances[0].attributes";
	char field[128];

	world_init(&w);
	convert_json(&w, "{'version': 4, 'terraform_version': '1', 'resources': [{'mode': 'managed', 'type': 'aws_appmesh_mesh', 'name': "
			 "'m', 'instances': [{'attributes': {'name': 'm', 'future': 1, 'region': 'eu-west-1', 'tags': {'aws:cloudformation:stack-name': "
			 "'s', 'a': 'b'}, 'spec': [{'new_filter': [{}], 'unused': false}]}}, {'deposed': '00000000', 'attributes': {}}]}]}");
	expect_no_problem(&w);
	EXPECT_EQ(w.conversion.count, 1);
	snprintf(field, sizeof(field), "%s.future", at);
	EXPECT(has_remark(&w, field, "no such member"));
	snprintf(field, sizeof(field), "%s.spec[0].new_filter", at);
	EXPECT(has_remark(&w, field, "no such member"));
	snprintf(field, sizeof(field), "%s.tags", at);
	EXPECT(has_remark(&w, field, "aws:cloudformation:stack-name"));
	EXPECT(has_remark(&w, "resources[0].instances[1]", "deposed"));
	EXPECT_EQ(json_array_size(json_object_get(w.conversion.list[0].document, "tags")), 1);
}

TEST(states_that_cannot_be_read_are_refused_for_what_they_are)
{
	static const struct {
		const char *text, *problem;
	} cases[] = {
		{ "{'version': 3, 'terraform_version': '0.11.1', 'modules': []}", "is 3; states of version 4 are read" },
		{ "{'format_version': '1.0', 'terraform_version': '1.5', 'values': {}}", "`terraform show -json`" },
		{ "{'version': 4, 'terraform_version': '1.5', 'resources': [{'mode': 'data', 'type': 'aws_appmesh_mesh'}]}",
		  "has no aws_appmesh_* resource" },
		{ "{'version': 4, 'terraform_version': '1.5', 'resources': [{'mode': 'managed', 'type': 'aws_appmesh_mesh', 'instances': [{}]}]}",
		  "has no attributes" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(world_done) struct world w;

		world_init(&w);
		convert_json(&w, cases[i].text);
		EXPECT_CONTAINS(problem(&w), cases[i].problem);
		EXPECT_EQ(w.conversion.count, 0);
	}
}

/* --- CloudFormation --------------------------------------------------------------------------------------------------------- */

TEST(a_template_is_the_resources_with_its_functions_worked_out)
{
	_cleanup_(world_done) struct world w;
	struct error err = {};

	world_init(&w);
	EXPECT_OK(conversion_set(&w.conversion, "MeshName=terraform-mesh", &err), &err);
	convert_path(&w, "tests/data/convert/template.yaml");
	expect_no_problem(&w);
	expect_the_example(&w);
	EXPECT(has_remark(&w, "Resources.OnlyInStaging.Condition", "does not hold"));
	EXPECT(has_remark(&w, "Resources.Mesh.Properties.Uid", "will be new"));
	EXPECT_STR(w.conversion.list[0].region, "");
}

TEST(parameters_of_a_template_change_what_it_is)
{
	_cleanup_(world_done) struct world w;
	struct error err = {};

	world_init(&w);
	EXPECT_OK(conversion_set(&w.conversion, "MeshName=m", &err), &err);
	EXPECT_OK(conversion_set(&w.conversion, "Environment=staging", &err), &err);
	convert_path(&w, "tests/data/convert/template.yaml");
	expect_no_problem(&w);
	EXPECT_EQ(w.conversion.count, 11);
	EXPECT_STR(json_path_string(item_of(&w, "Mesh")->document, "spec.egressFilter.type"), "ALLOW_ALL");
	EXPECT_EQ(json_path_int(json_path_at(item_of(&w, "Route")->document, "spec.httpRoute.action.weightedTargets", 0), "weight", 0), 50);
}

/* A template with one mesh whose name is the value. */
static void convert_value(struct world *w, const char *value)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "{'AWSTemplateFormatVersion': '2010-09-09', 'Parameters': {'P': {'Type': 'String', 'Default': 'p'}, 'N': {'Type': 'Number', "
		 "'Default': 7}, 'L': {'Type': 'CommaDelimitedList', 'Default': 'a,b,'}, 'Needed': {'Type': 'String'}, 'Ssm': {'Type': "
		 "'AWS::SSM::Parameter::Value<String>', 'Default': '/x'}}, 'Mappings': {'M': {'k': {'v': 'mapped'}}}, 'Conditions': {'Yes': "
		 "{'Fn::And': [{'Fn::Equals': [{'Ref': 'P'}, 'p']}, {'Fn::Not': [{'Condition': 'No'}]}]}, 'No': {'Fn::Or': [{'Fn::Equals': "
		 "[{'Ref': 'N'}, '8']}, {'Fn::Equals': ['a', 'b']}]}, 'Round': {'Condition': 'Round'}}, 'Resources': {'Vpc': {'Type': "
		 "'AWS::EC2::VPC'}, 'Other': {'Type': 'AWS::AppMesh::Mesh', 'Properties': {'MeshName': {'Ref': 'AWS::NoValue'}}}, 'Self': "
		 "{'Type': 'AWS::AppMesh::Mesh', 'Properties': {'MeshName': %s}}}}",
		 value);
	EXPECT_OK(conversion_set(&w->conversion, "Other.MeshName=other", NULL));
	convert_json(w, text);
}

TEST(functions_are_worked_out_as_cloudformation_does)
{
	static const struct {
		const char *value, *name;
	} cases[] = {
		{ "'plain'", "plain" },
		{ "{'Ref': 'P'}", "p" },
		{ "{'Ref': 'N'}", "7" },
		{ "{'Fn::Sub': 'a-${P}-${N}-${!Literal}-$P'}", "a-p-7-${Literal}-$P" },
		{ "{'Fn::Sub': ['${P}${X}', {'X': {'Ref': 'N'}}]}", "p7" },
		{ "{'Fn::Sub': '${Other.MeshName}.x'}", "other.x" },
		{ "{'Fn::Join': ['-', ['a', {'Ref': 'P'}, 3]]}", "a-p-3" },
		{ "{'Fn::Join': ['', {'Ref': 'L'}]}", "ab" },
		{ "{'Fn::Select': [1, {'Ref': 'L'}]}", "b" },
		{ "{'Fn::Select': ['2', {'Fn::Split': ['--', 'x--y--z']}]}", "z" },
		{ "{'Fn::FindInMap': ['M', 'k', 'v']}", "mapped" },
		{ "{'Fn::If': ['Yes', 'y', 'n']}", "y" },
		{ "{'Fn::If': ['No', 'y', 'n']}", "n" },
		{ "{'Fn::GetAtt': ['Other', 'MeshName']}", "other" },
		{ "{'Fn::GetAtt': 'Other.MeshName'}", "other" },
		{ "{'Ref': 'AWS::Partition'}", "aws" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(world_done) struct world w;

		world_init(&w);
		convert_value(&w, cases[i].value);
		expect_no_problem(&w);
		EXPECT_STR(json_path_string(item_of(&w, "Self")->document, "meshName"), cases[i].name);
		EXPECT_STR(json_path_string(item_of(&w, "Other")->document, "meshName"), "other");
	}
}

TEST(what_cannot_be_worked_out_is_told_and_how_to_give_it)
{
	static const struct {
		const char *value, *problem;
	} cases[] = {
		{ "{'Ref': 'Needed'}", "`--parameter Needed=VALUE` gives it" },
		{ "{'Ref': 'Ssm'}", "its value is in AWS's parameter store" },
		{ "{'Ref': 'Vpc'}", "Vpc: a resource that is not App Mesh's" },
		{ "{'Ref': 'Nothing'}", "Nothing: nothing in the template is called so" },
		{ "{'Ref': 'AWS::StackName'}", "`--parameter AWS::StackName=VALUE`" },
		{ "{'Fn::GetAtt': ['Vpc', 'CidrBlock']}", "`--parameter Vpc.CidrBlock=VALUE`" },
		{ "{'Fn::GetAtt': ['Other', 'Uid']}", "AWS alone knows it" },
		{ "{'Fn::ImportValue': 'net'}", "`--parameter net=VALUE`" },
		{ "{'Fn::GetAZs': ''}", "Fn::GetAZs: is not worked out here" },
		{ "{'Fn::Select': [3, ['a']]}", "there is no element 3 in a list of 1" },
		{ "{'Fn::FindInMap': ['M', 'k', 'w']}", "there is no 'w' in the mapping" },
		{ "{'Fn::If': ['Maybe', 1, 2]}", "there is no condition called 'Maybe'" },
		{ "{'Fn::If': ['Round', 1, 2]}", "goes round in a circle" },
		{ "{'Fn::Sub': '${P'}", "has ${ without }" },
		{ "{'Fn::Join': ['-', 'ab']}", "must be [SEPARATOR, LIST]" },
		{ "{'Fn::GetAtt': ['Self', 'MeshName']}", "goes round in a circle" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(world_done) struct world w;

		world_init(&w);
		convert_value(&w, cases[i].value);
		EXPECT_CONTAINS(problem(&w), cases[i].problem);
		EXPECT_EQ(w.conversion.count, 1); /* Other */
	}
}

TEST(an_arn_is_made_of_account_and_region_that_are_given)
{
	_cleanup_(world_done) struct world w;

	world_init(&w);
	EXPECT_OK(conversion_set(&w.conversion, "AWS::AccountId=012345678901", NULL));
	EXPECT_OK(conversion_set(&w.conversion, "AWS::Region=us-gov-west-1", NULL));
	convert_value(&w, "{'Ref': 'Other'}");
	expect_no_problem(&w);
	EXPECT_STR(json_path_string(item_of(&w, "Self")->document, "meshName"), "arn:aws-us-gov:appmesh:us-gov-west-1:012345678901:mesh/other");
	EXPECT_STR(item_of(&w, "Self")->account, "012345678901");
}

TEST(a_value_that_doubles_itself_ends)
{
	_cleanup_(buffer_done) struct buffer text = {};
	_cleanup_(world_done) struct world w;

	/* given: a name that is twice the next one, forty times */
	buffer_add(&text, "{\"Resources\": {");
	for (int i = 0; i < 40; i++)
		buffer_printf(&text,
			      "\"M%d\": {\"Type\": \"AWS::AppMesh::Mesh\", \"Properties\": {\"MeshName\": {\"Fn::Join\": [\"\", [{\"Fn::GetAtt\": "
			      "\"M%d.MeshName\"}, {\"Fn::GetAtt\": \"M%d.MeshName\"}]]}}}, ",
			      i, i + 1, i + 1);
	buffer_add(&text, "\"M40\": {\"Type\": \"AWS::AppMesh::Mesh\", \"Properties\": {\"MeshName\": \"x\"}}}}");
	world_init(&w);
	convert_text(&w, buffer_string(&text));
	EXPECT(json_array_size(w.inputs.problems) > 0);
}

TEST(a_parameter_that_nobody_asks_for_is_a_problem)
{
	_cleanup_(world_done) struct world w;
	struct error err = {};

	world_init(&w);
	EXPECT_OK(conversion_set(&w.conversion, "Tyop=1", &err), &err);
	EXPECT_EQ(conversion_set(&w.conversion, "Tyop=2", &err), -EINVAL);
	EXPECT_EQ(conversion_set(&w.conversion, "none", &err), -EINVAL);
	convert_json(&w, "{'Resources': {'M': {'Type': 'AWS::AppMesh::Mesh', 'Properties': {'MeshName': 'm'}}}}");
	EXPECT_STR(problem(&w), "0 --parameter: Tyop: no template asks for it");
}

/* --- places ----------------------------------------------------------------------------------------------------------------- */

TEST(a_fault_in_what_was_converted_is_told_where_it_stands_in_the_source)
{
	_cleanup_(world_done) struct world w;
	struct json_place place;
	const struct converted *item;

	world_init(&w);
	EXPECT_OK(conversion_set(&w.conversion, "MeshName=m", NULL));
	convert_path(&w, "tests/data/convert/template.yaml");
	converted_place(item_of(&w, "Frontend"), "spec.listeners[0].healthCheck.path", &place);
	EXPECT_EQ(place.line, 47);
	EXPECT_EQ(place.column, 43);
	converted_place(item_of(&w, "Frontend"), "virtualNodeName", &place);
	EXPECT_EQ(place.line, 43);

	conversion_done(&w.conversion);
	EXPECT_OK(conversion_init(&w.conversion));
	convert_path(&w, "tests/data/convert/terraform.tfstate");
	item = item_of(&w, "aws_appmesh_route.route_backend");
	converted_place(item, "spec.httpRoute.action.weightedTargets[1].weight", &place);
	EXPECT_EQ(place.line, 601);
	EXPECT_EQ(place.column, 15);
	converted_place(item, "routeName", &place);
	EXPECT_EQ(place.line, 582);
	EXPECT_EQ(place.column, 7);
}

TEST(names_of_any_length_and_script_are_told_between_characters)
{
	/* given: a member with a name of 1,000 characters of 2 bytes, at each offset of a cut, below a path */
	for (size_t shift = 0; shift < 4; shift++) {
		_cleanup_(buffer_done) struct buffer text = {};
		_cleanup_(world_done) struct world w;

		buffer_printf(&text, "{\"Resources\": {\"%.*s", (int)shift, "xxxx");
		for (int i = 0; i < 1000; i++)
			buffer_add(&text, "\xc3\xbc");
		buffer_add(&text, "\": {\"Type\": \"AWS::AppMesh::Mesh\", \"Properties\": {\"MeshName\": {\"Ref\": \"X\"}}}}}");
		world_init(&w);
		convert_text(&w, buffer_string(&text));
		EXPECT_CONTAINS(problem(&w), "...: X: nothing in the template is called so");
	}
}

/* --- YAML ------------------------------------------------------------------------------------------------------------------- */

TEST(yaml_is_text_lists_and_mappings_with_functions_in_short_form)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ "a: 012\nb: true\nc: ~\nd: ''\ne: no", "{'a': '012', 'b': 'true', 'c': null, 'd': '', 'e': 'no'}" },
		{ "[!Ref X, !Sub 'a${b}', !GetAtt A.B.C, !Condition C]",
		  "[{'Ref': 'X'}, {'Fn::Sub': 'a${b}'}, {'Fn::GetAtt': ['A', 'B.C']}, {'Condition': 'C'}]" },
		{ "!Join [',', [a, !Ref b]]", "{'Fn::Join': [',', ['a', {'Ref': 'b'}]]}" },
		{ "!Equals\n- !Ref A\n- x", "{'Fn::Equals': [{'Ref': 'A'}, 'x']}" },
		{ "a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{'a': 'x\\ny\\n', 'b': 'x y'}" },
		{ "a: !!str 5", "{'a': '5'}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *value = NULL, *places = NULL, *expected = json_of(cases[i].json);
		struct json_place place;
		struct error err = {};
		bool more = true;

		EXPECT_OK(yaml_parse(cases[i].yaml, strlen(cases[i].yaml), &value, &places, &more, &place, &err), &err);
		if (!json_equal(value, expected))
			fail_msg("%s is %s", cases[i].yaml, json_dumps(value, JSON_COMPACT));
		EXPECT(!more);
	}
}

TEST(yaml_that_cloudformation_would_not_take_is_refused_with_its_place)
{
	static const struct {
		const char *yaml;
		unsigned int line, column;
	} cases[] = {
		{ "a: &x 1\nb: *x", 2, 4 }, { "a: 1\na: 2", 2, 1 }, { "a: [1", 2, 1 }, { "? [a]\n: b", 1, 3 }, { "", 1, 1 }, { "a: !<x> 1", 1, 4 },
	};
	_cleanup_(buffer_done) struct buffer deep = {};
	_cleanup_json_ json_t *value = NULL, *places = NULL;
	struct json_place place;
	struct error err = {};
	bool more;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(yaml_parse(cases[i].yaml, strlen(cases[i].yaml), &value, &places, &more, &place, &err), -EINVAL);
		EXPECT_EQ(place.line, cases[i].line);
		EXPECT_EQ(place.column, cases[i].column);
	}
	for (int i = 0; i < 5000; i++)
		buffer_add(&deep, "[");
	EXPECT_EQ(yaml_parse(deep.data, deep.length, &value, &places, &more, &place, &err), -EINVAL);
	EXPECT_STR(err.message, "YAML: is too deep");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describe_outputs_are_the_resources_with_all_of_their_identity),
		cmocka_unit_test(what_the_api_answers_is_read_without_the_wrapper_and_times_may_be_numbers),
		cmocka_unit_test(a_deleted_resource_is_left_out_and_said_to_be),
		cmocka_unit_test(an_identity_that_cannot_be_is_a_problem_with_its_place),
		cmocka_unit_test(a_state_is_the_resources_with_the_identity_that_terraform_keeps),
		cmocka_unit_test(zero_is_kept_where_it_means_something_and_blocks_may_be_empty),
		cmocka_unit_test(attributes_in_a_map_are_pairs_and_every_block_has_its_api_name),
		cmocka_unit_test(what_a_state_has_beyond_the_api_is_told_with_its_place),
		cmocka_unit_test(states_that_cannot_be_read_are_refused_for_what_they_are),
		cmocka_unit_test(a_template_is_the_resources_with_its_functions_worked_out),
		cmocka_unit_test(parameters_of_a_template_change_what_it_is),
		cmocka_unit_test(functions_are_worked_out_as_cloudformation_does),
		cmocka_unit_test(what_cannot_be_worked_out_is_told_and_how_to_give_it),
		cmocka_unit_test(an_arn_is_made_of_account_and_region_that_are_given),
		cmocka_unit_test(a_value_that_doubles_itself_ends),
		cmocka_unit_test(a_parameter_that_nobody_asks_for_is_a_problem),
		cmocka_unit_test(a_fault_in_what_was_converted_is_told_where_it_stands_in_the_source),
		cmocka_unit_test(names_of_any_length_and_script_are_told_between_characters),
		cmocka_unit_test(yaml_is_text_lists_and_mappings_with_functions_in_short_form),
		cmocka_unit_test(yaml_that_cloudformation_would_not_take_is_refused_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
