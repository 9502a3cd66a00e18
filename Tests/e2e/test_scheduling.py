"""Where pods go: spreading, affinity, importance and volumes, with kubectl on a server and an agent."""

import json
import os

import pytest
from harness import wait_until

PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: %(replicas)s
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 0
      %(rules)s
      containers:
      - {name: c, image: "busybox:test", command: [sleep, "600"]}
"""
APART = (
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
    "[{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: apart}}}]}}"
)
SPREAD = (
    "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, "
    "labelSelector: {matchLabels: {app: even}}}]"
)
PRIORITY = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 100000
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %(name)s}
spec:
  terminationGracePeriodSeconds: 1
  %(rules)s
  containers:
  - name: c
    image: busybox:test
    command: [sh, -c, %(script)s]
    resources: {requests: {cpu: %(cpu)s}}
    %(mounts)s
"""
STORAGE = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disks}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk-2}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: disks
  local: {path: %(path)s}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-2]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  storageClassName: disks
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 500Mi}}
"""
STATIC = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: static-%(name)s}
spec:
  capacity: {storage: %(size)s}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  hostPath: {path: %(path)s}
"""


def pod(name, cpu="1m", script="sleep 600", rules="", mounts=""):
    return POD % {"name": name, "cpu": cpu, "script": json.dumps(script), "rules": rules, "mounts": mounts}


@pytest.fixture(scope="module")
def two(cluster):
    cluster.agent(2)
    return cluster.server


def nodes_of(server, app):
    items = json.loads(server.kubectl("get", "pods", "-l", f"app={app}", "-o", "json").stdout)["items"]
    return sorted(p["spec"].get("nodeName", "") for p in items if "deletionTimestamp" not in p["metadata"])


def jsonpath(server, *args):
    return server.kubectl("get", *args[:-1], "-o", "jsonpath=" + args[-1]).stdout


def test_pods_that_keep_apart_use_both_nodes_and_the_third_waits(two):
    two.apply(PODS % {"name": "apart", "replicas": 3, "rules": APART})
    wait_until("two places", lambda: [n for n in nodes_of(two, "apart") if n] == sorted(nodes_of(two, "apart"))[1:])
    assert len(set(nodes_of(two, "apart"))) == 3
    reason = "2 node(s) didn't match pod anti-affinity rules"
    wait_until("the reason", lambda: reason in two.kubectl("get", "events").stdout)
    two.kubectl("scale", "deployment/apart", "--replicas=2")
    two.kubectl("rollout", "status", "deployment/apart", "--timeout=60s")
    assert len(set(nodes_of(two, "apart"))) == 2
    two.kubectl("delete", "deployment", "apart")


def test_constraints_spread_evenly(two):
    two.apply(PODS % {"name": "even", "replicas": 6, "rules": SPREAD})
    two.kubectl("rollout", "status", "deployment/even", "--timeout=60s")
    places = nodes_of(two, "even")
    assert {node: places.count(node) for node in set(places)} == {n: 3 for n in set(places)} and len(set(places)) == 2
    two.kubectl("delete", "deployment", "even")


def test_the_urgent_pod_displaces_and_runs(two):
    two.apply(PRIORITY)
    allocatable = jsonpath(two, "node", "node-2", "{.status.allocatable.cpu}")
    milli = int(allocatable[:-1]) if allocatable.endswith("m") else int(allocatable) * 1000
    there = "nodeSelector: {kubernetes.io/hostname: node-2}"
    two.apply(pod("modest", cpu=f"{milli * 6 // 10}m", rules=there))
    two.kubectl("wait", "pod/modest", "--for=condition=Ready", "--timeout=60s")
    two.apply(pod("urgent", cpu=f"{milli * 6 // 10}m", rules=there + "\n  priorityClassName: urgent"))
    two.kubectl("wait", "pod/urgent", "--for=condition=Ready", "--timeout=60s")
    assert two.kubectl("get", "pod", "modest", check=False).returncode != 0
    events = two.kubectl("get", "events", "-o", "json").stdout
    reasons = [(e["reason"], e["involvedObject"]["name"]) for e in json.loads(events)["items"]]
    assert ("Preempted", "modest") in reasons
    two.kubectl("delete", "pod", "urgent", "--wait=true")


def test_a_static_volume_is_bound_mounted_and_kept(two):
    # hostPath is wherever the pod is: both nodes are this machine.
    path = os.path.join(two.data, "static")
    os.makedirs(path, exist_ok=True)
    two.apply(STATIC % {"name": "small", "size": "1Gi", "path": path})
    two.apply(STATIC % {"name": "large", "size": "5Gi", "path": path + "-large"})
    two.apply(
        """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: static}
spec: {storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    )
    two.kubectl("wait", "pvc/static", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s")
    assert jsonpath(two, "pvc", "static", "{.spec.volumeName}") == "static-small"
    volume = "volumes: [{name: data, persistentVolumeClaim: {claimName: static}}]"
    mount = "volumeMounts: [{name: data, mountPath: /data}]"
    two.apply(pod("writer", script="echo kept > /data/file; sleep 600", rules=volume, mounts=mount))
    two.kubectl("wait", "pod/writer", "--for=condition=Ready", "--timeout=60s")
    wait_until("the file", lambda: os.path.exists(os.path.join(path, "file")))
    # The claim stays for as long as the pod uses it.
    two.kubectl("delete", "pvc", "static", "--wait=false")
    assert "kubernetes.io/pvc-protection" in jsonpath(two, "pvc", "static", "{.metadata.finalizers}")
    two.kubectl("delete", "pod", "writer")
    two.kubectl("wait", "pvc/static", "--for=delete", "--timeout=30s")
    two.kubectl("wait", "pv/static-small", "--for=jsonpath={.status.phase}=Released", "--timeout=30s")
    with open(os.path.join(path, "file")) as file:
        assert file.read() == "kept\n"


def test_a_local_volume_waits_for_its_pod_and_leads_it(two):
    path = os.path.join(two.data, "disk")
    os.makedirs(path, exist_ok=True)
    two.apply(STORAGE % {"path": path})
    wait_until(
        "the claim waits", lambda: "waiting for first consumer" in two.kubectl("describe", "pvc", "data").stdout
    )  # fmt: skip
    assert jsonpath(two, "pvc", "data", "{.status.phase}") == "Pending"
    volume = "volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"
    mount = "volumeMounts: [{name: data, mountPath: /data}]"
    two.apply(pod("reader", script="echo here > /data/file; sleep 600", rules=volume, mounts=mount))
    two.kubectl("wait", "pod/reader", "--for=condition=Ready", "--timeout=60s")
    assert jsonpath(two, "pod", "reader", "{.spec.nodeName}") == "node-2"
    assert jsonpath(two, "pvc", "data", "{.status.phase} {.spec.volumeName}") == "Bound disk-2"
    wait_until("the file", lambda: os.path.exists(os.path.join(path, "file")))
