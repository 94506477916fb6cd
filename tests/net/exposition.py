# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus' text format 0.0.4: what it lets pass, Prometheus does."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SERIES = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? ([0-9.eE+-]+|\+Inf|NaN)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.type = name, text, None
        self.series = {}  # (suffix, labels as a frozenset of pairs) -> value


def labels_of(text):
    labels = [(name, re.sub(r'\\["\\n]', lambda escape: ESCAPES[escape[0]], value)) for name, value in re.findall(LABEL, text or "")]
    assert len({name for name, _ in labels}) == len(labels), f"a label twice: {text}"
    return frozenset(labels)


def check_histogram(family):
    for labels in {frozenset(pair for pair in key[1] if pair[0] != "le") for key in family.series}:
        buckets = sorted((float(dict(key[1])["le"]), value) for key, value in family.series.items()
                         if key[0] == "_bucket" and frozenset(pair for pair in key[1] if pair[0] != "le") == labels)
        assert buckets[-1] == (float("inf"), family.series["_count", labels]), f"{family.name}: +Inf is not the count: {labels}"
        assert all(low[1] <= high[1] for low, high in zip(buckets, buckets[1:])), f"{family.name} is not cumulative: {buckets}"


def parse(text, envoy=False):
    """Families by name. Fails where the format is broken. Envoy has no HELP, and calls its counters as it likes."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
            current = Family(match[1], match[2])
            assert current.name not in families, f"{current.name} comes twice"
            families[current.name] = current
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (\w+)", line):
            if envoy:
                assert match[1] not in families, f"{match[1]} comes twice"
                current = families[match[1]] = Family(match[1], None)
            assert current and match[1] == current.name and current.type is None and not current.series, line
            current.type = match[2]
            assert current.type in SUFFIXES, line
        else:
            match = SERIES.fullmatch(line)
            assert match, f"neither a comment nor a series: {line}"
            suffix = match[1].removeprefix(current.name)
            assert match[1].startswith(current.name) and suffix in SUFFIXES[current.type], f"{line} in {current.name}"
            key = suffix, labels_of(match[2])
            assert key not in current.series, f"twice: {line}"
            assert current.type == "gauge" or match[match.lastindex][0] not in "-N", line
            current.series[key] = float(match[match.lastindex])
    for family in families.values():
        assert family.type, f"{family.name} has no type"
        assert envoy or family.type != "counter" or family.name.endswith("_total"), family.name
        if family.type == "histogram":
            check_histogram(family)
    return families
