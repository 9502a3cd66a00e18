"""Kinds beside the everyday ones, as kubectl uses them."""

import gzip
import json

from http_api import Api

REVIEW = """
apiVersion: authorization.k8s.io/v1
kind: SelfSubjectAccessReview
spec:
  resourceAttributes: {verb: create, group: apps, resource: deployments, namespace: default}
"""


def test_questions_are_created_from_files(node):
    # A kind without PATCH: kubectl looks whether it is a custom one, and lists the definitions for that.
    answer = json.loads(node.kubectl("create", "-f", "-", "-o", "json", input=REVIEW).stdout)
    assert answer["status"]["allowed"] is True
    assert "No resources found" in node.kubectl("get", "customresourcedefinitions").stderr
    refused = node.kubectl("auth", "can-i", "delete", "nodes", "--as", "jane", check=False)
    assert refused.stdout.strip() == "no" and refused.returncode == 1


def test_nobody_gives_away_more_than_he_has(ns):
    ns("create", "serviceaccount", "clerk")
    ns("create", "role", "clerk", "--verb=create,get,list,patch,update", "--resource=roles,rolebindings")
    ns("create", "rolebinding", "clerk", "--role=clerk", "--serviceaccount=" + ns.name + ":clerk")
    account = f"system:serviceaccount:{ns.name}:clerk"
    ns("create", "role", "same", "--verb=get", "--resource=roles", "--as", account)
    refused = ns("create", "role", "more", "--verb=get", "--resource=secrets", "--as", account, check=False)
    assert "is attempting to grant RBAC permissions not currently held" in refused.stderr
    bound = ns("create", "rolebinding", "admin", "--clusterrole=admin", "--user=jane", "--as", account, check=False)
    assert bound.returncode == 1 and "forbidden" in bound.stderr


def test_long_answers_are_compressed_for_who_takes_that(node, ns):
    api = Api(node)
    ns("create", "configmap", "small", "--from-literal=a=b")
    api.create(
        "v1/configmaps", {"metadata": {"name": "large"}, "data": {str(i): "x" * 1000 for i in range(200)}},
        namespace=ns.name)  # fmt: skip
    path = f"/api/v1/namespaces/{ns.name}/configmaps"
    for suffix in ("/large", ""):
        packed = api.raw("GET", path + suffix, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
        assert len(packed.body) < 20_000
        plain = api.raw("GET", path + suffix)
        assert "Content-Encoding" not in plain.headers and len(plain.body) > 200_000
        assert json.loads(gzip.decompress(packed.body)) == plain.json
    short = api.raw("GET", path + "/small", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in short.headers and short.json["data"] == {"a": "b"}
