"""Clients that cost too much: what they send is refused with kube-apiserver's Status, nothing of it is stored, and
neither they nor those who never read make the server's memory grow without bounds."""

import json
import socket
import time

import pytest
from harness import wait_until
from http_api import APPLY, JSON_PATCH, MERGE, STRATEGIC

MAPS = "v1/configmaps"
MIB = 1 << 20


def anonymous_memory(node):
    with open(f"/proc/{node.server_pid()}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Anonymous:")) * 1024


def nothing_stored(space, name="bad"):
    assert space.gone(MAPS, name)
    assert space.api.raw("GET", "/readyz").code == 200


def nested(depth, opening='{"a":', closing="}"):
    return '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"x":' + opening * depth + "1" + closing * depth + "}"


@pytest.mark.parametrize("opening, closing", [('{"a":', "}"), ("[", "]")])
def test_deeply_nested_bodies_are_refused(space, node, opening, closing):
    before = anonymous_memory(node)
    for depth in (10_001, 200_000):
        status = space.refused(400, "BadRequest", "POST", MAPS, nested(depth, opening, closing))
        assert "exceeded max depth" in status["message"], status["message"]
    nothing_stored(space)
    assert anonymous_memory(node) - before < 32 * MIB


def test_deeply_nested_patches_are_refused(space):
    space.create(MAPS, {"metadata": {"name": "there"}})
    deep = '{"data":' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}"
    for kind in (MERGE, STRATEGIC, APPLY):
        answer = space.send("PATCH", MAPS, deep, name="there", headers={"Content-Type": kind}, fieldManager="t")
        assert answer.code == 400 and answer.json["reason"] == "BadRequest", (kind, answer)
    value = '[{"op":"add","path":"/data","value":' + "[" * 20_000 + "]" * 20_000 + "}]"
    answer = space.send("PATCH", MAPS, value, name="there", headers={"Content-Type": JSON_PATCH})
    assert answer.code == 400 and answer.json["reason"] == "BadRequest", answer
    assert "data" not in space.get(MAPS, "there")


def test_bodies_of_more_than_three_megabytes_are_refused(space, node):
    before = anonymous_memory(node)
    big = json.dumps({"metadata": {"name": "bad"}, "data": {"a": "x" * (3 * MIB + 1)}})
    space.create(MAPS, {"metadata": {"name": "there"}})
    for method, name, kind in (
        ("POST", None, "application/json"), ("PUT", "there", "application/json"), ("PATCH", "there", MERGE),
        ("PATCH", "there", APPLY),
    ):  # fmt: skip
        answer = space.send(method, MAPS, big, name=name, headers={"Content-Type": kind}, fieldManager="t")
        assert answer.code == 413, (method, answer)
        assert answer.json["reason"] == "RequestEntityTooLarge" and "3145728" in answer.json["message"], answer
    nothing_stored(space)
    # An object that fits the limit of requests, but not what is kept of one.
    status = space.refused(422, "Invalid", "POST", MAPS, {"metadata": {"name": "bad"}, "data": {"a": "x" * (2 * MIB)}})
    assert "Too long: may not be more than 1048576 bytes" in status["message"]
    nothing_stored(space)
    assert anonymous_memory(node) - before < 48 * MIB


def test_lists_of_a_hundred_thousand_elements_are_refused(space):
    finalizers = [f"example.com/f{i}" for i in range(100_000)]
    body = {"metadata": {"name": "bad", "finalizers": finalizers}}
    answer = space.send("POST", MAPS, body)
    assert answer.code in (413, 422), answer
    body = {"metadata": {"name": "bad"}, "spec": {"ports": [{"port": 80, "name": f"p{i}"} for i in range(100_000)]}}
    answer = space.send("POST", "v1/services", body)
    assert answer.code in (413, 422), answer
    assert space.gone("v1/services", "bad")
    space.create(MAPS, {"metadata": {"name": "there"}, "data": {"a": "b"}})
    # kube-apiserver takes at most 10,000 operations in a JSON patch.
    operations = [{"op": "test", "path": "/data/a", "value": "b"}] * 10_001
    status = space.refused(
        413, "RequestEntityTooLarge", "PATCH", MAPS, operations, name="there", headers={"Content-Type": JSON_PATCH}
    )
    assert "The allowed maximum operations in a JSON patch is 10000, got 10001" in status["message"], status
    nothing_stored(space)


def test_endless_bodies_end(api, space):
    """A chunked body without an end is cut off at the limit."""
    sent = 0
    connection = api.connection()
    connection.putrequest("POST", f"/api/v1/namespaces/{space.name}/configmaps")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    try:
        while sent < 64 * MIB:
            connection.send(chunk)
            sent += 0x10000
    except OSError:
        pass  # Closed under us: refused.
    assert sent < 64 * MIB
    connection.close()
    nothing_stored(space)


def test_slow_clients_hold_no_place(api, node):
    """Requests that come a byte at a time do not keep others waiting, and are ended."""
    before = anonymous_memory(node)
    slow = []
    for i in range(200):
        connection = api.connection()
        connection.connect()
        # Half a header, or half a body.
        half = b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nX-Slow: "
        body = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        connection.sock.sendall(half if i % 2 else body)
        slow.append(connection)
    try:
        for _ in range(5):
            assert api.raw("GET", "/readyz").code == 200
            for connection in slow:
                try:
                    connection.sock.sendall(b"x")
                except OSError:
                    pass
        assert anonymous_memory(node) - before < 64 * MIB
        first = slow[1]

        def ended():
            first.sock.settimeout(0.2)
            try:
                return first.sock.recv(4096) == b"" or b"408" in first.sock.recv(4096)
            except TimeoutError:
                return False
            except (OSError, socket.timeout):
                return True

        wait_until("a header that never ends is given up", ended, timeout=120)
    finally:
        for connection in slow:
            connection.close()


def test_watchers_that_never_read_cost_little(api, space, node):
    """Who falls too far behind is cut off; who reads misses nothing."""
    before = anonymous_memory(node)
    path = f"/api/v1/namespaces/{space.name}/configmaps?watch=true"
    lazy = []
    for _ in range(20):
        connection = api.connection()
        connection.request("GET", path)
        lazy.append(connection)
    try:
        with space.watch(MAPS) as events:
            space.create(MAPS, {"metadata": {"name": "big"}, "data": {"n": "0"}})
            last = 150
            for i in range(last):
                space.patch(MAPS, "big", {"data": {"n": str(i), "filler": str(i % 10) * 500_000}})
            events.until("MODIFIED", lambda o: o["data"]["n"] == str(last - 1), timeout=120)
        # 20 watchers have not read 75 MB each.
        assert anonymous_memory(node) - before < 64 * MIB, (before, anonymous_memory(node))
        assert api.raw("GET", "/readyz").code == 200
        time.sleep(0.1)
    finally:
        for connection in lazy:
            connection.close()
