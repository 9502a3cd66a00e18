"""An agent and several servers: fail over, fail back, servers that leave, and what is known of them at the next start.

Joining servers do not exist yet: the second one is a process of its own with a copy of the first one's data.
"""

import calendar
import json
import os
import shutil
import signal
import time

import harness
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
  containers: [{name: c, image: "busybox:test", command: [sh, -c, "echo started; exec sleep 100000"]}]
"""
# Beside the slice that each server writes of itself.
OTHER = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kubernetes-other
  namespace: default
  labels: {kubernetes.io/service-name: kubernetes}
addressType: IPv4
endpoints: [{addresses: [%s], conditions: {ready: true}}]
ports: [{name: https, protocol: TCP, port: 6443}]
"""


class Servers:
    def __init__(self):
        self.cluster = Cluster("servers")
        try:
            self.a = self.cluster.server
            self.agent = self.cluster.agent(2)
            self.a.apply(POD)
            self.a.kubectl("wait", "pod/steady", "--for=condition=Ready", "--timeout=60s")
            self.container = self.container_of(self.a)
            self.a.apply(OTHER % "192.0.2.20")
            self.a.stop()
            self.b = harness.Node("servers-b", ["--disable-agent"], switch=self.cluster.switch, address="192.0.2.20")
            self.b.create()
            shutil.copytree(os.path.join(self.a.data, "server"), os.path.join(self.b.data, "server"), symlinks=True)
            self.a.start()
            self.start_b()
            self.b.apply(OTHER % "192.0.2.10")
        except BaseException:
            self.destroy()
            raise

    def start_b(self):
        # Its data say that node-1 is there, but only the first server has it.
        self.b.start(wait=False)
        wait_until("the second server", lambda: self.b.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok")

    def destroy(self):
        if hasattr(self, "b"):
            self.b.destroy()
        self.cluster.destroy()

    def tail(self, n):
        return self.cluster.tail(n) + "--- second server\n" + self.b.tail(n)

    def container_of(self, server):
        return server.jsonpath("pod", "steady", "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")

    def state(self):
        with open(os.path.join(self.agent.data, "agent", "etc", "k3s-agent-load-balancer.json")) as f:
            return json.load(f)

    def connected(self, address):
        """The agent's connections to a server."""
        shown = self.agent.netns.run("ss", "-Htn", "state", "established", "dst", f"{address}:6443").stdout
        return len(shown.splitlines())

    def serves(self, server, since):
        """The node's lease is renewed at this server, and its kubelet is reached from there."""

        def renewed():
            stamp = server.kubectl("-n", "kube-node-lease", "get", "lease", "node-2", "-o", "jsonpath={.spec.renewTime}").stdout
            return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) >= int(since)

        wait_until(f"the lease at {server.address}", renewed, timeout=60)
        wait_until("logs", lambda: server.kubectl("logs", "steady").stdout == "started\n", timeout=60)
        wait_until(
            "exec", lambda: server.kubectl("exec", "steady", "--", "echo", "here").stdout == "here\n", timeout=60)  # fmt: skip
        wait_until("the pod goes on", lambda: self.container_of(server) == self.container, timeout=60)


@pytest.fixture(scope="module")
def servers():
    servers = Servers()
    try:
        yield servers
    finally:
        servers.destroy()


BOTH = ["192.0.2.10:6443", "192.0.2.20:6443"]


def test_an_agent_finds_all_servers(servers):
    wait_until("both servers are known", lambda: servers.state()["ServerAddresses"] == BOTH)
    assert servers.state() == {"ServerURL": "https://192.0.2.10:6443", "ServerAddresses": BOTH}
    wait_until("a tunnel to each", lambda: servers.connected("192.0.2.10") > 0 and servers.connected("192.0.2.20") > 0, timeout=60)
    mode = os.stat(os.path.join(servers.agent.data, "agent", "etc", "k3s-agent-load-balancer.json")).st_mode
    assert mode & 0o777 == 0o600


def test_a_server_that_dies_is_replaced_by_the_other_also_after_a_restart(servers):
    servers.a.stop(signal.SIGKILL)
    killed = time.time() + 1
    servers.serves(servers.b, killed)
    assert servers.connected("192.0.2.10") == 0
    # The one server that the agent was given is away: it joins by the one it remembers.
    servers.agent.stop()
    servers.agent.start(wait=False)
    servers.serves(servers.b, time.time())
    assert servers.state()["ServerAddresses"] == BOTH


def test_it_comes_back_when_the_other_dies(servers):
    servers.a.start(wait=False)
    wait_until("a tunnel to the first", lambda: servers.connected("192.0.2.10") > 0, timeout=60)
    servers.b.stop(signal.SIGKILL)
    servers.serves(servers.a, time.time() + 1)
    assert servers.connected("192.0.2.20") == 0


def test_a_server_that_leaves_the_list_is_left(servers):
    # The two have stores of their own, which an agent takes for one, and each says of itself what the other does not know:
    # what it knows is to be the first one's.
    servers.agent.stop()
    servers.agent.start(wait=False)
    servers.serves(servers.a, time.time())
    servers.start_b()
    wait_until("a tunnel to the second", lambda: servers.connected("192.0.2.20") > 0, timeout=60)
    servers.a.kubectl("delete", "endpointslice", "kubernetes-other")
    wait_until("it is forgotten", lambda: servers.state()["ServerAddresses"] == BOTH[:1], timeout=60)
    wait_until("its connections are closed", lambda: servers.connected("192.0.2.20") == 0, timeout=60)
    servers.serves(servers.a, time.time())
