# SPDX-License-Identifier: Apache-2.0
"""The aws command line of Debian, as it is: scripts that users have, and every command of `aws appmesh`."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import documents
from api import ACCOUNT, HERE

EXAMPLES = HERE / "examples"
DEMO = HERE.parents[1] / "deploy/demo/mesh"
RESULTS = HERE.parents[1] / "tests/data/examples"


def dashed(name):
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower()


def answers(text):
    """What a script printed: documents one behind the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        one, end = decoder.raw_decode(text)
        found.append(next(iter(one.values())))
        text = text[end:]
    return found


def stored(folder, name):
    return json.loads((RESULTS / folder / f"{name}.json").read_text())


def test_the_shop_is_made_by_its_script(api):
    made = answers(api.aws(script=EXAMPLES / "ecommerce.sh").stdout)
    assert [one["metadata"]["version"] for one in made] == [1] * 8
    nodes = api.signed("GET", "/v20190125/meshes/ecommerce-prod/virtualNodes").json["virtualNodes"]
    assert [n["virtualNodeName"] for n in nodes] == sorted(f"{s}-service" for s in (
        "user", "product", "cart", "payment", "inventory", "shipping", "notification"))
    cart = api.signed("GET", "/v20190125/meshes/ecommerce-prod/virtualNodes/cart-service").json
    assert cart["spec"] == stored("ecommerce-prod", "node-cart")["spec"]
    # the same again: each is there already
    again = api.aws(script=EXAMPLES / "ecommerce.sh", check=False)
    assert again.returncode != 0 and "(ConflictException)" in again.stderr and "ecommerce-prod" in again.stderr


def test_weights_across_regions_and_the_protocol_https(api):
    router = {"virtualRouterName": "api-router", "spec": {"listeners": [{"portMapping": {"port": 443, "protocol": "http"}}]}}
    assert api.signed("PUT", "/v20190125/meshes", {"meshName": "global-mesh"}).status == 200
    assert api.signed("PUT", "/v20190125/meshes/global-mesh/virtualRouters", router).status == 200
    node, route = answers(api.aws(script=EXAMPLES / "multi-region.sh").stdout)
    assert node["spec"]["listeners"] == [{"portMapping": {"port": 443, "protocol": "https"}}]
    assert [t["weight"] for t in route["spec"]["httpRoute"]["action"]["weightedTargets"]] == [70, 30]


def test_a_canary_from_files(api):
    made = answers(api.aws(DEMO, script=EXAMPLES / "canary.sh").stdout)
    assert len(made) == 11 and {one["status"]["status"] for one in made} == {"ACTIVE"}
    files = [json.loads(file.read_text()) for file in DEMO.glob("*.json")]
    resources = api.weft("get", "mesh")["resources"] + api.weft("get", "virtualNode")["resources"]
    assert {r["name"]: r["spec"] for r in resources} == {
        f.get("virtualNodeName", f["meshName"]): f["spec"] for f in files if len(f.keys() & {"virtualNodeName", "meshName"}) == len(f) - 1}


ORDER = ("mesh", "virtualRouter", "virtualNode", "route", "virtualService", "virtualGateway", "gatewayRoute")
SPECIFIC = ("mesh", "virtualService", "virtualNode", "virtualRouter", "virtualGateway", "route", "gatewayRoute")
COLLECTIONS = {"mesh": "meshes", "route": "virtualRouter/{virtualRouterName}/routes",
               "gatewayRoute": "virtualGateway/{virtualGatewayName}/gatewayRoutes"}


@pytest.mark.parametrize("folder", sorted(folder.name for folder in RESULTS.iterdir()))
def test_examples_of_users_come_back_as_they_were_sent(api, folder):
    """The meshes of examples, resource by resource; names are in the path where the API has them there."""
    resources = [json.loads(file.read_text()) for file in (RESULTS / folder).glob("*.json")]
    resources = sorted(((max((k for k in ORDER if k + "Name" in r), key=SPECIFIC.index), r) for r in resources), key=lambda one: ORDER.index(one[0]))
    for kind, resource in resources:
        path = "/v20190125/meshes" + ("" if kind == "mesh" else f"/{resource['meshName']}/" + COLLECTIONS.get(kind, kind + "s").format(**resource))
        answer = api.signed("PUT", path, {member: resource[member] for member in (kind + "Name", "spec", "tags") if member in resource})
        assert answer.status == 200, answer.text
        assert answer.json["spec"] == resource.get("spec", {})
    assert len(resources) > 5


def test_another_service_is_refused_by_name(api):
    result = api.aws(script=EXAMPLES / "alarm.sh", check=False)
    assert result.returncode != 0 and "(NotImplemented)" in result.stderr and "'monitoring' is not served here" in result.stderr


def test_identity(api):
    assert json.loads(api.aws("sts", "get-caller-identity").stdout)["Account"] == ACCOUNT


@pytest.fixture
def aws(api):
    """Its commands, by one process."""
    process = subprocess.Popen(["/usr/bin/python3", HERE / "aws_driver.py"], env=api.aws_environment(), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    def run(*words):
        process.stdin.write(json.dumps(["--endpoint-url", api.url, "--output", "json", "appmesh", *words]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["status"] == 0, f"{words}: {answer['err']}"
        return json.loads(answer["out"]) if answer["out"] else {}
    yield run
    process.stdin.close()
    process.wait()


def test_every_command(api, aws):
    names = {"mesh": "m", "virtual-service": "s.local", "virtual-node": "n", "virtual-router": "r", "route": "t", "virtual-gateway": "g",
             "gateway-route": "x"}
    parents = {"mesh": [], "route": ["mesh", "virtual-router"], "gateway-route": ["mesh", "virtual-gateway"]}
    http = [{"portMapping": {"port": 80, "protocol": "http"}}]
    specs = {"mesh": {}, "virtual-node": {}, "virtual-router": {"listeners": http}, "virtual-gateway": {"listeners": http}, "virtual-service": {},
             "route": {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}},
             "gateway-route": {"httpRoute": {"match": {"prefix": "/"}, "action": {"target": {"virtualService": {"virtualServiceName": "s.local"}}}}}}
    ran = set()

    def run(command, kind, *words):
        ran.add(command)
        chain = parents.get(kind, ["mesh"]) + ([kind] if not command.startswith("list") else [])
        return aws(command, *(word for one in chain for word in (f"--{one}-name", names[one])), *words)

    for kind in ("mesh", "virtual-node", "virtual-router", "route", "virtual-service", "virtual-gateway", "gateway-route"):
        made = next(iter(run(f"create-{kind}", kind, "--spec", json.dumps(specs[kind])).values()))
        assert next(iter(run(f"describe-{kind}", kind).values())) == made
        assert len(next(iter(run("list-" + ("meshes" if kind == "mesh" else f"{kind}s"), kind).values()))) == 1
        assert next(iter(run(f"update-{kind}", kind, "--spec", json.dumps(specs[kind])).values()))["metadata"]["version"] == 2
        arn = ["--resource-arn", made["metadata"]["arn"]]
        aws("tag-resource", *arn, "--tags", "key=k,value=v")
        assert aws("list-tags-for-resource", *arn) == {"tags": [{"key": "k", "value": "v"}]}
        aws("untag-resource", *arn, "--tag-keys", "k")
    for kind in ("gateway-route", "virtual-gateway", "virtual-service", "route", "virtual-router", "virtual-node", "mesh"):
        assert next(iter(run(f"delete-{kind}", kind).values()))["status"]["status"] == "DELETED"
    ran |= {"tag-resource", "untag-resource", "list-tags-for-resource"}
    assert ran == {dashed(operation) for operation in documents.MODEL["operations"]} and len(ran) == 38
