# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completion: they have what the programs have, and `make install` puts them where they are looked for."""
import re
import subprocess
from pathlib import Path

import pytest
from weft import BUILD

pytestmark = pytest.mark.one_kernel

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {"weft": "man1/weft.1", "weftd": "man8/weftd.8", "weft-proxy": "man8/weft-proxy.8", "weft-loader": "man8/weft-loader.8"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("installed")
    make("install", directory)
    return directory


def make(target, directory):
    subprocess.run(["make", "-s", target, f"BUILD={BUILD}", f"DESTDIR={directory}", "PREFIX=/usr"], cwd=ROOT, check=True, capture_output=True)


def options_of(*argv):
    text = subprocess.run([BUILD / argv[0], *argv[1:], "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^  (--[a-z0-9-]+)", text, re.M))


def commands_of(program):
    text = subprocess.run([BUILD / program, "--help"], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^  ([a-z][a-z-]*)  ", text, re.M)


def page(installed, program):
    """As people read it, and what groff had to say against it."""
    path = installed / "usr/share/man" / PAGES[program]
    return subprocess.run(["groff", "-man", "-ww", "-Tascii", "-P-cbou", path], check=True, capture_output=True, text=True)


def completed(installed, line):
    """The words that bash offers at the end of the line."""
    program = line.split()[0]
    script = """
source "$1"
COMP_WORDS=($2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $2 == *' ' ]] && COMP_WORDS+=('') && COMP_CWORD=$((COMP_CWORD + 1))
_weft "${COMP_WORDS[0]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    path = installed / "usr/share/bash-completion/completions" / program
    result = subprocess.run(["bash", "-c", script, "bash", path, line], check=True, capture_output=True, text=True)
    assert not result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("program", PAGES)
def test_every_page_is_clean_and_has_every_command_and_option(installed, program):
    shown = page(installed, program)
    assert not shown.stderr
    expected = options_of(program)
    for command in commands_of(program):
        assert f"{program} {command}" in shown.stdout
        if program == "weft":
            expected |= options_of(program, command)
    assert len(expected) > 3
    assert expected <= set(re.findall(r"^ +(--[a-z0-9-]+)", shown.stdout, re.M))


def test_commands_and_options_are_completed(installed):
    assert completed(installed, "weft do") == {"doctor"}
    assert completed(installed, "weft ") == set(commands_of("weft"))
    assert completed(installed, "weft explain --f") == {"--from"}
    assert completed(installed, "weft status --") == options_of("weft", "status")
    assert completed(installed, "weftd --") == options_of("weftd")
    assert completed(installed, "weft-loader ") == set(commands_of("weft-loader")) | options_of("weft-loader")
    assert completed(installed, "weft-loader install --cg") == {"--cgroup"}
    assert completed(installed, "weft-proxy --log-format ") == {"text", "json"}
    assert completed(installed, "weftd --options-file /etc/passw") >= {"/etc/passwd"}
    assert "cat" in completed(installed, "weft run --virtual-node n -- ca")


def test_uninstall_takes_all_of_it_away_again(tmp_path):
    make("install", tmp_path)
    assert len([path for path in tmp_path.rglob("*") if not path.is_dir()]) > 12
    make("uninstall", tmp_path)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
