# SPDX-License-Identifier: Apache-2.0
"""Many writers: tokens, names, quotas and deletions that race, lists while things come and go."""
import concurrent.futures
import itertools
import json
import uuid

import pytest
from botocore.exceptions import ClientError

from api import Api

HTTP = [{"portMapping": {"port": 80, "protocol": "http"}}]
ROUTE = {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}}


def at_once(*calls):
    """The answers of calls that begin together."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def put(api, path, **document):
    return lambda: api.signed("PUT", f"/v20190125/{path}", document)


def fresh():
    """A clientToken that no other test used: they are kept for a day."""
    return str(uuid.uuid4())


def delete(api, path):
    return lambda: api.signed("DELETE", f"/v20190125/{path}")


def test_a_page_goes_on_while_others_write(api):
    mesh = api.client()
    for i in range(100):
        mesh.create_mesh(meshName=f"m{i:03}")
    seen = []
    pages = mesh.get_paginator("list_meshes").paginate(PaginationConfig={"PageSize": 7})
    for i, page in enumerate(pages):
        seen += [one["meshName"] for one in page["meshes"]]
        mesh.delete_mesh(meshName=seen[-1])  # the one that the token is behind
        if i == 3:
            mesh.delete_mesh(meshName="m099")  # one to come
            mesh.create_mesh(meshName="m050x")  # another
    assert seen == [f"m{i:03}" for i in range(51)] + ["m050x"] + [f"m{i:03}" for i in range(51, 99)]
    assert len(set(seen)) == len(seen)


def test_a_token_belongs_to_one_list(api):
    mesh = api.client()
    for name in ("a", "b"):
        mesh.create_mesh(meshName=name)
        for node in ("1", "2"):
            mesh.create_virtual_node(meshName=name, virtualNodeName=node, spec={})
    token = mesh.list_virtual_nodes(meshName="a", limit=1)["nextToken"]
    assert mesh.list_virtual_nodes(meshName="a", nextToken=token)["virtualNodes"][0]["virtualNodeName"] == "2"
    for call in (lambda: mesh.list_virtual_nodes(meshName="b", nextToken=token), lambda: mesh.list_meshes(nextToken=token),
                 lambda: mesh.list_meshes(nextToken="nonsense")):
        with pytest.raises(ClientError, match="nextToken"):
            call()


def test_a_token_is_answered_the_same_and_with_other_parameters_a_conflict(api):
    mesh = api.client()
    token = fresh()
    first = mesh.create_mesh(meshName="m", clientToken=token)["mesh"]
    mesh.update_mesh(meshName="m", spec={"egressFilter": {"type": "ALLOW_ALL"}}, clientToken=token)
    assert mesh.create_mesh(meshName="m", clientToken=token)["mesh"] == first
    for other in ({"meshName": "n"}, {"meshName": "m", "spec": {}}):
        with pytest.raises(ClientError) as error:
            mesh.create_mesh(**other, clientToken=token)
        assert error.value.response["Error"]["Code"] == "ConflictException"
    with pytest.raises(ClientError) as error:
        mesh.create_mesh(meshName="m")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


def test_one_token_many_times_at_once_is_one_creation(api):
    answers = at_once(*[put(api, "meshes", meshName="m", clientToken=fresh())] * 8)  # the same call, so the same token
    assert [answer.status for answer in answers] == [200] * 8
    assert len({answer.text for answer in answers}) == 1
    token = fresh()
    answers = at_once(*(put(api, "meshes", meshName=f"x{i}", clientToken=token) for i in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7


def test_one_name_many_times_at_once_is_created_once(api):
    answers = at_once(*[put(api, "meshes", meshName="m")] * 8)
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert {answer.error for answer in answers if answer.status == 409} == {"ConflictException"}


def test_deletion_and_the_creation_of_a_child_cannot_both_hold(api):
    for i in range(20):
        put(api, "meshes", meshName="m")()
        gone, child = at_once(delete(api, "meshes/m"), put(api, "meshes/m/virtualNodes", virtualNodeName="n", spec={}))
        assert (gone.status, child.status) in ((200, 404), (409, 200)), (gone.text, child.text)
        if gone.status == 409:
            assert gone.error == "ResourceInUseException"
            delete(api, "meshes/m/virtualNodes/n")()
            delete(api, "meshes/m")()


def test_deletion_of_a_target_and_the_route_to_it_cannot_both_hold_when_references_are_strict():
    with Api("--strict-references") as api:
        put(api, "meshes", meshName="m")()
        put(api, "meshes/m/virtualRouters", virtualRouterName="r", spec={"listeners": HTTP})()
        missing = put(api, "meshes/m/virtualRouter/r/routes", routeName="t", spec=ROUTE)()
        assert (missing.status, missing.error) == (404, "NotFoundException") and "VirtualNode with name n" in missing.json["message"]
        for i in range(20):
            put(api, "meshes/m/virtualNodes", virtualNodeName="n", spec={})()
            gone, route = at_once(delete(api, "meshes/m/virtualNodes/n"), put(api, "meshes/m/virtualRouter/r/routes", routeName="t", spec=ROUTE))
            assert (gone.status, route.status) in ((200, 404), (409, 200)), (gone.text, route.text)
            delete(api, "meshes/m/virtualRouter/r/routes/t")()
            delete(api, "meshes/m/virtualNodes/n")()


def test_a_reference_may_come_first(api):
    put(api, "meshes", meshName="m")()
    put(api, "meshes/m/virtualRouters", virtualRouterName="r", spec={"listeners": HTTP})()
    assert put(api, "meshes/m/virtualRouter/r/routes", routeName="t", spec=ROUTE)().status == 200
    unresolved = [r["unresolved"] for r in api.weft("get", "route")["resources"]]
    assert unresolved == [[{"field": "spec.httpRoute.action.weightedTargets[0].virtualNode", "missing": "mesh/m/virtualNode/n"}]]
    wrong = put(api, "meshes/m/virtualNodes", virtualNodeName="n", spec={
        "listeners": [{"portMapping": {"port": 80, "protocol": "tcp"}}], "serviceDiscovery": {"dns": {"hostname": "n"}}})()
    assert (wrong.status, wrong.error) == (400, "BadRequestException") and "mesh/m/virtualRouter/r/route/t" in wrong.json["message"]
    assert put(api, "meshes/m/virtualNodes", virtualNodeName="n", spec={})().status == 200


def test_what_is_in_use_stays(api):
    put(api, "meshes", meshName="m")()
    put(api, "meshes/m/virtualNodes", virtualNodeName="n", spec={})()
    put(api, "meshes/m/virtualServices", virtualServiceName="s", spec={"provider": {"virtualNode": {"virtualNodeName": "n"}}})()
    put(api, "meshes/m/virtualGateways", virtualGatewayName="g", spec={"listeners": HTTP})()
    put(api, "meshes/m/virtualGateway/g/gatewayRoutes", gatewayRouteName="x", spec={"httpRoute": {"match": {"prefix": "/"}, "action": {
        "target": {"virtualService": {"virtualServiceName": "s"}}}}})()
    order = ["virtualGateway/g/gatewayRoutes/x", "virtualGateways/g", "virtualServices/s", "virtualNodes/n"]
    for blocked in ("", *order[1:]):
        answer = delete(api, f"meshes/m/{blocked}".rstrip("/"))()
        assert (answer.status, answer.error) == (409, "ResourceInUseException"), blocked
    for path in order:
        assert delete(api, f"meshes/m/{path}")().status == 200
    assert delete(api, "meshes/m")().status == 200


def test_two_regions_are_two_worlds(api):
    east, west = api.client("us-east-1"), api.client("eu-west-1")
    token = fresh()
    east.create_mesh(meshName="m", spec={"egressFilter": {"type": "ALLOW_ALL"}}, clientToken=token)
    west.create_mesh(meshName="m", clientToken=token)
    arns = [client.describe_mesh(meshName="m")["mesh"]["metadata"]["arn"] for client in (east, west)]
    assert [arn.split(":")[3] for arn in arns] == ["us-east-1", "eu-west-1"]
    west.tag_resource(resourceArn=arns[1], tags=[{"key": "k", "value": "west"}])
    assert east.list_tags_for_resource(resourceArn=arns[0])["tags"] == []
    with pytest.raises(ClientError, match="of region eu-west-1"):
        east.list_tags_for_resource(resourceArn=arns[1])
    west.delete_mesh(meshName="m")
    assert east.describe_mesh(meshName="m")["mesh"]["spec"] == {"egressFilter": {"type": "ALLOW_ALL"}}


def test_the_owner_is_the_account(api):
    mesh = api.client()
    mesh.create_mesh(meshName="m")
    mesh.create_virtual_node(meshName="m", virtualNodeName="n", spec={}, meshOwner="123456789012")
    with pytest.raises(ClientError) as error:
        mesh.describe_virtual_node(meshName="m", virtualNodeName="n", meshOwner="210987654321")
    assert error.value.response["Error"]["Code"] == "ForbiddenException"


def test_tags_have_limits(api):
    mesh = api.client(validate=False)
    arn = mesh.create_mesh(meshName="m", tags=[{"key": f"k{i}", "value": "v" * 256} for i in range(50)])["mesh"]["metadata"]["arn"]
    for tags, code in (([{"key": "more", "value": ""}], "TooManyTagsException"), ([{"key": "aws:x", "value": ""}], "BadRequestException"),
                       ([{"key": "", "value": ""}], "BadRequestException"), ([{"key": "k" * 129, "value": ""}], "BadRequestException"),
                       ([{"key": "k1", "value": "v" * 257}], "BadRequestException"), ([{"key": "k1"}], "BadRequestException")):
        with pytest.raises(ClientError) as error:
            mesh.tag_resource(resourceArn=arn, tags=tags)
        assert error.value.response["Error"]["Code"] == code, tags
    mesh.tag_resource(resourceArn=arn, tags=[{"key": "k1", "value": ""}])
    pages = mesh.get_paginator("list_tags_for_resource").paginate(resourceArn=arn, PaginationConfig={"PageSize": 20})
    tags = list(itertools.chain.from_iterable(page["tags"] for page in pages))
    assert len(tags) == 50 and {"key": "k1", "value": ""} in tags
    mesh.untag_resource(resourceArn=arn, tagKeys=["k1", "absent"])
    assert len(mesh.list_tags_for_resource(resourceArn=arn)["tags"]) == 49
    with pytest.raises(ClientError, match="NotFoundException"):
        mesh.list_tags_for_resource(resourceArn=arn + "x")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Quotas of its own, in an options file."""
    options = tmp_path_factory.mktemp("options") / "weftd.json"
    options.write_text(json.dumps({"quotas": {"meshesPerAccount": 1, "virtualNodesPerMesh": 2, "virtualServicesPerMesh": 1,
                                              "virtualRoutersPerMesh": 1, "routesPerVirtualRouter": 1, "virtualGatewaysPerMesh": 1,
                                              "gatewayRoutesPerVirtualGateway": 1, "backendsPerVirtualNode": 1, "weightedTargetsPerRoute": 1}}))
    with Api("--options-file", options) as api:
        yield api


def test_quotas_are_reported_and_hold(small):
    reported = {q["quota"]: (q["value"], q["default"]) for q in small.local("GET", "/v1/quotas").json["quotas"]}
    assert reported["virtualNodesPerMesh"] == (2, 200) and reported["meshesPerAccount"] == (1, 100) and len(reported) == 9

    def limit(answer, quota):
        assert (answer.status, answer.error) == (400, "LimitExceededException") and quota in answer.json["message"], answer.text

    put(small, "meshes", meshName="m")()
    limit(put(small, "meshes", meshName="o")(), "meshesPerAccount")
    for collection, member, quota, spec, count in (
            ("virtualNodes", "virtualNodeName", "virtualNodesPerMesh", {}, 2),
            ("virtualRouters", "virtualRouterName", "virtualRoutersPerMesh", {}, 1),
            ("virtualServices", "virtualServiceName", "virtualServicesPerMesh", {}, 1),
            ("virtualGateways", "virtualGatewayName", "virtualGatewaysPerMesh", {"listeners": HTTP}, 1),
            ("virtualRouter/x0/routes", "routeName", "routesPerVirtualRouter", ROUTE, 1),
            ("virtualGateway/x0/gatewayRoutes", "gatewayRouteName", "gatewayRoutesPerVirtualGateway", {"httpRoute": {
                "match": {"prefix": "/"}, "action": {"target": {"virtualService": {"virtualServiceName": "x0"}}}}}, 1)):
        for i in range(count):
            assert put(small, f"meshes/m/{collection}", **{member: f"x{i}"}, spec=spec)().status == 200
        limit(put(small, f"meshes/m/{collection}", **{member: "more"}, spec=spec)(), quota)
    backends = [{"virtualService": {"virtualServiceName": name}} for name in "ab"]
    limit(put(small, "meshes/m/virtualNodes/x0", spec={"backends": backends})(), "backendsPerVirtualNode")
    two = {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": n, "weight": 1} for n in "ab"]}}}
    limit(put(small, "meshes/m/virtualRouter/x0/routes/x0", spec=two)(), "weightedTargetsPerRoute")

    # the last slot
    delete(small, "meshes/m/virtualNodes/x0")()
    answers = at_once(*(put(small, "meshes/m/virtualNodes", virtualNodeName=f"y{i}", spec={}) for i in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
