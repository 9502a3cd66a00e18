"""Discovery, versions, pages of lists and tables: upstream's test/e2e/apimachinery discovery, chunking and table cases."""

import concurrent.futures
import re
import time

import pytest
from harness import Failed, wait_until
from http_api import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GROUPS = {
    "apps/v1", "admissionregistration.k8s.io/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1",
    "autoscaling/v1", "autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
    "discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1", "networking.k8s.io/v1",
    "node.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "resource.k8s.io/v1", "scheduling.k8s.io/v1",
    "storage.k8s.io/v1",
}  # fmt: skip


def aggregated(api, path):
    response = api.raw("GET", path, headers={"Accept": AGGREGATED})
    assert response.code == 200, response
    assert response.headers["Content-Type"] == AGGREGATED
    found = response.json
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    return found["items"]


def test_aggregated_discovery_names_every_group(api):
    """AggregatedDiscovery should support aggregated discovery interface"""
    found = {
        f"{group['metadata']['name']}/{version['version']}": version
        for group in aggregated(api, "/apis")
        for version in group["versions"]
    }
    assert GROUPS <= set(found), GROUPS - set(found)
    deployments = next(r for r in found["apps/v1"]["resources"] if r["resource"] == "deployments")
    assert deployments["scope"] == "Namespaced" and deployments["responseKind"]["kind"] == "Deployment"
    assert {"scale", "status"} <= {s["subresource"] for s in deployments["subresources"]}
    core = aggregated(api, "/api")[0]
    assert "pods" in [r["resource"] for r in core["versions"][0]["resources"]]


def test_aggregated_discovery_by_accept_header(api):
    """AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers"""
    for path in ("/api", "/apis"):
        items = aggregated(api, path)
        for group in items:
            for version in group["versions"]:
                assert version["freshness"] == "Current" and version["resources"], group
        # Who does not ask for it gets the old form, and the entity tag answers a second question.
        plain = api.raw("GET", path)
        assert plain.json["kind"] == {"/api": "APIVersions", "/apis": "APIGroupList"}[path]
        first = api.raw("GET", path, headers={"Accept": AGGREGATED})
        again = api.raw("GET", path, headers={"Accept": AGGREGATED, "If-None-Match": first.headers["ETag"]})
        assert again.code == 304 and not again.body
    both = api.raw("GET", "/apis", headers={"Accept": AGGREGATED + ",application/json"})
    assert both.json["kind"] == "APIGroupDiscoveryList"


def test_preferred_version_is_one_of_the_groups(api):
    """Discovery should validate PreferredVersion for each APIGroup"""
    groups = api.get("/apis")["groups"]
    for listed in groups:
        group = api.get("/apis/" + listed["name"])
        assert group["kind"] == "APIGroup" and group["preferredVersion"] == listed["preferredVersion"]
        versions = [v["groupVersion"] for v in group["versions"]]
        assert group["preferredVersion"]["groupVersion"] in versions
        assert group["preferredVersion"]["groupVersion"] == f"{group['name']}/{group['preferredVersion']['version']}"


@pytest.mark.parametrize(
    "group, version, resource",
    [
        ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
        ("apps", "v1", "deployments"),
        ("authentication.k8s.io", "v1", "tokenreviews"),
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
        ("autoscaling", "v1", "horizontalpodautoscalers"),
        ("autoscaling", "v2", "horizontalpodautoscalers"),
        ("batch", "v1", "jobs"),
        ("certificates.k8s.io", "v1", "certificatesigningrequests"),
        ("coordination.k8s.io", "v1", "leases"),
        ("discovery.k8s.io", "v1", "endpointslices"),
        ("networking.k8s.io", "v1", "ingresses"),
        ("node.k8s.io", "v1", "runtimeclasses"),
        ("policy", "v1", "poddisruptionbudgets"),
        ("scheduling.k8s.io", "v1", "priorityclasses"),
        ("rbac.authorization.k8s.io", "v1", "clusterroles"),
        ("storage.k8s.io", "v1", "storageclasses"),
    ],
)
def test_group_version_and_resource_are_located(api, group, version, resource):
    """Discovery should locate the groupVersion and a resource within each APIGroup"""
    assert group in [g["name"] for g in api.get("/apis")["groups"]]
    assert f"{group}/{version}" in [v["groupVersion"] for v in api.get("/apis/" + group)["versions"]]
    found = api.get(f"/apis/{group}/{version}")
    assert found["groupVersion"] == f"{group}/{version}"
    assert resource in [r["name"] for r in found["resources"]]


def test_server_version(api):
    """server version should find the server version"""
    version = api.get("/version")
    assert version["major"] == "1"
    assert re.fullmatch(r"[0-9]+\+?", version["minor"]) and int(version["minor"].rstrip("+")) >= 36
    assert version["gitVersion"].startswith("v1." + version["minor"].rstrip("+"))


def test_no_table_of_what_is_no_resource(api):
    """Servers with support for Table transformation should return a 406 for a backend which does not implement metadata"""
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io", "Content-Type": "application/json"}
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
    }  # fmt: skip
    api.refused(406, "NotAcceptable", "POST", "authorization.k8s.io/v1/selfsubjectaccessreviews", body, headers=table)


def template(name, **metadata):
    labels = {"test": "chunking"}
    return {
        "metadata": {"name": name, **metadata},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "test", "image": "test2"}]}},
    }


def fill(space, names):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: space.create("v1/podtemplates", template(name)), names))


def test_pages_of_a_list_are_of_one_revision(space):
    """Servers with support for API chunking should return chunks of results for list calls"""
    names = [f"template-{i:04}" for i in range(40)]
    fill(space, names)
    for limit in (1, 7, 17, 39):
        seen, token, revision = [], None, None
        while True:
            page = space.get("v1/podtemplates", limit=limit, **({"continue": token} if token else {}))
            metadata = page["metadata"]
            assert len(page["items"]) <= limit
            revision = revision or metadata["resourceVersion"]
            assert metadata["resourceVersion"] == revision
            seen += [item["metadata"]["name"] for item in page["items"]]
            token = metadata.get("continue")
            if not token:
                assert "remainingItemCount" not in metadata
                break
            assert len(page["items"]) == limit and metadata["remainingItemCount"] == 40 - len(seen)
            # What comes after the first page is not in the later ones.
            if len(seen) == limit:
                space.create("v1/podtemplates", template(f"zz-{limit}"))
        assert seen == names, limit
        space.delete("v1/podtemplates", f"zz-{limit}")
    whole = space.items("v1/podtemplates")
    assert [item["metadata"]["name"] for item in whole] == names


def test_a_list_goes_on_after_its_revision_is_forgotten(own_node):
    """Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent [Slow]"""
    own_node.flags += ["--kube-apiserver-arg=etcd-compaction-interval=2s", "--disable-agent"]
    own_node.is_ready = lambda: own_node.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"
    own_node.start()
    api = Api(own_node)
    names = [f"template-{i:04}" for i in range(120)]
    for name in names:
        api.create("v1/podtemplates", template(name), namespace="default")
    page = api.get("v1/podtemplates", namespace="default", limit=40)
    first, token = page["items"], page["metadata"]["continue"]

    def expired():
        api.create("v1/configmaps", {"metadata": {"name": f"c{time.monotonic_ns()}"}}, namespace="default")
        answer = api.send("GET", "v1/podtemplates", namespace="default", limit=40, **{"continue": token})
        if answer.code == 410:
            return answer.json
        assert answer.code == 200, answer
        raise Failed("not yet forgotten")

    status = wait_until("410", expired, timeout=60, interval=0.5)
    assert status["reason"] == "Expired", status
    fresh = status["metadata"]["continue"]
    api.create("v1/podtemplates", template("template-0040a"), namespace="default")
    second = api.get("v1/podtemplates", namespace="default", limit=40, **{"continue": fresh})
    assert int(second["metadata"]["resourceVersion"]) > int(page["metadata"]["resourceVersion"])
    third = api.get("v1/podtemplates", namespace="default", **{"continue": second["metadata"]["continue"]})
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert "continue" not in third["metadata"]
    found = [item["metadata"]["name"] for item in first + second["items"] + third["items"]]
    assert found == sorted([*names, "template-0040a"])
