"""Small workloads for conformance cases: pods that sleep, and the objects that make them."""

from harness import wait_until

BUSYBOX = "busybox:test"
# A pod that no node takes: for cases that are about objects only.
NOWHERE = {"nodeSelector": {"conformance": "nowhere"}}


def pod_spec(*command, image=BUSYBOX, **spec):
    return {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": image, "command": list(command) or ["sleep", "3600"]}], **spec,
    }  # fmt: skip


def pod(name, labels=None, **spec):
    return {"metadata": {"name": name, "labels": {"name": name, **(labels or {})}}, "spec": pod_spec(**spec)}


def workload(name, replicas=None, labels=None, selector=True, spec=None, **more):
    """A ReplicaSet, Deployment, StatefulSet, DaemonSet; with `selector=False` a ReplicationController's selector."""
    chosen = {"app": name, **(labels or {})}
    body = {
        "metadata": {"name": name, "labels": chosen},
        "spec": {
            "selector": {"matchLabels": chosen} if selector else chosen,
            "template": {"metadata": {"labels": chosen}, "spec": spec or pod_spec()}, **more,
        },
    }  # fmt: skip
    if replicas is not None:
        body["spec"]["replicas"] = replicas
    return body


def account(space):
    """Pods are refused until the namespace has its account."""
    wait_until("default account", lambda: not space.gone("v1/serviceaccounts", "default"))


def ready(space, resource, name, count, field="readyReplicas"):
    wait_until(
        f"{name} {field} {count}", lambda: space.get(resource, name)["status"].get(field, 0) == count, timeout=60
    )


def scale_works(space, resource, name):
    """get, update and patch of the scale subresource; the object follows."""
    scale = space.get(resource, name, sub="scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["metadata"]["uid"] == space.get(resource, name)["metadata"]["uid"]
    assert scale["spec"]["replicas"] == 1 and scale["status"]["selector"]
    scale["metadata"].pop("resourceVersion")
    scale["spec"]["replicas"] = 2
    updated = space.update(resource, scale, sub="scale")
    assert updated["spec"]["replicas"] == 2
    assert space.get(resource, name)["spec"]["replicas"] == 2
    ready(space, resource, name, 2, "replicas")
    patched = space.patch(resource, name, {"spec": {"replicas": 4}}, sub="scale")
    assert patched["spec"]["replicas"] == 4
    assert space.get(resource, name)["spec"]["replicas"] == 4
