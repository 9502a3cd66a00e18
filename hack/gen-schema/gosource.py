"""Reads the type declarations of Go packages: enough of the language for Kubernetes' API types, no more.

A package is a directory; the result is its structs (fields with tags and markers), named types and string constants.
"""

import os
import re
from dataclasses import dataclass, field

STRUCT = re.compile(r"^type (\w+) struct ?\{(\})?")
NAMED = re.compile(r"^\s*(?:type )?(\w+) (=\s*)?([\w\[\].*]+)\s*(?://.*)?$")
FIELD = re.compile(r"^\s*(\w+)\s+([^\s`]+)\s+`([^`]*)`")
EMBEDDED = re.compile(r"^\s*(\*?[\w.]+)\s+`([^`]*)`")
TAG = re.compile(r'(\w+):"([^"]*)"')
IMPORT = re.compile(r'^\s*(?:import\s+)?(\w+)?\s*"([^"]+)"')
CONSTANT = re.compile(r'^\s*(?:const )?\w+\s+(\w+)\s*=\s*"([^"]*)"')
CONVERTED = re.compile(r'^\s*(?:const )?\w+\s*=\s*(\w+)\("([^"]*)"\)')
MARKER = re.compile(r"^\s*//\s*\+([^\s=]+)(?:=(.*))?$")


@dataclass
class Field:
    name: str
    type: str
    tags: dict
    markers: list
    doc: list
    embedded: bool = False

    def marked(self, *names):
        return any(key in names for key, _ in self.markers)

    def values(self, name):
        return [value for key, value in self.markers if key == name]


@dataclass
class Struct:
    name: str
    fields: list = field(default_factory=list)
    markers: list = field(default_factory=list)


@dataclass
class Package:
    path: str
    structs: dict = field(default_factory=dict)
    named: dict = field(default_factory=dict)  # name -> (Go type, is alias, markers)
    constants: dict = field(default_factory=dict)  # type name -> values
    imports: dict = field(default_factory=dict)  # local name -> import path
    markers: list = field(default_factory=list)  # of doc.go


def markers_of(comments):
    found = []
    for line in comments:
        match = MARKER.match(line)
        if match:
            value = (match.group(2) or "").strip().rstrip(",")
            found.append((match.group(1).split("(")[0], value))
    return found


def sources(directory):
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".go") or name.endswith("_test.go"):
            continue
        if name.startswith(("zz_generated", "generated.pb", "types_swagger", "conversion", "defaults")):
            continue
        yield name, open(os.path.join(directory, name), encoding="utf-8").read().split("\n")


def load(root, path):
    """The package at an import path below `root` (the directory that holds k8s.io)."""
    package = Package(path)
    for name, lines in sources(os.path.join(root, path)):
        if name == "doc.go":
            package.markers += markers_of(lines)
        _file(package, lines)
    return package


def _file(package, lines):
    comments, above = [], []  # the comment block that touches the declaration, and the one before it
    struct, in_import, in_types = None, False, False
    for line in lines:
        stripped = line.strip()
        if struct is None and stripped.startswith("import ("):
            in_import = True
            continue
        if in_import:
            if stripped == ")":
                in_import = False
            else:
                _import(package, stripped)
            continue
        if struct is None and line.startswith("import "):
            _import(package, stripped)
            continue
        if stripped.startswith("//"):
            comments.append(stripped)
            continue
        if not stripped:
            if comments:
                above, comments = comments, []
            continue
        if struct is not None:
            if line.startswith("}"):
                struct = None
            else:
                _field(struct, stripped, comments)
            above, comments = [], []
            continue
        match = STRUCT.match(line)
        if match:
            found = Struct(match.group(1), markers=markers_of(above + comments))
            package.structs[found.name] = found
            struct = None if match.group(2) else found
        elif line.startswith("type ("):
            in_types = True
        elif in_types and line.startswith(")"):
            in_types = False
        elif line.startswith("type ") or in_types:
            match = NAMED.match(line)
            if match:
                package.named[match.group(1)] = (match.group(3), bool(match.group(2)), markers_of(above + comments))
        else:
            match = CONSTANT.match(line) or CONVERTED.match(line)
            if match:
                package.constants.setdefault(match.group(1), []).append(match.group(2))
        above, comments = [], []


def _import(package, line):
    match = IMPORT.match(line)
    if match:
        package.imports[match.group(1) or match.group(2).rsplit("/", 1)[-1]] = match.group(2)


def _field(struct, line, comments):
    match = FIELD.match(line)
    if match:
        name, type_, tags = match.groups()
        embedded = False
    else:
        match = EMBEDDED.match(line)
        if not match:
            return
        type_, tags = match.groups()
        name, embedded = type_.rsplit(".", 1)[-1].lstrip("*"), True
    doc = [c.lstrip("/").strip() for c in comments]
    struct.fields.append(Field(name, type_, dict(TAG.findall(tags)), markers_of(comments), doc, embedded))
