"""Certificates of an agent that run out while it runs."""

import os
import time

import pytest
from conftest import Cluster
from harness import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:test", command: [sh, -c, "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"]}]
"""


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("certs")
    # The server's own are a year's; a minute and a half is what it gives from now on.
    cluster.server.stop()
    cluster.server.variables["CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS"] = str(90 / 86400)
    try:
        cluster.server.start()
        yield cluster
    finally:
        cluster.destroy()


def enddate(cluster, name):
    shown = cluster.agent(2).netns.run("openssl", "x509", "-enddate", "-noout", "-in", os.path.join(cluster.agent(2).data, "agent", name + ".crt"))
    return time.mktime(time.strptime(shown.stdout.strip()[len("notAfter=") :], "%b %d %H:%M:%S %Y GMT")) - time.timezone


def test_an_agent_renews_its_certificates_under_its_pods(cluster):
    server, agent = cluster.server, cluster.agent(2)
    server.apply(POD)
    server.kubectl("wait", "pod/steady", "--for=condition=Ready", "--timeout=60s")
    container = lambda: server.jsonpath("pod", "steady", "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")
    names = ("serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller")
    pid, began, first = agent.process.pid, container(), {name: enddate(cluster, name) for name in names}
    assert all(end - time.time() <= 90 for end in first.values()), first
    wait_until("new certificates", lambda: all(enddate(cluster, n) > first[n] for n in names), timeout=100)
    assert time.time() < min(first.values()), "they have run out before"
    assert agent.process.pid == pid and agent.process.poll() is None, "it is the same process"
    assert "Certificates are to be renewed" in agent.tail(200)
    # Past the end of the first ones everything works: its clients, its own API, the tunnel.
    wait_until("the first ones have run out", lambda: time.time() > max(first.values()) + 2, timeout=100)
    agent.wait_ready(60)
    lines = lambda: len(server.kubectl("logs", "steady").stdout.splitlines())
    length = lines()
    wait_until("its log goes on", lambda: lines() > length + 20, timeout=60)
    numbers = [int(line.split()[1]) for line in server.kubectl("logs", "steady").stdout.splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "the log has a gap"
    assert server.kubectl("exec", "steady", "--", "echo", "here").stdout == "here\n"
    assert container() == began


def test_an_agent_whose_certificates_have_run_out_joins_again(cluster):
    server, agent = cluster.server, cluster.agent(2)
    server.stop()
    wait_until("they have run out", lambda: time.time() > enddate(cluster, "client-kubelet") + 1, timeout=150)
    assert agent.process.poll() is None
    del server.variables["CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS"]
    server.start()
    wait_until("certificates of a year", lambda: enddate(cluster, "client-kubelet") > time.time() + 300 * 86400, timeout=120)
    agent.wait_ready(60)
    assert server.kubectl("exec", "steady", "--", "echo", "here").stdout == "here\n"
    assert server.jsonpath("pod", "steady", "{.status.containerStatuses[0].restartCount}") == "0"
