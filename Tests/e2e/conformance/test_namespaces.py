"""Namespaces and ordered deletion: upstream's test/e2e/apimachinery/namespace.go."""

import pytest
from harness import wait_until
from http_api import STRATEGIC
from operations import condition, conditions

NAMESPACES = "v1/namespaces"


@pytest.fixture
def name(api, unique):
    api.create(NAMESPACES, {"metadata": {"name": unique}})
    yield unique
    api.send("DELETE", NAMESPACES, name=unique)


def pod(name, image="busybox:test", **spec):
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0, **spec,
            "containers": [{"name": "main", "image": image, "command": ["sleep", "600"]}],
        },
    }  # fmt: skip


def test_a_finalizer_is_applied(api, name):
    """Namespaces [Serial] should apply a finalizer to a Namespace"""
    found = api.get(NAMESPACES, name)
    assert found["spec"]["finalizers"] == ["kubernetes"]
    found["spec"]["finalizers"] = ["e2e.example.com/fakeFinalizer", "kubernetes"]
    updated = api.update(NAMESPACES, found, sub="finalize")
    assert updated["spec"]["finalizers"] == ["e2e.example.com/fakeFinalizer", "kubernetes"]
    # It holds the namespace back until it is taken out.
    api.delete(NAMESPACES, name)
    wait_until("only the foreign finalizer is left", lambda: api.get(NAMESPACES, name)["spec"]["finalizers"] == ["e2e.example.com/fakeFinalizer"])

    def remove(found):
        found["spec"]["finalizers"] = []

    api.change(NAMESPACES, name, remove, sub="finalize")
    wait_until("gone", lambda: api.gone(NAMESPACES, name))


def test_an_update_is_applied(api, name):
    """Namespaces [Serial] should apply an update to a Namespace"""
    updated = api.change(NAMESPACES, name, lambda o: o["metadata"]["labels"].update({name: "updated"}))
    assert updated["metadata"]["labels"][name] == "updated"
    assert updated["metadata"]["labels"]["kubernetes.io/metadata.name"] == name


def test_the_status_is_changed(api, name):
    """Namespaces [Serial] should apply changes to a namespace status"""
    before = api.get(NAMESPACES, name, sub="status")
    assert before["status"]["phase"] == "Active"
    patched = api.patch(
        NAMESPACES, name, {"metadata": {"annotations": {"e2e-patched-ns-status": name}},
                           "status": {"conditions": [condition("StatusPatch")]}},
        sub="status",
    )  # fmt: skip
    assert patched["metadata"]["annotations"]["e2e-patched-ns-status"] == name
    assert conditions(patched)["StatusPatch"]["reason"] == "E2E"
    updated = api.change(
        NAMESPACES, name, lambda o: o["status"]["conditions"].append(condition("StatusUpdate")), sub="status"
    )
    assert set(conditions(updated)) == {"StatusPatch", "StatusUpdate"}
    assert updated["spec"]["finalizers"] == ["kubernetes"] and updated["status"]["phase"] == "Active"


def test_a_namespace_is_patched(api, name):
    """Namespaces [Serial] should patch a Namespace"""
    api.patch(NAMESPACES, name, {"metadata": {"labels": {"testLabel": "testValue"}}}, STRATEGIC)
    assert api.get(NAMESPACES, name)["metadata"]["labels"]["testLabel"] == "testValue"


def recreate(api, name):
    api.delete(NAMESPACES, name)
    wait_until("the namespace is gone", lambda: api.gone(NAMESPACES, name), timeout=60)
    wait_until("a new one", lambda: api.send("POST", NAMESPACES, {"metadata": {"name": name}}).code == 201)


def test_services_go_with_the_namespace(api, name):
    """Namespaces [Serial] should ensure that all services are removed when a namespace is deleted"""
    api.create("v1/services", {"metadata": {"name": "test"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}, namespace=name)
    recreate(api, name)
    assert api.send("GET", "v1/services", namespace=name, name="test").code == 404


def test_pods_go_with_the_namespace(api, name):
    """Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted"""
    wait_until("default account", lambda: not api.gone("v1/serviceaccounts", "default", namespace=name))
    api.create("v1/pods", pod("test"), namespace=name)
    wait_until("Running", lambda: api.get("v1/pods", "test", namespace=name)["status"]["phase"] == "Running")
    recreate(api, name)
    assert api.items("v1/pods", namespace=name) == []


def test_pods_are_deleted_first(api, name):
    """OrderedNamespaceDeletion namespace deletion should delete pod first"""
    wait_until("default account", lambda: not api.gone("v1/serviceaccounts", "default", namespace=name))
    held = pod("held")
    held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
    api.create("v1/pods", held, namespace=name)
    api.create("v1/configmaps", {"metadata": {"name": "kept"}}, namespace=name)
    api.delete(NAMESPACES, name)
    wait_until("the pod is being deleted", lambda: "deletionTimestamp" in api.get("v1/pods", "held", namespace=name)["metadata"])

    def waits():
        found = conditions(api.get(NAMESPACES, name))
        return (
            found.get("NamespaceDeletionContentFailure", {}).get("status") == "False"
            and found.get("NamespaceContentRemaining", {}).get("status") == "True"
            and found.get("NamespaceFinalizersRemaining", {}).get("status") == "True"
        )

    wait_until("conditions say what remains", waits)
    assert "deletionTimestamp" not in api.get("v1/configmaps", "kept", namespace=name)["metadata"]
    api.patch("v1/pods", "held", {"metadata": {"finalizers": None}}, namespace=name)
    wait_until("gone", lambda: api.gone(NAMESPACES, name), timeout=60)
