"""A CSI driver (grpcio) on the node; the test is its provisioner and attacher, by the API."""

import json
import os
import signal

import plugins
from harness import wait_until

DRIVER = "disk.csi.test"

SETTING = """
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: disk.csi.test}
spec:
  podInfoOnMount: true
  volumeLifecycleModes: [Persistent, Ephemeral]
  fsGroupPolicy: File
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disk}
provisioner: disk.csi.test
volumeBindingMode: WaitForFirstConsumer
"""

CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %(name)s}
spec:
  storageClassName: disk
  volumeMode: %(mode)s
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 4321}
  containers:
  - name: c
    image: "busybox:test"
    command: [sh, -c, %(command)s]
    %(field)s
  volumes: [{name: data, persistentVolumeClaim: {claimName: %(name)s}}]
"""

INLINE = """
apiVersion: v1
kind: Pod
metadata: {name: inline}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: "busybox:test"
    command: [sh, -c, "cat /data/context; exec sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, csi: {driver: disk.csi.test, volumeAttributes: {colour: green}}}]
"""


def get(node, *args):
    return json.loads(node.kubectl("get", *args, "-o", "json").stdout)


def phase(node, pod):
    return node.kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}").stdout


def provision(node, name, mode):
    """What external-provisioner does once the scheduler has chosen the node."""
    claim = wait_until(
        "a node is selected",
        lambda: (c := get(node, "pvc", name))["metadata"]["annotations"].get("volume.kubernetes.io/selected-node") and c,
    )
    notes = claim["metadata"]["annotations"]
    assert notes["volume.kubernetes.io/selected-node"] == "node-1"
    assert notes["volume.kubernetes.io/storage-provisioner"] == DRIVER
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "pvc-" + name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
            "volumeMode": mode, "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": DRIVER, "volumeHandle": "vol-" + name, "volumeAttributes": {"pool": "p"}},
            "claimRef": {"namespace": "default", "name": name, "uid": claim["metadata"]["uid"]},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.csi.test/rack", "operator": "In", "values": ["r1"]}]}]}},
        },
    }  # fmt: skip
    node.kubectl("apply", "-f", "-", input=json.dumps(volume))


def attach(node, name):
    """What external-attacher does."""
    found = wait_until(
        "an attachment",
        lambda: [a for a in get(node, "volumeattachment")["items"]
                 if a["spec"]["source"]["persistentVolumeName"] == "pvc-" + name],
    )[0]  # fmt: skip
    assert (found["spec"]["attacher"], found["spec"]["nodeName"]) == (DRIVER, "node-1")
    patch = {"status": {"attached": True, "attachmentMetadata": {"device": "d-" + name}}}
    node.kubectl(
        "patch", "volumeattachment", found["metadata"]["name"], "--subresource=status", "--type=merge", "-p",
        json.dumps(patch),
    )  # fmt: skip


def start(node, name, command, field, mode="Filesystem"):
    node.kubectl("apply", "-f", "-", input=CLAIM % dict(name=name, command=json.dumps(command), field=field, mode=mode))
    provision(node, name, mode)
    attach(node, name)
    wait_until(f"{name} runs", lambda: phase(node, name) == "Running", timeout=60)


def test_the_life_of_volumes(own_node):
    node = own_node.start()
    kubelet = os.path.join(node.dir, "kubelet")
    driver = plugins.CSIDriver(kubelet, DRIVER, os.path.join(node.dir, "disks"))
    try:
        node.kubectl("apply", "-f", "-", input=SETTING)
        wait_until("registered", lambda: driver.status == [(True, "")])
        assert get(node, "csinode", "node-1")["spec"]["drivers"] == [
            {"name": DRIVER, "nodeID": "id-1", "topologyKeys": ["topology.csi.test/rack"], "allocatable": {"count": 3}}
        ]
        own = get(node, "node", "node-1")["metadata"]
        assert own["labels"]["topology.csi.test/rack"] == "r1"
        assert json.loads(own["annotations"]["csi.volume.kubernetes.io/nodeid"]) == {DRIVER: "id-1"}

        mounts = "volumeMounts: [{name: data, mountPath: /data}]"
        start(node, "files", "echo kept > /data/file; ls -ln /data/file; exec sleep 1000", mounts)
        assert driver.names() == ["StageVolume", "PublishVolume"]
        request = driver.calls[1][1]
        assert dict(request.publish_context) == {"device": "d-files"}
        assert request.volume_context["pool"] == "p"
        assert request.volume_context["csi.storage.k8s.io/pod.name"] == "files"
        with open(os.path.join(node.dir, "disks", "vol-files", "file")) as f:
            assert f.read() == "kept\n"
        assert wait_until("its log", lambda: node.kubectl("logs", "files").stdout).split()[3] == "4321"
        status = get(node, "node", "node-1")["status"]
        unique = f"kubernetes.io/csi/{DRIVER}^vol-files"
        assert status["volumesInUse"] == [unique]
        assert wait_until("shown", lambda: get(node, "node", "node-1")["status"].get("volumesAttached")) == [
            {"name": unique, "devicePath": ""}
        ]
        assert "AttachVolume.Attach succeeded" in wait_until(
            "an event", lambda: "SuccessfulAttachVolume" in (o := node.kubectl("describe", "pod", "files").stdout) and o
        )
        summary = json.loads(node.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary").stdout)
        volume = [p for p in summary["pods"] if p["podRef"]["name"] == "files"][0]["volume"][0]
        assert (volume["name"], volume["usedBytes"], volume["inodes"]) == ("data", 40, 10)
        assert volume["pvcRef"] == {"name": "files", "namespace": "default"}

        start(node, "block", "head -c 5 /dev/xda | wc -c; exec sleep 1000",
              "volumeDevices: [{name: data, devicePath: /dev/xda}]", "Block")  # fmt: skip
        wait_until("it reads its device", lambda: node.kubectl("logs", "block").stdout == "5\n")
        node.kubectl("apply", "-f", "-", input=INLINE)
        wait_until("inline runs", lambda: phase(node, "inline") == "Running")
        told = wait_until("its context", lambda: node.kubectl("logs", "inline").stdout)
        assert "colour=green\n" in told and "csi.storage.k8s.io/ephemeral=true\n" in told

        # The driver is away with the node, and the pods do not notice.
        before = len(driver.names())
        node.restart(signal.SIGKILL)
        driver.stop()
        assert node.kubectl("exec", "files", "--", "cat", "/data/file").stdout == "kept\n"
        node.kubectl("delete", "pod", "block", "--wait=false")
        wait_until(
            "it waits for its driver",
            lambda: "not found in the list of registered CSI drivers" in node.kubectl("get", "events").stdout,
        )
        driver = plugins.CSIDriver(kubelet, DRIVER, os.path.join(node.dir, "disks"))
        wait_until("block is gone", lambda: not get(node, "pods", "--field-selector=metadata.name=block")["items"])
        assert before and driver.names() == ["UnpublishVolume", "UnstageVolume"]

        # Growing: the resizer's part, then the node's.
        node.kubectl("patch", "pv", "pvc-files", "-p", json.dumps({"spec": {"capacity": {"storage": "2Gi"}}}))
        wait_until(
            "grown", lambda: get(node, "pvc", "files")["status"]["capacity"]["storage"] == "2Gi", timeout=100
        )
        assert [r.capacity_range.required_bytes for n, r in driver.calls if n == "ExpandVolume"] == [2 << 30]

        node.kubectl("delete", "pod", "files", "inline")
        wait_until("nothing is attached", lambda: not get(node, "volumeattachment")["items"], timeout=60)
        wait_until("nothing is in use", lambda: not get(node, "node", "node-1")["status"].get("volumesInUse"))
        with open("/proc/self/mounts") as f:
            assert not [line for line in f if node.dir in line and "csi" in line]
    finally:
        driver.stop()
