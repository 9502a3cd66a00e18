"""Deployments, replica sets, replication controllers: the API's part of upstream's test/e2e/apps, with small pods."""

from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import condition, conditions, contains
from workloads import account, pod, ready, scale_works, workload

DEPLOYMENTS = "apps/v1/deployments"
SETS = "apps/v1/replicasets"
RC = "v1/replicationcontrollers"


def status_endpoints(space, resource, name):
    """update and patch of a status; conditions that the controller does not know stay."""
    space.get(resource, name, sub="status")
    with space.watch(resource, fieldSelector="metadata.name=" + name) as events:

        def set_conditions(found):
            found["status"]["conditions"] = [*found["status"].get("conditions", []), condition("StatusUpdate")]

        updated = space.change(resource, name, set_conditions, sub="status")
        assert conditions(updated)["StatusUpdate"]["message"] == "Set from a test"
        events.until("MODIFIED", lambda o: "StatusUpdate" in conditions(o))
        kind = MERGE
        patched = space.patch(
            resource, name, {"status": {"conditions": [condition("StatusPatched")]}}, kind, sub="status"
        )
        assert "StatusPatched" in conditions(patched)
        events.until("MODIFIED", lambda o: "StatusPatched" in conditions(o))


def test_scale_of_a_deployment(space):
    """Deployment Deployment should have a working scale subresource"""
    space.create(DEPLOYMENTS, workload("test", 1))
    ready(space, DEPLOYMENTS, "test", 1)
    scale_works(space, DEPLOYMENTS, "test")


def test_status_of_a_deployment(space):
    """Deployment should validate Deployment Status endpoints"""
    space.create(DEPLOYMENTS, workload("test", 1))
    ready(space, DEPLOYMENTS, "test", 1)
    status_endpoints(space, DEPLOYMENTS, "test")


def test_the_life_of_a_deployment(space):
    """Deployment should run the lifecycle of a Deployment"""
    selector = {"labelSelector": "test-deployment-static=true"}
    body = workload("test", 2, {"test-deployment-static": "true"})
    with space.watch(DEPLOYMENTS, **selector) as events:
        space.create(DEPLOYMENTS, body)
        events.until("ADDED", lambda o: True)
        events.until("MODIFIED", lambda o: o["status"].get("readyReplicas") == 2)
        change = {
            "metadata": {"labels": {"test-deployment": "patched"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "b"}]}]}}},
        }
        space.patch(DEPLOYMENTS, "test", change, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-deployment") == "patched")
        scaled = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
        events.until("MODIFIED", lambda o: contains(o["status"], scaled))
        everywhere = space.api.items(DEPLOYMENTS, **selector)
        assert [d["metadata"]["name"] for d in everywhere] == ["test"]
        assert everywhere[0]["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]

        def update(found):
            found["metadata"]["labels"]["test-deployment"] = "updated"
            found["spec"]["template"]["metadata"].setdefault("annotations", {})["a"] = "b"

        space.change(DEPLOYMENTS, "test", update)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-deployment") == "updated")
        got = space.get(DEPLOYMENTS, "test", sub="status")
        assert got["metadata"]["labels"]["test-deployment"] == "updated"
        # Counts of a status are only what the controller says.
        space.patch(DEPLOYMENTS, "test", {"status": {"readyReplicas": 0, "availableReplicas": 0}}, sub="status")
        events.until("MODIFIED", lambda o: o["status"].get("readyReplicas", 0) == 1)
        space.delete(DEPLOYMENTS, **selector)
        events.until("DELETED", lambda o: True)


def test_scale_of_a_replica_set(space):
    """ReplicaSet Replicaset should have a working scale subresource"""
    space.create(SETS, workload("test", 1))
    ready(space, SETS, "test", 1)
    scale_works(space, SETS, "test")


def test_status_of_a_replica_set(space):
    """ReplicaSet should validate Replicaset Status endpoints"""
    space.create(SETS, workload("test", 1))
    ready(space, SETS, "test", 1)
    status_endpoints(space, SETS, "test")


def test_replica_sets_are_listed_and_deleted(space):
    """ReplicaSet should list and delete a collection of ReplicaSets"""
    space.create(SETS, workload("test", 3))
    ready(space, SETS, "test", 3)
    assert len(space.api.items(SETS, labelSelector="app=test", fieldSelector="metadata.namespace=" + space.name)) == 1
    space.delete(SETS, labelSelector="app=test")
    wait_until("deleted", lambda: not space.items(SETS, labelSelector="app=test"))


def test_a_replica_set_is_replaced_and_patched(space):
    """ReplicaSet Replace and Patch tests"""
    space.create(SETS, workload("test", 1))
    ready(space, SETS, "test", 1)
    space.change(SETS, "test", lambda o: o["spec"].update(replicas=2))
    ready(space, SETS, "test", 2)
    change = {
        "metadata": {"labels": {"test-rs": "patched"}},
        "spec": {"replicas": 3, "template": {"spec": {"terminationGracePeriodSeconds": 7}}},
    }
    space.patch(SETS, "test", change, STRATEGIC)
    ready(space, SETS, "test", 3)
    found = space.get(SETS, "test")
    assert found["metadata"]["labels"]["test-rs"] == "patched"
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 7
    space.change(SETS, "test", lambda o: o["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=0))


def owners(space, name):
    return [(o["kind"], o["name"]) for o in space.get("v1/pods", name)["metadata"].get("ownerReferences", [])]


def adoption(space, resource, kind, selector):
    """A pod that matches is taken over; one that no longer does is let go, and another takes its place."""
    account(space)
    space.create("v1/pods", pod("adopted", {"app": "adopting"}))
    space.create(resource, workload("adopting", 1, selector=selector))
    wait_until("adopted", lambda: owners(space, "adopted") == [(kind, "adopting")])
    space.patch("v1/pods", "adopted", {"metadata": {"labels": {"app": "released"}}})
    wait_until("released", lambda: owners(space, "adopted") == [])
    wait_until("replaced", lambda: len(space.items("v1/pods", labelSelector="app=adopting")) == 1)


def test_a_replica_set_adopts_and_releases(space):
    """ReplicaSet should adopt matching pods on creation and release no longer matching pods"""
    adoption(space, SETS, "ReplicaSet", True)


def test_a_replication_controller_adopts(space):
    """ReplicationController should adopt matching pods on creation"""
    account(space)
    space.create("v1/pods", pod("pod-adoption"))
    space.create(RC, {**workload("x", 1, selector=False), "metadata": {"name": "pod-adoption"}, "spec": {
        "replicas": 1, "selector": {"name": "pod-adoption"},
        "template": {"metadata": {"labels": {"name": "pod-adoption"}}, "spec": pod("x")["spec"]},
    }})  # fmt: skip
    wait_until("adopted", lambda: owners(space, "pod-adoption") == [("ReplicationController", "pod-adoption")])


def test_a_replication_controller_releases(space):
    """ReplicationController should release no longer matching pods"""
    adoption(space, RC, "ReplicationController", False)


def test_scale_of_a_replication_controller(space):
    """ReplicationController should get and update a ReplicationController scale"""
    space.create(RC, workload("test", 1, selector=False))
    ready(space, RC, "test", 1)
    scale_works(space, RC, "test")
    ready(space, RC, "test", 4)


def test_a_quota_is_the_reason_of_a_failure(space):
    """ReplicationController should surface a failure condition on a common issue like exceeded quota"""
    space.create("v1/resourcequotas", {"metadata": {"name": "condition-test"}, "spec": {"hard": {"pods": "2"}}})
    wait_until("a status", lambda: space.get("v1/resourcequotas", "condition-test")["status"].get("hard"))
    space.create(RC, workload("condition-test", 3, selector=False))

    def failure():
        found = space.get(RC, "condition-test")
        same = found["metadata"]["generation"] == found["status"].get("observedGeneration")
        return same and conditions(found).get("ReplicaFailure")

    found = wait_until("the condition", failure, timeout=60)
    assert found["status"] == "True" and found["reason"] == "FailedCreate" and "exceeded quota" in found["message"]
    space.change(RC, "condition-test", lambda o: o["spec"].update(replicas=2))
    wait_until("no condition", lambda: not failure(), timeout=60)


def test_the_life_of_a_replication_controller(space):
    """ReplicationController should test the lifecycle of a ReplicationController"""
    selector = {"labelSelector": "test-rc-static=true"}
    body = workload("rc-test", 1, selector=False)
    body["metadata"]["labels"] = {"test-rc-static": "true"}
    with space.watch(RC, **selector) as events:
        space.create(RC, body)
        events.until("ADDED", lambda o: True)
        events.until("MODIFIED", lambda o: o["status"].get("readyReplicas") == 1)
        space.patch(RC, "rc-test", {"metadata": {"labels": {"test-rc": "patched"}}}, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-rc") == "patched")
        space.patch(RC, "rc-test", {"status": {"readyReplicas": 0, "availableReplicas": 0}}, STRATEGIC, sub="status")
        events.until("MODIFIED", lambda o: o["status"].get("readyReplicas", 0) == 0)
        events.until("MODIFIED", lambda o: o["status"].get("readyReplicas") == 1)
        assert space.get(RC, "rc-test", sub="status")["kind"] == "ReplicationController"
        space.patch(RC, "rc-test", {"spec": {"replicas": 2}}, sub="scale")
        events.until("MODIFIED", lambda o: o["spec"]["replicas"] == 2 and o["status"].get("readyReplicas") == 2)
        assert [r["metadata"]["name"] for r in space.api.items(RC, **selector)] == ["rc-test"]
        space.change(RC, "rc-test", lambda o: o["metadata"]["labels"].update({"test-rc": "updated"}))
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-rc") == "updated")
        space.delete(RC, **selector)
        events.until("DELETED", lambda o: True)
