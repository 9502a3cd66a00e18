internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging

extension CSIVolumes {
    /// Takes the pod's volumes down: unpublishes each, and unstages those that no other pod of the node has.
    func tearDown(_ uid: String) async throws(VolumeError) {
        let records = CSIRecord.all(pod: root + "/pods/" + uid)
        forgetTokens(uid)
        guard !records.isEmpty else { return leftOver(uid, false) }
        // Until it is done, the driver's coming is a reason to try again.
        leftOver(uid, true)
        for record in records {
            await locks.lock(record.uniqueName)
            do throws(VolumeError) { try await remove(record, uid) } catch {
                await locks.unlock(record.uniqueName)
                throw error
            }
            await locks.unlock(record.uniqueName)
        }
        leftOver(uid, false)
    }

    private func remove(_ record: CSIRecord, _ uid: String) async throws(VolumeError) {
        guard let driver = drivers[record.driver] else {
            throw VolumeError(
                record.name,
                "kubernetes.io/csi: Unmounter.TearDownAt failed to get CSI client: driver name \(record.driver) not found "
                    + "in the list of registered CSI drivers", step: "UnmountVolume.TearDown")
        }
        let target = targetPath(record, uid: uid)
        var step = "UnmountVolume.TearDown"
        do throws(CSIFailure) {
            try await call(
                driver, "NodeUnpublishVolume",
                ["volume_id": .string(record.handle), "target_path": .string(target)])
            forget(target)
            // Drivers should remove it, and not all do.
            if Files.isDirectory(target) { _ = rmdir(target) } else { try? Files.remove(target) }
            try? Files.remove(record.folder + "/" + CSIRecord.file)
            _ = rmdir(record.folder)
            if record.isBlock { _ = rmdir(Path.parent(target)) }
            let isShared = CSIRecord.all(root: root).contains { other in
                other.record.driver == record.driver && other.record.handle == record.handle
            }
            if isShared { return }
            step = "UnmountDevice"
            try await unstage(record, driver)
        } catch {
            // The record is what the next attempt goes by.
            try? record.write()
            throw VolumeError(record.name, error.message, step: step)
        }
        if !record.attachment.isEmpty { await use(record.uniqueName, false) }
    }

    /// For the last pod that had the volume.
    private func unstage(_ record: CSIRecord, _ driver: CSIDrivers.Driver) async throws(CSIFailure) {
        let staging = stagingPath(record)
        if record.isPersistent, driver.can(.stage), Files.exists(staging) {
            try await call(
                driver, "NodeUnstageVolume",
                ["volume_id": .string(record.handle), "staging_target_path": .string(staging)])
            _ = rmdir(staging)
        }
        if !record.isBlock {
            let folder = stagingFolder(record)
            try? Files.remove(folder + "/" + CSIRecord.file)
            _ = rmdir(folder)
        }
        unstaged(record.uniqueName)
    }

    /// Unstages what an earlier process has left staged for nobody. Called when a driver has registered.
    func sweep() async {
        for name in Directories.names(plugin) where name != "volumeDevices" {
            guard let driver = drivers[name] else { continue }
            for digest in Directories.names(plugin + "/" + name) {
                guard let record = CSIRecord(folder: "\(plugin)/\(name)/\(digest)", isBlock: false),
                    record.digest == digest, record.driver == name
                else { continue }
                await locks.lock(record.uniqueName)
                if !CSIRecord.all(root: root).contains(where: { $0.record.uniqueName == record.uniqueName }) {
                    do throws(CSIFailure) { try await unstage(record, driver) } catch {
                        logger.warning("volume \(record.name) stays staged: \(error.message)")
                    }
                }
                await locks.unlock(record.uniqueName)
            }
        }
    }

    // MARK: Growing

    /// Brings the volume on this node to the size that its PersistentVolume has, and says so in the claim.
    func expand(
        _ volume: CSIVolume, _ record: CSIRecord, _ target: String, _ pod: Pod, _ driver: CSIDrivers.Driver
    ) async throws(VolumeError) {
        guard let persistent = volume.persistent, let claim = volume.claim,
            let text = persistent.spec["capacity"]["storage"].string, let wanted = Quantity(text),
            let there = claim.status["capacity"]["storage"].string.flatMap({ Quantity($0) }), there < wanted
        else { return }
        do throws(CSIFailure) {
            if driver.can(.expand) {
                var request: JSON = [
                    "volume_id": .string(volume.handle), "volume_path": .string(target),
                    "capacity_range": ["required_bytes": .int(wanted.value)],
                    "volume_capability": volume.capability(driver, group: nil),
                ]
                if driver.can(.stage) { request["staging_target_path"] = .string(stagingPath(record)) }
                let secrets = try await secret(volume, "nodeExpandSecretRef")
                if !secrets.isEmpty { request["secrets"] = .map(secrets) }
                try await call(driver, "NodeExpandVolume", request, answer: "NodeExpandVolumeResponse")
            }
            do throws(APIError) {
                let gone: Set<String> = ["Resizing", "FileSystemResizePending"]
                let conditions = claim.status["conditions"].elements.filter { !gone.contains($0["type"].string ?? "") }
                _ = try await client.patch(
                    .persistentVolumeClaims, namespace: claim.namespace, name: claim.name,
                    [
                        "status": [
                            "capacity": ["storage": .string(text)],
                            "conditions": conditions.isEmpty ? .null : .array(conditions),
                            "allocatedResourceStatuses": .null,
                        ]
                    ], type: .merge, subresource: "status")
            } catch { throw CSIFailure("the claim's status is not written: \(error.message)") }
            events.record(
                .pod(pod), .normal, "FileSystemResizeSuccessful",
                "MountVolume.NodeExpandVolume succeeded for volume \"\(volume.name)\" \(node)")
        } catch {
            // The volume is as good as before.
            events.record(
                .pod(pod), .warning, "VolumeResizeFailed",
                "NodeExpandVolume.NodeExpandVolume failed for volume \"\(volume.name)\" : \(error.message)")
        }
    }

    // MARK: Statistics

    /// What the driver says that the volume holds, as /stats/summary shows it; nil: it says nothing.
    func statistics(_ record: CSIRecord, uid: String) async -> JSON? {
        guard let driver = drivers[record.driver], driver.can(.stats) else { return nil }
        let request: JSON = [
            "volume_id": .string(record.handle), "volume_path": .string(targetPath(record, uid: uid)),
        ]
        let answer = try? await driver.call("NodeGetVolumeStats", request, answer: "NodeGetVolumeStatsResponse")
        guard let answer else { return nil }
        var result: JSON = [:]
        for usage in answer["usage"].elements {
            let isBytes = usage["unit"].int == 1
            guard isBytes || usage["unit"].int == 2 else { continue }
            for (field, name) in [
                ("available", isBytes ? "availableBytes" : "inodesFree"),
                ("total", isBytes ? "capacityBytes" : "inodes"), ("used", isBytes ? "usedBytes" : "inodesUsed"),
            ] { result[name] = .int(usage[field].int ?? 0) }
        }
        return result == [:] ? nil : result
    }
}
