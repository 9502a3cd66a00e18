"""Volumes, claims, classes, drivers and attachments as API objects: upstream's test/e2e/storage."""

from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import api_operations, condition, conditions
from workloads import NOWHERE, account, pod

GROUP = "storage.k8s.io/v1/"
VOLUMES = "v1/persistentvolumes"
CLAIMS = "v1/persistentvolumeclaims"


def test_csi_drivers(api, unique):
    """CSIInlineVolumes should run through the lifecycle of a CSIDriver"""
    body = {"spec": {"volumeLifecycleModes": ["Ephemeral"], "podInfoOnMount": True}}
    resource = GROUP + "csidrivers"

    def change(found):
        found["spec"]["podInfoOnMount"] = False
        return lambda got: got["spec"]["podInfoOnMount"] is False

    made = api_operations(api, None, resource, "CSIDriver", body, change, unique)
    assert made["spec"] == {
        "attachRequired": True, "fsGroupPolicy": "ReadWriteOnceWithFSType", "podInfoOnMount": True,
        "requiresRepublish": False, "seLinuxMount": False, "storageCapacity": False,
        "volumeLifecycleModes": ["Ephemeral"],
    }  # fmt: skip


def test_csi_volumes_of_pods(space, unique):
    """CSIInlineVolumes should support CSIVolumeSource in Pod API"""
    account(space)
    space.api.create(GROUP + "csidrivers", {"metadata": {"name": unique}, "spec": {"volumeLifecycleModes": ["Ephemeral"]}})
    source = {"driver": unique, "readOnly": False, "volumeAttributes": {"secretProviderClass": "x"}}
    made = space.create("v1/pods", pod("inline", volumes=[{"name": "inline", "csi": source}], **NOWHERE))
    assert made["spec"]["volumes"][0] == {"name": "inline", "csi": source}
    patched = space.patch("v1/pods", "inline", {"metadata": {"labels": {"e2e": "patched"}}}, STRATEGIC)
    assert patched["spec"]["volumes"][0]["csi"] == source
    space.delete("v1/pods", "inline", {"gracePeriodSeconds": 0})
    space.api.delete(GROUP + "csidrivers", unique)


def test_csi_nodes(api, unique):
    """CSINodes CSI Conformance should run through the lifecycle of a csinode"""
    api_operations(api, None, GROUP + "csinodes", "CSINode", {"spec": {"drivers": []}}, None, unique)


def test_csi_storage_capacities(api, space):
    """CSIStorageCapacity should support CSIStorageCapacities API operations"""
    body = {"nodeTopology": {"matchLabels": {"foo": "bar"}}, "storageClassName": "e2e-storage-class", "capacity": "1Ti"}

    def change(found):
        found["capacity"] = "2Ti"
        return lambda got: got["capacity"] == "2Ti"

    resource = GROUP + "csistoragecapacities"
    api_operations(api, space, resource, "CSIStorageCapacity", body, change)
    space.create(resource, {"metadata": {"name": "fixed"}, **body})
    status = space.refused(422, "Invalid", "PATCH", resource, {"storageClassName": "x"}, name="fixed", headers={"Content-Type": MERGE})
    assert "field is immutable" in status["message"]


def test_storage_classes(api, unique):
    """StorageClasses CSI Conformance should run through the lifecycle of a StorageClass"""
    body = {"provisioner": "e2e-fake-provisioner", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
    resource = GROUP + "storageclasses"

    def change(found):
        found["allowVolumeExpansion"] = True
        return lambda got: got["allowVolumeExpansion"] is True

    api_operations(api, None, resource, "StorageClass", body, change, unique)
    api.create(resource, {"metadata": {"name": unique}, **body})
    for field in ({"provisioner": "other"}, {"parameters": {"a": "b"}}, {"reclaimPolicy": "Retain"}):
        status = api.refused(422, "Invalid", "PATCH", resource, field, name=unique, headers={"Content-Type": MERGE})
        assert "updates to" in status["message"] or "field is immutable" in status["message"], status["message"]
    api.delete(resource, unique)


def test_volume_attributes_classes(api, unique):
    """VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass"""
    body = {"driverName": "e2e-fake-driver", "parameters": {"a": "b"}}
    resource = GROUP + "volumeattributesclasses"
    api_operations(api, None, resource, "VolumeAttributesClass", body, None, unique)
    api.create(resource, {"metadata": {"name": unique}, **body})
    api.refused(422, "Invalid", "PATCH", resource, {"parameters": {"a": "c"}}, name=unique, headers={"Content-Type": MERGE})
    api.delete(resource, unique)


def attachment(volume):
    return {"spec": {"attacher": "e2e-test.storage.k8s.io", "nodeName": "node-x", "source": {"persistentVolumeName": volume}}}


def test_volume_attachments(api, unique):
    """VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment"""
    resource = GROUP + "volumeattachments"
    api_operations(api, None, resource, "VolumeAttachment", attachment("pv-" + unique), None, unique)
    api.create(resource, {"metadata": {"name": unique}, **attachment("pv-" + unique)})
    api.refused(422, "Invalid", "PATCH", resource, {"spec": {"nodeName": "other"}}, name=unique, headers={"Content-Type": MERGE})
    api.delete(resource, unique)


def test_status_of_a_volume_attachment(api, unique):
    """VolumeAttachment Conformance should apply changes to a volumeattachment status"""
    resource = GROUP + "volumeattachments"
    made = api.create(resource, {"metadata": {"name": unique}, **attachment("pv-" + unique)})
    assert made["status"] == {"attached": False}
    patched = api.patch(resource, unique, {"status": {"attached": True}}, sub="status")
    assert patched["status"]["attached"] is True
    assert api.get(resource, unique, sub="status")["status"]["attached"] is True
    updated = api.change(resource, unique, lambda o: o["status"].update(attached=False), sub="status")
    assert updated["status"]["attached"] is False
    api.delete(resource, unique)


def volume(name, klass):
    return {"metadata": {"name": name, "labels": {"e2e-pv-pool": name}}, "spec": {
        "capacity": {"storage": "3Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": klass,
        "hostPath": {"path": "/tmp/" + name}, "persistentVolumeReclaimPolicy": "Retain",
    }}  # fmt: skip


def claim(name, klass):
    return {"metadata": {"name": name, "labels": {"e2e-pvc-pool": name}}, "spec": {
        "resources": {"requests": {"storage": "2Gi"}}, "accessModes": ["ReadWriteOnce"], "storageClassName": klass,
    }}  # fmt: skip


def test_the_life_of_volumes_and_claims(space, unique):
    """PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC"""
    api = space.api
    made = api.create(VOLUMES, volume(unique, unique))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"] and made["spec"]["volumeMode"] == "Filesystem"
    made = space.create(CLAIMS, claim("claim", unique))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert len(api.items(VOLUMES, labelSelector="e2e-pv-pool=" + unique)) == 1
    assert len(space.items(CLAIMS)) == 1
    assert api.patch(VOLUMES, unique, {"metadata": {"labels": {unique: "patched"}}})["metadata"]["labels"][unique] == "patched"
    assert space.patch(CLAIMS, "claim", {"metadata": {"labels": {"claim": "patched"}}})["metadata"]["labels"]["claim"] == "patched"
    uid = space.get(CLAIMS, "claim")["metadata"]["uid"]
    assert space.change(CLAIMS, "claim", lambda o: o["metadata"]["labels"].update(claim="updated"))["metadata"]["uid"] == uid
    space.delete(CLAIMS, "claim")
    wait_until("claim deleted", lambda: space.gone(CLAIMS, "claim"), timeout=60)
    api.delete(VOLUMES, unique)
    wait_until("volume deleted", lambda: api.gone(VOLUMES, unique), timeout=60)
    # Again, by collection.
    api.create(VOLUMES, volume(unique, unique))
    space.create(CLAIMS, claim("claim", unique))
    updated = api.change(VOLUMES, unique, lambda o: o["metadata"]["labels"].update({unique: "updated"}))
    assert updated["metadata"]["labels"][unique] == "updated"
    space.delete(CLAIMS, labelSelector="e2e-pvc-pool=claim")
    wait_until("claim deleted", lambda: not space.items(CLAIMS), timeout=60)
    api.delete(VOLUMES, labelSelector="e2e-pv-pool=" + unique)
    wait_until("volume deleted", lambda: api.gone(VOLUMES, unique), timeout=60)


def test_status_of_volumes_and_claims(space, unique):
    """PersistentVolumes CSI Conformance should apply changes to a pv/pvc status"""
    api = space.api
    api.create(VOLUMES, volume(unique, unique))
    space.create(CLAIMS, claim("claim", unique))
    assert space.get(CLAIMS, "claim", sub="status")["kind"] == "PersistentVolumeClaim"
    assert api.get(VOLUMES, unique, sub="status")["kind"] == "PersistentVolume"
    marker = {**condition("StatusPatched"), "lastProbeTime": None}
    patched = space.patch(CLAIMS, "claim", {"status": {"conditions": [marker]}}, STRATEGIC, sub="status")
    assert "StatusPatched" in conditions(patched)
    more = {**condition("StatusUpdated"), "lastProbeTime": None}
    updated = space.change(CLAIMS, "claim", lambda o: o["status"].setdefault("conditions", []).append(more), sub="status")
    assert "StatusUpdated" in conditions(updated)
    patched = api.patch(VOLUMES, unique, {"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}}, sub="status")
    assert (patched["status"]["message"], patched["status"]["reason"]) == ("StatusPatched", "E2E patchStatus")
    updated = api.change(VOLUMES, unique, lambda o: o["status"].update(reason="E2E updateStatus"), sub="status")
    assert updated["status"]["reason"] == "E2E updateStatus"
    space.delete(CLAIMS, "claim")
    wait_until("claim deleted", lambda: space.gone(CLAIMS, "claim"), timeout=60)
    api.delete(VOLUMES, unique)
    wait_until("volume deleted", lambda: api.gone(VOLUMES, unique), timeout=60)
