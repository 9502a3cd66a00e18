"""Limit ranges and priority classes: upstream's test/e2e/scheduling, what the API server does of it."""

from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import api_operations
from workloads import NOWHERE, account, pod

LIMITS = "v1/limitranges"
PRIORITIES = "scheduling.k8s.io/v1/priorityclasses"


def amounts(cpu, memory, storage):
    return {"cpu": cpu, "memory": memory, "ephemeral-storage": storage}


def limit_range(name, labels=None):
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"limits": [{
        "type": "Container", "min": amounts("50m", "100Mi", "100Gi"), "max": amounts("500m", "500Mi", "500Gi"),
        "default": amounts("500m", "500Mi", "500Gi"), "defaultRequest": amounts("100m", "200Mi", "200Gi"),
        "maxLimitRequestRatio": {},
    }]}}  # fmt: skip


def limited(name, requests=None, limits=None):
    body = pod(name, **NOWHERE)
    body["spec"]["containers"][0]["resources"] = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    return body


def test_defaults_of_a_limit_range(space):
    """LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied."""
    account(space)
    with space.watch(LIMITS) as events:
        space.create(LIMITS, limit_range("limit-range"))
        events.until("ADDED", lambda o: o["metadata"]["name"] == "limit-range")
    made = space.create("v1/pods", limited("no-resources"))
    default, request = amounts("500m", "500Mi", "500Gi"), amounts("100m", "200Mi", "200Gi")
    assert made["spec"]["containers"][0]["resources"] == {"requests": request, "limits": default}
    partly = limited("partly", {"cpu": "150m", "memory": "150Mi"}, {"cpu": "300m", "ephemeral-storage": "300Gi"})
    got = space.create("v1/pods", partly)["spec"]["containers"][0]["resources"]
    # A limit that is given is the request that is not: the kind's own default comes before the range's.
    assert got["limits"] == {"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "300Gi"}
    assert got["requests"] == {"cpu": "150m", "memory": "150Mi", "ephemeral-storage": "300Gi"}
    below = space.refused(403, "Forbidden", "POST", "v1/pods", limited("below", amounts("10m", "50Mi", "50Gi")))
    assert "minimum cpu usage per Container is 50m, but request is 10m" in below["message"]
    # A request above the default limit is no pod at all; with a limit it is above the maximum.
    space.refused(422, "Invalid", "POST", "v1/pods", limited("above", amounts("600m", "600Mi", "600Gi")))
    most = amounts("600m", "600Mi", "600Gi")
    above = space.refused(403, "Forbidden", "POST", "v1/pods", limited("above", most, most))
    assert "maximum cpu usage per Container is 500m, but limit is 600m" in above["message"]

    def lower(found):
        found["spec"]["limits"][0]["min"] = amounts("9m", "49Mi", "49Gi")

    space.change(LIMITS, "limit-range", lower)
    space.create("v1/pods", limited("below", amounts("10m", "50Mi", "50Gi")))
    space.delete(LIMITS, "limit-range")
    wait_until("deleted", lambda: not space.items(LIMITS))
    space.create("v1/pods", limited("above", amounts("600m", "600Mi", "600Gi")))


def test_limit_ranges_are_listed_patched_and_deleted(space):
    """LimitRange should list, patch and delete a LimitRange by collection"""
    labels = {"e2e-limitrange": space.name}
    selector = "e2e-limitrange=" + space.name
    space.create(LIMITS, limit_range("first", labels))
    assert len(space.items(LIMITS, labelSelector=selector)) == 1
    other = space.name + "-other"
    space.api.create("v1/namespaces", {"metadata": {"name": other}})
    try:
        space.api.create(LIMITS, limit_range("second", labels), namespace=other)
        assert len(space.api.items(LIMITS, labelSelector=selector)) == 2
        change = {"metadata": {"labels": {"patched": "yes"}},
                  "spec": {"limits": [{"type": "Container", "defaultRequest": amounts("40m", "40Mi", "40Gi")}]}}  # fmt: skip
        patched = space.patch(LIMITS, "first", change, STRATEGIC)
        assert patched["spec"]["limits"][0]["defaultRequest"]["cpu"] == "40m"
        space.delete(LIMITS, labelSelector=selector)
        assert not space.items(LIMITS, labelSelector=selector)
        assert len(space.api.items(LIMITS, labelSelector=selector)) == 1
    finally:
        space.api.delete("v1/namespaces", other)


def test_priority_classes(api, unique):
    """SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods"""
    api_operations(api, None, PRIORITIES, "PriorityClass", {"value": 1, "description": "x"}, None, unique)
    api.create(PRIORITIES, {"metadata": {"name": unique}, "value": 1})
    as_merge = {"headers": {"Content-Type": MERGE}}
    for change in ({"value": 2}, {"preemptionPolicy": "Never"}):
        status = api.refused(422, "Invalid", "PATCH", PRIORITIES, change, name=unique, **as_merge)
        assert "may not be changed in an update" in status["message"] or "field is immutable" in status["message"]
    patched = api.patch(PRIORITIES, unique, {"description": "updated"})
    assert patched["description"] == "updated" and patched["value"] == 1
    api.delete(PRIORITIES, unique)
    status = api.refused(422, "Invalid", "POST", PRIORITIES, {"metadata": {"name": unique}, "value": 1000000001})
    assert "maximum allowed value of a user defined priority is 1000000000" in status["message"]
