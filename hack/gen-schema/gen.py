#!/usr/bin/env python3
"""Makes Sources/KubeAPI/Schema/Generated from the Go sources of Kubernetes' API types and the tables in this directory.

Usage: gen.py GO_SOURCE_ROOT OUTPUT_DIRECTORY     (see README.md; fetch.sh gets the Go sources)
"""

import base64
import hashlib
import json
import os
import sys

from table import Table

HERE = os.path.dirname(os.path.abspath(__file__))
STANDARD = "create,delete,deletecollection,get,list,patch,update,watch"
HEADER = "// Made by hack/gen-schema/gen.py: change its inputs, not this file.\n// swift-format-ignore-file\n\n"


def rows(name):
    for line in open(os.path.join(HERE, name), encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            yield line.rstrip("\n").split("\t")


def literal(lines):
    """A raw multi-line string literal; the table has none of its delimiters in it."""
    text = "\n".join(lines)
    assert '"""#' not in text and "\\#" not in text
    return '#"""\n' + text + '\n"""#'


def identifier(name):
    return name.replace("/", "_")


def read_defaults():
    found = {}
    for type_, field, value in rows("defaults.tsv"):
        json.loads(value)
        assert " " not in value and ";" not in value, value
        found.setdefault(type_, {})[field] = value
    return found


def read_extra():
    packages, current = [], None
    for line in open(os.path.join(HERE, "types-extra.txt"), encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("@"):
            name, group, version, model = line[1:].split(" ")
            current = []
            packages.append((name, group, version, model, current))
        elif line and not line.startswith("#"):
            current.append(line)
    return packages


def with_defaults(line, defaults):
    """Adds defaults to a line that is already in the table's form."""
    tokens = line.split(" ")
    for i, token in enumerate(tokens[1:], 1):
        parts = token.split(":")
        value = defaults.pop(parts[0], None)
        if value is not None:
            extras = parts[4] + ";" if len(parts) > 4 else ""
            tokens[i] = ":".join(parts[:4] + [extras + "d=" + value])
    return " ".join(tokens)


def storage_hash(group, version, kind):
    """What clients compare to see that the stored form changed: 8 bytes of SHA-256 over group/version/kind."""
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def resource_lines(packages, types):
    columns = {key: value for key, value in rows("columns.tsv")}
    used = set()
    for row in rows("resources.tsv"):
        package, kind, plural, scope, short, categories, verbs, subresources, served, storage = row
        group, version = packages[package]
        assert f"{package}.{kind}" in types, f"{package}.{kind}"
        verbs = STANDARD if verbs == "std" else verbs
        hashed = ""
        if storage != "-":
            stored, stored_kind = (package, kind) if storage == "yes" else storage.split(".")
            hashed = storage_hash(*packages[stored], stored_kind)
        shown = columns.get(f"{package}.{plural}") or columns.get(plural) or ""
        used |= {f"{package}.{plural}", plural}
        for part in filter(None, subresources.split(";")):
            body = part.split("[")[1].split("]")[0]
            assert (body if "/" in body else f"{package}.{body}") in types, part
        singular = kind.lower()
        yield "\t".join([package, kind, plural, singular, scope, short, categories, verbs, subresources, hashed, served, shown])
    assert not set(columns) - used, set(columns) - used


def main():
    root, out = sys.argv[1], sys.argv[2]
    os.makedirs(out, exist_ok=True)
    packages = [r for r in rows("packages-go.tsv")]
    table = Table(root, {r[0]: r[1] for r in packages})
    defaults = read_defaults()
    made, listed = {}, []
    types = set()
    for name, path, group, version, model in packages:
        lines = table.lines(name, defaults)
        model = table.model(name) if model == "-" else model
        assert model, f"no OpenAPI model prefix for {name}"
        listed.append((name, group, version, model, lines))
    for name, group, version, model, lines in read_extra():
        lines = [with_defaults(l, defaults.get(f"{name}.{l.split(' ')[0]}", {})) for l in lines]
        listed.append((name, group, version, model, lines))
    listed.sort(key=lambda row: row[0])
    left = {t: f for t, f in defaults.items() if f}
    assert not left, f"defaults.tsv names what is not there: {left}"

    for name, group, version, model, lines in listed:
        types |= {f"{name}.{line.split(' ')[0]}" for line in lines}
        made[f"SchemaTable+{identifier(name)}.swift"] = (
            HEADER + "extension SchemaTable {\n" + f"    /// {name}: {len(lines)} types.\n"
            + f"    static var {identifier(name)}: StaticString {{\n" + literal(lines) + "\n    }\n}\n")
    entries = "".join(
        f'        Package(name: "{n}", group: "{"" if g == "-" else g}", version: "{v}", model: "{m}", text: {identifier(n)}),\n'
        for n, g, v, m, _ in listed)
    made["SchemaTable+Packages.swift"] = (
        HEADER + "extension SchemaTable {\n    /// Sorted by name.\n    static let packages: [Package] = [\n"
        + entries + "    ]\n}\n")
    groups = {n: ("" if g == "-" else g, v) for n, g, v, _, _ in listed}
    resources = list(resource_lines(groups, types))
    made["SchemaTable+Resources.swift"] = (
        HEADER + "extension SchemaTable {\n    /// package, kind, plural, singular, scope, short names, categories, verbs, "
        + "subresources,\n    /// storage version hash, served, columns; tabs between.\n"
        + "    static var resources: StaticString {\n" + literal(resources) + "\n    }\n}\n")
    descriptions = sorted("\t".join(row) for row in rows("descriptions.tsv"))
    described = {f"{n}.{line.split(' ')[0]}": line for n, _, _, _, lines in listed for line in lines}
    for row in descriptions:
        name, _, field = row.split("\t")[0].partition("#")
        assert name in described, row
        assert not field or f" {field}:" in described[name] or "^" in described[name], row
    made["SchemaTable+Descriptions.swift"] = (
        HEADER + "extension SchemaTable {\n    /// Sorted: type or type#field, tab, a sentence.\n"
        + "    static var descriptions: StaticString {\n" + literal(descriptions) + "\n    }\n}\n")

    for name in os.listdir(out):
        if name.startswith("SchemaTable+") and name not in made:
            os.remove(os.path.join(out, name))
    for name, text in made.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(text)
    size = sum(len(line) + 1 for *_, lines in listed for line in lines)
    print(f"{len(types)} types, {size} bytes; {len(resources)} resources")


if __name__ == "__main__":
    main()
