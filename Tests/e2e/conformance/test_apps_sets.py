"""Stateful and daemon sets, jobs, disruption budgets and revisions: the API's part of upstream's test/e2e/apps."""

from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import api_operations, condition, conditions
from test_apps import status_endpoints
from workloads import NOWHERE, account, pod, pod_spec, ready, scale_works, workload

STATEFUL = "apps/v1/statefulsets"
DAEMONS = "apps/v1/daemonsets"
JOBS = "batch/v1/jobs"
CRONJOBS = "batch/v1/cronjobs"
BUDGETS = "policy/v1/poddisruptionbudgets"
REVISIONS = "apps/v1/controllerrevisions"


def stateful(name, replicas=1):
    return workload(name, replicas, serviceName="test")


def test_scale_of_a_stateful_set(space):
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource"""
    space.create(STATEFUL, stateful("ss"))
    ready(space, STATEFUL, "ss", 1)
    scale_works(space, STATEFUL, "ss")


def test_status_of_a_stateful_set(space):
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints"""
    space.create(STATEFUL, stateful("ss"))
    ready(space, STATEFUL, "ss", 1)
    status_endpoints(space, STATEFUL, "ss")


def test_stateful_sets_are_patched_and_deleted(space):
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of StatefulSets"""
    space.create(STATEFUL, stateful("test-ss"))
    ready(space, STATEFUL, "test-ss", 1)
    change = {
        "metadata": {"labels": {"test-ss": "patched"}},
        "spec": {"replicas": 2, "template": {"spec": {"terminationGracePeriodSeconds": 1}}},
    }
    space.patch(STATEFUL, "test-ss", change, STRATEGIC)
    ready(space, STATEFUL, "test-ss", 2)
    found = space.api.items(STATEFUL, labelSelector="test-ss=patched")
    assert [s["spec"]["replicas"] for s in found] == [2]
    space.delete(STATEFUL, labelSelector="test-ss=patched")
    wait_until("deleted", lambda: not space.items(STATEFUL))


def test_daemon_sets_are_listed_and_deleted(space):
    """Daemon set [Serial] should list and delete a collection of DaemonSets"""
    space.create(DAEMONS, workload("daemon-set"))
    ready(space, DAEMONS, "daemon-set", 1, "numberReady")
    assert [d["metadata"]["name"] for d in space.items(DAEMONS, labelSelector="app=daemon-set")] == ["daemon-set"]
    space.delete(DAEMONS, labelSelector="app=daemon-set")
    wait_until("deleted", lambda: not space.items(DAEMONS))


def test_status_of_a_daemon_set(space):
    """Daemon set [Serial] should verify changes to a daemon set status"""
    space.create(DAEMONS, workload("daemon-set"))
    ready(space, DAEMONS, "daemon-set", 1, "numberReady")
    status_endpoints(space, DAEMONS, "daemon-set")


def test_the_life_of_a_controller_revision(space):
    """ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision"""
    space.create(DAEMONS, workload("daemon"))
    ready(space, DAEMONS, "daemon", 1, "numberReady")
    first = wait_until("a revision", lambda: space.items(REVISIONS, labelSelector="app=daemon"))[0]
    assert first["metadata"]["ownerReferences"][0]["name"] == "daemon" and first["revision"] == 1
    name = first["metadata"]["name"]
    patched = space.patch(REVISIONS, name, {"metadata": {"labels": {name: "patched"}}}, STRATEGIC)
    assert patched["metadata"]["labels"][name] == "patched"
    new = {
        "metadata": {"name": "new", "labels": first["metadata"]["labels"],
                     "ownerReferences": first["metadata"]["ownerReferences"]},
        "data": first["data"], "revision": first["revision"] + 1,
    }  # fmt: skip
    space.create(REVISIONS, new)
    assert len(space.items(REVISIONS, labelSelector="app=daemon")) == 2
    space.delete(REVISIONS, "new")
    wait_until("deleted", lambda: space.gone(REVISIONS, "new"))
    changed = space.change(REVISIONS, name, lambda o: o["metadata"]["labels"].update({name: "updated"}))
    assert changed["metadata"]["labels"][name] == "updated"
    space.refused(422, "Invalid", "PATCH", REVISIONS, {"data": {"spec": {"x": "y"}}}, name=name, headers={"Content-Type": MERGE})
    # A change of the template is another revision.
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}
    space.patch(DAEMONS, "daemon", change, STRATEGIC)
    wait_until("two revisions", lambda: len(space.items(REVISIONS, labelSelector="app=daemon")) == 2)
    space.delete(REVISIONS, labelSelector=f"{name}=updated")
    wait_until("one revision", lambda: len(space.items(REVISIONS, labelSelector="app=daemon")) == 1)
    # The set makes the one that it needs again.
    space.delete(REVISIONS, labelSelector="app=daemon")
    wait_until("another", lambda: len(space.items(REVISIONS, labelSelector="app=daemon")) == 1)


def cron_job(**spec):
    return {"spec": {
        "schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": {"spec": pod_spec(restartPolicy="OnFailure")}}}, **spec,
    }}  # fmt: skip


def test_cron_jobs(api, space):
    """CronJob should support CronJob API operations"""

    def change(found):
        found["spec"]["schedule"] = "*/30 * 29 2 *"
        return lambda got: got["spec"]["schedule"] == "*/30 * 29 2 *" and got["metadata"]["generation"] == 2

    times = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    api_operations(
        api, space, CRONJOBS, "CronJob", cron_job(), change,
        status=({"lastScheduleTime": times[0]}, {"lastScheduleTime": times[1]}),
    )  # fmt: skip


def job(name, parallelism=2, completions=4, **spec):
    return {"metadata": {"name": name}, "spec": {
        "parallelism": parallelism, "completions": completions, "backoffLimit": 6, **spec,
        "template": {"metadata": {"labels": {"job": name}}, "spec": pod_spec(restartPolicy="Never")},
    }}  # fmt: skip


def test_status_of_a_job(space):
    """Job should apply changes to a job status"""
    space.create(JOBS, job("test", 1, 1))
    ready(space, JOBS, "test", 1, "active")
    patched = space.patch(JOBS, "test", {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"conditions": [{**condition("CustomConditionType"), "lastProbeTime": None}]},
    }, sub="status")  # fmt: skip
    assert "CustomConditionType" in conditions(patched) and patched["metadata"]["annotations"]["patchedstatus"] == "true"

    def update(found):
        found["status"]["conditions"].append(condition("StatusUpdate"))

    updated = space.change(JOBS, "test", update, sub="status")
    assert {"CustomConditionType", "StatusUpdate"} <= set(conditions(updated))
    assert {"CustomConditionType", "StatusUpdate"} <= set(conditions(space.get(JOBS, "test", sub="status")))


def test_a_job_is_deleted(space):
    """Job should delete a job"""
    space.create(JOBS, job("foo", 2, 4))
    ready(space, JOBS, "foo", 2, "active")
    space.delete(JOBS, "foo", {"propagationPolicy": "Background"})
    wait_until("job deleted", lambda: space.gone(JOBS, "foo"), timeout=60)
    wait_until("pods deleted", lambda: not space.items("v1/pods", labelSelector="job=foo"), timeout=60)


def test_the_life_of_a_job(space):
    """Job should manage the lifecycle of a job"""
    body = job("suspend", 1, 1, suspend=True)
    body["metadata"]["labels"] = {"e2e-job-label": "suspend"}
    with space.watch(JOBS, labelSelector="e2e-job-label=suspend") as events:
        space.create(JOBS, body)
        events.until("ADDED", lambda o: True)
        events.until("MODIFIED", lambda o: conditions(o).get("Suspended", {}).get("status") == "True")
        assert not space.items("v1/pods")
        patched = space.patch(JOBS, "suspend", {"metadata": {"labels": {"e2e-patched": "true"}}}, STRATEGIC)
        assert patched["metadata"]["labels"]["e2e-patched"] == "true"
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("e2e-patched") == "true")

        def start(found):
            found["spec"]["suspend"] = False
            found["metadata"]["annotations"] = {"updated": "true"}

        space.change(JOBS, "suspend", start)
        events.until("MODIFIED", lambda o: o["metadata"].get("annotations", {}).get("updated") == "true")
        events.until("MODIFIED", lambda o: o["status"].get("active") == 1)
        assert [j["metadata"]["name"] for j in space.api.items(JOBS, labelSelector="e2e-job-label=suspend")] == ["suspend"]
        space.delete(JOBS, None, {"propagationPolicy": "Background"}, labelSelector="e2e-job-label=suspend")
        events.until("DELETED", lambda o: True)
    wait_until("pods deleted", lambda: not space.items("v1/pods", labelSelector="job=suspend"), timeout=60)


def budget(name, minimum, labels=None):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"minAvailable": minimum, "selector": {"matchLabels": {"foo": "bar"}}}}


def test_budgets_are_listed_and_deleted(space):
    """DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets"""
    labels = {"testing": space.name}
    space.api.create("v1/namespaces", {"metadata": {"name": space.name + "-other"}})
    try:
        for name in ("foo", "foo2"):
            space.create(BUDGETS, budget(name, "1%", labels))
        space.api.create(BUDGETS, budget("other", 2, labels), namespace=space.name + "-other")
        assert len(space.api.items(BUDGETS, labelSelector="testing=" + space.name)) == 3
        assert len(space.items(BUDGETS, labelSelector="testing=" + space.name)) == 2
        space.delete(BUDGETS, labelSelector="testing=" + space.name)
        assert len(space.api.items(BUDGETS, labelSelector="testing=" + space.name)) == 1
    finally:
        space.api.delete("v1/namespaces", space.name + "-other")


def processed(space, name="foo"):
    found = wait_until("processed", lambda: (
        lambda b: b["status"].get("observedGeneration") == b["metadata"]["generation"] and b)(space.get(BUDGETS, name)))  # fmt: skip
    return found


def test_a_budget_is_created(space):
    """DisruptionController should create a PodDisruptionBudget"""
    space.create(BUDGETS, budget("foo", "1%"))
    assert processed(space)["spec"]["minAvailable"] == "1%"
    space.change(BUDGETS, "foo", lambda o: o["spec"].update(minAvailable="2%"))
    assert processed(space)["spec"]["minAvailable"] == "2%"
    patched = space.patch(BUDGETS, "foo", {"spec": {"minAvailable": "3%"}})
    assert patched["spec"]["minAvailable"] == "3%"
    processed(space)
    space.delete(BUDGETS, "foo")
    assert space.gone(BUDGETS, "foo")


def test_a_budget_counts_pods(space):
    """DisruptionController should observe PodDisruptionBudget status updated"""
    account(space)
    space.create(BUDGETS, budget("foo", 1))
    for name in ("pod-1", "pod-2", "pod-3"):
        space.create("v1/pods", pod(name, {"foo": "bar"}))
    wait_until("disruptions are allowed", lambda: space.get(BUDGETS, "foo")["status"].get("disruptionsAllowed", 0) > 0, timeout=60)


def test_status_of_a_budget(space):
    """DisruptionController should update/patch PodDisruptionBudget status"""
    account(space)
    space.create(BUDGETS, budget("foo", 1))
    space.create("v1/pods", pod("pod-1", {"foo": "bar"}, **NOWHERE))
    processed(space)
    old, new = [f"2026-01-01T00:00:0{i}Z" for i in (1, 2)]
    updated = space.change(BUDGETS, "foo", lambda o: o["status"].update(disruptedPods={"pod-1": old}), sub="status")
    assert updated["status"]["disruptedPods"]["pod-1"] == old
    patched = space.patch(BUDGETS, "foo", {"status": {"disruptedPods": {"pod-1": new}}}, sub="status")
    assert patched["status"]["disruptedPods"]["pod-1"] == new


def test_a_budget_blocks_evictions(space):
    """DisruptionController should block an eviction until the PDB is updated to allow it"""
    account(space)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod-1"}}
    labels = {"foo": "bar"}
    space.create("v1/pods", pod("pod-1", labels))
    wait_until("Ready", lambda: conditions(space.get("v1/pods", "pod-1")).get("Ready", {}).get("status") == "True", timeout=60)
    space.create(BUDGETS, budget("foo", 1))
    wait_until("the pod is counted", lambda: space.get(BUDGETS, "foo")["status"].get("currentHealthy") == 1, timeout=60)
    status = space.refused(429, "TooManyRequests", "POST", "v1/pods", eviction, name="pod-1", sub="eviction")
    assert status["details"]["causes"][0]["reason"] == "DisruptionBudget", status
    space.patch(BUDGETS, "foo", {"spec": {"minAvailable": 0}})
    wait_until("allowed", lambda: space.send("POST", "v1/pods", eviction, name="pod-1", sub="eviction").code == 201, timeout=60)
    wait_until("evicted", lambda: space.gone("v1/pods", "pod-1"), timeout=60)
