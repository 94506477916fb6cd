# SPDX-License-Identifier: Apache-2.0
"""Specs made from the API's model: one for each member of each union and each value of each enumeration, and the bounds of every
constraint. Rules between fields, which the model has not, are kept here."""
import copy
import json
import pathlib

MODEL = json.loads((pathlib.Path(__file__).resolve().parents[2] / "agent/spec/model.json").read_text())
SHAPES = MODEL["shapes"]
SPECS = {"Mesh": "MeshSpec", "VirtualNode": "VirtualNodeSpec", "VirtualRouter": "VirtualRouterSpec", "Route": "RouteSpec",
         "VirtualService": "VirtualServiceSpec", "VirtualGateway": "VirtualGatewaySpec", "GatewayRoute": "GatewayRouteSpec"}
# What documents say of it and the model does not: exactly one member.
UNIONS = {"HttpPathMatch", "GatewayRouteHostnameMatch", "HttpGatewayRoutePrefixRewrite", "RouteSpec", "GatewayRouteSpec"}
REQUIRED = {"Duration": ["unit", "value"], "QueryParameterMatch": ["exact"], "HttpGatewayRoutePathRewrite": ["exact"],
            "HttpRouteMatch": ["prefix"], "HttpGatewayRouteMatch": ["prefix"], "VirtualNodeSpec": ["listeners", "serviceDiscovery"],
            "HttpRetryPolicy": ["httpRetryEvents"], "GrpcRetryPolicy": ["grpcRetryEvents"], "GrpcGatewayRouteMatch": ["serviceName"],
            "HttpGatewayRouteRewrite": ["prefix"]}
STRINGS = {"String": "text", "Hostname": "a.local", "ServiceName": "s.local", "ResourceName": "n", "AwsCloudMapName": "name", "FilePath": "/p",
           "HttpRetryPolicyEvent": "server-error", "HeaderName": "x-name", "HeaderMatch": "v", "MethodName": "m", "Arn": "arn:aws:x"}


def is_union(name):
    return SHAPES[name].get("union") or name in UNIONS


def text(name, length=None):
    shape = SHAPES[name]
    if "enum" in shape:
        return shape["enum"][0]
    value = STRINGS.get(name, "v")
    if length is None:
        length = max(shape.get("min", 0), min(len(value), shape.get("max", len(value))))
    return (value * length)[:length] if length else ""


def smallest(name):
    """The least that the shape takes."""
    shape = SHAPES[name]
    kind = shape["type"]
    if kind == "structure":
        members = shape["members"]
        if is_union(name):
            return {next(iter(members)): smallest(members[next(iter(members))]["shape"])}
        wanted = shape.get("required", []) + REQUIRED.get(name, [])
        return {member: special(name, member) or smallest(members[member]["shape"]) for member in wanted}
    if kind == "list":
        return [smallest(shape["member"]["shape"])] * max(shape.get("min", 0), 1 if name in ("Listeners", "HttpRetryPolicyEvents",
                                                                                          "GrpcRetryPolicyEvents") else 0)
    if kind == "string":
        return text(name)
    if kind == "boolean":
        return True
    return max(shape.get("min", 1), 1)


def special(name, member):
    """Members whose value has a form that the model does not tell."""
    return {("HttpRouteMatch", "prefix"): "/", ("HttpGatewayRouteMatch", "prefix"): "/", ("HttpGatewayRoutePrefixRewrite", "value"): "/r/",
            ("HttpPathMatch", "exact"): "/p", ("HttpPathMatch", "regex"): "/p", ("HttpGatewayRoutePathRewrite", "exact"): "/p"}.get((name, member))


def each_variant(name):
    """The smallest, and then with every member in turn and every variant of it."""
    shape = SHAPES[name]
    kind = shape["type"]
    base = smallest(name)
    yield base
    if kind == "structure":
        for member, target in shape["members"].items():
            for value in [special(name, member)] if special(name, member) else each_variant(target["shape"]):
                if is_union(name):
                    yield {member: value}
                elif base.get(member) != value:
                    yield {**base, member: value}
    elif kind == "list":
        for value in each_variant(shape["member"]["shape"]):
            if [value] != base:
                yield [value]
    elif kind == "string":
        yield from (value for value in shape.get("enum", [])[1:])
    elif kind == "boolean":
        yield False


PROTOCOL_KEYS = ("connectionPool", "timeout")


def settle(kind, spec):
    """The same, with what rules between fields ask for. None: no spec can be like this."""
    spec = copy.deepcopy(spec)
    for listener in spec.get("listeners", []):
        for key in PROTOCOL_KEYS:
            if key in listener:
                listener["portMapping"]["protocol"] = next(iter(listener[key]))
        if "healthCheck" in listener and "port" in listener["healthCheck"]:
            listener["healthCheck"]["port"] = listener["portMapping"]["port"]
    if kind == "VirtualNode" and not spec.get("listeners"):
        spec.pop("serviceDiscovery", None)
    if kind in ("Route", "GatewayRoute") and not any(member.endswith("Route") for member in spec):
        spec["httpRoute"] = smallest(SHAPES[SPECS[kind]]["members"]["httpRoute"]["shape"])
    for protocol in ("httpRoute", "http2Route", "grpcRoute"):
        match = spec.get(protocol, {}).get("match", {})
        rewrite = spec.get(protocol, {}).get("action", {}).get("rewrite", {})
        if rewrite == {} and "rewrite" in spec.get(protocol, {}).get("action", {}):
            rewrite["hostname"] = {"defaultTargetHostname": "ENABLED"}
        if "path" in match:
            match.pop("prefix", None)
        if "path" in rewrite:
            rewrite.pop("prefix", None)
            match.pop("prefix", None)
            match["path"] = {"exact": "/p"}
        if "methodName" in match:
            match.setdefault("serviceName", "s")
        for one in match.get("headers", []) + match.get("metadata", []):
            value = one.get("match", {}).get("range")
            if value:
                value["start"], value["end"] = 1, 2
    return spec


def specs(kind):
    seen = set()
    for spec in each_variant(SPECS[kind]):
        spec = settle(kind, spec)
        key = json.dumps(spec, sort_keys=True)
        if key not in seen:
            seen.add(key)
            yield spec


def places(name, path=()):
    """(path, shape) of everything constrained below a shape; a list's elements are at 0."""
    shape = SHAPES[name]
    if shape["type"] in ("string", "integer", "long", "list") and (set(shape) & {"min", "max", "enum", "pattern"}):
        yield path, name
    if shape["type"] == "structure":
        for member, target in shape["members"].items():
            yield from places(target["shape"], path + (member,))
    elif shape["type"] == "list":
        yield from places(shape["member"]["shape"], path + (0,))


def with_value(name, path, value):
    """The smallest document of the shape that has a value at the path."""
    if not path:
        return value
    shape = SHAPES[name]
    if shape["type"] == "list":
        return [with_value(shape["member"]["shape"], path[1:], value)]
    below = with_value(shape["members"][path[0]]["shape"], path[1:], value)
    return {path[0]: below} if is_union(name) else {**smallest(name), path[0]: below}


def bounds(kind):
    """(path, document, is it allowed) for values on either side of every bound of a kind's spec."""
    for path, name in places(SPECS[kind]):
        shape = SHAPES[name]
        for value, good in values(name, shape, path):
            yield path, settle_bounds(kind, path, with_value(SPECS[kind], path, value)), good


def settle_bounds(kind, path, spec):
    settled = settle(kind, spec)
    if path[-1:] == ("port",) and "healthCheck" in path:  # it is the listener's port, whatever that is
        settled["listeners"][0]["healthCheck"]["port"] = spec["listeners"][0]["healthCheck"]["port"]
        if 1 <= spec["listeners"][0]["healthCheck"]["port"] <= 65535:
            settled["listeners"][0]["portMapping"]["port"] = spec["listeners"][0]["healthCheck"]["port"]
    return settled


def values(name, shape, path):
    if shape["type"] in ("integer", "long"):
        for bound, step in (("min", -1), ("max", 1)):
            if bound in shape:
                yield shape[bound], True
                yield shape[bound] + step, False
    elif "enum" in shape:
        yield shape["enum"][-1], True
        yield shape["enum"][0].lower() + "x", False
    elif shape["type"] == "string":
        fill = "/" if path[-1] in ("prefix", "value") and "prefix" in path else "a"
        if "pattern" in shape:
            yield "a b" if " " in shape["pattern"] else "ab", True
            yield " a" if " " in shape["pattern"] else "a b", False
        if "min" in shape and shape["min"] > 0:
            yield fill * shape["min"], True
            yield fill * (shape["min"] - 1), False
        if "max" in shape:
            yield fill * shape["max"], True
            yield fill * (shape["max"] + 1), False
    else:
        element = SHAPES[name]["member"]["shape"]
        one = smallest(element)
        for bound, step in (("min", -1), ("max", 1)):
            if bound in shape and shape[bound] + step >= 0:
                yield [one] * shape[bound], True
                yield [one] * (shape[bound] + step), False
