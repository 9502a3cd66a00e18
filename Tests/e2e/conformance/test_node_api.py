"""Config maps, secrets, leases, pod templates, runtime classes, nodes and devices as API objects: test/e2e/common/node,
test/e2e/node and test/e2e/dra."""

from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import api_operations, condition, conditions, contains
from workloads import NOWHERE, account, pod, pod_spec

MAPS = "v1/configmaps"
SECRETS = "v1/secrets"
TEMPLATES = "v1/podtemplates"
LEASES = "coordination.k8s.io/v1/leases"
RUNTIMES = "node.k8s.io/v1/runtimeclasses"
DEVICES = "resource.k8s.io/v1/"
PODS = "v1/pods"


def test_a_config_map_with_an_empty_key(space):
    """ConfigMap should fail to create ConfigMap with empty key"""
    status = space.refused(422, "Invalid", "POST", MAPS, {"metadata": {"name": "empty"}, "data": {"": "value-1"}})
    assert status["details"]["causes"][0]["field"].startswith("data[")


def test_the_life_of_a_config_map(space):
    """ConfigMap should run through a ConfigMap lifecycle"""
    labels = {"test-configmap-static": "true"}
    with space.watch(MAPS, labelSelector="test-configmap-static=true") as events:
        space.create(MAPS, {"metadata": {"name": "test", "labels": labels}, "data": {"valueName": "value"}})
        events.until("ADDED", lambda o: True)
        space.patch(MAPS, "test", {"metadata": {"labels": {"test-configmap": "patched"}}, "data": {"valueName": "value1"}}, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-configmap") == "patched")
        found = space.get(MAPS, "test")
        assert found["data"] == {"valueName": "value1"} and found["metadata"]["labels"]["test-configmap"] == "patched"
        assert len(space.api.items(MAPS, labelSelector="test-configmap-static=true")) == 1
        space.delete(MAPS, labelSelector="test-configmap-static=true")
        events.until("DELETED", lambda o: True)
    assert not space.items(MAPS, labelSelector="test-configmap-static=true")


def test_a_secret_with_an_empty_key(space):
    """Secrets should fail to create secret due to empty secret key"""
    space.refused(422, "Invalid", "POST", SECRETS, {"metadata": {"name": "empty"}, "data": {"": "dmFsdWUtMQ=="}})


def test_a_secret_is_patched(space):
    """Secrets should patch a secret"""
    labels = {"testsecret-constant": "true"}
    space.create(SECRETS, {"metadata": {"name": "test", "labels": labels}, "data": {"key": "dmFsdWU="}})
    assert len(space.api.items(SECRETS, labelSelector="testsecret-constant=true")) == 1
    patched = space.patch(SECRETS, "test", {"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}}, STRATEGIC)
    assert patched["data"] == {"key": "dmFsdWUx"} and patched["metadata"]["labels"]["testsecret"] == "true"
    space.delete(SECRETS, labelSelector="testsecret=true")
    assert not space.api.items(SECRETS, labelSelector="testsecret-constant=true")


def immutable(space, resource, value, other):
    make = lambda name, **more: space.create(resource, {"metadata": {"name": name}, "data": {"data-1": value}, **more})  # noqa: E731
    make("immutable")
    space.change(resource, "immutable", lambda o: o["data"].update({"data-1": other}))
    current = space.change(resource, "immutable", lambda o: o.update(immutable=True))
    status = space.refused(422, "Invalid", "PUT", resource, {**current, "data": {"data-1": value}}, name="immutable")
    assert "field is immutable when `immutable` is set" in status["message"]
    status = space.refused(422, "Invalid", "PUT", resource, {**current, "immutable": False}, name="immutable")
    assert "field is immutable when `immutable` is set" in status["message"]
    # Labels are free, and a new object of the name as well.
    space.patch(resource, "immutable", {"metadata": {"labels": {"x": "y"}}})
    space.delete(resource, "immutable")
    assert make("immutable", immutable=True)["immutable"] is True


def test_an_immutable_config_map(space):
    """ConfigMap should be immutable if `immutable` field is set"""
    immutable(space, MAPS, "value-1", "value-2")


def test_an_immutable_secret(space):
    """Secrets should be immutable if `immutable` field is set"""
    immutable(space, SECRETS, "dmFsdWUtMQ==", "dmFsdWUtMg==")


def test_leases(api, space):
    """Lease lease API should be available"""
    spec = {"holderIdentity": "holder", "leaseDurationSeconds": 30, "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": "2026-01-01T00:00:05.000000Z", "leaseTransitions": 0}  # fmt: skip
    made = space.create(LEASES, {"metadata": {"name": "lease"}, "spec": spec})
    assert made["spec"] == spec and space.get(LEASES, "lease")["spec"] == spec
    later = {**spec, "holderIdentity": "holder2", "leaseDurationSeconds": 60, "leaseTransitions": 1}
    assert space.change(LEASES, "lease", lambda o: o.update(spec=later))["spec"] == later
    patched = space.patch(LEASES, "lease", {"spec": {"holderIdentity": "holder3"}}, STRATEGIC)
    assert patched["spec"] == {**later, "holderIdentity": "holder3"}
    space.create(LEASES, {"metadata": {"name": "lease-2", "labels": {"deletecollection": "true"}}, "spec": spec})
    assert len(space.items(LEASES)) == 2
    space.delete(LEASES, labelSelector="deletecollection=true")
    assert [i["metadata"]["name"] for i in space.items(LEASES)] == ["lease"]
    space.delete(LEASES, "lease")
    assert space.gone(LEASES, "lease")


def template(name, labels=None):
    return {"metadata": {"name": name, "labels": labels or {}}, "template": {"spec": pod_spec()}}


def test_the_life_of_pod_templates(space):
    """PodTemplates should run the lifecycle of PodTemplates"""
    labels = {"podtemplate-static": "true"}
    space.create(TEMPLATES, template("nginx", labels))
    assert len(space.api.items(TEMPLATES, labelSelector="podtemplate-static=true")) == 1
    space.patch(TEMPLATES, "nginx", {"metadata": {"labels": {"podtemplate": "patched"}}}, STRATEGIC)
    assert space.get(TEMPLATES, "nginx")["metadata"]["labels"]["podtemplate"] == "patched"
    space.delete(TEMPLATES, "nginx")
    assert not space.api.items(TEMPLATES, labelSelector="podtemplate-static=true")


def test_a_collection_of_pod_templates_is_deleted(space):
    """PodTemplates should delete a collection of pod templates"""
    for i in (1, 2, 3):
        space.create(TEMPLATES, template(f"test-podtemplate-{i}", {"podtemplate-set": "true"}))
    assert len(space.items(TEMPLATES, labelSelector="podtemplate-set=true")) == 3
    space.delete(TEMPLATES, labelSelector="podtemplate-set=true")
    wait_until("deleted", lambda: not space.items(TEMPLATES, labelSelector="podtemplate-set=true"))


def test_a_pod_template_is_replaced(space):
    """PodTemplates should replace a pod template"""
    space.create(TEMPLATES, template("pt"))
    changed = space.change(TEMPLATES, "pt", lambda o: o["metadata"].update(annotations={"updated": "true"}))
    assert changed["metadata"]["annotations"]["updated"] == "true"


def test_runtime_classes(api, unique):
    """RuntimeClass should support RuntimeClasses API operations"""
    body = {"handler": "handler-" + unique, "scheduling": {"nodeSelector": {"a": "b"}}}
    api_operations(api, None, RUNTIMES, "RuntimeClass", body, None, unique)
    api.create(RUNTIMES, {"metadata": {"name": unique}, **body})
    status = api.refused(422, "Invalid", "PATCH", RUNTIMES, {"handler": "x"}, name=unique, headers={"Content-Type": MERGE})
    assert "field is immutable" in status["message"]
    api.delete(RUNTIMES, unique)


def class_refused(space, name):
    body = pod("runtime", runtimeClassName=name, **NOWHERE)
    status = space.refused(403, "Forbidden", "POST", PODS, body)
    assert "RuntimeClass" in status["message"] and "not found" in status["message"]


def test_a_pod_of_an_absent_runtime_class(space):
    """RuntimeClass should reject a Pod requesting a non-existent RuntimeClass"""
    account(space)
    class_refused(space, space.name + "-nonexistent")


def test_a_pod_of_a_deleted_runtime_class(space):
    """RuntimeClass should reject a Pod requesting a deleted RuntimeClass"""
    account(space)
    name = space.name + "-deleted"
    space.api.create(RUNTIMES, {"metadata": {"name": name}, "handler": "runc"})
    space.create(PODS, pod("first", runtimeClassName=name, **NOWHERE))
    space.api.delete(RUNTIMES, name)
    class_refused(space, name)


def test_a_pod_of_a_runtime_class_with_overhead(space):
    """RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead (what is admitted)"""
    account(space)
    name = space.name + "-overhead"
    space.api.create(RUNTIMES, {"metadata": {"name": name}, "handler": "runc", "overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}}})
    try:
        made = space.create(PODS, pod("overhead", runtimeClassName=name, **NOWHERE))
        assert made["spec"]["overhead"] == {"cpu": "10m", "memory": "1Mi"}
        bare = space.api
        bare.patch(RUNTIMES, name, {"overhead": None})
        assert "overhead" not in space.create(PODS, pod("bare", runtimeClassName=name, **NOWHERE))["spec"]
    finally:
        space.api.delete(RUNTIMES, name)


def test_invalid_sysctls(space):
    """Sysctls [LinuxOnly] should reject invalid sysctls"""
    account(space)
    names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."]
    sysctls = [{"name": n, "value": "100000000"} for n in names]
    status = space.refused(422, "Invalid", "POST", PODS, pod("sysctl", securityContext={"sysctls": sysctls}, **NOWHERE))
    fields = [c["field"] for c in status["details"]["causes"]]
    path = "spec.securityContext.sysctls[%d].name"
    assert fields == [path % 0, path % 3], status["message"]
    assert '"foo-"' in status["message"] and '"bar.."' in status["message"]


def test_quality_of_service(space):
    """Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu"""
    account(space)
    body = pod("qos", **NOWHERE)
    amounts = {"cpu": "100m", "memory": "100Mi"}
    body["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    space.create(PODS, body)
    assert space.get(PODS, "qos")["status"]["qosClass"] == "Guaranteed"


def test_a_collection_of_pods_is_deleted(space):
    """Pods should delete a collection of pods"""
    account(space)
    for i in (1, 2, 3):
        space.create(PODS, pod(f"test-pod-{i}", {"type": "Testing"}))
    assert len(space.items(PODS, labelSelector="type=Testing")) == 3
    space.delete(PODS, labelSelector="type=Testing")
    wait_until("deleted", lambda: not space.items(PODS, labelSelector="type=Testing"), timeout=60)


def test_the_status_of_a_pod_is_patched(space):
    """Pods should patch a pod status"""
    account(space)
    space.create(PODS, pod("status", **NOWHERE))
    change = {"metadata": {"labels": {"podstatus": "patched"}}, "status": {"message": "Patched by e2e test", "reason": "E2E"}}
    patched = space.patch(PODS, "status", change, STRATEGIC, sub="status")
    assert patched["status"]["message"] == "Patched by e2e test" and patched["status"]["reason"] == "E2E"
    found = space.get(PODS, "status", sub="status")
    assert found["status"]["message"] == "Patched by e2e test"


def test_the_life_of_a_pod_and_its_status(space):
    """Pods should run through the lifecycle of Pods and PodStatus"""
    account(space)
    with space.watch(PODS, labelSelector="test-pod-static=true") as events:
        space.create(PODS, pod("pod-test", {"test-pod-static": "true"}))
        events.until("ADDED", lambda o: True)
        events.until("MODIFIED", lambda o: conditions(o).get("Ready", {}).get("status") == "True")
        change = {"metadata": {"labels": {"test-pod": "patched"}}, "spec": {"terminationGracePeriodSeconds": 0,
                  "containers": [{"name": "main", "image": "docker.io/library/busybox:test"}]}}  # fmt: skip
        space.patch(PODS, "pod-test", change, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-pod") == "patched")
        found = space.get(PODS, "pod-test", sub="status")
        assert found["spec"]["containers"][0]["image"] == "docker.io/library/busybox:test"

        def not_ready(found):
            for entry in found["status"]["conditions"]:
                if entry["type"] == "Ready":
                    entry["status"] = "False"

        updated = space.change(PODS, "pod-test", not_ready, sub="status")
        assert conditions(updated)["Ready"]["status"] == "False"
        events.until("MODIFIED", lambda o: conditions(o).get("Ready", {}).get("status") == "False")
        space.delete(PODS, labelSelector="test-pod-static=true")
        events.until("DELETED", lambda o: True)


def test_the_generation_of_a_pod(space):
    """Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update"""
    account(space)
    made = space.create(PODS, pod("generation"))
    assert made["metadata"]["generation"] == 1
    space.patch(PODS, "generation", {"metadata": {"labels": {"a": "b"}}})
    assert space.get(PODS, "generation")["metadata"]["generation"] == 1
    tolerations = [*made["spec"]["tolerations"], {"key": "foo-1", "operator": "Exists", "effect": "NoSchedule"}]
    patched = space.patch(PODS, "generation", {"spec": {"tolerations": tolerations}})
    assert patched["metadata"]["generation"] == 2
    patched = space.patch(PODS, "generation", {"spec": {"activeDeadlineSeconds": 5000}})
    assert patched["metadata"]["generation"] == 3
    wait_until("observed", lambda: space.get(PODS, "generation")["status"].get("observedGeneration") == 3, timeout=60)


def test_a_generation_of_ones_own_is_ignored(space):
    """Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete"""
    account(space)
    body = pod("generation")
    body["metadata"]["generation"] = 100
    body["metadata"]["finalizers"] = ["e2e.example.com/hold"]
    assert space.create(PODS, body)["metadata"]["generation"] == 1
    space.delete(PODS, "generation", {"gracePeriodSeconds": 5})
    found = space.get(PODS, "generation")
    assert found["metadata"]["deletionTimestamp"] and found["metadata"]["generation"] == 2
    space.patch(PODS, "generation", {"metadata": {"finalizers": None}})
    wait_until("gone", lambda: space.gone(PODS, "generation"), timeout=60)


def test_many_changes_of_a_pod_are_observed(space):
    """Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and observedGeneration eventually converge"""
    account(space)
    toleration = {"key": "many", "operator": "Exists", "effect": "NoExecute"}
    space.create(PODS, pod("many", tolerations=[{**toleration, "tolerationSeconds": 1000}]))
    for i in range(499):

        def change(found):
            mine = next(t for t in found["spec"]["tolerations"] if t["key"] == "many")
            mine["tolerationSeconds"] = 1001 + i

        space.change(PODS, "many", change)
    assert space.get(PODS, "many")["metadata"]["generation"] == 500
    wait_until("observed", lambda: space.get(PODS, "many")["status"].get("observedGeneration") == 500, timeout=60)


def test_the_life_of_a_node(api, unique):
    """Node Lifecycle should run through the lifecycle of a node"""
    nodes = "v1/nodes"
    body = {"metadata": {"name": unique, "labels": {"e2e": unique}}, "status": {
        "phase": "Running", "conditions": [condition("Ready")],
        "capacity": {"cpu": "10", "memory": "2Gi"}, "allocatable": {"cpu": "10", "memory": "2Gi"},
    }, "spec": {"unschedulable": True}}  # fmt: skip
    try:
        made = api.create(nodes, body)
        assert api.get(nodes, unique)["metadata"]["uid"] == made["metadata"]["uid"]
        patched = api.patch(nodes, unique, {"metadata": {"labels": {unique: "patched"}}}, STRATEGIC)
        assert patched["metadata"]["labels"][unique] == "patched"
        assert [n["metadata"]["name"] for n in api.items(nodes, labelSelector=unique + "=patched")] == [unique]
        updated = api.change(nodes, unique, lambda o: o["metadata"]["labels"].update({unique: "updated"}))
        assert updated["metadata"]["labels"][unique] == "updated"
        marker = {"status": {"conditions": [{**condition("StatusPatched"), "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}
        assert "StatusPatched" in conditions(api.patch(nodes, unique, marker, STRATEGIC, sub="status"))
        more = {**condition("StatusUpdate"), "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        assert "StatusUpdate" in conditions(api.change(nodes, unique, lambda o: o["status"]["conditions"].append(more), sub="status"))
        api.delete(nodes, labelSelector=unique + "=updated")
        wait_until("deleted", lambda: api.gone(nodes, unique))
    finally:
        api.send("DELETE", nodes, name=unique)


SELECTOR = {"cel": {"expression": "device.driver == 'example.com'"}}
REQUEST = {"devices": {"requests": [{"name": "req-0", "exactly": {"deviceClassName": "my-class"}}]}}


def kind_of(resource, kind, body):
    return {"apiVersion": "resource.k8s.io/v1", "kind": kind, **body}


def test_device_classes(api, unique):
    """[DRA] CRUD Tests resource.k8s.io/v1 DeviceClass"""
    resource = DEVICES + "deviceclasses"

    def change(found):
        found["spec"]["selectors"] = [{"cel": {"expression": "true"}}]
        return lambda got: got["spec"]["selectors"][0]["cel"]["expression"] == "true" and got["metadata"]["generation"] == 2

    body = {"spec": {"selectors": [SELECTOR]}}
    api_operations(api, None, resource, "DeviceClass", body, change, unique)
    made = api.apply(resource, kind_of(resource, "DeviceClass", {**body, "metadata": {"name": unique}}))
    assert made["spec"]["selectors"] == [SELECTOR]
    api.delete(resource, unique)


def test_resource_claim_templates(api, space):
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate"""
    resource = DEVICES + "resourceclaimtemplates"
    body = {"spec": {"spec": REQUEST}}
    api_operations(api, space, resource, "ResourceClaimTemplate", body)
    made = space.apply(resource, kind_of(resource, "ResourceClaimTemplate", {**body, "metadata": {"name": "applied"}}))
    assert contains(made["spec"]["spec"], REQUEST)
    status = space.refused(
        422, "Invalid", "PATCH", resource, {"spec": {"metadata": {"labels": {"a": "b"}}}}, name="applied",
        headers={"Content-Type": MERGE},
    )  # fmt: skip
    assert "field is immutable" in status["message"]


def test_resource_claims(api, space):
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim"""
    resource = DEVICES + "resourceclaims"
    result = {"request": "req-0", "driver": "example.com", "pool": "pool", "device": "device-0"}
    allocation = {"allocation": {"devices": {"results": [result]}}}
    reserved = {"reservedFor": [{"resource": "pods", "name": "p", "uid": "8b6f3a53-9c16-4a0e-8a3f-3b0f4d0a6a11"}]}
    api_operations(api, space, resource, "ResourceClaim", {"spec": REQUEST}, status=(allocation, reserved))
    made = space.apply(resource, kind_of(resource, "ResourceClaim", {"spec": REQUEST, "metadata": {"name": "applied"}}))
    assert contains(made["spec"], REQUEST)
    assert made["spec"]["devices"]["requests"][0]["exactly"]["allocationMode"] == "ExactCount"


def test_resource_slices(api, unique):
    """[DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice"""
    resource = DEVICES + "resourceslices"
    body = {"spec": {
        "driver": "example.com", "nodeName": "some-node", "devices": [{"name": "device-0"}],
        "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1},
    }}  # fmt: skip

    def change(found):
        found["spec"]["pool"]["generation"] = 2
        return lambda got: got["spec"]["pool"]["generation"] == 2

    api_operations(api, None, resource, "ResourceSlice", body, change, unique)
    made = api.apply(resource, kind_of(resource, "ResourceSlice", {**body, "metadata": {"name": unique}}))
    assert made["spec"]["driver"] == "example.com"
    api.delete(resource, unique)
