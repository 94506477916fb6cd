# SPDX-License-Identifier: Apache-2.0
"""What is created takes effect in the kernel, and is recorded; what is in a directory is shown."""
import itertools
import json
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from api import ACCOUNT, HERE, ROOT_ID, Api, wait_for
from weft import PYTHON, Worker


def node_spec(name, backends=(), listen=True, namespace="test"):
    spec = {"backends": [{"virtualService": {"virtualServiceName": one}} for one in backends]}
    if listen:
        spec |= {"listeners": [{"portMapping": {"port": 8080, "protocol": "tcp"}}],
                 "serviceDiscovery": {"awsCloudMap": {"namespaceName": namespace, "serviceName": name}}}
    return spec


def make_shop(mesh, namespace="test"):
    """`client` has the backend `web`, by a router to v1 alone; v2 is there as well."""
    mesh.create_mesh(meshName="m", spec={"egressFilter": {"type": "DROP_ALL"}})
    mesh.create_virtual_node(meshName="m", virtualNodeName="client", spec=node_spec("client", ["web"], listen=False))
    for name in ("v1", "v2"):
        mesh.create_virtual_node(meshName="m", virtualNodeName=name, spec=node_spec(name, namespace=namespace))
    mesh.create_virtual_router(meshName="m", virtualRouterName="r", spec={"listeners": [{"portMapping": {"port": 8080, "protocol": "tcp"}}]})
    mesh.create_route(meshName="m", virtualRouterName="r", routeName="t", spec=to("v1"))
    mesh.create_virtual_service(meshName="m", virtualServiceName="web", spec={"provider": {"virtualRouter": {"virtualRouterName": "r"}}})


def to(*nodes):
    return {"tcpRoute": {"action": {"weightedTargets": [{"virtualNode": node, "weight": 1} for node in nodes]}}}


@pytest.fixture(scope="module")
def shop():
    with Api("--api-audit", "all") as api:
        make_shop(api.client())
        api.echo("10.77.0.1:9001", "10.77.0.1:9002")
        api.register("v1", "1", "10.77.0.1:9001")
        api.register("v2", "2", "10.77.0.1:9002")
        api.settled = api.worker("client")
        api.wait_reason("web:8080", "routed")
        yield api


def test_a_connection_follows_what_is_created_and_updated(shop):
    mesh, worker = shop.client(), shop.settled
    vip = shop.vip("web")
    assert worker.connect(vip, 8080) == "10.77.0.1:9001"
    mesh.update_route(meshName="m", virtualRouterName="r", routeName="t", spec=to("v2"))
    wait_for(lambda: worker.connect(vip, 8080) == "10.77.0.1:9002", "the route leads to v2")
    mesh.update_virtual_node(meshName="m", virtualNodeName="client", spec=node_spec("client", [], listen=False))
    wait_for(lambda: worker.connect(vip, 8080) == "EPERM", "the service is no backend any more")
    mesh.update_virtual_node(meshName="m", virtualNodeName="client", spec=node_spec("client", ["web"], listen=False))
    wait_for(lambda: worker.connect(vip, 8080) == "10.77.0.1:9002", "it is one again")


def test_a_change_is_in_the_kernel_soon_after_the_answer(shop):
    """Within 10 ms on a quiet machine; asked here is that it is not for a second to be seen, and how it is."""
    mesh, worker = shop.client(), shop.settled
    vip = shop.vip("web")
    worker.run("""
import time
def follow(address, port, wanted, deadline):
    while connect(address, port) != wanted:
        if time.monotonic() > deadline:
            return None
    return time.monotonic()
result = None
""")
    took = []
    for target, port in itertools.islice(itertools.cycle((("v1", 9001), ("v2", 9002))), 10):
        mesh.update_route(meshName="m", virtualRouterName="r", routeName="t", spec=to(target))
        answered = time.monotonic()
        seen = worker.run("result = follow(*arguments)", vip, 8080, f"10.77.0.1:{port}", answered + 5)
        assert seen, f"{target} is not reached"
        took.append(seen - answered)
    assert sorted(took)[len(took) // 2] < 0.1, took


def test_a_restarted_agent_has_what_was_stored(shop):
    generation = shop.status()["generation"]
    before = shop.signed("GET", "/v20190125/meshes/m").json
    shop.kill_agent()
    shop.start_agent()
    assert shop.signed("GET", "/v20190125/meshes/m").json == before
    wait_for(lambda: len(shop.weft("get", "virtualNode")["resources"]) == 3, "the resources are in force")
    assert shop.status()["generation"] == generation  # nothing was published anew


def test_a_listener_that_needs_tls_closes_its_service(shop):
    mesh = shop.client()
    mesh.create_virtual_node(meshName="m", virtualNodeName="tls", spec={**node_spec("tls"), "listeners": [{
        "portMapping": {"port": 8080, "protocol": "https"}}]})
    mesh.create_virtual_service(meshName="m", virtualServiceName="closed", spec={"provider": {"virtualNode": {"virtualNodeName": "tls"}}},
                                tags=[{"key": "weft/l4-http", "value": "true"}])
    mesh.update_virtual_node(meshName="m", virtualNodeName="client", spec=node_spec("client", ["web", "closed"], listen=False))
    shop.wait_reason("closed:8080", "needs-tls")


def test_writes_reads_and_refusals_are_recorded(shop):
    mesh = shop.client()
    mesh.create_virtual_node(meshName="m", virtualNodeName="recorded", spec={}, tags=[{"key": "k", "value": "v"}])
    mesh.describe_virtual_node(meshName="m", virtualNodeName="recorded")
    with pytest.raises(ClientError):
        mesh.create_virtual_node(meshName="m", virtualNodeName="recorded", spec={})
    shop.send("GET", "/v20190125/meshes")

    def listed():
        found = shop.local("GET", "/v1/audit?limit=4").json["Records"]
        return found if found[0].get("errorCode") == "MissingAuthenticationTokenException" else None
    refusal, conflict, read, made = wait_for(listed, "all four are recorded")
    assert (made["eventName"], made["readOnly"], made["requestParameters"]["virtualNodeName"]) == ("CreateVirtualNode", False, "recorded")
    assert made["responseElements"]["virtualNode"]["metadata"]["version"] == 1
    assert made["userIdentity"] == {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT,
                                    "accessKeyId": ROOT_ID}
    assert (made["eventSource"], made["awsRegion"], made["sourceIPAddress"]) == ("appmesh.amazonaws.com", "us-east-1", "127.0.0.1")
    assert made["recipientAccountId"] == ACCOUNT and len(made["requestID"]) == len(made["eventID"]) == 36 and "Boto3" in made["userAgent"]
    assert made["eventTime"].endswith("Z") and "errorCode" not in made
    assert (read["eventName"], read["readOnly"], read["responseElements"]) == ("DescribeVirtualNode", True, None)
    assert (conflict["errorCode"], conflict["eventName"]) == ("ConflictException", "CreateVirtualNode")
    assert refusal["userIdentity"]["type"] == "Unknown"

    page = shop.local("GET", "/v1/audit?limit=2").json
    older = shop.local("GET", f"/v1/audit?limit=2&next={page['next']}").json["Records"]
    assert [one["eventID"] for one in page["Records"] + older] == [one["eventID"] for one in (refusal, conflict, read, made)]
    assert shop.local("GET", "/v1/audit?until=1000").json["Records"] == []


def test_without_more_only_writes_are_recorded():
    with Api() as api:
        mesh = api.client()
        mesh.create_mesh(meshName="m")
        mesh.describe_mesh(meshName="m")
        with pytest.raises(ClientError):
            mesh.create_mesh(meshName="m")
        api.local("POST", "/v1/access-keys", {"userName": "ci"})
        mesh.delete_mesh(meshName="m")
        records = api.local("GET", "/v1/audit").json["Records"]
        assert [one["eventName"] for one in records] == ["DeleteMesh", "CreateAccessKey", "CreateMesh"]
        assert "secretAccessKey" not in json.dumps(records)


def test_the_resources_of_a_directory_are_shown_and_cannot_be_written():
    with Api(directory=True) as api:
        api.write("mesh", meshName="m", spec={"egressFilter": {"type": "DROP_ALL"}}, tags=[{"key": "k", "value": "v"}])
        api.write("node", meshName="m", virtualNodeName="n", spec={})
        mesh = api.client()
        wait_for(lambda: mesh.list_meshes()["meshes"] and mesh.list_virtual_nodes(meshName="m")["virtualNodes"], "the files are read")
        described = mesh.describe_mesh(meshName="m")["mesh"]
        assert described["spec"] == {"egressFilter": {"type": "DROP_ALL"}} and described["metadata"]["version"] == 1
        assert mesh.list_tags_for_resource(resourceArn=described["metadata"]["arn"])["tags"] == [{"key": "k", "value": "v"}]
        for call in (lambda: mesh.create_mesh(meshName="o"), lambda: mesh.delete_virtual_node(meshName="m", virtualNodeName="n")):
            with pytest.raises(ClientError, match="ForbiddenException.*--config directory"):
                call()
        api.write("mesh", meshName="m", spec={})
        wait_for(lambda: mesh.describe_mesh(meshName="m")["mesh"]["metadata"]["version"] == 2, "the change is read")
        (api.config / "node.json").unlink()
        wait_for(lambda: not mesh.list_virtual_nodes(meshName="m")["virtualNodes"], "the file is gone")


def test_a_large_body_is_refused(shop):
    answer = shop.signed("PUT", "/v20190125/meshes", b"{" + b" " * (256 * 1024) + b"}")
    assert (answer.status, answer.error) == (413, "RequestEntityTooLargeException") and answer.headers["x-amzn-RequestId"]
    answer = shop.signed("PUT", "/v20190125/meshes", b"{" + b" " * (256 * 1024 - 2) + b"}")
    assert (answer.status, answer.error) == (400, "BadRequestException")


def test_a_workload_of_another_region_is_named_by_its_arn(shop):
    """The same mesh in two regions is two meshes: each workload reaches what its own has."""
    make_shop(shop.client("eu-west-1"), namespace="west")
    arn = f"arn:aws:appmesh:eu-west-1:{ACCOUNT}:mesh/m/virtualNode/"
    names = wait_for(lambda: [r["resource"] for r in shop.weft("get", "virtualNode")["resources"]], "resources are in force")
    assert arn + "client" in names and "mesh/m/virtualNode/client" in names
    shop.echo("10.77.0.2:9003")
    shop.weft("register", "--virtual-node", arn + "v1", "--id", "w1", "--address", "10.77.0.2:9003")
    argv = shop.run_argv("client", [PYTHON, HERE.parent / "net/worker.py"])
    argv[argv.index("mesh/m/virtualNode/client")] = arn + "client"
    west = Worker(shop.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def vip(resource):
        return wait_for(lambda: next((r["vips"][0] for r in shop.weft("get", "virtualService")["resources"]
                                      if r["resource"] == resource and r["vips"]), None), f"{resource} has a VIP")
    own, other = vip(arn.replace("virtualNode/", "virtualService/web")), vip("mesh/m/virtualService/web")
    assert own != other
    wait_for(lambda: west.connect(own, 8080) == "10.77.0.2:9003", "the western client reaches the western service")
    assert west.connect(other, 8080) == "EPERM"  # that of the other region is nothing of its own
    assert shop.settled.connect(other, 8080).startswith("10.77.0.1:") and shop.settled.connect(own, 8080) == "EPERM"
    refused = shop.weft("explain", "--from", f"arn:aws:appmesh:eu-west-1:210987654321:mesh/m/virtualNode/client", "--to", "web:8080", check=False)
    assert "the account is 210987654321" in refused
