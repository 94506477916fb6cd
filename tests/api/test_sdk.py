# SPDX-License-Identifier: Apache-2.0
"""The SDKs of other languages, as they come from their registries (`make sdk`), where only this endpoint can be reached."""
import json
import shutil
import subprocess

import pytest

from api import ACCOUNT, BUILD, HERE, ROOT_ID, ROOT_SECRET

SDK = BUILD / "sdk"
LIFE = {"node": ["node", HERE / "sdk/node/life.js"], "go": [SDK / "go/life"]}
SEEN = {
    "mesh": ["m", "DROP_ALL", "ACTIVE", 1, f"arn:aws:appmesh:us-east-1:{ACCOUNT}:mesh/m"],
    "createdWithinAMinute": True,
    "node": ["n4", 8084, "n4.local"],
    "router": ["r", "http"],
    "service": ["s.local", "r"],
    "pages": [["n0", "n1"], ["n2", "n3"], ["n4"]],
    "route": ["to b", 2, 7, "/x", [50, 30, 20], "ms", 1500],
    "tags": ["stage=test", "team=b"],
    "tagsLeft": ["stage=test"],
    "refused": ["ConflictException 409", "NotFoundException 404", "ResourceInUseException 409", "BadRequestException 400"],
    "deleted": ["DELETED"] * 9,
    "left": 0,
}


@pytest.mark.parametrize("language", LIFE)
def test_a_mesh_lives_and_ends_by_the_sdk_of(api, language):
    if not (SDK / f"{language}.wanted").exists():
        missing = SDK / f"{language}.missing"
        pytest.skip(f"{missing.read_text().strip()[:300]}" if missing.exists() else "`make sdk` was not run")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(api.directory), "NODE_PATH": str(SDK / "node/node_modules"), "AWS_REGION": "us-east-1",
                   "AWS_ACCESS_KEY_ID": ROOT_ID, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET, "AWS_EC2_METADATA_DISABLED": "true",
                   "WEFT_ENDPOINT": api.url}
    program, *words = LIFE[language]
    result = subprocess.run([*api.namespace.prefix(), shutil.which(program), *words], env=environment, capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == SEEN
