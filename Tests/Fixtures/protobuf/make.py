#!/usr/bin/env python3
"""Makes objects.tsv: one object of every kind of the API, encoded by Google's protobuf, for the tests of our codec.

Usage: make.py OUT_OF_PROTOC KINDS > objects.tsv
  OUT_OF_PROTOC  where `protoc -I. --python_out=DIR` of Kubernetes' generated.proto files wrote its modules (Debian's
                 golang-k8s-{api,apimachinery}-dev 0.36.4, PyPI grpcio-tools)
  KINDS          lines "group version kind message"

Every field of every message type is set once in the whole file, to a value that is not zero.
"""
import base64
import importlib
import sys

sys.path.insert(0, sys.argv[1])
META = "k8s.io.apimachinery.pkg.apis.meta.v1."
QUANTITY = "k8s.io.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "k8s.io.apimachinery.pkg.util.intstr.IntOrString"
RAW = {"k8s.io.apimachinery.pkg.runtime.RawExtension": b'{"a":1}', META + "FieldsV1": b'{"f:a":{}}'}
seen, counter = set(), [0]


def scalar(field):
    counter[0] += 1
    n = counter[0]
    kinds = {field.TYPE_BOOL: True, field.TYPE_DOUBLE: n + 0.5, field.TYPE_BYTES: b"bytes%d" % n}
    if field.type == field.TYPE_STRING:
        return f"{field.name[:6]}{n}"
    return kinds.get(field.type, n)


def descriptor_raw(message):
    return "Raw" if "Raw" in message.DESCRIPTOR.fields_by_name else "raw"


def special(message):
    name = message.DESCRIPTOR.full_name
    if name == META + "Time":
        message.seconds = 1700000000 + counter[0]
    elif name == META + "MicroTime":
        message.seconds, message.nanos = 1700000000, 123456000
    elif name == META + "Duration":
        message.duration = 5400 * 10**9
    elif name == QUANTITY:
        message.string = "100m"
    elif name == INT_OR_STRING:
        message.type, message.strVal = 1, "50%"
    elif name in RAW:
        setattr(message, descriptor_raw(message), RAW[name])
    else:
        return False
    return True


def fill(message, is_root=False):
    """Returns whether anything was set."""
    descriptor = message.DESCRIPTOR
    if special(message):
        return
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        if field.type != field.TYPE_MESSAGE:
            if repeated:
                getattr(message, field.name).extend([scalar(field), scalar(field)])
            else:
                setattr(message, field.name, scalar(field))
        elif field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            if value.type == value.TYPE_MESSAGE:
                fill(getattr(message, field.name)["key"])
            else:
                getattr(message, field.name)["key"] = scalar(value)
        elif repeated:
            fill(getattr(message, field.name).add())
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            fill(inner)


def main():
    for line in open(sys.argv[2], encoding="utf-8"):
        group, version, kind, path = line.rstrip("\n").split("\t")
        module = importlib.import_module(path.replace("/", ".") + ".generated_pb2")
        message = getattr(module, kind)()
        fill(message)
        api = version if not group else f"{group}/{version}"
        print(api, kind, base64.b64encode(message.SerializeToString(deterministic=True)).decode(), sep="\t")


main()
