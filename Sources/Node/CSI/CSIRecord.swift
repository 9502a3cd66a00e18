internal import Codecs
internal import KubeAPI
internal import Linux
internal import Transport

/// What a node remembers of a volume beside its directory (`vol_data.json`, as upstream writes it): enough to take it down
/// when nobody else knows of it any more.
struct CSIRecord: Sendable, Equatable {
    var driver: String
    var handle: String
    var name: String
    var node: String
    var attachment: String
    var isPersistent: Bool
    var isBlock = false
    /// Its directory.
    var folder: String

    static let file = "vol_data.json"

    func write() throws(SysError) {
        let json: JSON = [
            "attachmentID": .string(attachment), "driverName": .string(driver), "nodeName": .string(node),
            "specVolID": .string(name), "volumeHandle": .string(handle),
            "volumeLifecycleMode": .string(isPersistent ? "Persistent" : "Ephemeral"),
        ]
        try Directories.make(folder, mode: 0o750)
        let path = folder + "/" + Self.file
        let bytes = json.encode()
        if (try? Files.readIfPresent(path)) != bytes { try Files.writeAtomically(path, bytes, mode: 0o600) }
    }

    init(_ volume: CSIVolume, attachment: String, node: String, folder: String) {
        (driver, handle, name) = (volume.driver, volume.handle, volume.name)
        (self.attachment, self.node, self.folder) = (attachment, node, folder)
        (isPersistent, isBlock) = (volume.persistent != nil, volume.isBlock)
    }

    /// nil: there is none, or nothing that could be used.
    init?(folder: String, isBlock: Bool) {
        guard let bytes = try? Files.readIfPresent(folder + "/" + Self.file, limit: 1 << 20),
            let json = try? JSON.parse(bytes), let driver = json["driverName"].string,
            let handle = json["volumeHandle"].string
        else { return nil }
        (self.driver, self.handle, self.folder, self.isBlock) = (driver, handle, folder, isBlock)
        name = json["specVolID"].string ?? Path.last(folder)
        node = json["nodeName"].string ?? ""
        attachment = json["attachmentID"].string ?? ""
        isPersistent = json["volumeLifecycleMode"].string != "Ephemeral"
    }

    /// Names its staging folder.
    var digest: String { SHA256.hexDigest(Array(handle.utf8)) }

    var uniqueName: String { CSINames.volume(driver: driver, handle: handle) }

    /// Of one pod.
    static func all(pod directory: String) -> [CSIRecord] {
        [("volumes", false), ("volumeDevices", true)].flatMap { kind, isBlock in
            let parent = "\(directory)/\(kind)/kubernetes.io~csi"
            return Directories.names(parent).sorted().compactMap {
                CSIRecord(folder: parent + "/" + $0, isBlock: isBlock)
            }
        }
    }

    /// Of all pods, by uid.
    static func all(root: String) -> [(pod: String, record: CSIRecord)] {
        Directories.names(root + "/pods").flatMap { uid in
            all(pod: root + "/pods/" + uid).map { (uid, $0) }
        }
    }
}

/// Lets one at a time do something about a name.
actor NameLocks {
    private var held: [String: [CheckedContinuation<Void, Never>]] = [:]

    func lock(_ name: String) async {
        guard held[name] != nil else {
            held[name] = []
            return
        }
        await withCheckedContinuation { held[name]?.append($0) }
    }

    func unlock(_ name: String) {
        guard var waiters = held[name] else { return }
        guard !waiters.isEmpty else {
            held[name] = nil
            return
        }
        let next = waiters.removeFirst()
        held[name] = waiters
        next.resume()
    }
}
