package import Codecs
package import KubeAPI
package import Linux

/// Makes the directories and files behind a pod's volumes, keeps those that come from the API up to date, and removes
/// them. Layout below the root directory as the kubelet has it: pods/<uid>/volumes/kubernetes.io~<kind>/<name>.
package struct VolumeManager: Sendable {
    package let root: String
    let client: any KubeClient
    let mounter: any VolumeMounter
    let clock: any KubeClock
    /// Makes an image present by its volume's pull policy and mounts it at a path; the error is a sentence.
    package typealias ImageMount =
        @Sendable (_ pod: Pod, _ source: JSON, _ path: String) async -> String?
    var mountImage: ImageMount?
    /// nil: volumes of drivers are refused.
    var csi: CSIVolumes?

    package init(root: String, client: any KubeClient, mounter: any VolumeMounter, clock: any KubeClock) {
        (self.root, self.client, self.mounter, self.clock) = (root, client, mounter, clock)
    }

    package func podDirectory(_ uid: String) -> String { root + "/pods/" + uid }

    /// Where a volume's content is on the host, and whether it is only to be read.
    package struct Mounted: Sendable, Equatable {
        package var path: String
        package var readOnly = false
        /// `path` is a block device: for containers' volumeDevices.
        package var isBlock = false
        /// A CSI driver's.
        package var driver = false
        /// When it has to be looked at again.
        package var renewal: Timestamp?
    }

    /// Sets up all volumes of the pod; also brings those from the API up to date, so that it is called again whenever
    /// what they show has changed. Returns them by name, and when a token is due.
    package func setUp(_ facts: PodFacts) async throws(VolumeError) -> (volumes: [String: Mounted], renewal: Timestamp?)
    {
        var mounted: [String: Mounted] = [:]
        var renewal: Timestamp?
        for spec in facts.pod.volumes {
            let name = spec["name"].string ?? ""
            guard let volume = try await setUp(spec, name, facts) else { continue }
            mounted[name] = volume
            if let due = volume.renewal ?? tokenRenewal(spec, volume.path) {
                renewal = renewal.map { min($0, due) } ?? due
            }
        }
        return (mounted, renewal)
    }

    /// nil: a volume that no container mounts as a directory.
    private func setUp(_ spec: JSON, _ name: String, _ facts: PodFacts) async throws(VolumeError) -> Mounted? {
        guard let kind = spec.object?.keys.first(where: { $0 != "name" }) else {
            return try emptyDirectory(["emptyDir": [:]], name, facts)
        }
        switch kind {
        case "emptyDir": return try emptyDirectory(spec, name, facts)
        case "hostPath":
            return Mounted(path: try hostPath(spec["hostPath"], name))
        case "configMap", "secret", "downwardAPI", "projected": return try await files(spec, kind, name, facts)
        case "persistentVolumeClaim": return try await claim(spec["persistentVolumeClaim"], name, facts)
        case "ephemeral":
            // The claim is the pod's own: a controller makes it under this name.
            let source: JSON = ["claimName": .string("\(facts.pod.name)-\(name)")]
            return try await claim(source, name, facts, isOwn: true)
        case "csi":
            guard let csi, let volume = CSIVolume(inline: spec["csi"], name: name, facts.pod) else {
                throw VolumeError(name, "csi: driver is required")
            }
            return try await csi.setUp(volume, facts.pod)
        case "image":
            let path = directory("image", name, facts)
            let failure = await mountImage?(facts.pod, spec["image"], path)
            if let failure { throw VolumeError(name, failure) }
            return Mounted(path: path, readOnly: true)
        default: throw VolumeError(name, "volume type \(kind) is not supported on this node")
        }
    }

    private func directory(_ plugin: String, _ name: String, _ facts: PodFacts) -> String {
        "\(podDirectory(facts.pod.uid))/volumes/kubernetes.io~\(plugin)/\(name)"
    }

    private func group(_ facts: PodFacts) -> UInt32? {
        facts.pod.security["fsGroup"].int.flatMap { UInt32(exactly: $0) }
    }

    // MARK: Kinds

    private func emptyDirectory(_ spec: JSON, _ name: String, _ facts: PodFacts) throws(VolumeError) -> Mounted {
        let path = directory("empty-dir", name, facts)
        if Files.isDirectory(path) { return Mounted(path: path) }
        let source = spec["emptyDir"]
        do throws(SysError) {
            try Directories.make(path, mode: 0o777)
            switch source["medium"].string ?? "" {
            case "": break
            case "Memory":
                var size = source["sizeLimit"].string.flatMap { Quantity($0)?.value }
                if let limit = facts.pod.limit("memory")?.value { size = min(size ?? limit, limit) }
                do throws(SysError) {
                    try mounter.mountTmpfs(path, sizeBytes: size ?? facts.allocatable["memory"]?.value, mode: 0o777)
                } catch {
                    _ = rmdir(path)
                    throw error
                }
            case let medium:
                _ = rmdir(path)
                throw SysError(ENOTSUP, call: "emptyDir medium \(medium)")
            }
            if let group = group(facts) {
                try syscall("chown", path) { chown(path, uid_t.max, group) }
                try syscall("chmod", path) { chmod(path, 0o2777) }
            }
        } catch {
            throw VolumeError(name, error.description)
        }
        return Mounted(path: path)
    }

    private func hostPath(_ source: JSON, _ name: String) throws(VolumeError) -> String {
        let path = source["path"].string ?? ""
        guard path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
            throw VolumeError(name, "hostPath path \"\(path)\" must be absolute and must not contain '..'")
        }
        let type = source["type"].string ?? ""
        let kind = (try? Files.status(path)).map { $0.st_mode & S_IFMT }
        func check(_ wanted: mode_t, _ what: String) throws(VolumeError) {
            guard kind == wanted else {
                throw VolumeError(name, "hostPath type check failed: \(path) is not a \(what)")
            }
        }
        do throws(SysError) {
            switch type {
            case "":
                // As the runtimes do: a bind mount needs something to bind.
                if kind == nil { try Directories.make(path, mode: 0o755) }
            case "DirectoryOrCreate": if kind == nil { try Directories.make(path, mode: 0o755) }
            case "FileOrCreate":
                if kind == nil {
                    try Directories.make(Path.parent(path), mode: 0o755)
                    try Files.write(path, [], mode: 0o644)
                }
            default: break
            }
        } catch {
            throw VolumeError(name, error.description)
        }
        switch type {
        case "DirectoryOrCreate": if kind != nil { try check(S_IFDIR, "directory") }
        case "FileOrCreate": if kind != nil { try check(S_IFREG, "file") }
        case "Directory": try check(S_IFDIR, "directory")
        case "File": try check(S_IFREG, "file")
        case "Socket": try check(S_IFSOCK, "socket file")
        case "CharDevice": try check(S_IFCHR, "character device")
        case "BlockDevice": try check(S_IFBLK, "block device")
        case "": break
        default: throw VolumeError(name, "hostPath type check failed: \(type) is an invalid volume type")
        }
        return path
    }

    private func files(_ spec: JSON, _ kind: String, _ name: String, _ facts: PodFacts) async throws(VolumeError)
        -> Mounted
    {
        let plugin = [
            "configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected",
        ]
        let path = directory(plugin[kind] ?? kind, name, facts)
        let namespace = facts.pod.namespace
        let client = client
        let payload = VolumePayload(
            facts: facts, volume: name,
            object: { reference throws(APIError) in
                try await client.getIfPresent(reference.kind.resource, namespace: namespace, name: reference.name)
            },
            token: { audience, seconds, file throws(APIError) in
                try await serviceAccountToken(audience, seconds, current: path + "/" + file, facts.pod)
            })
        guard let content = try await payload.files(spec) else { throw VolumeError(name, "volume has no source") }
        do throws(SysError) {
            if !Files.isDirectory(path) {
                try Directories.make(path, mode: 0o777)
                // What is secret is never written to a disk.
                if kind != "configMap" {
                    do throws(SysError) { try mounter.mountTmpfs(path, sizeBytes: nil, mode: 0o777) } catch {
                        _ = rmdir(path)
                        throw error
                    }
                }
                if let group = group(facts) {
                    try syscall("chown", path) { chown(path, uid_t.max, group) }
                    try syscall("chmod", path) { chmod(path, 0o2777) }
                }
            }
            try AtomicWriter(directory: path, group: group(facts)).write(content, stamp: clock.now())
        } catch {
            throw VolumeError(name, error.description)
        }
        return Mounted(path: path, readOnly: true)
    }

    /// A claim bound to a directory of this node (local-path's volumes are such).
    private func claim(
        _ source: JSON, _ name: String, _ facts: PodFacts, isOwn: Bool = false
    ) async throws(VolumeError) -> Mounted {
        let claimName = source["claimName"].string ?? ""
        let driven: CSIVolume
        do throws(APIError) {
            guard
                let claim = try await client.getIfPresent(
                    .persistentVolumeClaims, namespace: facts.pod.namespace, name: claimName)
            else { throw .badRequest("persistentvolumeclaim \"\(claimName)\" not found") }
            if isOwn, claim.controller?.uid != facts.pod.uid {
                throw .badRequest(
                    "PVC \(facts.pod.namespace)/\(claimName) was not created for pod \(facts.pod.namespace)/"
                        + "\(facts.pod.name) (pod is not owner)")
            }
            guard let volumeName = claim.spec["volumeName"].string, claim.status["phase"].string == "Bound" else {
                throw .badRequest("PVC \(facts.pod.namespace)/\(claimName) is not bound")
            }
            let volume = try await client.get(.persistentVolumes, namespace: "", name: volumeName)
            let readOnly = source["readOnly"].bool ?? false
            if !volume.spec["hostPath"].isNull {
                let path = try asAPIError { () throws(VolumeError) in try hostPath(volume.spec["hostPath"], name) }
                return Mounted(path: path, readOnly: readOnly)
            }
            if let path = volume.spec["local"]["path"].string {
                guard Files.exists(path) else { throw .badRequest("path \"\(path)\" does not exist") }
                if !readOnly { try await own(path, volumeName, facts) }
                return Mounted(path: path, readOnly: readOnly)
            }
            guard let found = CSIVolume(persistent: volume, claim: claim, readOnly: readOnly) else {
                throw .badRequest(
                    "persistent volume \(volumeName) is neither hostPath nor local nor csi: its type is not supported on "
                        + "this node")
            }
            driven = found
        } catch {
            throw VolumeError(name, error.message)
        }
        guard let csi else { throw VolumeError(name, "this node has no CSI drivers") }
        return try await csi.setUp(driven, facts.pod)
    }

    /// Gives a local volume to the pod's fsGroup, once a pod: the directory where upstream mounts it is the mark. While other
    /// pods use it, it stays theirs.
    private func own(_ path: String, _ volume: String, _ facts: PodFacts) async throws(APIError) {
        let mark = directory("local-volume", volume, facts)
        guard let group = group(facts), !Files.isDirectory(mark), Files.isDirectory(path) else { return }
        let whole = facts.pod.security["fsGroupChangePolicy"].string != "OnRootMismatch"
        let (pods, below) = (root + "/pods", String(mark.dropFirst(podDirectory(facts.pod.uid).count)))
        do throws(SysError) {
            try await BlockingPool.shared.run { () throws(SysError) in
                let others = (try? Directories.list(pods)) ?? []
                let isShared = others.contains { Files.isDirectory("\(pods)/\($0.name)\(below)") }
                if !isShared { try VolumeOwnership.apply(path, group: group, readOnly: false, onRootMismatch: !whole) }
                try Directories.make(mark, mode: 0o750)
            }
        } catch { throw .badRequest("applyFSGroup failed for vol \(volume): \(error.description)") }
    }

    private func asAPIError<T>(_ body: () throws(VolumeError) -> T) throws(APIError) -> T {
        do throws(VolumeError) { return try body() } catch { throw .badRequest(error.message) }
    }

    // MARK: End

    /// Has drivers take their volumes down, unmounts everything below the pod's directory, then removes it.
    package func tearDown(_ uid: String) async throws(VolumeError) {
        let path = podDirectory(uid)
        guard Files.exists(path) else { return }
        if let csi {
            // Drivers refuse to let go of what is still mounted by its parts.
            await removeParts(path)
            try await csi.tearDown(uid)
        }
        let mounter = mounter
        do throws(SysError) {
            try await BlockingPool.shared.run { () throws(SysError) in
                for mount in mounter.mounts(below: path) { try mounter.unmount(mount) }
                try Directories.removeTree(path)
            }
        } catch {
            throw VolumeError(Path.last(error.path ?? ""), error.description, step: "UnmountVolume.TearDown")
        }
    }

    private func removeParts(_ path: String) async {
        let (mounter, parts) = (mounter, path + "/volume-subpaths")
        guard Files.exists(parts) else { return }
        try? await BlockingPool.shared.run { () throws(SysError) in
            for mount in mounter.mounts(below: parts) { try mounter.unmount(mount) }
        }
    }
}
