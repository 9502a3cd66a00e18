"""Turns parsed Go packages into the lines of the schema table.

A line is a type: its name, then one token a field:  name:type:number:flags[:extras]
  type    s string, b bool, i int32, l int64, f double, y bytes (base64), t Time, m MicroTime, d Duration, q Quantity,
          x IntOrString, r RawExtension, v FieldsV1, j any JSON, B A G JSONSchemaPropsOr{Bool,Array,StringArray},
          =Name a named string, Name a struct of the same package, package/version.Name one of another,
          [T a list of T, {T a map from string to T
  number  the protobuf field number; 0: none
  flags   r required, o omitempty, z omitzero, p pointer, A S M list is atomic, set, map, X map or struct is atomic,
          + strategic merge patch merges, R retainKeys, ! replaces
  extras  joined by ";": k=list map keys (comma), g=strategic merge key, n=Go name of a list, map or string type, and last
          d=default as JSON
A field named ^ stands for the fields of the struct it names, inlined in JSON (nested under its number in protobuf).
"Name =A,B" is a named string with its enumerated values, if it is an enum.
"""

import os
import gosource

SCALARS = {
    "string": "s", "bool": "b", "int32": "i", "int64": "l", "float64": "f", "[]byte": "y",
}
SPECIAL = {
    "k8s.io/apimachinery/pkg/apis/meta/v1.Time": "t",
    "k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime": "m",
    "k8s.io/apimachinery/pkg/apis/meta/v1.Duration": "d",
    "k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1": "v",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "q",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "x",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "r",
    "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON": "j",
    "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool": "B",
    "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray": "A",
    "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "G",
}
STRINGS = {"k8s.io/apimachinery/pkg/types": ("types", {"UID", "NodeName"})}
OMITTED = {"InternalEvent", "Patch", "Time", "MicroTime", "Duration", "FieldsV1", "JSON", "JSONSchemaPropsOrBool",
           "JSONSchemaPropsOrArray", "JSONSchemaPropsOrStringArray", "Timestamp", "PartialObjectMetadataHack"}


class Table:
    def __init__(self, root, names):
        """names: table name -> import path."""
        self.root = root
        self.names = {path: name for name, path in names.items()}
        self.packages = {name: gosource.load(root, path) for name, path in names.items()}
        self.strings = {}  # (package, name) of the named strings in use

    def lines(self, name, defaults):
        """The lines of a package, sorted; `defaults` is {type: {field: JSON}} and loses what it gives."""
        package = self.packages[name]
        found = {}
        for struct in package.structs.values():
            if struct.name in OMITTED or not struct.name[0].isupper():
                continue
            tokens = self.fields(package, name, struct, defaults.get(f"{name}.{struct.name}", {}))
            if tokens or struct.name in ("TypeMeta",):
                found[struct.name] = struct.name + "".join(" " + t for t in tokens)
            else:
                found[struct.name] = struct.name
        for name_, (go, alias, markers) in package.named.items():
            if go == "string" and not alias and name_[0].isupper():
                enum = any(key == "enum" for key, _ in markers)
                values = sorted(set(package.constants.get(name_, []))) if enum else []
                found[name_] = f"{name_} ={','.join(v for v in values if v)}"
        return [found[key] for key in sorted(found)]

    def fields(self, package, name, struct, defaults):
        tokens = []
        for f in struct.fields:
            tag = f.tags.get("json")
            if tag == "-" or tag is None:
                continue
            json, *options = tag.split(",")
            number = f.tags.get("protobuf", "0,0").split(",")[1]
            go = f.type
            pointer = go.startswith("*")
            code, alias = self.code(package, name, go.lstrip("*"))
            if "inline" in options or (f.embedded and not json):
                tokens.append(f"^:{code}:{number}:")
                continue
            flags = ""
            required = f.marked("required", "k8s:required")
            optional = f.marked("optional", "k8s:optional")
            if not optional and (required or not ("omitempty" in options or "omitzero" in options)):
                flags += "r"
            flags += "o" if "omitempty" in options else ""
            flags += "z" if "omitzero" in options else ""
            flags += "p" if pointer else ""
            flags += self.list_flags(f, struct, package, code)
            extras = []
            keys = f.values("listMapKey")
            if keys:
                extras.append("k=" + ",".join(keys))
            if f.tags.get("patchMergeKey"):
                extras.append("g=" + f.tags["patchMergeKey"])
            if alias:
                extras.append("n=" + alias)
            default = defaults.pop(json, None)
            marker = [v for v in f.values("default") if not v.startswith("ref(")]
            if default is None and marker:
                default = marker[0]
            if default is not None:
                extras.append("d=" + default)
            token = f"{json}:{code}:{number}:{flags}"
            tokens.append(token + (":" + ";".join(extras) if extras else ""))
        return tokens

    def list_flags(self, f, struct, package, code):
        flags = ""
        kind = (f.values("listType") or [""])[0]
        flags += {"atomic": "A", "set": "S", "map": "M"}.get(kind, "")
        atomic = "atomic" in f.values("mapType") + f.values("structType") or self.atomic(code, package)
        if atomic and not code.startswith("["):
            flags += "X"
        strategy = f.tags.get("patchStrategy", "").split(",")
        flags += "+" if "merge" in strategy else ""
        flags += "R" if "retainKeys" in strategy else ""
        flags += "!" if "replace" in strategy else ""
        return flags

    def atomic(self, code, package):
        """Whether the struct a field names is marked +structType=atomic, or is atomic by its marker."""
        owner, name = package, code
        if "/" in code:
            table, name = code.rsplit(".", 1)
            owner = self.packages.get(table)
        struct = owner.structs.get(name) if owner else None
        return bool(struct) and any(k in ("structType", "mapType") and v == "atomic" for k, v in struct.markers)

    def code(self, package, name, go):
        """(type code, Go name of a named list or map or None)."""
        if go in SCALARS:
            return SCALARS[go], None
        if go == "interface{}":
            return "j", None
        if go.startswith("[]"):
            return "[" + self.code(package, name, go[2:].lstrip("*"))[0], None
        if go.startswith("map["):
            return "{" + self.code(package, name, go.split("]", 1)[1])[0], None
        path, local = package.path, go
        if "." in go:
            qualifier, local = go.split(".")
            path = package.imports[qualifier]
        full = f"{path}.{local}"
        if full in SPECIAL:
            return SPECIAL[full], None
        if path in STRINGS:
            prefix, known = STRINGS[path]
            assert local in known, full
            return "s", f"{prefix}.{local}"
        table = self.names.get(path)
        assert table, f"{package.path}: type {go} is in {path}, which is not in packages-go.tsv"
        shown = local if table == name else f"{table}.{local}"
        owner = self.packages[table]
        if local in owner.structs:
            return shown, None
        assert local in owner.named, f"{package.path}: no type {go}"
        target, alias, _ = owner.named[local]
        if target == "string":
            return "=" + shown, None
        code, _ = self.code(owner, table, target)
        if table != name and code[-1:].isalnum() and len(code.lstrip("[{=")) > 1 and "/" not in code:
            head = code[: len(code) - len(code.lstrip("[{="))]
            code = f"{head}{table}.{code[len(head):]}"
        return code, None if alias or code[0] not in "[{" else shown

    def model(self, name):
        for key, value in self.packages[name].markers:
            if key == "k8s:openapi-model-package":
                return value
        return None
