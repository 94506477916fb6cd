# SPDX-License-Identifier: Apache-2.0
"""Every operation by boto3: what is created is described, listed, updated, tagged and deleted."""
import datetime

import pytest
from botocore.exceptions import ClientError

from api import ACCOUNT

HTTP = [{"portMapping": {"port": 8080, "protocol": "http"}}]
TO_NODE = {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}
TO_SERVICE = {"target": {"virtualService": {"virtualServiceName": "s.local"}}}

# kind: (plural in lists, its parents' names, its own name, a spec, another spec); in the order in which they need each other.
KINDS = {
    "mesh": ("meshes", {}, "m", {"egressFilter": {"type": "DROP_ALL"}}, {"egressFilter": {"type": "ALLOW_ALL"}}),
    "virtual_node": ("virtualNodes", {"meshName": "m"}, "n", {"listeners": HTTP, "serviceDiscovery": {"dns": {"hostname": "n.local"}}},
                     {"listeners": HTTP, "serviceDiscovery": {"dns": {"hostname": "other.local"}}}),
    "virtual_router": ("virtualRouters", {"meshName": "m"}, "r", {"listeners": HTTP}, {"listeners": HTTP}),
    "route": ("routes", {"meshName": "m", "virtualRouterName": "r"}, "t", {"httpRoute": {"match": {"prefix": "/"}, "action": TO_NODE}},
              {"priority": 5, "httpRoute": {"match": {"prefix": "/x"}, "action": TO_NODE}}),
    "virtual_service": ("virtualServices", {"meshName": "m"}, "s.local", {"provider": {"virtualRouter": {"virtualRouterName": "r"}}}, {}),
    "virtual_gateway": ("virtualGateways", {"meshName": "m"}, "g", {"listeners": HTTP}, {"listeners": HTTP, "logging": {"accessLog": {
        "file": {"path": "/dev/stdout"}}}}),
    "gateway_route": ("gatewayRoutes", {"meshName": "m", "virtualGatewayName": "g"}, "x",
                      {"httpRoute": {"match": {"prefix": "/"}, "action": TO_SERVICE}},
                      {"priority": 1, "httpRoute": {"match": {"prefix": "/a"}, "action": TO_SERVICE}}),
}


def camel(kind):
    head, *tail = kind.split("_")
    return head + "".join(word.capitalize() for word in tail)


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_all_kinds_live_and_end(api):
    mesh = api.client()
    made = {}
    for kind, (plural, parents, name, spec, _) in KINDS.items():
        own = {**parents, camel(kind) + "Name": name}
        answer = getattr(mesh, f"create_{kind}")(**own, spec=spec, tags=[{"key": "team", "value": "a"}])
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        made[kind] = resource = answer[camel(kind)]
        assert resource["spec"] == spec and resource["status"] == {"status": "ACTIVE"}
        assert all(resource[member] == value for member, value in own.items())
        metadata = resource["metadata"]
        assert metadata["version"] == 1 and metadata["createdAt"] == metadata["lastUpdatedAt"]
        assert metadata["meshOwner"] == metadata["resourceOwner"] == ACCOUNT
        assert abs(datetime.datetime.now(datetime.timezone.utc) - metadata["createdAt"]) < datetime.timedelta(minutes=1)
        assert metadata["arn"].startswith(f"arn:aws:appmesh:us-east-1:{ACCOUNT}:mesh/m")
        described = getattr(mesh, f"describe_{kind}")(**own)[camel(kind)]
        assert described == resource
        refs = getattr(mesh, "list_" + {"mesh": "meshes"}.get(kind, kind + "s"))(**parents)[plural]
        assert refs == [{**own, **{k: v for k, v in metadata.items() if k != "uid"}}]
        assert mesh.list_tags_for_resource(resourceArn=metadata["arn"])["tags"] == [{"key": "team", "value": "a"}]

    for kind, (_, parents, name, spec, other) in KINDS.items():
        own = {**parents, camel(kind) + "Name": name}
        updated = getattr(mesh, f"update_{kind}")(**own, spec=other)[camel(kind)]
        before = made[kind]["metadata"]
        assert updated["spec"] == other and updated["metadata"]["version"] == 2
        assert updated["metadata"]["uid"] == before["uid"] and updated["metadata"]["createdAt"] == before["createdAt"]
        assert updated["metadata"]["lastUpdatedAt"] >= before["lastUpdatedAt"]

    for kind, (_, parents, name, _, other) in reversed(KINDS.items()):
        own = {**parents, camel(kind) + "Name": name}
        deleted = getattr(mesh, f"delete_{kind}")(**own)[camel(kind)]
        assert deleted["status"] == {"status": "DELETED"} and deleted["spec"] == other
        with pytest.raises(ClientError) as error:
            getattr(mesh, f"describe_{kind}")(**own)
        assert code(error) == ("NotFoundException", 404)


def test_identity_is_that_of_the_key(api):
    assert {k: v for k, v in api.client(service="sts").get_caller_identity().items() if k != "ResponseMetadata"} == {
        "UserId": ACCOUNT, "Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}


def test_another_service_is_refused_by_name(api):
    with pytest.raises(ClientError) as error:
        api.client(service="cloudwatch").list_metrics()
    assert code(error) == ("NotImplemented", 501) and "'monitoring' is not served here" in str(error.value)
    with pytest.raises(ClientError) as error:
        api.client(service="dynamodb").list_tables()
    assert code(error) == ("NotImplemented", 501) and "'dynamodb' is not served here" in str(error.value)
