"""Resource quotas: upstream's test/e2e/apimachinery/resource_quota.go."""

import pytest
from harness import wait_until
from http_api import STRATEGIC
from operations import contains

QUOTAS = "v1/resourcequotas"
PODS = "v1/pods"
DONGLE = "requests.example.com/dongle"


def quota(name="test-quota", hard=None, **spec):
    usual = {
        "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "10", "resourcequotas": "1", "configmaps": "10", "secrets": "10",
        "persistentvolumeclaims": "10", "cpu": "1", "memory": "500Mi", "requests.storage": "10Gi",
        "requests.ephemeral-storage": "50Gi", "ephemeral-storage": "50Gi", "count/replicasets.apps": "5", DONGLE: "3",
    }  # fmt: skip
    return {"metadata": {"name": name}, "spec": {"hard": usual if hard is None else hard, **spec}}


def used(space, name="test-quota", **want):
    """Waits until the status says these amounts (underscores for dots and dashes are written out by the caller)."""
    wait_until(f"{name} uses {want}", lambda: contains(space.get(QUOTAS, name)["status"].get("used"), want), timeout=60)


@pytest.fixture
def limited(space):
    space.create(QUOTAS, quota())
    used(space, resourcequotas="1", pods="0")
    return space


def pod(name, requests=None, limits=None, **spec):
    resources = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    container = {"name": "pause", "image": "pause", "resources": resources}
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0, "nodeSelector": {"conformance": "nowhere"},
            "containers": [container], **spec,
        },
    }  # fmt: skip


def service(name, kind, **spec):
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}], **spec}}


def exceeded(space, resource, body, part=""):
    status = space.refused(403, "Forbidden", "POST", resource, body)
    assert "exceeded quota: test-quota" in status["message"] and part in status["message"], status["message"]


def test_the_status_is_calculated_promptly(space):
    """ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated."""
    space.create(QUOTAS, quota())
    used(space, resourcequotas="1")
    found = space.get(QUOTAS, "test-quota")
    assert found["status"]["hard"] == found["spec"]["hard"]
    assert set(found["status"]["used"]) == set(found["spec"]["hard"])


def test_services_are_counted(limited):
    """ResourceQuota should create a ResourceQuota and capture the life of a service."""
    limited.create("v1/services", service("plain", "ClusterIP"))
    limited.create("v1/services", service("nodeport", "NodePort"))
    exceeded(limited, "v1/services", service("lb", "LoadBalancer"), "services.nodeports=1")
    used(limited, services="2", **{"services.nodeports": "1", "services.loadbalancers": "0"})
    limited.delete("v1/services", "plain")
    limited.delete("v1/services", "nodeport")
    used(limited, services="0", **{"services.nodeports": "0"})


def test_secrets_are_counted(space):
    """ResourceQuota should create a ResourceQuota and capture the life of a secret."""
    there = len(space.items("v1/secrets"))
    space.create(QUOTAS, quota(hard={"secrets": str(there + 1), "resourcequotas": "1"}))
    used(space, secrets=str(there), resourcequotas="1")
    space.create("v1/secrets", {"metadata": {"name": "test-secret"}, "stringData": {"a": "b"}})
    used(space, secrets=str(there + 1))
    exceeded(space, "v1/secrets", {"metadata": {"name": "too-many"}}, f"limited: secrets={there + 1}")
    space.delete("v1/secrets", "test-secret")
    used(space, secrets=str(there))


def test_config_maps_are_counted(space):
    """ResourceQuota should create a ResourceQuota and capture the life of a configMap."""
    wait_until("kube-root-ca.crt", lambda: len(space.items("v1/configmaps")) == 1)
    space.create(QUOTAS, quota(hard={"configmaps": "2"}))
    used(space, configmaps="1")
    space.create("v1/configmaps", {"metadata": {"name": "test-configmap"}})
    used(space, configmaps="2")
    exceeded(space, "v1/configmaps", {"metadata": {"name": "too-many"}}, "used: configmaps=2")
    space.delete("v1/configmaps", "test-configmap")
    used(space, configmaps="1")


def test_pods_are_counted(limited):
    """ResourceQuota should create a ResourceQuota and capture the life of a pod."""
    extended = {"example.com/dongle": "2"}
    asks = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", **extended}
    made = limited.create(PODS, pod("test-pod", asks, extended))
    uses = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi",
        "requests.ephemeral-storage": "30Gi", DONGLE: "2",
    }  # fmt: skip
    used(limited, **uses)
    exceeded(limited, PODS, pod("fail-pod", {"cpu": "600m", "memory": "100Mi"}, None), "requested: cpu=600m")
    more = {"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "30Gi", **extended}
    exceeded(limited, PODS, pod("fail-pod-for-extended-resource", more, extended), DONGLE + "=2")
    del made["metadata"]["resourceVersion"]  # The scheduler writes too.
    made["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "100m", "memory": "100Mi", **extended}
    limited.refused(422, "Invalid", "PUT", PODS, made, name="test-pod")
    used(limited, **uses)
    limited.delete(PODS, "test-pod", {"gracePeriodSeconds": 0})
    used(limited, pods="0", cpu="0", memory="0", **{"ephemeral-storage": "0", DONGLE: "0"})


def controller_counted(limited, resource, counted, selector):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "pause"}]}}
    body = {"metadata": {"name": "test"}, "spec": {"replicas": 0, "selector": selector, "template": template}}
    limited.create(resource, body)
    used(limited, **{counted: "1"})
    limited.delete(resource, "test")
    used(limited, **{counted: "0"})


def test_replication_controllers_are_counted(limited):
    """ResourceQuota should create a ResourceQuota and capture the life of a replication controller."""
    controller_counted(limited, "v1/replicationcontrollers", "replicationcontrollers", {"a": "b"})


def test_replica_sets_are_counted(limited):
    """ResourceQuota should create a ResourceQuota and capture the life of a replica set."""
    controller_counted(limited, "apps/v1/replicasets", "count/replicasets.apps", {"matchLabels": {"a": "b"}})


def test_scopes_of_finite_and_endless_pods(space):
    """ResourceQuota should verify ResourceQuota with terminating scopes."""
    hard = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    space.create(QUOTAS, quota("finite", hard, scopes=["Terminating"]))
    space.create(QUOTAS, quota("endless", hard, scopes=["NotTerminating"]))
    used(space, "finite", pods="0")
    used(space, "endless", pods="0")
    asks, ends = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    uses = {"pods": "1", "requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"}
    for name, more, mine, other in (
        ("long", {}, "endless", "finite"), ("short", {"activeDeadlineSeconds": 3600}, "finite", "endless"),
    ):  # fmt: skip
        space.create(PODS, pod(name, asks, ends, **more))
        used(space, mine, **uses)
        used(space, other, **{"pods": "0", "requests.cpu": "0", "limits.memory": "0"})
        space.delete(PODS, name, {"gracePeriodSeconds": 0})
        used(space, mine, **{"pods": "0", "requests.cpu": "0", "limits.memory": "0"})


def test_the_scope_of_best_effort(space):
    """ResourceQuota should verify ResourceQuota with best effort scope."""
    space.create(QUOTAS, quota("best", {"pods": "5"}, scopes=["BestEffort"]))
    space.create(QUOTAS, quota("better", {"pods": "5"}, scopes=["NotBestEffort"]))
    used(space, "best", pods="0")
    used(space, "better", pods="0")
    for name, asks, mine, other in (("lazy", None, "best", "better"), ("busy", {"cpu": "500m", "memory": "200Mi"}, "better", "best")):
        space.create(PODS, pod(name, asks, asks))
        used(space, mine, pods="1")
        used(space, other, pods="0")
        space.delete(PODS, name, {"gracePeriodSeconds": 0})
        used(space, mine, pods="0")


def test_a_quota_is_updated_and_deleted(space):
    """ResourceQuota should be able to update and delete ResourceQuota."""
    made = space.create(QUOTAS, quota("mine", {"cpu": "1", "memory": "500Mi"}))
    assert made["spec"]["hard"] == {"cpu": "1", "memory": "500Mi"}
    updated = space.change(QUOTAS, "mine", lambda o: o["spec"].update(hard={"cpu": "2", "memory": "1Gi"}))
    assert updated["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    assert space.get(QUOTAS, "mine")["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    space.delete(QUOTAS, "mine")
    assert space.gone(QUOTAS, "mine")


def test_the_life_of_a_quota(space):
    """ResourceQuota should manage the lifecycle of a ResourceQuota"""
    hard = {"cpu": "1", "memory": "500Mi"}
    body = quota("mine", hard)
    body["metadata"]["labels"] = {"mine": "quota"}
    space.create(QUOTAS, body)
    found = space.api.items(QUOTAS, labelSelector="mine=quota")
    assert [q["spec"]["hard"] for q in found if q["metadata"]["namespace"] == space.name] == [hard]
    change = {"metadata": {"labels": {"mine": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = space.patch(QUOTAS, "mine", change, STRATEGIC)
    assert patched["metadata"]["labels"]["mine"] == "patched"
    assert patched["spec"]["hard"] == {"cpu": "1", "memory": "750Mi"}
    space.delete(QUOTAS, labelSelector="mine=patched")
    wait_until("deleted", lambda: not space.items(QUOTAS))


def test_the_status_is_patched_and_updated(space):
    """ResourceQuota should apply changes to a resourcequota status"""
    made = space.create(QUOTAS, quota("mine", {"cpu": "500m", "memory": "500Mi"}))
    wait_until("a status", lambda: space.get(QUOTAS, "mine")["status"].get("hard") == made["spec"]["hard"])

    def set_hard(found):
        found["status"]["hard"] = {"cpu": "1", "memory": "1Gi"}

    revision = space.get(QUOTAS, "mine")["metadata"]["resourceVersion"]
    with space.watch(QUOTAS, fieldSelector="metadata.name=mine", resourceVersion=revision) as events:
        updated = space.change(QUOTAS, "mine", set_hard, sub="status")
        assert updated["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}
        events.until("MODIFIED", lambda o: o["status"]["hard"] == {"cpu": "1", "memory": "1Gi"})
        patched = space.patch(QUOTAS, "mine", {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}}, sub="status")
        assert patched["status"]["hard"] == {"cpu": "2", "memory": "2Gi"}
        assert patched["spec"]["hard"] == {"cpu": "500m", "memory": "500Mi"}
        events.until("MODIFIED", lambda o: o["status"]["hard"] == {"cpu": "2", "memory": "2Gi"})
        # The controller puts right what is not so.
        events.until("MODIFIED", lambda o: o["status"]["hard"] == made["spec"]["hard"])
