#!/usr/bin/env python3
"""The table of conformance tests: which of them have a test here, by the first paragraph of the tests' docstrings.

    hack/conformance.py            writes docs/conformance.md
    hack/conformance.py --check    says what is wrong or out of date, exit code 1
"""

import ast
import collections
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIST = os.path.join(ROOT, "hack", "conformance.tsv")
TABLE = os.path.join(ROOT, "docs", "conformance.md")
TESTS = os.path.join(ROOT, "Tests", "e2e", "conformance", "test_*.py")
# What a case needs, and the engine that comes with a later issue.
LATER = {
    "crd": "custom resources", "admission-webhook": "admission webhooks", "map-cel": "admission policies",
    "vap-cel": "admission policies", "aggregation": "API aggregation",
}  # fmt: skip
# Their objects are tested here; what the engine then does is not.
BESIDE = "Beside the conformance cases:"


def plain(name):
    """Without tags such as [Slow] and without remarks in parentheses at the end."""
    name = re.sub(r"\s*\[[^]]*\]", "", name)
    return re.sub(r"\s+", " ", name).strip()


def cases():
    with open(LIST) as f:
        return [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]


def tests():
    """(file, function, first paragraph of its docstring)"""
    for path in sorted(glob.glob(TESTS)):
        with open(path) as f:
            tree = ast.parse(f.read())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = (ast.get_docstring(node) or "").split("\n\n")[0]
                yield os.path.basename(path), node.name, re.sub(r"\s+", " ", text)


def match():
    """The tests of each case, and what is wrong with them."""
    names = {plain(name): name for _, name, _ in cases()}
    found, wrong = collections.defaultdict(list), []
    for file, function, text in tests():
        if text.startswith(BESIDE):
            continue
        name = plain(text)
        remark = ""
        if name not in names and name.endswith(")"):
            # Where our test sees less than upstream's, the docstring says so at its end.
            name, _, remark = name[:-1].rpartition(" (")
        if name in names:
            found[names[name]].append((file, function, remark))
        else:
            wrong.append(f"{file}: {function}: its docstring names no conformance case: {text!r}")
    return found, wrong


def table(found):
    lines, counts = [], collections.Counter()
    area = None
    for this, name, needs in cases():
        later = sorted({LATER[n] for n in needs.split() if n in LATER})
        if this != area:
            area = this
            lines += ["", f"## {area}", "", "| case | state |", "|---|---|"]
        if name in found:
            counts["tested"] += 1
            state = "; ".join(
                f"`{file}` `{function}`" + (f" ({remark})" if remark else "") for file, function, remark in found[name]
            )
        elif later:
            counts["later"] += 1
            state = "later: " + ", ".join(later)
        else:
            counts["other"] += 1
            state = ""
        lines.append(f"| {name.replace('|', chr(92) + '|')} | {state} |")
    head = [
        "# Conformance tests of Kubernetes 1.36", "",
        "Written by `hack/conformance.py`; a test checks that it is up to date. A case has the state of the test in",
        "`Tests/e2e/conformance` that is named in its docstring, over HTTPS against a running server; \"later\" are those",
        "whose engine is not there yet. The others have no test of their own under their name; most need containers and the",
        "images of upstream's suite, and what they are about is tested in `Tests/e2e` in our own words.", "",
        f"{sum(counts.values())} cases: {counts['tested']} tested, {counts['later']} later,"
        f" {counts['other']} without a test of their own.",
    ]  # fmt: skip
    return "\n".join(head + lines) + "\n"


def main():
    found, wrong = match()
    text = table(found)
    if "--check" in sys.argv[1:]:
        with open(TABLE) as f:
            if f.read() != text:
                wrong.append("docs/conformance.md is out of date: run hack/conformance.py")
    elif not wrong:
        with open(TABLE, "w") as f:
            f.write(text)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
