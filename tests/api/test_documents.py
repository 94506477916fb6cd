# SPDX-License-Identifier: Apache-2.0
"""What the model allows comes back as it was sent; what it does not is refused with the place. Raw signed requests."""
import pytest

import documents

PARENTS = {"Route": "virtualRouter/r/routes", "GatewayRoute": "virtualGateway/g/gatewayRoutes"}


@pytest.fixture
def mesh(api):
    """A mesh with an empty router and gateway: no listener, so that routes of every protocol fit."""
    assert api.signed("PUT", "/v20190125/meshes", {"meshName": "m"}).status == 200
    assert api.signed("PUT", "/v20190125/meshes/m/virtualRouters", {"virtualRouterName": "r", "spec": {}}).status == 200
    gateway = {"listeners": [{"portMapping": {"port": 1, "protocol": "http"}}]}
    assert api.signed("PUT", "/v20190125/meshes/m/virtualGateways", {"virtualGatewayName": "g", "spec": gateway}).status == 200
    return api


def name_of(kind):
    return kind[0].lower() + kind[1:]


def target(kind):
    """The collection and the resource that specs of a kind are put to."""
    if kind == "Mesh":
        return "/v20190125/meshes", "m"
    return "/v20190125/meshes/m/" + PARENTS.get(kind, name_of(kind) + "s"), "x"


def prepare(api, kind, spec):
    """A route that is for a port has a listener there."""
    owner = {"Route": "virtualRouters/r", "GatewayRoute": "virtualGateways/g"}.get(kind)
    member, route = next(iter((m, r) for m, r in spec.items() if m.endswith("Route"))) if owner else (None, {})
    port = route.get("match", {}).get("port", 0) if owner else 0
    if not 1 <= port <= 65535:
        return
    api.signed("DELETE", "/".join(target(kind)))
    listener = {"portMapping": {"port": port, "protocol": member.removesuffix("Route")}}
    assert api.signed("PUT", f"/v20190125/meshes/m/{owner}", {"spec": {"listeners": [listener]}}).status == 200


def put(api, kind, spec):
    """Creates it, or puts the spec in place of the one that it had."""
    collection, name = target(kind)
    prepare(api, kind, spec)
    if api.signed("GET", f"{collection}/{name}").status == 200:
        return api.signed("PUT", f"{collection}/{name}", {"spec": spec})
    return api.signed("PUT", collection, {name_of(kind) + "Name": name, "spec": spec})


def forget_listeners(api, kind):
    """Of the router, so that a route of another protocol fits."""
    if kind == "Route":
        api.signed("DELETE", "/".join(target(kind)))
        assert api.signed("PUT", "/v20190125/meshes/m/virtualRouters/r", {"spec": {}}).status == 200


@pytest.mark.parametrize("kind", documents.SPECS)
def test_every_variant_comes_back_as_it_was_sent(mesh, kind):
    count = 0
    for count, spec in enumerate(documents.specs(kind), 1):
        answer = put(mesh, kind, spec)
        assert answer.status == 200, f"{spec}: {answer.text}"
        assert answer.json["spec"] == spec
        if "'port'" in str(spec):
            forget_listeners(mesh, kind)
    assert kind == "Route" or mesh.signed("GET", "/".join(target(kind))).json["spec"] == spec
    assert count >= {"Mesh": 5, "VirtualRouter": 5, "VirtualService": 3}.get(kind, 40), "the model has fewer variants than it had"


@pytest.mark.parametrize("kind", documents.SPECS)
def test_every_bound_holds_on_both_sides(mesh, kind):
    good = bad = 0
    for path, spec, allowed in documents.bounds(kind):
        answer = put(mesh, kind, spec)
        if allowed:
            assert answer.status == 200, f"{path}: {spec}: {answer.text}"
            good += 1
            if path[-1] == "port":
                forget_listeners(mesh, kind)
        else:
            assert (answer.status, answer.error) == (400, "BadRequestException"), f"{path}: {spec}: {answer.text}"
            assert str(path[-1]) in answer.json["message"] or path[-1] == 0, answer.json["message"]
            bad += 1
    assert good and bad
