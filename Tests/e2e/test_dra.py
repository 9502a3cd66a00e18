"""Dynamic resource allocation with a driver (grpcio): claims by template and shared, waiting, restarts, failures."""

import json
import os
import signal

import plugins
import pytest
from harness import wait_until

DRIVER = "gpu.test"

CLASS = """
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec:
  selectors: [{cel: {expression: "device.driver == 'gpu.test'"}}]
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: large}
spec:
  spec:
    devices:
      requests:
      - name: gpu
        exactly:
          deviceClassName: gpu
          selectors:
          - cel: {expression: "device.attributes['gpu.test'].model == 'large' && device.capacity['gpu.test'].memory.compareTo(quantity('40Gi')) >= 0"}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: shared}
spec:
  devices:
    requests: [{name: any, exactly: {deviceClassName: gpu}}]
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  resourceClaims: [{name: mine, %(source)s}]
  containers:
  - name: c
    image: "busybox:test"
    command: [sh, -c, "echo GPUS=$GPUS; exec sleep 1000"]
    resources: {claims: [{name: mine}]}
  - name: without
    image: "busybox:test"
    command: [sh, -c, "echo GPUS=$GPUS; exec sleep 1000"]
"""


def device(model, memory):
    return {"attributes": {"model": {"string": model}}, "capacity": {"memory": {"value": memory}}}


def apply(node, name, source):
    node.kubectl("apply", "-f", "-", input=POD % {"name": name, "source": source})


def phase(node, name):
    return node.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}").stdout


def logs(node, name, container="c"):
    return node.kubectl("logs", name, "-c", container, check=False).stdout.strip()


def events(node, name):
    return node.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "jsonpath={range .items[*]}{.reason} {.message}{'\\n'}{end}").stdout


def slices(node):
    return node.kubectl("get", "resourceslices", "-o", "name").stdout.split()


@pytest.fixture
def driver(own_node):
    node = own_node.start()
    driver = plugins.DRADriver(
        node, DRIVER, {"a": device("small", "10Gi"), "b": device("large", "80Gi")}
    )
    wait_until("registered", lambda: driver.status == [(True, "")])
    driver.publish()
    node.apply(CLASS)
    yield driver
    driver.stop()


def test_a_claim_from_a_template(driver):
    node = driver.node
    apply(node, "one", "resourceClaimTemplateName: large")
    wait_until("one runs", lambda: phase(node, "one") == "Running")
    wait_until("its device", lambda: logs(node, "one") == "GPUS=b")
    assert logs(node, "one", "without") == "GPUS="
    claims = json.loads(node.kubectl("get", "resourceclaims", "-o", "json").stdout)["items"]
    claim = next(c for c in claims if c["metadata"]["name"].startswith("one-mine-"))
    assert claim["status"]["reservedFor"][0]["name"] == "one"

    # Another one waits until the device is free, over a restart.
    apply(node, "two", "resourceClaimTemplateName: large")
    wait_until("two waits", lambda: "cannot allocate all claims" in events(node, "two"))
    node.restart(signal.SIGKILL)
    wait_until("registered again", lambda: driver.status == [(True, "")] * 2)
    driver.publish()
    assert phase(node, "one") == "Running"
    assert [c for c in driver.calls if c[0] == "prepare"] == [("prepare", claim["metadata"]["name"])]
    node.kubectl("delete", "pod", "one")
    wait_until("two runs", lambda: phase(node, "two") == "Running")
    wait_until("its device", lambda: logs(node, "two") == "GPUS=b")
    assert ("unprepare", claim["metadata"]["name"]) in driver.calls
    node.kubectl("delete", "pod", "two")
    wait_until("no claims", lambda: node.kubectl("get", "resourceclaims", "-o", "name").stdout.split() == ["resourceclaim.resource.k8s.io/shared"])
    with open(os.path.join(node.dir, "kubelet", "dra_manager_state")) as f:
        assert json.loads(json.load(f)["Data"])["Entries"] == []


def test_a_shared_claim_is_prepared_once(driver):
    node = driver.node
    for name in ("one", "two"):
        apply(node, name, "resourceClaimName: shared")
    for name in ("one", "two"):
        wait_until(name, lambda: phase(node, name) == "Running")
        wait_until("its device", lambda: logs(node, name) in ("GPUS=a", "GPUS=b"))
    assert logs(node, "one") == logs(node, "two")
    assert driver.calls == [("prepare", "shared")]
    node.kubectl("delete", "pod", "one")
    assert driver.calls == [("prepare", "shared")]
    node.kubectl("delete", "pod", "two")
    wait_until("given back", lambda: driver.calls == [("prepare", "shared"), ("unprepare", "shared")])
    wait_until("free", lambda: node.kubectl("get", "resourceclaim", "shared", "-o", "jsonpath={.status}").stdout in ("", "{}"))


def test_a_driver_that_fails_and_one_that_goes(driver):
    node = driver.node
    driver.failure = "no power"
    apply(node, "one", "resourceClaimName: shared")
    text = "FailedPrepareDynamicResources Failed to prepare dynamic resources: prepare dynamic resources: "
    wait_until("told", lambda: text + "NodePrepareResources failed for ResourceClaim shared: no power" in events(node, "one"))
    driver.failure = ""
    wait_until("one runs", lambda: phase(node, "one") == "Running")
    bad = CLASS.replace("device.driver ==", "device.divers ==")
    refused = node.kubectl("apply", "-f", "-", input=bad, check=False).stderr
    assert "undefined field 'divers'" in refused and "compilation failed: ERROR: <input>:1:7" in refused
    assert slices(node)
    node.kubectl("delete", "pod", "one")
    driver.stop()
    wait_until("its slices go", lambda: not slices(node), timeout=60)
