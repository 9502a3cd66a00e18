"""Watches: upstream's test/e2e/apimachinery/watch.go."""

import threading

from harness import wait_until

MAPS = "v1/configmaps"


def config(name, label="watched", **data):
    return {"metadata": {"name": name, "labels": {"watch-this-configmap": label}}, "data": data}


def mutate(space, name, value):
    return space.change(MAPS, name, lambda o: o.update(data={**o.get("data", {}), "mutation": value}))


def test_additions_changes_and_deletions_arrive(space):
    """Watchers should observe add, update, and delete watch notifications on configmaps"""
    one = {"labelSelector": "watch-this-configmap=A"}
    two = {"labelSelector": "watch-this-configmap=B"}
    both = {"labelSelector": "watch-this-configmap in (A,B)"}
    with space.watch(MAPS, **one) as a, space.watch(MAPS, **two) as b, space.watch(MAPS, **both) as ab:

        def see(mine, other, kind, name, mutation=None):
            for events in (mine, ab):
                what, found = events.next()
                assert (what, found["metadata"]["name"]) == (kind, name)
                assert found.get("data", {}).get("mutation") == mutation
            other.none(0.2)

        space.create(MAPS, config("a", "A"))
        see(a, b, "ADDED", "a")
        mutate(space, "a", "1")
        see(a, b, "MODIFIED", "a", "1")
        mutate(space, "a", "2")
        see(a, b, "MODIFIED", "a", "2")
        space.delete(MAPS, "a")
        see(a, b, "DELETED", "a", "2")
        space.create(MAPS, config("b", "B"))
        see(b, a, "ADDED", "b")
        space.delete(MAPS, "b")
        see(b, a, "DELETED", "b")


def test_a_watch_starts_at_a_revision(space):
    """Watchers should be able to start watching from a specific resource version"""
    space.create(MAPS, config("from"))
    first = mutate(space, "from", "1")
    mutate(space, "from", "2")
    space.delete(MAPS, "from")
    revision = first["metadata"]["resourceVersion"]
    with space.watch(MAPS, resourceVersion=revision, labelSelector="watch-this-configmap=watched") as events:
        what, found = events.next()
        assert (what, found["data"]["mutation"]) == ("MODIFIED", "2")
        what, found = events.next()
        assert (what, found["metadata"]["name"]) == ("DELETED", "from")


def test_a_watch_goes_on_where_another_ended(space):
    """Watchers should be able to restart watching from the last resource version observed by the previous watch"""
    with space.watch(MAPS, labelSelector="watch-this-configmap=watched") as events:
        space.create(MAPS, config("again"))
        assert events.next()[0] == "ADDED"
        mutate(space, "again", "1")
        what, last = events.next()
        assert what == "MODIFIED"
    mutate(space, "again", "2")
    space.delete(MAPS, "again")
    revision = last["metadata"]["resourceVersion"]
    with space.watch(MAPS, resourceVersion=revision, labelSelector="watch-this-configmap=watched") as events:
        what, found = events.next()
        assert (what, found["data"]["mutation"]) == ("MODIFIED", "2")
        assert events.next()[0] == "DELETED"


def test_what_leaves_the_selector_is_deleted_for_the_watcher(space):
    """Watchers should observe an object deletion if it stops meeting the requirements of the selector"""

    def relabel(value):
        space.patch(MAPS, "moves", {"metadata": {"labels": {"watch-this-configmap": value}}})

    with space.watch(MAPS, labelSelector="watch-this-configmap=watched") as events:
        space.create(MAPS, config("moves"))
        assert events.next()[0] == "ADDED"
        mutate(space, "moves", "1")
        assert events.next()[0] == "MODIFIED"
        relabel("elsewhere")
        what, found = events.next()
        assert (what, found["metadata"]["name"]) == ("DELETED", "moves")
        mutate(space, "moves", "2")
        events.none()
        relabel("watched")
        what, found = events.next()
        assert (what, found["data"]["mutation"]) == ("ADDED", "2")
        mutate(space, "moves", "3")
        assert events.next()[0] == "MODIFIED"
        space.delete(MAPS, "moves")
        assert events.next()[0] == "DELETED"


def test_concurrent_watches_see_one_order(space):
    """Watchers should receive events on concurrent watches in same order"""
    stop = threading.Event()
    failures = []

    def produce(number):
        try:
            present = set()
            for i in range(100000):
                if stop.is_set():
                    return
                name = f"c{number}-{i % 5}"
                if name not in present:
                    space.create(MAPS, config(name))
                    present.add(name)
                elif i % 3 == 0:
                    space.delete(MAPS, name)
                    present.remove(name)
                else:
                    mutate(space, name, str(i))
        except Exception as error:  # The thread's failure is the test's.
            failures.append(error)

    start = space.get(MAPS)["metadata"]["resourceVersion"]
    producers = [threading.Thread(target=produce, args=(n,)) for n in range(3)]
    for producer in producers:
        producer.start()
    try:
        count = 40
        with space.watch(MAPS, resourceVersion=start) as events:
            first = [events.next() for _ in range(count)]
        order = [(what, found["metadata"]["resourceVersion"]) for what, found in first]
        revisions = [int(revision) for _, revision in order]
        assert revisions == sorted(set(revisions))
        # A watch from each revision on that was seen, while the writers go on.
        for i in range(0, count - 1, 3):
            with space.watch(MAPS, resourceVersion=order[i][1]) as events:
                for expected in order[i + 1 :]:
                    what, found = events.next()
                    assert (what, found["metadata"]["resourceVersion"]) == expected
    finally:
        stop.set()
        for producer in producers:
            producer.join()
    assert not failures, failures
    wait_until("still answering", lambda: space.get(MAPS))
