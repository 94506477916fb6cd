# SPDX-License-Identifier: Apache-2.0
"""weft validate: needs no weftd and no root, and says file, line and column."""
import json
import re
import subprocess
from pathlib import Path

import pytest
from weft import BUILD

pytestmark = pytest.mark.one_kernel

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "tests/data/examples"


def validate(*words, stdin=None):
    return subprocess.run([BUILD / "weft", "validate", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=30)


def test_a_directory_of_resources_is_valid_and_what_it_lacks_is_noted():
    result = validate(EXAMPLES)
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.endswith("47 resources in 47 files: valid\n")
    assert (f"{EXAMPLES}/production-mesh/node-mtls.json:11:9: note: spec.listeners[0].tls: " in result.stdout)


def test_every_fault_of_every_file_is_told_with_its_place(tmp_path):
    (tmp_path / "router.json").write_text(
        '{"meshName": "m", "virtualRouterName": "r",\n "spec": {"listeners": [\n  {"portMapping": {"port": 70000, "protocol": "http"}}]}}')
    (tmp_path / "node.json").write_text('{"meshName": "m",\n "virtualNodeName": "n",\n "sepc": {}}')
    (tmp_path / "syntax.json").write_text('{"meshName":\n nonsense}')
    result = validate(tmp_path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert f"{tmp_path}/router.json:3:20: spec.listeners[0].portMapping.port: is 70000, allowed are 1 to 65535" in lines
    assert any(line.startswith(f"{tmp_path}/node.json:3:2: sepc: is not known here") for line in lines)
    assert any(line.startswith(f"{tmp_path}/syntax.json:2:") for line in lines)
    assert lines[-1] == "0 resources in 3 files: 3 errors"


def test_resources_are_checked_against_one_another():
    documents = [
        {"meshName": "m"},
        {"meshName": "m", "virtualRouterName": "r", "spec": {"listeners": [{"portMapping": {"port": 80, "protocol": "tcp"}}]}},
        {"meshName": "m", "virtualRouterName": "r", "routeName": "t", "spec": {"httpRoute": {
            "match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}}},
    ]
    result = validate("-", "--json", stdin="\n".join(map(json.dumps, documents)))
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    assert answer["valid"] is False and answer["resources"] == 3
    [error] = answer["errors"]
    assert (error["file"], error["line"], error["resource"]) == ("(standard input)", 3, "mesh/m/virtualRouter/r/route/t")
    assert "needs a listener of protocol http" in error["error"]
    [unresolved] = answer["unresolved"]
    assert unresolved["missing"] == "mesh/m/virtualNode/n"
    assert documents[2]["spec"]["httpRoute"] and unresolved["field"] == "spec.httpRoute.action.weightedTargets[0].virtualNode"


def test_what_cannot_be_read_is_refused_for_what_it_is(tmp_path):
    (tmp_path / "mesh.yaml").write_text("apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\n")
    (tmp_path / "main.tf").write_text('resource "aws_appmesh_mesh" "m" {}\n')
    (tmp_path / "mesh.k8s").write_text('{"apiVersion": "appmesh.k8s.aws/v1beta2", "kind": "Mesh"}')
    for name, text in {"mesh.yaml": "manifest of Kubernetes", "main.tf": "terraform.tfstate", "mesh.k8s": "manifest of Kubernetes",
                       "none.json": "No such file"}.items():
        result = validate(tmp_path / name)
        assert result.returncode == 1 and text in result.stdout
    assert validate().returncode == 2


def test_a_directory_without_resources_does_not_pass_for_a_valid_one(tmp_path):
    (tmp_path / "mesh.yaml").write_text("kind: Mesh\n")
    result = validate(tmp_path)
    assert result.returncode == 1
    assert "there is no resource in what was given, and 1 file is not called *.json" in result.stderr


def test_other_forms_are_checked_where_they_stand(tmp_path):
    """The same mesh as describe outputs, as a state of Terraform and as a template: valid; and a fault is told in the source's own lines."""
    data = ROOT / "tests/data/convert"
    assert validate(data / "describe").stdout.endswith("10 resources in 10 files: valid\n")
    assert validate(data / "terraform.tfstate").stdout.endswith("10 resources in 1 file: valid\n")
    template = (data / "template.yaml").read_text()
    assert validate("-", "--parameter", "MeshName=m", stdin=template).stdout.endswith("10 resources in 1 file: valid\n")

    (tmp_path / "template.yaml").write_text(template.replace("v1: 90", "v1: 900"))
    result = validate(tmp_path / "template.yaml", "--parameter", "MeshName=m")
    assert result.returncode == 1
    line = next(i for i, text in enumerate(template.splitlines(), 1) if "Weight: !FindInMap" in text)
    assert re.search(rf"^{tmp_path}/template.yaml:{line}:\d+: spec.httpRoute.action.weightedTargets\[0\].weight: is 900", result.stdout, re.M)

    result = validate(data / "template.yaml")
    assert result.returncode == 1
    assert "MeshName: a parameter without default; `--parameter MeshName=VALUE` gives it" in result.stdout
