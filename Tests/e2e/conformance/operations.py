"""What many conformance cases do with a kind: every verb of its API, seen by a watch at the same time."""

import copy

from harness import wait_until
from http_api import MERGE, Api


def labelled(body, name, labels):
    body = copy.deepcopy(body)
    body.setdefault("metadata", {})["name"] = name
    body["metadata"]["labels"] = {**body["metadata"].get("labels", {}), **labels}
    return body


def discovered(api: Api, resource, kind, namespaced, subresources=()):
    """Group, version and resource are in the discovery documents."""
    *group, version, plural = resource.split("/")
    if group:
        groups = {g["name"]: g for g in api.get("/apis")["groups"]}
        assert group[0] in groups, groups.keys()
        assert f"{group[0]}/{version}" in [v["groupVersion"] for v in groups[group[0]]["versions"]]
        assert version in [v["version"] for v in api.get("/apis/" + group[0])["versions"]]
    base = f"/apis/{group[0]}/{version}" if group else f"/api/{version}"
    resources = {r["name"]: r for r in api.get(base)["resources"]}
    assert resources[plural]["kind"] == kind and resources[plural]["namespaced"] == namespaced
    for sub in subresources:
        assert f"{plural}/{sub}" in resources, resources.keys()
    return resources[plural]


def api_operations(api, space, resource, kind, body, change=None, name="ops", status=None, collection=True):
    """create, get, list, watch, patch, update, status, delete and deletecollection of one kind.

    `space` is None for a kind outside namespaces. `body` is an object without a name; `change(object)` changes its
    spec for an update and returns a check of the answer; `status` is a merge patch's status and the status that an
    update then writes, where the kind has the subresource.
    """
    target = space or api
    labels = {"conformance": name}
    selector = f"conformance={name}"
    discovered(api, resource, kind, space is not None, ("status",) if status else ())

    first = target.create(resource, labelled(body, name + "-1", labels))
    assert first["kind"] == kind and first["metadata"]["uid"] and first["metadata"]["creationTimestamp"]
    target.create(resource, labelled(body, name + "-2", labels))
    target.create(resource, labelled(body, name + "-3", labels))
    read = target.get(resource, name + "-1")
    assert read["metadata"]["uid"] == first["metadata"]["uid"]

    listed = target.get(resource, labelSelector=selector)
    assert listed["kind"] == kind + "List" and len(listed["items"]) == 3, listed
    if space:
        assert len(api.items(resource, labelSelector=selector)) == 3, "all namespaces"
    version = listed["metadata"]["resourceVersion"]

    with target.watch(resource, labelSelector=selector, resourceVersion=version) as events:
        patched = target.patch(resource, name + "-1", {"metadata": {"annotations": {"patched": "true"}}}, MERGE)
        assert patched["metadata"]["annotations"]["patched"] == "true"
        # A controller may have written the status of what was created just before.
        events.until("MODIFIED", lambda o: o["metadata"].get("annotations", {}).get("patched") == "true")

        checks = []

        def edit(found):
            found["metadata"].setdefault("annotations", {})["updated"] = "true"
            if change:
                checks[:] = [change(found)]

        updated = target.change(resource, name + "-1", edit)
        assert updated["metadata"]["annotations"] == {**updated["metadata"]["annotations"], "updated": "true"}
        for check in checks:
            if check:
                check(updated)
        events.until("MODIFIED", lambda o: o["metadata"].get("annotations", {}).get("updated") == "true")

        if status:
            status_operations(target, resource, name + "-1", *status)

        target.delete(resource, name + "-1")
        events.until("DELETED", lambda o: o["metadata"]["name"] == name + "-1")
    wait_until("deleted", lambda: target.gone(resource, name + "-1"))
    assert {i["metadata"]["name"] for i in target.items(resource, labelSelector=selector)} == {name + "-2", name + "-3"}
    if collection:
        target.delete(resource, labelSelector=selector)
    else:
        target.delete(resource, name + "-2")
        target.delete(resource, name + "-3")
    wait_until("all deleted", lambda: not target.items(resource, labelSelector=selector))
    return first


def status_operations(target, resource, name, patch, update):
    """get, patch and update of the status subresource; the rest of the object does not follow, except metadata."""
    before = target.get(resource, name)
    patched = target.patch(
        resource, name, {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": patch}, sub="status"
    )
    assert contains(patched["status"], patch), patched["status"]
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"

    def edit(found):
        found["status"] = {**found.get("status", {}), **update}

    updated = target.change(resource, name, edit, sub="status")
    assert contains(updated["status"], update), updated["status"]
    read = target.get(resource, name, sub="status")
    assert contains(read["status"], update)
    assert read["metadata"]["uid"] == before["metadata"]["uid"]
    assert read.get("spec") == before.get("spec")


def contains(value, part):
    """Every member of `part` is in `value`; of lists in order, with others between them."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(k in value and contains(value[k], v) for k, v in part.items())
    if isinstance(part, list):
        left = iter(value if isinstance(value, list) else [])
        return all(any(contains(found, wanted) for found in left) for wanted in part)
    return value == part


def condition(kind, status="True", reason="E2E", message="Set from a test"):
    """A status condition; every kind of them takes these fields."""
    return {
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def conditions(found):
    return {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
