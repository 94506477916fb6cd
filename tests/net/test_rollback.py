# SPDX-License-Identifier: Apache-2.0
"""weft history, rollback, resume: an earlier generation's resources come back, stay, and let go."""
import subprocess

import pytest
from weft import BUILD, Node, wait_for

pytestmark = pytest.mark.one_kernel

V1, V2, V3 = "10.77.0.1:9001", "10.77.0.1:9002", "10.77.0.1:9003"


@pytest.fixture
def shop():
    """A client, and a service whose route leads to v1 alone, of two endpoints that listen."""
    with Node() as node:
        node.mesh()
        node.node("client", port=None, backends=["web"])
        node.node("v1")
        node.node("v2")
        node.router("web")
        shift(node, v1=1, v2=0)
        node.service("web", router="web")
        node.echo(V1, V2, V3)
        node.register("v1", "1", V1)
        node.register("v2", "2", V2)
        node.workload(["sleep", "1000"])
        node.wait_reason("web:8080", "routed")
        yield node


def shift(node, **weights):
    node.route("web", weights)


def arrives(node):
    return node.connect(node.vip("web"), 8080)


def wait_arrival(node, where):
    wait_for(lambda: arrives(node) == where, f"connections arrive at {where}")


def shifted(node, where, **weights):
    """The generation that leads there."""
    shift(node, **weights)
    wait_arrival(node, where)
    return node.status()["generation"]


def refusal(node, command, *words):
    result = subprocess.run([BUILD / "weft", command, "--instance", node.instance, *words], capture_output=True, text=True)
    return result.returncode, result.stderr


def causes(node):
    return [entry["cause"] for entry in node.weft("history")["entries"]]


def told(node, *words):
    return subprocess.run([BUILD / "weft", "history", "--instance", node.instance, *words], capture_output=True, text=True, check=True).stdout


def changes_of(node, name, what="created"):
    """The generation of the newest such change."""
    for entry in node.weft("history")["entries"]:
        if {"resource": f"mesh/m/virtualService/{name}", "change": what} in entry["changes"]:
            return entry["generation"]
    return None


def test_the_resources_before_the_last_change_come_back_and_hold_until_resume(shop):
    before = shop.status()["generation"]
    after = shifted(shop, V2, v1=0, v2=1)

    answer = shop.weft("rollback")
    assert answer["generation"] > after
    assert arrives(shop) == V1
    held = shop.weft("history")["held"]
    assert before <= held["generation"] < after and held["waiting"] == 1
    assert shop.status()["configuration"]["held"]["generation"] == held["generation"]

    shop.weft("resume")
    assert arrives(shop) == V2
    assert shop.weft("history")["held"] is None
    assert causes(shop)[:2] == ["resume", "rollback"]


def test_what_is_configured_while_held_waits(shop):
    shifted(shop, V2, v1=0, v2=1)
    shop.weft("rollback")
    shop.node("v3")
    shift(shop, v3=1)
    wait_for(lambda: shop.weft("history")["held"]["waiting"] == 2, "a node and a route wait")
    assert arrives(shop) == V1
    assert all(resource["name"] != "v3" for resource in shop.weft("get", "virtualNode")["resources"])

    shop.weft("resume")
    shop.register("v3", "3", V3)
    wait_arrival(shop, V3)


def test_a_fault_in_what_waits_is_told_at_once(shop):
    shifted(shop, V2, v1=0, v2=1)
    shop.weft("rollback")
    shop.write_raw("broken", "{")
    wait_for(lambda: shop.status()["configuration"]["error"], "the fault is seen")
    assert arrives(shop) == V1


def test_endpoints_that_come_while_held_are_used(shop):
    shifted(shop, V2, v1=0, v2=1)
    shop.weft("rollback")
    shop.register("v1", "3", V3)
    wait_for(lambda: {arrives(shop) for _ in range(8)} == {V1, V3}, "both endpoints of v1 are used")


def test_any_known_generation_by_its_number_also_forwards(shop):
    first = shop.status()["generation"]
    second = shifted(shop, V2, v1=0, v2=1)
    third = shifted(shop, V1, v1=1, v2=0)

    shop.weft("rollback", str(second))
    assert arrives(shop) == V2
    shop.weft("rollback", str(first))
    assert arrives(shop) == V1
    shop.weft("rollback", str(second))
    assert arrives(shop) == V2
    shop.weft("rollback", str(third))
    assert shop.weft("history")["held"]["waiting"] == 0
    shop.weft("resume")
    assert arrives(shop) == V1


def test_rolled_back_once_more_the_change_before_goes_too(shop):
    shop.node("v3")
    shop.register("v3", "3", V3)
    shifted(shop, V2, v1=0, v2=1)
    shifted(shop, V3, v3=1)
    shop.weft("rollback")
    assert arrives(shop) == V2
    shop.weft("rollback")
    assert arrives(shop) == V1


def test_a_hold_outlives_the_agent(shop):
    shifted(shop, V2, v1=0, v2=1)
    held = shop.weft("rollback")["generation"]
    shop.kill_agent()
    shop.start_agent()
    wait_arrival(shop, V1)
    assert shop.weft("history")["held"]["waiting"] == 1
    assert shop.status()["generation"] == held
    shop.weft("resume")
    assert arrives(shop) == V2


def test_the_way_back_outlives_the_agent(shop):
    first = shop.status()["generation"]
    shifted(shop, V2, v1=0, v2=1)
    shop.kill_agent()
    shop.start_agent()
    assert arrives(shop) == V2
    shop.weft("rollback", str(first))
    assert arrives(shop) == V1


def test_resources_that_changed_while_no_agent_ran_begin_a_new_history(shop):
    old = shop.status()["generation"]
    shop.kill_agent()
    shift(shop, v1=0, v2=1)
    shop.start_agent()
    wait_arrival(shop, V2)
    assert shop.weft("history")["oldest"] > old
    code, message = refusal(shop, "rollback", str(old))
    assert code != 0 and f"{old} is not known" in message


def test_what_cannot_be_done_is_refused_and_nothing_changes(shop):
    newest = shop.status()["generation"]
    assert refusal(shop, "resume") == (1, "weft resume: nothing is held\n")
    code, message = refusal(shop, "rollback", str(newest + 1000))
    assert code != 0 and "is not known" in message
    assert refusal(shop, "rollback", "yesterday")[0] == 2
    assert shop.weft("history")["held"] is None
    assert shop.status()["generation"] == newest


def test_what_does_not_compile_is_told_to_who_asked_for_it(shop):
    """A node may have more listeners than a service can have, as long as it provides none."""
    shifted(shop, V2, v1=0, v2=1)
    held = shop.weft("rollback")["generation"]
    shop.node("wide", listeners=[{"portMapping": {"port": port, "protocol": "tcp"}} for port in range(8080, 8080 + 33)])
    shop.service("web", node="wide")
    wait_for(lambda: shop.weft("history")["held"]["waiting"] == 3, "a node, a service and a route wait")

    code, message = refusal(shop, "resume")
    assert code == 1 and "has 33 listeners" in message
    assert shop.status()["generation"] == held
    assert arrives(shop) == V1

    shop.service("web", router="web")
    wait_arrival(shop, V2)


def test_history_tells_what_changed_for_people_and_programs(shop):
    generation = shifted(shop, V2, v1=0, v2=1)
    route = "mesh/m/virtualRouter/web/route/route"
    entry = next(e for e in shop.weft("history")["entries"] if e["generation"] == generation)
    assert (entry["cause"], entry["changes"]) == ("resources", [{"resource": route, "change": "changed"}])

    (whole,) = shop.weft("history", str(generation))["entries"]
    weights = [{target["virtualNode"]: target["weight"] for target in whole["changes"][0][when]["spec"]["tcpRoute"]["action"]["weightedTargets"]}
               for when in ("before", "now")]
    assert weights == [{"v1": 1, "v2": 0}, {"v1": 0, "v2": 1}]

    shop.weft("rollback")
    out = told(shop)
    assert f"changed {route}" in out and "rollback to " in out and "1 change of resources waits for `weft resume`" in out


def test_one_generation_is_told_member_by_member(shop):
    changed = shifted(shop, V2, v1=0, v2=1)
    lines = told(shop, str(changed)).splitlines()
    assert lines[0].startswith(f"generation {changed}, ") and lines[0].endswith(": resources")
    weight = "spec.tcpRoute.action.weightedTargets[{}].weight"
    assert lines[1:] == ["changed mesh/m/virtualRouter/web/route/route", f"  ~ {weight.format(0)}: 1 -> 0", f"  ~ {weight.format(1)}: 0 -> 1"]

    shop.write("tagged", meshName="m", virtualServiceName="tagged", spec={}, tags=[{"key": "team", "value": "\x1b[31mred"}])
    created = wait_for(lambda: changes_of(shop, "tagged"), "the service is in the history")
    assert "created mesh/m/virtualService/tagged\n  + spec: {}\n  + tags: {\"team\":\"?[31mred\"}\n" in told(shop, str(created))

    (shop.config / "tagged.json").unlink()
    deleted = wait_for(lambda: changes_of(shop, "tagged", "deleted"), "the end of the service is in the history")
    assert "deleted mesh/m/virtualService/tagged\n  - spec: {}\n" in told(shop, str(deleted))
