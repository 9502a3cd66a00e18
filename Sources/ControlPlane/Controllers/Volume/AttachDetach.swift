internal import Codecs
package import KubeAPI
import Synchronization
internal import Transport

/// Says which volumes of CSI drivers are to be attached to which nodes, by VolumeAttachments that the drivers' attachers
/// act upon, and shows in each node's status what is attached. The key is the node's name.
///
/// A volume is detached when no pod on the node wants it and the node no longer uses it (`status.volumesInUse`); a node that
/// does not answer is given six minutes, one that is tainted out-of-service none. Source: pkg/controller/volume/attachdetach.
package struct AttachDetach: Controller {
    package let name = "attachdetach-controller"
    package let concurrency = 4

    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    private let marks = Marks()

    /// What is remembered so that it is said or done once.
    private final class Marks: Sendable {
        struct State {
            /// Since when a volume that nobody wants is kept by its node, by attachment.
            var waiting: [String: Timestamp] = [:]
            /// What was said of an attachment last.
            var said: [String: String] = [:]
        }
        let state = Mutex(State())
    }

    private static let patience = Duration.seconds(360)

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "attachdetach-controller")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.pods) { pod, _ in
                guard let node = pod.spec["nodeName"].string, !node.isEmpty,
                    pod.spec["volumes"].elements.contains(where: { pod.claimName(of: $0) != nil })
                else { return [] }
                return [ObjectKey(name: node)]
            },
            WatchSource(.volumeAttachments) { attachment, kind in
                // What is detached here may be attached elsewhere: those who wait look again by themselves.
                attachment.spec["nodeName"].string.map { [ObjectKey(name: $0)] } ?? []
            },
            // Only nodes that use or show volumes concern anybody.
            WatchSource(.nodes) { node, kind in
                let has = ["volumesInUse", "volumesAttached"].contains { !node.status[$0].elements.isEmpty }
                return has || kind == .deleted ? [ObjectKey(name: node.name)] : []
            },
        ]
    }

    /// A volume that pods of the node want.
    private struct Wanted {
        var volume: KubeObject
        var driver: String
        var handle: String
        var pods: [KubeObject]
        var uniqueName: String { CSINames.volume(driver: driver, handle: handle) }
    }

    static func attachmentName(handle: String, driver: String, node: String) -> String {
        CSINames.attachment(handle: handle, driver: driver, node: node, digest: SHA256.hexDigest)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let attachments = try await client.list(.volumeAttachments).decoded()
        let node = try await client.getIfPresent(.nodes, namespace: "", name: key.name)
        var again: Duration?
        let wanted = node == nil ? [:] : try await wanted(on: key.name, &again)
        var shown: [(name: String, device: String)] = []
        for attachment in attachments where attachment.spec["nodeName"].string == key.name {
            guard let own = try await source(of: attachment, on: key.name) else { continue }
            if let want = wanted[attachment.name] {
                await tell(attachment, want)
                if attachment.isBeingDeleted {
                    // It goes first, then it is made again.
                    again = .seconds(1)
                } else if attachment.status["attached"].bool == true {
                    shown.append((own, ""))
                }
                marks.state.withLock { $0.waiting[attachment.name] = nil }
                continue
            }
            if attachment.isBeingDeleted { continue }
            if let left = wait(attachment, own, node) {
                if attachment.status["attached"].bool == true { shown.append((own, "")) }
                again = min(again ?? left, left)
                continue
            }
            // The node shows that it is going before it goes.
            try await show(shown.filter { $0.name != own }, on: node, removing: own)
            try await client.deleteIfPresent(.volumeAttachments, attachment)
            marks.state.withLock { state in
                state.waiting[attachment.name] = nil
                state.said[attachment.name] = nil
            }
        }
        for (name, want) in wanted.sorted(by: { $0.key < $1.key })
        where !attachments.contains(where: { $0.name == name }) {
            if let other = Self.conflict(want, attachments, node: key.name) {
                await refuse(want, other, name)
                again = min(again ?? .seconds(2), .seconds(2))
                continue
            }
            var fresh = KubeObject(GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachment"), name: name)
            fresh.spec = [
                "attacher": .string(want.driver), "nodeName": .string(key.name),
                "source": ["persistentVolumeName": .string(want.volume.name)],
            ]
            do throws(APIError) { _ = try await client.create(.volumeAttachments, fresh) } catch {
                guard error.isAlreadyExists else { throw error }
                again = .seconds(1)
            }
        }
        try await show(shown, on: node)
        return again
    }

    // MARK: What is wanted

    /// By the attachment's name.
    private func wanted(on node: String, _ again: inout Duration?) async throws(APIError) -> [String: Wanted] {
        var wanted: [String: Wanted] = [:]
        var required: [String: Bool] = [:]
        let options = ListOptions(fields: .equal("spec.nodeName", node))
        for item in try await client.list(.pods, namespace: nil, options: options).items {
            let pod = try item.decode()
            guard pod.spec["nodeName"].string == node,
                !["Succeeded", "Failed"].contains(pod.status["phase"].string ?? "")
            else { continue }
            for spec in pod.spec["volumes"].elements {
                guard let claimName = pod.claimName(of: spec) else { continue }
                let claim = try await client.getIfPresent(
                    .persistentVolumeClaims, namespace: pod.namespace, name: claimName)
                guard let claim, claim.status["phase"].string == "Bound",
                    spec["ephemeral"].isNull || claim.controller?.uid == pod.uid
                else {
                    // It is bound without an event for this node.
                    if !pod.isBeingDeleted { again = .seconds(2) }
                    continue
                }
                let volume = try await client.getIfPresent(
                    .persistentVolumes, namespace: "", name: claim.spec["volumeName"].string ?? "")
                guard let volume, let driver = volume.spec["csi"]["driver"].string,
                    let handle = volume.spec["csi"]["volumeHandle"].string
                else { continue }
                if required[driver] == nil {
                    let object = try await client.getIfPresent(.csiDrivers, namespace: "", name: driver)
                    required[driver] = object?.spec["attachRequired"].bool ?? true
                }
                guard required[driver] == true else { continue }
                let name = Self.attachmentName(handle: handle, driver: driver, node: node)
                wanted[name, default: Wanted(volume: volume, driver: driver, handle: handle, pods: [])].pods
                    .append(pod)
            }
        }
        return wanted
    }

    /// The unique name of what an attachment of ours attaches; nil: somebody else has made it.
    private func source(of attachment: KubeObject, on node: String) async throws(APIError) -> String? {
        guard let name = attachment.spec["source"]["persistentVolumeName"].string,
            let driver = attachment.spec["attacher"].string,
            let volume = try await client.getIfPresent(.persistentVolumes, namespace: "", name: name),
            let handle = volume.spec["csi"]["volumeHandle"].string,
            attachment.name == Self.attachmentName(handle: handle, driver: driver, node: node)
        else { return nil }
        return CSINames.volume(driver: driver, handle: handle)
    }

    // MARK: Attaching

    /// A node that has the volume for itself.
    private static func conflict(_ want: Wanted, _ attachments: [KubeObject], node: String) -> KubeObject? {
        let modes = want.volume.spec["accessModes"].elements.compactMap(\.string)
        guard !modes.isEmpty, !modes.contains("ReadWriteMany"), !modes.contains("ReadOnlyMany") else { return nil }
        return attachments.first { attachment in
            attachment.spec["source"]["persistentVolumeName"].string == want.volume.name
                && attachment.spec["attacher"].string == want.driver && attachment.spec["nodeName"].string != node
        }
    }

    private func refuse(_ want: Wanted, _ other: KubeObject, _ name: String) async {
        let node = other.spec["nodeName"].string ?? ""
        var users: [String] = []
        let options = ListOptions(fields: .equal("spec.nodeName", node))
        for item in (try? await client.list(.pods, namespace: nil, options: options).items) ?? [] {
            guard let pod = try? item.decode(), pod.spec["nodeName"].string == node else { continue }
            let claim = want.volume.spec["claimRef"]
            if pod.namespace == claim["namespace"].string,
                pod.spec["volumes"].elements.contains(where: { pod.claimName(of: $0) == claim["name"].string })
            {
                users.append(pod.name)
            }
        }
        guard marks.state.withLock({ $0.said.updateValue("multi " + node, forKey: name) }) != "multi " + node else {
            return
        }
        let start = "Multi-Attach error for volume \"\(want.volume.name)\" "
        for pod in want.pods {
            let others = users.isEmpty ? "" : users.sorted().joined(separator: ", ")
            await events.event(
                pod, type: .warning, reason: "FailedAttachVolume",
                start
                    + (others.isEmpty
                        ? "Volume is already exclusively attached to one node and can't be attached to another"
                        : "Volume is already used by pod(s) \(others)"))
        }
    }

    /// Events about how the attachment went, once each.
    private func tell(_ attachment: KubeObject, _ want: Wanted) async {
        let problem = attachment.status["attachError"]["message"].string
        let isAttached = attachment.status["attached"].bool == true
        guard isAttached || problem != nil else { return }
        let text = isAttached ? "attached" : "failed \(problem ?? "")"
        guard marks.state.withLock({ $0.said.updateValue(text, forKey: attachment.name) }) != text else { return }
        for pod in want.pods where !pod.isBeingDeleted {
            if isAttached {
                // Not again after a restart of this process.
                guard pod.status["phase"].string == "Pending" else { continue }
                await events.event(
                    pod, type: .normal, reason: "SuccessfulAttachVolume",
                    "AttachVolume.Attach succeeded for volume \"\(want.volume.name)\" ")
            } else {
                await events.event(
                    pod, type: .warning, reason: "FailedAttachVolume",
                    "AttachVolume.Attach failed for volume \"\(want.volume.name)\" : \(problem ?? "")")
            }
        }
    }

    // MARK: Detaching

    /// How long the node may still keep a volume that no pod wants; nil: no longer.
    private func wait(_ attachment: KubeObject, _ uniqueName: String, _ node: KubeObject?) -> Duration? {
        guard let node, node.status["volumesInUse"].elements.contains(.string(uniqueName)) else { return nil }
        let isOut = node.spec["taints"].elements.contains { $0["key"].string == "node.kubernetes.io/out-of-service" }
        if isOut { return nil }
        let now = clock.now()
        let since = marks.state.withLock { state -> Timestamp in
            let since = state.waiting[attachment.name] ?? now
            state.waiting[attachment.name] = since
            return since
        }
        let ready = node.status["conditions"].elements.first { $0["type"].string == "Ready" }
        // A node that is well says itself when it is done.
        guard ready?["status"].string != "True" else { return .seconds(30) }
        let left = Self.patience - now.duration(since: since)
        return left > .zero ? left : nil
    }

    // MARK: The node's status

    /// `removing`: what is left out beside.
    private func show(
        _ attached: [(name: String, device: String)], on node: KubeObject?, removing: String? = nil
    ) async throws(APIError) {
        guard let node else { return }
        var names = attached.map(\.name)
        if let removing {
            names = node.status["volumesAttached"].elements.compactMap { $0["name"].string }.filter { $0 != removing }
        }
        let list = JSON.array(
            Set(names).sorted().map { ["name": .string($0), "devicePath": ""] })
        let there = try await client.getIfPresent(.nodes, namespace: "", name: node.name)
        guard let there, there.uid == node.uid,
            JSON.array(there.status["volumesAttached"].elements) != list
        else { return }
        _ = try await client.patch(
            .nodes, namespace: "", name: node.name,
            ["status": ["volumesAttached": list.elements.isEmpty ? .null : list]], type: .merge, subresource: "status")
    }
}
