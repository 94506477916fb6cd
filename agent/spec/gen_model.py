#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints C tables of the operations (agent/spec/operation.h), and of every shape that their inputs reach (agent/spec/model.h):
gen_model.py model.json

Fails on anything in the model that the tables cannot say, so that a newer model is never validated by half."""
import json
import re
import sys

# What an operation does to what: its name is made of both.
VERBS = ["Create", "Describe", "Update", "Delete", "List"]
NOUNS = {"Mesh": "MESH", "VirtualService": "VIRTUAL_SERVICE", "VirtualNode": "VIRTUAL_NODE", "VirtualRouter": "VIRTUAL_ROUTER",
         "Route": "ROUTE", "VirtualGateway": "VIRTUAL_GATEWAY", "GatewayRoute": "GATEWAY_ROUTE"}
TAG_OPERATIONS = {"TagResource": "TAG", "UntagResource": "UNTAG", "ListTagsForResource": "LIST_TAGS"}
PLACES = {"uri", "querystring"}

# What the service documents and its model leaves out. Values replace what the model says.
AMENDMENTS = {
    "Duration": {"required": ["unit", "value"]},
    "HttpPathMatch": {"union": True},
    "GatewayRouteHostnameMatch": {"union": True},
    "QueryParameterMatch": {"required": ["exact"]},
    "HttpGatewayRoutePathRewrite": {"required": ["exact"]},
    "HttpGatewayRoutePrefixRewrite": {"union": True},
}
# "https" is in no enum of the model, and in the port mappings of documents that users have (resource.h, port_mapping_read).
PORT_MAPPINGS = ["PortMapping", "VirtualGatewayPortMapping"]

# Each pattern of the model is a function of validate.c: linear, and the same in every locale.
PATTERNS = {
    "^[a-zA-Z0-9!-~]+$": ("pattern_graphic", "printable ASCII without spaces"),
    "^([a-zA-Z0-9!-~][  a-zA-Z0-9!-~]*){0,1}[a-zA-Z0-9!-~]{0,1}$":
        ("pattern_graphic_first", "printable ASCII that does not begin with a space"),
}

TYPES = {"structure": "SHAPE_STRUCTURE", "list": "SHAPE_LIST", "string": "SHAPE_STRING", "integer": "SHAPE_NUMBER",
         "long": "SHAPE_NUMBER", "boolean": "SHAPE_BOOLEAN"}
RANGES = {"integer": (-2**31, 2**31 - 1), "long": (-2**63, 2**63 - 1), "list": (0, 2**63 - 1), "string": (0, 2**63 - 1)}
KNOWN = {"type", "required", "members", "member", "enum", "min", "max", "pattern", "union", "box"}


def children(shape):
    return [m["shape"] for m in shape.get("members", {}).values()] + ([shape["member"]["shape"]] if "member" in shape else [])


def reach(shapes, roots):
    """Names in the order they are met; a cycle would let a document be as deep as it likes."""
    order, open_ = [], []

    def visit(name):
        if name in open_:
            sys.exit(f"model: {name} contains itself")
        if name in order:
            return
        open_.append(name)
        for child in children(shapes[name]):
            visit(child)
        open_.pop()
        order.append(name)

    for root in roots:
        visit(root)
    return order


def amend(shapes):
    for name, changes in AMENDMENTS.items():
        shapes[name] = {**shapes[name], **changes}
    for name in PORT_MAPPINGS:
        protocol = shapes[name]["members"]["protocol"]
        enum = shapes[protocol["shape"]]
        shapes[name + "Protocol"] = {**enum, "enum": enum["enum"] + ["https"]}
        protocol["shape"] = name + "Protocol"


def c_int(value):
    return {2**63 - 1: "INT64_MAX", -2**63: "INT64_MIN", 2**31 - 1: "INT32_MAX", -2**31: "INT32_MIN"}.get(value, str(value))


def c_string(text):
    return json.dumps(text)


def kind_and_verb(name):
    if name in TAG_OPERATIONS:
        return "RESOURCE_KIND_COUNT", TAG_OPERATIONS[name]
    for verb in VERBS:
        noun = name.removeprefix(verb)
        singular = re.sub("(?<=sh)es$|s$", "", noun) if verb == "List" else noun
        if noun != name and singular in NOUNS:
            return "RESOURCE_" + NOUNS[singular], verb.upper()
    sys.exit(f"model: operation {name} is not known here")


def print_operations(operations, shapes, number):
    rows = []
    for name, operation in operations.items():
        kind, verb = kind_and_verb(name)
        members = shapes[operation["input"]]["members"]
        for member, target in members.items():
            if target.get("location", "uri") not in PLACES or target.get("locationName", member) != member:
                sys.exit(f"model: {name} has '{member}' in a place that is not known here")
        if operation["responseCode"] != 200:
            sys.exit(f"model: {name} answers {operation['responseCode']}")
        result = operation.get("pagination", {}).get("resultKey") or operation.get("outputPayload")
        for place in ["query", "body"]:
            print(f"static const char *const {place}_{name}[] = {{ "
                  f"{''.join(c_string(m) + ', ' for m in operation[place + 'Members'])}NULL }};")
        rows.append(f"\t{{ {c_string(name)}, OPERATION_{verb}, {kind}, {c_string(operation['method'])}, "
                    f"{c_string(operation['requestUri'])}, &model_shapes[{number[operation['input']]}], query_{name}, body_{name}, "
                    f"{c_string(result) if result else 'NULL'} }},")
    print("\nconst struct model_operation model_operations[] = {")
    print("\n".join(rows))
    print("\t{}\n};")


def main():
    with open(sys.argv[1]) as file:
        model = json.load(file)
    shapes, operations = model["shapes"], model["operations"]
    amend(shapes)
    order = reach(shapes, [o["input"] for o in operations.values()])
    number = {name: i for i, name in enumerate(order)}

    print("/* Generated by agent/spec/gen_model.py from agent/spec/model.json. */")
    print('#include "agent/spec/operation.h"\n')
    rows = []
    for name in order:
        shape = shapes[name]
        unknown = set(shape) - KNOWN
        if unknown or shape["type"] not in TYPES:
            sys.exit(f"model: {name} has {sorted(unknown) or shape['type']}, which is not known here")
        fields = [f".name = {c_string(name)}", f".type = {TYPES[shape['type']]}"]
        if shape["type"] in RANGES:
            low, high = RANGES[shape["type"]]
            fields += [f".min = {c_int(shape.get('min', low))}", f".max = {c_int(shape.get('max', high))}"]
        if shape.get("union"):
            fields.append(".exactly_one = true")
        if "enum" in shape:
            print(f"static const char *const values_{name}[] = {{ {', '.join(map(c_string, shape['enum']))}, NULL }};")
            fields.append(f".values = values_{name}")
        if "pattern" in shape:
            if shape["pattern"] not in PATTERNS:
                sys.exit(f"model: {name} has pattern {shape['pattern']}: give it a function")
            function, words = PATTERNS[shape["pattern"]]
            fields += [f".matches = {function}", f".pattern = {c_string(words)}"]
        if shape["type"] == "structure":
            required = shape.get("required", [])
            print(f"static const struct shape_member members_{name}[] = {{")
            for member, target in shape["members"].items():
                print(f"\t{{ {c_string(member)}, &model_shapes[{number[target['shape']]}], {str(member in required).lower()} }},")
            print("\t{}\n};")
            fields.append(f".members = members_{name}")
        if shape["type"] == "list":
            fields.append(f".element = &model_shapes[{number[shape['member']['shape']]}]")
        rows.append(f"\t{{ {', '.join(fields)} }},")
    print("\nconst struct shape model_shapes[] = {")
    print("\n".join(rows))
    print("\t{}\n};\n")
    print_operations(operations, shapes, number)


main()
