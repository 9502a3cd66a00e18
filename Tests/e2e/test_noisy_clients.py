"""Clients that are wrong a hundred thousand times, or ask without pause: the server keeps its size and its node."""

import concurrent.futures
import json
import time

import pytest
from harness import wait_until
from http_api import Api

MAPS = "v1/configmaps"
PODS = "v1/pods"
MEBIBYTE = 1 << 20


def resident(node):
    """The server's own resident memory in bytes."""
    with open(f"/proc/{node.server_pid()}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024


def grown(node, before):
    return (resident(node) - before) / MEBIBYTE


def nothing_stored(space):
    assert {m["metadata"]["name"] for m in space.items(MAPS)} <= {"kube-root-ca.crt"}


@pytest.mark.parametrize(
    "build, part",
    [
        pytest.param(lambda n: {"metadata": {"name": "long", "finalizers": ["Bad Name"] * n}}, "metadata.finalizers: Invalid", id="finalizers"),
        pytest.param(lambda n: {"metadata": {"name": "long", "ownerReferences": [{}] * n}}, "metadata.ownerReferences[0]", id="owners"),
        pytest.param(lambda n: {"metadata": {"name": "long", "labels": {f"-{i}": "" for i in range(n)}}}, "metadata.labels", id="labels"),
    ],
)
def test_a_hundred_thousand_mistakes(node, space, build, part):
    """Each is wrong: the answer names the places, nothing is stored, and what the work took is given back."""
    before = resident(node)
    answer = space.send("POST", MAPS, build(100_000))
    assert answer.code in (413, 422), answer.code
    if answer.code == 422:
        assert answer.json["reason"] == "Invalid" and part in answer.json["message"]
    nothing_stored(space)
    wait_until("the memory is given back", lambda: grown(node, before) < 200, timeout=60)
    assert space.api.raw("GET", "/readyz").body == b"ok"


def test_a_pod_of_a_hundred_thousand_variables(node, space):
    wait_until("default account", lambda: not space.gone("v1/serviceaccounts", "default"))
    before = resident(node)
    env = [{"name": f"V{i}"} for i in range(100_000)]
    body = {"metadata": {"name": "long"}, "spec": {"nodeSelector": {"a": "nowhere"}, "containers": [{"name": "c", "image": "x", "env": env}]}}
    answer = space.send("POST", PODS, body)
    # etcd's limit of 1.5 MiB a request is upstream's; either answer is one of a server that lives.
    assert answer.code in (201, 413, 422, 500), answer.code
    if answer.code == 201:
        assert len(space.get(PODS, "long")["spec"]["containers"][0]["env"]) == 100_000
        space.delete(PODS, "long", {"gracePeriodSeconds": 0})
    wait_until("the memory is given back", lambda: grown(node, before) < 200, timeout=60)


@pytest.mark.parametrize("selector", ["a in (" + ",".join(f"v{i}" for i in range(5000)) + ")", "," * 1000, "a" * 5000])
def test_long_selectors(space, selector):
    answer = space.send("GET", MAPS, labelSelector=selector)
    assert answer.code in (200, 400, 414, 431), answer.code
    if answer.code == 400:
        assert answer.json["reason"] == "BadRequest" and "unable to parse" in answer.json["message"]


def test_a_noisy_client_does_not_starve_the_nodes_heartbeat(node, api):
    """A service account lists as fast as it can with many connections while the node's lease goes on being renewed."""
    token = api.create("v1/serviceaccounts", {"spec": {}}, namespace="default", name="default", sub="token")["status"]["token"]
    noisy = Api(node, headers={"Authorization": "Bearer " + token}, certificate=False)
    end = time.monotonic() + 12

    def load(_):
        codes = set()
        while time.monotonic() < end:
            answer = noisy.raw("GET", "/api/v1/pods?limit=500")
            codes.add(answer.code)
            if answer.code == 429:
                assert answer.headers["Retry-After"] and json.loads(answer.body)["reason"] == "TooManyRequests"
        return codes

    lease = ("coordination.k8s.io/v1/leases", "node-1")
    first = api.get(*lease, namespace="kube-node-lease")["spec"]["renewTime"]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        codes = set().union(*pool.map(load, range(32)))
    assert codes <= {200, 403, 429}, codes
    wait_until("the lease is renewed", lambda: api.get(*lease, namespace="kube-node-lease")["spec"]["renewTime"] > first, timeout=60)
    ready = [c["status"] for c in api.get("v1/nodes", "node-1")["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"]
