internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// Volumes of CSI drivers on this node: waits until they are attached, has them staged and published, expanded, published
/// anew where the driver wants that, and taken down when the last pod has gone. What is published is read from the
/// directories (`CSIRecord`), so that a restart forgets nothing. Source: pkg/volume/csi.
final class CSIVolumes: Sendable {
    struct Published: Sendable {
        var republishes = false
        var expands = false
    }
    private struct State {
        /// By target path.
        var published: [String: Published] = [:]
        /// By unique name.
        var staged: Set<String> = []
        var inUse: Set<String> = []
        var report: (@Sendable () async -> Void)?
        /// By uid of the pod and audience.
        var tokens: [String: (token: String, expires: String, due: Timestamp)] = [:]
        /// Pods whose volumes wait for a driver to come back.
        var leftovers: Set<String> = []
    }

    /// How often volumes that change while they are used are looked at.
    static let interval = Duration.seconds(60)
    static let attachTimeout = Duration.seconds(120)

    let root: String
    let node: String
    let client: any KubeClient
    let mounter: any VolumeMounter
    let drivers: CSIDrivers
    let clock: any KubeClock
    let events: NodeEvents
    let logger: Logger
    let locks = NameLocks()
    private let state = Mutex(State())

    init(
        root: String, node: String, client: any KubeClient, mounter: any VolumeMounter, clock: any KubeClock,
        events: NodeEvents, logger: Logger
    ) {
        (self.root, self.node, self.client, self.mounter) = (root, node, client, mounter)
        (self.clock, self.events, self.logger) = (clock, events, logger)
        drivers = CSIDrivers(node: node, client: client, logger: logger)
        let attached = CSIRecord.all(root: root).filter { !$0.record.attachment.isEmpty }.map(\.record.uniqueName)
        state.withLock { $0.inUse = Set(attached) }
    }

    var plugin: String { root + "/plugins/kubernetes.io/csi" }

    // MARK: What the node shows

    /// Attached volumes that must not be taken from the node now (the node's status.volumesInUse).
    var inUse: [String] { state.withLock { $0.inUse.sorted() } }

    /// Called, and waited for, before a volume is used and after it was.
    func onUse(_ report: @escaping @Sendable () async -> Void) { state.withLock { $0.report = report } }

    func use(_ name: String, _ isUsed: Bool) async {
        let (changed, report) = state.withLock { state in
            let changed = isUsed ? state.inUse.insert(name).inserted : state.inUse.remove(name) != nil
            return (changed, state.report)
        }
        if changed { await report?() }
    }

    // MARK: Places

    func stagingPath(_ record: CSIRecord) -> String {
        record.isBlock ? "\(plugin)/volumeDevices/staging/\(record.name)" : stagingFolder(record) + "/globalmount"
    }

    func stagingFolder(_ record: CSIRecord) -> String {
        "\(plugin)/\(record.driver)/\(record.digest)"
    }

    func targetPath(_ record: CSIRecord, uid: String) -> String {
        record.isBlock ? "\(plugin)/volumeDevices/publish/\(record.name)/\(uid)" : record.folder + "/mount"
    }

    private func folder(_ volume: CSIVolume, uid: String) -> String {
        "\(root)/pods/\(uid)/\(volume.isBlock ? "volumeDevices" : "volumes")/kubernetes.io~csi/\(volume.name)"
    }

    // MARK: Setting up

    /// Makes the volume available to the pod.
    func setUp(
        _ volume: CSIVolume, _ pod: Pod
    ) async throws(VolumeError) -> VolumeManager.Mounted {
        let folder = folder(volume, uid: pod.uid)
        var record = CSIRecord(volume, attachment: "", node: node, folder: folder)
        let target = targetPath(record, uid: pod.uid)
        var mounted = VolumeManager.Mounted(path: target, readOnly: volume.readOnly)
        (mounted.isBlock, mounted.driver) = (volume.isBlock, true)
        let known = state.withLock { $0.published[target] }
        if let known, !known.republishes, !known.expands { return mounted }
        guard let driver = drivers[volume.driver] else {
            // Of an earlier life of this process; its driver may be one of the pods.
            if known != nil || isThere(record, target) {
                mounted.renewal = clock.now().advanced(by: Self.interval)
                return mounted
            }
            throw VolumeError(
                volume.name,
                "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name \(volume.driver) not found in "
                    + "the list of registered CSI drivers")
        }
        let settings = try await settings(volume)
        let published = Published(
            republishes: settings["requiresRepublish"].bool ?? false,
            expands: volume.persistent != nil && driver.can(.expand))
        let isNew = known == nil && !isThere(record, target)
        if isNew || published.republishes {
            let isAttached = volume.persistent != nil && settings["attachRequired"].bool ?? true
            if isAttached { record.attachment = volume.attachmentName(node: node) }
            // From here on there may be something to take down.
            do throws(SysError) { try record.write() } catch { throw VolumeError(volume.name, error.description) }
            let attachment = isAttached ? try await attach(volume) : [:]
            await locks.lock(volume.uniqueName)
            do throws(VolumeError) {
                try await publish(volume, record, target, pod, driver, settings, attachment, isNew: isNew)
            } catch {
                await locks.unlock(volume.uniqueName)
                throw error
            }
            await locks.unlock(volume.uniqueName)
        }
        if volume.persistent != nil { try await expand(volume, record, target, pod, driver) }
        state.withLock { $0.published[target] = published }
        if published.republishes || published.expands { mounted.renewal = clock.now().advanced(by: Self.interval) }
        return mounted
    }

    private func isThere(_ record: CSIRecord, _ target: String) -> Bool {
        guard CSIRecord(folder: record.folder, isBlock: record.isBlock)?.handle == record.handle else { return false }
        return !mounter.mounts(below: target).isEmpty
    }

    /// The spec of the CSIDriver object; what it lacks has its default.
    private func settings(_ volume: CSIVolume) async throws(VolumeError) -> JSON {
        let spec: JSON
        do throws(APIError) {
            spec = try await client.getIfPresent(.csiDrivers, namespace: "", name: volume.driver)?.spec ?? [:]
        } catch { throw VolumeError(volume.name, error.message) }
        let modes = spec["volumeLifecycleModes"].elements.compactMap(\.string)
        let mode = volume.persistent == nil ? "Ephemeral" : "Persistent"
        let supported = modes.isEmpty ? ["Persistent"] : modes
        guard supported.contains(mode) else {
            throw VolumeError(
                volume.name,
                "kubernetes.io/csi: mounter.SetUpAt failed to check volume lifecycle mode: volume mode \"\(mode)\" not "
                    + "supported by driver \(volume.driver) (only supports [\(supported.joined(separator: " "))])")
        }
        return spec
    }

    /// Waits for the volume's VolumeAttachment; returns what the attacher says of it.
    private func attach(_ volume: CSIVolume) async throws(VolumeError) -> [String: String] {
        await use(volume.uniqueName, true)
        let name = volume.attachmentName(node: node)
        let deadline = clock.now().advanced(by: Self.attachTimeout)
        var delay = Duration.milliseconds(100)
        while true {
            do throws(APIError) {
                let attachment = try await client.getIfPresent(.volumeAttachments, namespace: "", name: name)
                if let attachment, !attachment.isBeingDeleted, attachment.status["attached"].bool == true {
                    return attachment.status["attachmentMetadata"].stringMap
                }
            } catch { throw VolumeError(volume.name, error.message) }
            guard clock.now() < deadline, !Task.isCancelled else {
                throw VolumeError(
                    volume.name,
                    "timed out waiting for external-attacher of \(volume.driver) CSI driver to attach volume "
                        + volume.handle)
            }
            await clock.sleep(for: delay)
            delay = min(delay * 2, .seconds(2))
        }
    }

    private func publish(
        _ volume: CSIVolume, _ record: CSIRecord, _ target: String, _ pod: Pod, _ driver: CSIDrivers.Driver,
        _ settings: JSON, _ attachment: [String: String], isNew: Bool
    ) async throws(VolumeError) {
        let group = volume.isBlock ? nil : group(volume, pod, settings)
        let capability = volume.capability(driver, group: driver.can(.mountGroup) ? group : nil)
        var step = "MountVolume.MountDevice"
        do throws(CSIFailure) {
            let staging = volume.persistent != nil && driver.can(.stage) ? stagingPath(record) : nil
            if let staging, isNew, state.withLock({ !$0.staged.contains(record.uniqueName) }) {
                try disk { () throws(SysError) in
                    try Directories.make(staging, mode: 0o750)
                    if !record.isBlock {
                        var copy = record
                        copy.folder = stagingFolder(record)
                        try copy.write()
                    }
                }
                var request: JSON = [
                    "volume_id": .string(volume.handle), "staging_target_path": .string(staging),
                    "volume_capability": capability,
                ]
                Self.set(&request, "publish_context", attachment)
                Self.set(&request, "volume_context", volume.attributes)
                Self.set(&request, "secrets", try await secret(volume, "nodeStageSecretRef"))
                try await call(driver, "NodeStageVolume", request)
                state.withLock { _ = $0.staged.insert(record.uniqueName) }
            }
            step = "MountVolume.SetUp"
            try disk { () throws(SysError) in try Directories.make(Path.parent(target), mode: 0o750) }
            var request: JSON = [
                "volume_id": .string(volume.handle), "target_path": .string(target), "volume_capability": capability,
            ]
            if volume.readOnly { request["readonly"] = true }
            if let staging { request["staging_target_path"] = .string(staging) }
            Self.set(&request, "publish_context", attachment)
            var secrets = try await secret(volume, "nodePublishSecretRef")
            var attributes = volume.attributes
            if settings["podInfoOnMount"].bool == true {
                attributes.merge([
                    "csi.storage.k8s.io/pod.name": pod.name, "csi.storage.k8s.io/pod.namespace": pod.namespace,
                    "csi.storage.k8s.io/pod.uid": pod.uid,
                    "csi.storage.k8s.io/serviceAccount.name": pod.spec["serviceAccountName"].string ?? "",
                    "csi.storage.k8s.io/ephemeral": volume.persistent == nil ? "true" : "false",
                ]) { $1 }
            }
            if let tokens = try await tokens(settings, pod) {
                let key = "csi.storage.k8s.io/serviceAccount.tokens"
                if settings["serviceAccountTokenInSecrets"].bool == true {
                    secrets[key] = tokens
                } else {
                    attributes[key] = tokens
                }
            }
            Self.set(&request, "volume_context", attributes)
            Self.set(&request, "secrets", secrets)
            try await call(driver, "NodePublishVolume", request)
            if isNew, let group, !driver.can(.mountGroup) {
                let whole = pod.security["fsGroupChangePolicy"].string != "OnRootMismatch"
                try await own(target, group, readOnly: volume.readOnly, whole: whole)
            }
        } catch {
            throw VolumeError(volume.name, error.message, step: volume.isBlock ? "MapVolume.SetUpDevice" : step)
        }
    }

    /// The group that the volume's files shall have; nil: they stay as they are.
    private func group(_ volume: CSIVolume, _ pod: Pod, _ settings: JSON) -> UInt32? {
        guard let group = pod.security["fsGroup"].int.flatMap({ UInt32(exactly: $0) }) else { return nil }
        switch settings["fsGroupPolicy"].string ?? "ReadWriteOnceWithFSType" {
        case "None": return nil
        case "File": return group
        default:
            let isOwn =
                volume.persistent == nil
                || volume.accessModes.contains { $0 == "ReadWriteOnce" || $0 == "ReadWriteOncePod" }
            return isOwn && !volume.fileSystem.isEmpty && !volume.readOnly ? group : nil
        }
    }

    private func own(_ path: String, _ group: UInt32, readOnly: Bool, whole: Bool) async throws(CSIFailure) {
        do throws(SysError) {
            try await BlockingPool.shared.run { () throws(SysError) in
                try VolumeOwnership.apply(path, group: group, readOnly: readOnly, onRootMismatch: !whole)
            }
        } catch {
            throw CSIFailure("applyFSGroup failed for vol: \(error.description)")
        }
    }

    // MARK: Helpers

    func call(
        _ driver: CSIDrivers.Driver, _ method: String, _ request: JSON, answer: String = "Empty"
    ) async throws(CSIFailure) {
        do throws(GRPCStatus) { _ = try await driver.call(method, request, answer: answer) } catch {
            throw CSIFailure(error.description)
        }
    }

    private func disk(_ body: () throws(SysError) -> Void) throws(CSIFailure) {
        do throws(SysError) { try body() } catch { throw CSIFailure(error.description) }
    }

    private static func set(_ request: inout JSON, _ field: String, _ map: [String: String]) {
        if !map.isEmpty { request[field] = .map(map) }
    }

    func secret(_ volume: CSIVolume, _ field: String) async throws(CSIFailure) -> [String: String] {
        guard let place = volume.secret(field) else { return [:] }
        do throws(APIError) {
            let secret = try await client.get(.secrets, namespace: place.namespace, name: place.name)
            return secret["data"].stringMap.mapValues { String(decoding: Base64.decode($0) ?? [], as: UTF8.self) }
        } catch {
            throw CSIFailure("fetching \(field) \(place.namespace)/\(place.name) failed: \(error.message)")
        }
    }

    /// Tokens of the pod's service account for the audiences that the driver asks for, as it is given them.
    private func tokens(_ settings: JSON, _ pod: Pod) async throws(CSIFailure) -> String? {
        let requests = settings["tokenRequests"].elements
        guard !requests.isEmpty else { return nil }
        var all = JSONObject()
        for request in requests {
            let audience = request["audience"].string ?? ""
            let key = pod.uid + "/" + audience
            var known = state.withLock { $0.tokens[key] }
            if known.map({ $0.due <= clock.now() }) ?? true {
                do throws(APIError) {
                    let answer = try await VolumeManager.requestToken(
                        audience, request["expirationSeconds"].int ?? 3600, pod, client)
                    let token = answer["token"].string ?? ""
                    let due = VolumeManager.renewal(of: Array(token.utf8)) ?? clock.now()
                    known = (token, answer["expirationTimestamp"].string ?? "", due)
                } catch { throw CSIFailure("failed to get service account token attributes: \(error.message)") }
                let fresh = known
                state.withLock { $0.tokens[key] = fresh }
            }
            if let known {
                all.append(
                    audience,
                    ["token": .string(known.token), "expirationTimestamp": .string(known.expires)])
            }
        }
        return String(decoding: JSON.object(all).encode(), as: UTF8.self)
    }

    // MARK: For what takes them down

    func forget(_ target: String) { state.withLock { $0.published[target] = nil } }
    func unstaged(_ name: String) { state.withLock { _ = $0.staged.remove(name) } }
    func forgetTokens(_ uid: String) {
        state.withLock { state in
            guard !state.tokens.isEmpty else { return }
            state.tokens = state.tokens.filter { !$0.key.hasPrefix(uid + "/") }
        }
    }
    func leftOver(_ uid: String, _ isLeft: Bool) {
        state.withLock { state in
            if isLeft { state.leftovers.insert(uid) } else { state.leftovers.remove(uid) }
        }
    }
    var leftovers: Set<String> { state.withLock { $0.leftovers } }
}

/// Why a step with a driver failed.
struct CSIFailure: Error, Sendable {
    var message: String
    init(_ message: String) { self.message = message }
}
