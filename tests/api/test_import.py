# SPDX-License-Identifier: Apache-2.0
"""weft import, export, get and delete, against a real weftd: identity kept, and given back."""
import json

import pytest
from api import ACCOUNT, ROOT_ID, ROOT_SECRET
from test_apply import EXAMPLES, MESH, ROOT, applied, weft

DATA = ROOT / "tests/data/convert"
KEYS = {"AWS_ACCESS_KEY_ID": ROOT_ID, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET}


def imported(api, *words, **how):
    result = weft(api, "import", *words, **how)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def node(api, region="us-east-1"):
    client = api.client(region)
    found = client.describe_virtual_node(meshName="terraform-mesh", virtualNodeName="frontend-service")["virtualNode"]
    return found, client.list_tags_for_resource(resourceArn=found["metadata"]["arn"])["tags"]


def expect_the_example(api):
    """The resources are those of the example, whatever form they came in."""
    assert applied(api, "-f", MESH) == "10 unchanged\n"


def test_describe_outputs_keep_all_of_their_identity(api):
    out = imported(api, DATA / "describe")
    assert out.endswith("10 created\n")
    expect_the_example(api)
    want = json.loads((DATA / "describe/node-frontend.json").read_text())
    found, tags = node(api)
    metadata = found["metadata"]
    assert metadata["uid"] == want["virtualNode"]["metadata"]["uid"] and metadata["version"] == 7
    assert metadata["arn"] == want["virtualNode"]["metadata"]["arn"]
    assert metadata["createdAt"].isoformat() == "2024-03-05T10:11:12.345000+00:00"
    assert metadata["lastUpdatedAt"].isoformat() == "2024-04-01T08:00:00+00:00"
    assert metadata["meshOwner"] == metadata["resourceOwner"] == ACCOUNT
    assert tags == [{"key": "Name", "value": "frontend-service"}]
    # a second time, there is nothing to do; and from here on it is like any other
    assert imported(api, DATA / "describe").endswith("10 unchanged\n")
    updated = api.client().update_virtual_node(meshName="terraform-mesh", virtualNodeName="frontend-service", spec=found["spec"])["virtualNode"]
    assert updated["metadata"]["version"] == 8 and updated["metadata"]["createdAt"] == metadata["createdAt"]
    assert updated["metadata"]["uid"] == metadata["uid"]


def test_a_state_of_terraform_keeps_what_it_has_and_tells_the_rest(api):
    out = imported(api, DATA / "terraform.tfstate", "--dry-run")
    assert "would create mesh/terraform-mesh\n" in out and out.endswith("10 to be created\n")
    assert "attributes.version: Terraform does not keep it: it begins at 1 (so in 10 places)" in out
    assert "attributes.uid: Terraform does not keep it: it will be a new one\n" in out
    assert "carried over, not in force: spec.listeners[0].tls: connections are refused (needs-tls) until weft speaks TLS (so in 2 places)" in out
    assert api.client().list_meshes()["meshes"] == []
    imported(api, DATA / "terraform.tfstate")
    expect_the_example(api)
    found, tags = node(api)
    assert found["metadata"]["version"] == 1
    assert found["metadata"]["createdAt"].isoformat() == "2024-03-05T10:11:12+00:00"
    assert tags == [{"key": "Name", "value": "frontend-service"}]


def test_a_template_is_imported_with_its_parameters_into_the_region_that_is_given(api):
    words = [DATA / "template.yaml", "--parameter", "MeshName=terraform-mesh"]
    assert imported(api, *words, "--region", "eu-west-1").endswith("10 created\n")
    found, tags = node(api, "eu-west-1")
    assert found["metadata"]["arn"] == f"arn:aws:appmesh:eu-west-1:{ACCOUNT}:mesh/terraform-mesh/virtualNode/frontend-service"
    assert tags == [{"key": "Name", "value": "frontend-service"}]
    assert api.client().list_meshes()["meshes"] == []


def test_a_parameter_that_is_missing_is_asked_for_once(api):
    result = weft(api, "import", DATA / "template.yaml")
    assert result.returncode == 1
    assert result.stderr.count("`--parameter MeshName=VALUE` gives it") == 1
    assert result.stderr.endswith("weft import: nothing was imported\n")


def test_a_resource_of_another_account_is_refused_and_how_to_have_it_is_told(api, tmp_path):
    document = json.loads((DATA / "describe/mesh.json").read_text())
    document["mesh"]["metadata"]["arn"] = document["mesh"]["metadata"]["arn"].replace(ACCOUNT, "210987654321")
    (tmp_path / "mesh.json").write_text(json.dumps(document))
    result = weft(api, "import", tmp_path)
    assert result.returncode == 1
    assert "the resource is of account 210987654321, and weftd has meshes of 123456789012: `weftd --account 210987654321` has those" \
        in result.stderr
    assert result.stdout.endswith("1 failed\n")


def test_what_is_there_already_is_not_changed(api):
    applied(api, "-f", "-", stdin='{"meshName": "terraform-mesh", "spec": {"egressFilter": {"type": "ALLOW_ALL"}}}')
    result = weft(api, "import", DATA / "describe/mesh.json")
    assert result.returncode == 1
    assert "mesh/terraform-mesh: there is one already, which differs in its uid" in result.stderr
    mesh = api.client().describe_mesh(meshName="terraform-mesh")["mesh"]
    assert mesh["spec"]["egressFilter"]["type"] == "ALLOW_ALL" and mesh["metadata"]["version"] == 1


@pytest.mark.parametrize("metadata, text", [
    ({"uid": "not a uid"}, "uid: is \"not a uid\", must be a UUID"), ({"version": 5000000000}, "version: is 5000000000, must be an integer"),
    ({"createdAt": 2000, "lastUpdatedAt": 1000}, "lastUpdatedAt: is before createdAt"), ({"other": 1}, "other: is not known here"),
])
def test_an_identity_that_cannot_be_is_refused_by_the_api(api, metadata, text):
    answer = api.local("PUT", "/v20190125/meshes", {"meshName": "m"}, {"X-Weft-Identity": json.dumps(metadata)})
    assert (answer.status, answer.error) == (400, "BadRequestException")
    assert text in answer.json["message"]
    answer = api.local("GET", "/v20190125/meshes", headers={"X-Weft-Identity": "{}"})
    assert answer.status == 400 and "that is for what is created" in answer.json["message"]


def test_over_the_network_nobody_takes_an_identity_over(api):
    answer = api.signed("PUT", "/v20190125/meshes", {"meshName": "m"}, headers={"x-weft-identity": json.dumps({"version": 9})})
    assert answer.status == 200 and answer.json["metadata"]["version"] == 1


def test_what_is_exported_is_imported_again_the_same(api, tmp_path):
    """Names that no file can have included; then all is deleted and comes back, by each form in its own way."""
    imported(api, DATA / "describe")
    applied(api, "-f", "-", stdin='[{"meshName": ".odd mesh%"}, {"meshName": ".odd mesh%", "virtualNodeName": "n:1", "spec": {}, '
                                  '"tags": [{"key": "k", "value": "v"}]}]')
    out = tmp_path / "out"
    result = weft(api, "export", "--output", out)
    assert result.returncode == 0 and result.stdout == f"12 resources written to {out}\n", result.stderr
    assert (out / "mesh/terraform-mesh/virtualRouter/backend-router/route/backend-route.json").exists()
    assert (out / "mesh/%2Eodd%20mesh%25/virtualNode/n%3A1.json").exists()
    assert "is not empty" in weft(api, "export", "--output", out).stderr
    before = [(*node(api), api.client().describe_virtual_node(meshName=".odd mesh%", virtualNodeName="n:1")["virtualNode"])]

    again = weft(api, "export")
    assert again.returncode == 0
    api.clear()
    assert imported(api, out).endswith("12 created\n")
    assert [(*node(api), api.client().describe_virtual_node(meshName=".odd mesh%", virtualNodeName="n:1")["virtualNode"])] == before
    assert weft(api, "export").stdout == again.stdout

    create = tmp_path / "create"
    assert weft(api, "export", "--form", "create", "--mesh", "terraform-mesh", "--output", create).returncode == 0
    assert weft(api, "validate", create, local=False).stdout.endswith("10 resources in 10 files: valid\n")
    assert applied(api, "-f", create) == "10 unchanged\n"


def test_resources_are_deleted_by_name_by_file_and_with_what_is_in_them(api):
    applied(api, "-f", MESH)
    result = weft(api, "delete", "mesh/terraform-mesh/virtualRouter/backend-router")
    assert result.returncode == 1 and "ResourceInUseException" in result.stderr

    router = "mesh/terraform-mesh/virtualRouter/backend-router"
    dry = weft(api, "delete", "--recursive", router, "--dry-run")
    assert dry.stdout == f"would delete {router}/route/backend-route\nwould delete {router}\n2 to be deleted\n"

    arn = api.client().describe_virtual_service(meshName="terraform-mesh", virtualServiceName="backend.production.local")[
        "virtualService"]["metadata"]["arn"]
    result = weft(api, "delete", "--recursive", router, arn)
    assert result.returncode == 0 and result.stdout.endswith("3 deleted\n"), result.stderr

    result = weft(api, "delete", "-f", MESH)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "7 deleted"
    assert api.client().list_meshes()["meshes"] == []
    assert weft(api, "delete", "-f", MESH).returncode == 0
    result = weft(api, "delete", "mesh/terraform-mesh")
    assert result.returncode == 1 and "NotFoundException" in result.stderr
    assert weft(api, "delete", "mesh/terraform-mesh/route/x").returncode == 2

    applied(api, "-f", EXAMPLES / "production-mesh")
    result = weft(api, "delete", "--recursive", "mesh/production-mesh")
    assert result.returncode == 0, result.stderr
    assert api.client().list_meshes()["meshes"] == []


def test_resources_of_an_api_over_the_network_are_shown_and_exported(api):
    applied(api, "-f", MESH)
    words = ["--endpoint-url", api.url, "--region", "us-east-1"]
    shown = weft(api, "get", *words, environment=KEYS, local=False)
    assert shown.returncode == 0, shown.stderr
    assert "terraform-mesh/backend-router/backend-route  backend-service-v1 90, backend-service-v2 10" in shown.stdout
    one = weft(api, "get", "virtual-node", "frontend-service", "--json", *words, environment=KEYS, local=False)
    [resource] = json.loads(one.stdout)["resources"]
    assert resource["resource"] == "mesh/terraform-mesh/virtualNode/frontend-service"
    far, here = weft(api, "export", *words, environment=KEYS, local=False), weft(api, "export")
    assert far.returncode == here.returncode == 0 and far.stdout == here.stdout
    assert weft(api, "get", "--region", "us-east-1").returncode == 2
    assert "what is in force is of every region" in weft(api, "get", "--region", "us-east-1").stderr


def test_lists_of_more_than_a_page_are_whole(api):
    applied(api, "-f", "-", stdin=json.dumps([{"meshName": "m"}] + [
        {"meshName": "m", "virtualNodeName": f"n{i:03}", "spec": {}} for i in range(150)]))
    listed = json.loads(weft(api, "get", "virtualNode", "--json", "--endpoint-url", api.url, "--region", "us-east-1", environment=KEYS,
                             local=False).stdout)
    assert [r["name"] for r in listed["resources"]] == [f"n{i:03}" for i in range(150)]
    assert weft(api, "delete", "--recursive", "mesh/m").stdout.endswith("151 deleted\n")


def test_quotas_are_shown(api):
    out = weft(api, "quotas").stdout.splitlines()
    assert out[0].split() == ["QUOTA", "VALUE", "DEFAULT"]
    assert ["virtualNodesPerMesh", "200", "200"] in [line.split() for line in out]
    assert json.loads(weft(api, "quotas", "--json").stdout)["quotas"]


def test_what_was_done_is_listed_newest_first(api):
    applied(api, "-f", "-", stdin='[{"meshName": "seen"}, {"meshName": "seen", "virtualNodeName": "n", "spec": {}}]')
    records = json.loads(weft(api, "audit", "--since", "1m", "--json").stdout)["Records"]
    writes = [r["eventName"] for r in records if not r["readOnly"]]
    assert writes[:2] == ["CreateVirtualNode", "CreateMesh"]
    assert all(r["recipientAccountId"] == ACCOUNT for r in records)
    shown = weft(api, "audit", "--limit", "20").stdout.splitlines()
    assert shown[0].split()[:4] == ["TIME", "REGION", "EVENT", "OF"] and len(shown) == 21
    assert any("CreateVirtualNode" in line and "seen/n" in line and "Root" in line for line in shown)
    many = json.loads(weft(api, "audit", "--limit", "3", "--json").stdout)["Records"]
    assert len(many) == 3


def test_access_keys_are_made_used_and_deleted(api):
    made = weft(api, "iam", "create-access-key", "--user-name", "ci")
    assert made.returncode == 0, made.stderr
    key = dict(line.split(" = ") for line in made.stdout.splitlines())
    pair = (key["aws_access_key_id"], key["aws_secret_access_key"])
    assert api.client("us-east-1", "sts", key=pair).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ci"
    listed = weft(api, "iam", "list-access-keys").stdout
    assert pair[0] in listed and pair[1] not in listed and "(root key)" in listed
    assert ROOT_ID not in weft(api, "iam", "list-access-keys", "--user-name", "ci").stdout

    assert weft(api, "iam", "delete-access-key", pair[0]).returncode == 0
    assert pair[0] not in weft(api, "iam", "list-access-keys").stdout
    refused = weft(api, "get", "--endpoint-url", api.url, "--region", "us-east-1", local=False,
                   environment={"AWS_ACCESS_KEY_ID": pair[0], "AWS_SECRET_ACCESS_KEY": pair[1]})
    assert refused.returncode == 1 and "UnrecognizedClientException" in refused.stderr
    for words in (["delete-access-key"], ["make"], [], ["create-access-key", "x"]):
        assert weft(api, "iam", *words).returncode == 2
    assert weft(api, "iam", "delete-access-key", ROOT_ID).returncode != 0
