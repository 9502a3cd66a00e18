"""Events of both groups: upstream's test/e2e/instrumentation."""

from harness import wait_until
from http_api import STRATEGIC

CORE = "v1/events"
NEW = "events.k8s.io/v1/events"


def core_event(space, name, labels):
    return {
        "metadata": {"name": name, "labels": labels}, "message": "This is a test event", "reason": "Test",
        "type": "Normal", "count": 1, "involvedObject": {"namespace": space.name, "name": name, "kind": "Pod"},
    }  # fmt: skip


def new_event(space, name, labels):
    return {
        "metadata": {"name": name, "labels": labels}, "regarding": {"namespace": space.name, "kind": "Pod", "name": name},
        "eventTime": "2026-01-01T00:00:00.000001Z", "note": "This is " + name, "action": "Do", "reason": "Test",
        "type": "Normal", "reportingController": "test-controller", "reportingInstance": "test-node",
    }  # fmt: skip


def test_the_life_of_an_event(space):
    """Events should manage the lifecycle of an event"""
    space.create(CORE, core_event(space, "event-test", {"testevent-constant": "true"}))
    everywhere = space.api.items(CORE, labelSelector="testevent-constant=true")
    assert [e["metadata"]["name"] for e in everywhere] == ["event-test"]
    space.patch(CORE, "event-test", {"message": "This is a test event - patched"}, STRATEGIC)
    assert space.get(CORE, "event-test")["message"].endswith("patched")
    updated = space.change(CORE, "event-test", lambda o: o.update(series={"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}))
    assert updated["series"]["count"] == 100
    assert space.get(CORE, "event-test")["series"]["lastObservedTime"] == "2026-01-01T00:00:00.000000Z"
    space.delete(CORE, "event-test")
    assert not space.api.items(CORE, labelSelector="testevent-constant=true")


def collection_deleted(space, resource, make):
    for i in (1, 2, 3):
        space.create(resource, make(space, f"test-event-{i}", {"testevent-set": "true"}))
    assert len(space.items(resource, labelSelector="testevent-set=true")) == 3
    space.delete(resource, labelSelector="testevent-set=true")
    wait_until("deleted", lambda: not space.items(resource, labelSelector="testevent-set=true"))


def test_a_collection_of_core_events_is_deleted(space):
    """Events should delete a collection of events"""
    collection_deleted(space, CORE, core_event)


def test_a_collection_of_new_events_is_deleted(space):
    """Events API should delete a collection of events"""
    collection_deleted(space, NEW, new_event)


def test_events_of_the_new_group(space):
    """Events API should ensure that an event can be fetched, patched, deleted, and listed"""
    space.create(NEW, new_event(space, "event-test", {"testevent-constant": "true"}))
    for items in (space.items(NEW), space.api.items(NEW)):
        assert "event-test" in [e["metadata"]["name"] for e in items if e["metadata"]["namespace"] == space.name]
    by_source = {"fieldSelector": "reportingController=test-controller"}
    assert [e["metadata"]["name"] for e in space.items(NEW, **by_source)] == ["event-test"]
    found = space.get(NEW, "event-test")
    assert found["note"] == "This is event-test" and found["reportingController"] == "test-controller"
    # The same object in the older form.
    old = space.get(CORE, "event-test")
    assert (old["message"], old["involvedObject"]["name"]) == ("This is event-test", "event-test")
    assert old["reportingComponent"] == "test-controller"
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    space.patch(NEW, "event-test", series, STRATEGIC)
    assert space.get(NEW, "event-test")["series"]["count"] == 2
    updated = space.change(NEW, "event-test", lambda o: o["series"].update(count=100))
    assert updated["series"]["count"] == 100 and space.get(NEW, "event-test")["series"]["count"] == 100
    space.delete(NEW, "event-test")
    assert not space.items(NEW, **by_source)
