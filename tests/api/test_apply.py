# SPDX-License-Identifier: Apache-2.0
"""weft apply, against a real weftd: over the local socket, and signed over the network."""
import json
import os
import pathlib
import subprocess

import pytest
from api import ROOT_ID, ROOT_SECRET
from weft import BUILD

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "tests/data/examples"
MESH = EXAMPLES / "terraform-mesh"


def weft(api, *words, stdin=None, environment=None, local=True):
    """The command, with nothing of AWS's around it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"HOME": str(api.directory)} | (environment or {})
    where = ["--instance", api.instance] if local else []
    return subprocess.run([BUILD / "weft", *map(str, words), *where], input=stdin, env=clean, capture_output=True, text=True, timeout=60)


def applied(api, *words, **how):
    result = weft(api, "apply", *words, **how)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def route(*weights):
    return {"meshName": "m", "virtualRouterName": "r", "routeName": "t", "spec": {"httpRoute": {
        "match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": n, "weight": w} for n, w in weights]}}}}


def router(protocol="http"):
    return {"meshName": "m", "virtualRouterName": "r", "spec": {"listeners": [{"portMapping": {"port": 80, "protocol": protocol}}]}}


def test_what_is_not_there_is_created_whatever_the_order_of_files_and_applying_again_changes_nothing(api):
    out = applied(api, "-f", MESH)
    assert out.endswith("10 created\n")
    assert out.index("created mesh/terraform-mesh\n") < out.index("created mesh/terraform-mesh/virtualRouter/backend-router\n") \
        < out.index("created mesh/terraform-mesh/virtualRouter/backend-router/route/backend-route\n")
    client = api.client()
    assert client.describe_route(meshName="terraform-mesh", virtualRouterName="backend-router",
                                 routeName="backend-route")["route"]["metadata"]["version"] == 1
    assert applied(api, "-f", MESH) == "10 unchanged\n"
    assert client.describe_route(meshName="terraform-mesh", virtualRouterName="backend-router",
                                 routeName="backend-route")["route"]["metadata"]["version"] == 1


def test_what_differs_is_shown_by_a_dry_run_and_changed_by_the_next(api):
    documents = [{"meshName": "m", "tags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]}, router(), route(("v1", 90), ("v2", 10))]
    applied(api, "-f", "-", stdin=json.dumps(documents))
    documents[0]["tags"] = [{"key": "b", "value": "3"}]
    documents[2] = route(("v1", 50), ("v2", 50))
    new = json.dumps(documents)

    dry = applied(api, "-f", "-", "--dry-run", stdin=new)
    assert dry == """would tag mesh/m
  - tags.a: "1"
  ~ tags.b: "2" -> "3"
would update mesh/m/virtualRouter/r/route/t
  ~ spec.httpRoute.action.weightedTargets[0].weight: 90 -> 50
  ~ spec.httpRoute.action.weightedTargets[1].weight: 10 -> 50
1 to be updated, 1 to be tagged, 1 unchanged
"""
    client = api.client()
    stored = client.describe_route(meshName="m", virtualRouterName="r", routeName="t")["route"]
    assert stored["metadata"]["version"] == 1

    assert applied(api, "-f", "-", stdin=new).endswith("1 updated, 1 tagged, 1 unchanged\n")
    stored = client.describe_route(meshName="m", virtualRouterName="r", routeName="t")["route"]
    assert [t["weight"] for t in stored["spec"]["httpRoute"]["action"]["weightedTargets"]] == [50, 50]
    arn = client.describe_mesh(meshName="m")["mesh"]["metadata"]["arn"]
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "3"}]

    # a document without tags leaves them alone
    del documents[0]["tags"]
    assert applied(api, "-f", "-", stdin=json.dumps(documents)) == "3 unchanged\n"


def test_nothing_is_applied_where_one_file_is_wrong(api, tmp_path):
    (tmp_path / "a.json").write_text('{"meshName": "m"}')
    (tmp_path / "b.json").write_text('{"meshName": "m",\n "virtualNodeName": "n",\n "spec": {"backends": 5}}')
    result = weft(api, "apply", "-f", tmp_path)
    assert result.returncode == 1
    assert result.stderr == (f"{tmp_path}/b.json:3:11: spec.backends: must be a list, not 5\n"
                             "weft apply: nothing was applied\n")
    assert api.client().list_meshes()["meshes"] == []


def test_what_the_api_refuses_is_told_with_its_place_and_the_rest_is_done(api, tmp_path):
    """A node of the file fits no route that is there already: the file alone is right."""
    applied(api, "-f", "-", stdin=json.dumps([{"meshName": "m"}, router(), route(("n", 1))]))
    (tmp_path / "node.json").write_text(json.dumps({"meshName": "m", "virtualNodeName": "n", "spec": {
        "listeners": [{"portMapping": {"port": 80, "protocol": "tcp"}}], "serviceDiscovery": {"dns": {"hostname": "n"}}}}))
    (tmp_path / "other.json").write_text(json.dumps({"meshName": "m", "virtualNodeName": "other", "spec": {}}))
    result = weft(api, "apply", "-f", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{tmp_path}/node.json:1:") and "mesh/m/virtualNode/n: BadRequestException: " in result.stderr
    assert result.stdout == "created mesh/m/virtualNode/other\n1 created, 1 failed\n"

    answer = json.loads(weft(api, "apply", "-f", tmp_path, "--json").stdout)
    assert [(one["resource"], one["action"], one["done"]) for one in answer] == [
        ("mesh/m/virtualNode/n", "create", False), ("mesh/m/virtualNode/other", "none", False)]
    assert answer[0]["file"] == f"{tmp_path}/node.json" and "BadRequestException" in answer[0]["error"]


def test_an_endpoint_is_found_as_the_aws_command_line_finds_it(api, tmp_path):
    """By options, by the environment, and by a profile; each request signed, for its own region."""
    document = json.dumps({"meshName": "far"})
    keys = {"AWS_ACCESS_KEY_ID": ROOT_ID, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET}
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    credentials.write_text(f"[ops]\naws_access_key_id = {ROOT_ID}\naws_secret_access_key = {ROOT_SECRET}\n")
    config.write_text(f"[profile ops]\nregion = eu-north-1\nendpoint_url = {api.url}\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(config)}
    for region, words, environment in [
            ("eu-west-1", ["--endpoint-url", api.url, "--region", "eu-west-1"], keys),
            ("eu-west-2", [], keys | {"AWS_ENDPOINT_URL": api.url + "/", "AWS_DEFAULT_REGION": "eu-west-2"}),
            ("eu-west-3", [], keys | {"AWS_ENDPOINT_URL_APP_MESH": api.url, "AWS_ENDPOINT_URL": "http://192.0.2.1", "AWS_REGION": "eu-west-3"}),
            ("eu-north-1", ["--profile", "ops"], files),
            ("eu-south-1", ["--region", "eu-south-1"], files | {"AWS_PROFILE": "ops"})]:
        result = weft(api, "apply", "-f", "-", *words, stdin=document, environment=environment, local=False)
        assert (result.returncode, result.stdout) == (0, "created mesh/far\n1 created\n"), result.stderr
        assert [mesh["meshName"] for mesh in api.client(region).list_meshes()["meshes"]] == ["far"]


@pytest.mark.parametrize("words, environment, text", [
    (["--endpoint-url", "ftp://x"], {}, "--endpoint-url: 'ftp://x' is not http://HOST:PORT"),
    (["--endpoint-url", "http://127.0.0.1:9"], {}, "--region: is needed"),
    (["--endpoint-url", "http://127.0.0.1:9", "--region", "r"], {}, "there are no keys"),
    (["--endpoint-url", "http://127.0.0.1:9", "--region", "r"], {"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY: is not set"),
    (["--endpoint-url", "http://127.0.0.1:9", "--region", "r"],
     {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret-secret"}, "http://127.0.0.1:9: "),
    (["--profile", "ops"], {}, "--profile: is for an API over the network"),
    (["--region", "No Region"], {}, "--region: 'No Region' is no name of a region"),
])
def test_what_is_missing_to_reach_an_api_is_told(api, words, environment, text):
    result = weft(api, "apply", "-f", "-", *words, stdin='{"meshName": "m"}', environment=environment, local="ftp" in text)
    assert result.returncode in (1, 2) and text in result.stderr, result.stderr


def test_names_that_need_encoding_are_signed_and_sent(api):
    keys = {"AWS_ACCESS_KEY_ID": ROOT_ID, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET}
    document = json.dumps([{"meshName": "a b+c%2Fd=é"}, {"meshName": "a b+c%2Fd=é", "virtualNodeName": "~(x)&y", "spec": {}}])
    words = ["-f", "-", "--endpoint-url", api.url, "--region", "us-east-1"]
    assert applied(api, *words, stdin=document, environment=keys, local=False).endswith("2 created\n")
    assert applied(api, *words, stdin=document, environment=keys, local=False) == "2 unchanged\n"
    assert applied(api, "-f", "-", stdin=document) == "2 unchanged\n"
