"""Owners and what they own: upstream's test/e2e/apimachinery/garbage_collector.go."""

import time

from harness import wait_until

RC = "v1/replicationcontrollers"
DEPLOYMENTS = "apps/v1/deployments"
SETS = "apps/v1/replicasets"
# Nothing of these cases needs a process: the pods ask for a node that is not there.
POD_SPEC = {
    "terminationGracePeriodSeconds": 0, "nodeSelector": {"conformance": "nowhere"},
    "containers": [{"name": "c", "image": "pause"}],
}  # fmt: skip


def controller(name, replicas):
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": labels, "template": {"metadata": {"labels": labels}, "spec": POD_SPEC},
        },
    }  # fmt: skip


def deployment(name, replicas):
    body = controller(name, replicas)
    body["spec"]["selector"] = {"matchLabels": body["spec"]["selector"]}
    return body


def pods(space, app):
    return space.items("v1/pods", labelSelector="app=" + app)


def created(space, body):
    name, replicas = body["metadata"]["name"], body["spec"]["replicas"]
    made = space.create(RC, body)
    wait_until("pods are created", lambda: len(pods(space, name)) == replicas)
    wait_until("and counted", lambda: space.get(RC, name)["status"]["replicas"] == replicas)
    return made


def options(uid, **more):
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}, **more}


def test_pods_go_with_their_controller(space):
    """Garbage collector should delete pods created by rc when not orphaning"""
    made = created(space, controller("gone", 2))
    space.delete(RC, "gone", options(made["metadata"]["uid"], orphanDependents=False))
    wait_until("pods deleted", lambda: not pods(space, "gone"), timeout=60)


def test_pods_stay_when_orphaned(space):
    """Garbage collector should orphan pods created by rc if delete options say so [Serial]"""
    made = created(space, controller("orphans", 20))
    space.delete(RC, "orphans", options(made["metadata"]["uid"], propagationPolicy="Orphan"))
    wait_until("controller deleted", lambda: space.gone(RC, "orphans"))
    time.sleep(2)  # Upstream looks for half a minute that nothing is collected.
    left = pods(space, "orphans")
    assert len(left) == 20 and not any("ownerReferences" in p["metadata"] for p in left)


def test_replica_sets_go_with_their_deployment(space):
    """Garbage collector should delete RS created by deployment when not orphaning"""
    made = space.create(DEPLOYMENTS, deployment("web", 1))
    wait_until("a replica set", lambda: space.items(SETS))
    space.delete(DEPLOYMENTS, "web", options(made["metadata"]["uid"], orphanDependents=False))
    wait_until("replica set deleted", lambda: not space.items(SETS))
    wait_until("pods deleted", lambda: not pods(space, "web"))


def test_replica_sets_stay_when_orphaned(space):
    """Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan"""
    made = space.create(DEPLOYMENTS, deployment("web", 1))
    wait_until("a replica set", lambda: space.items(SETS))
    space.delete(DEPLOYMENTS, "web", options(made["metadata"]["uid"], propagationPolicy="Orphan"))
    wait_until("deployment deleted", lambda: space.gone(DEPLOYMENTS, "web"))
    time.sleep(2)
    left = space.items(SETS)
    assert len(left) == 1 and "ownerReferences" not in left[0]["metadata"]


def test_a_controller_stays_until_its_pods_are_gone(space):
    """Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial]"""
    made = created(space, controller("fore", 20))
    first = pods(space, "fore")[0]["metadata"]["name"]
    space.patch("v1/pods", first, {"metadata": {"finalizers": ["e2e.example.com/hold"]}})
    space.delete(RC, "fore", options(made["metadata"]["uid"], propagationPolicy="Foreground"))
    found = space.get(RC, "fore")
    assert found["metadata"]["deletionTimestamp"] and found["metadata"]["finalizers"] == ["foregroundDeletion"]
    wait_until("one pod is left", lambda: len(pods(space, "fore")) == 1)
    assert not space.gone(RC, "fore")
    space.patch("v1/pods", first, {"metadata": {"finalizers": None}})
    wait_until("controller deleted", lambda: space.gone(RC, "fore"), timeout=60)
    assert not pods(space, "fore")


def test_a_second_valid_owner_keeps_the_dependents(space):
    """Garbage collector should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial]"""
    going = created(space, controller("going", 10))
    staying = space.create(RC, controller("staying", 0))
    shared = sorted(p["metadata"]["name"] for p in pods(space, "going"))[:5]
    reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "staying", "uid": staying["metadata"]["uid"]}
    for name in shared:
        space.patch(
            "v1/pods", name, {"metadata": {"ownerReferences": [reference]}}, "application/strategic-merge-patch+json"
        )
    space.delete(RC, "going", options(going["metadata"]["uid"], propagationPolicy="Foreground"))
    wait_until("controller deleted", lambda: space.gone(RC, "going"), timeout=60)
    left = pods(space, "going")
    assert sorted(p["metadata"]["name"] for p in left) == shared
    for pod in left:
        assert "deletionTimestamp" not in pod["metadata"]
        assert [o["name"] for o in pod["metadata"]["ownerReferences"]] == ["staying"]


def test_a_circle_of_owners_is_collected(space):
    """Garbage collector should not be blocked by dependency circle"""
    body = {"spec": {"terminationGracePeriodSeconds": 0, **POD_SPEC}}
    made = [space.create("v1/pods", {**body, "metadata": {"name": f"pod{i}"}}) for i in (1, 2, 3)]
    for i, pod in enumerate(made):
        owner = made[i - 1]
        space.patch("v1/pods", pod["metadata"]["name"], {"metadata": {"ownerReferences": [{
            "apiVersion": "v1", "kind": "Pod", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }]}})  # fmt: skip
    space.delete("v1/pods", "pod1", {"propagationPolicy": "Foreground"})
    wait_until("all deleted", lambda: not space.items("v1/pods"), timeout=60)
