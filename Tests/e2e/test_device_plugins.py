"""Devices of a plugin (grpcio): counted, given, kept over a restart, taken back."""

import json
import os
import signal

import plugins
from harness import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  nodeName: node-1
  containers:
  - name: c
    image: "busybox:test"
    command: [sh, -c, "echo $DEVICES; ls -d /plugin /dev/test-*; head -c 3 /dev/test-* | wc -c; exec sleep 1000"]
    resources: {limits: {devices.test/thing: %d}}
"""


def amounts(node):
    status = json.loads(node.kubectl("get", "node", "node-1", "-o", "json").stdout)["status"]
    return [status[k].get("devices.test/thing") for k in ("capacity", "allocatable")]


def phase(node, name):
    return node.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}").stdout


def checkpoint(node):
    with open(os.path.join(node.dir, "kubelet", "device-plugins", "kubelet_internal_checkpoint")) as f:
        return json.load(f)["Data"]


def test_devices_of_a_plugin(own_node):
    node = own_node.start()
    kubelet = os.path.join(node.dir, "kubelet")
    plugin = plugins.DevicePlugin(kubelet, "devices.test/thing", ["a", "b"])
    try:
        plugin.register()
        wait_until("counted", lambda: amounts(node) == ["2", "2"])
        node.kubectl("apply", "-f", "-", input=POD % ("one", 1))
        wait_until("one runs", lambda: phase(node, "one") == "Running")
        assert plugin.calls == [("Allocate", ["a"]), ("PreStartContainer", ["a"])]
        expected = ["a", "/dev/test-a", "/plugin", "3"]
        wait_until("its devices", lambda: node.kubectl("logs", "one").stdout.split() == expected)
        entry = checkpoint(node)["PodDeviceEntries"][0]
        assert (entry["ResourceName"], entry["DeviceIDs"]) == ("devices.test/thing", {"-1": ["a"]})

        node.kubectl("apply", "-f", "-", input=POD % ("two", 2))
        wait_until("two is refused", lambda: phase(node, "two") == "Failed")
        status = json.loads(node.kubectl("get", "pod", "two", "-o", "json").stdout)["status"]
        assert status["reason"] == "UnexpectedAdmissionError"
        assert "requested number of devices unavailable for devices.test/thing" in status["message"]
        assert "Requested: 2, Available: 1" in status["message"]

        plugin.set("b", "Unhealthy")
        wait_until("b is ill", lambda: amounts(node) == ["2", "1"])
        plugin.set("b", "Healthy")
        wait_until("b is well", lambda: amounts(node) == ["2", "2"])

        node.restart(signal.SIGKILL)
        wait_until("unknown until it registers", lambda: amounts(node)[1] == "0")
        assert phase(node, "one") == "Running"
        plugin.stop()
        plugin = plugins.DevicePlugin(kubelet, "devices.test/thing", ["a", "b"])
        plugin.register()
        wait_until("counted again", lambda: amounts(node) == ["2", "2"])
        node.kubectl("delete", "pod", "two")
        node.kubectl("apply", "-f", "-", input=POD % ("three", 1))
        wait_until("three runs", lambda: phase(node, "three") == "Running")
        assert ("Allocate", ["b"]) in plugin.calls

        node.kubectl("delete", "pod", "one", "three")
        wait_until("nothing is given", lambda: checkpoint(node)["PodDeviceEntries"] is None)
    finally:
        plugin.stop()
    wait_until("gone", lambda: amounts(node) == ["2", "0"])
