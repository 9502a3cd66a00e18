import Codecs
import Linux

/// What the runtime remembers of a sandbox, on disk as sandbox.json.
package struct SandboxRecord: Sendable, Equatable {
    package var status = SandboxStatus()
    /// The pod shares one PID namespace, whose PID 1 the shim keeps under the sandbox's id.
    package var hasPause: Bool { status.config.pid == .pod }
    package init() {}
}

/// What the runtime remembers of a container, on disk as container.json.
package struct ContainerRecord: Sendable, Equatable {
    package var status = ContainerStatus()
    package var config = ContainerConfig()
    package var image = ImageConfig()
    package var user = ResolvedUser()
    /// Layers of the image, topmost first.
    package var lower: [String] = []
    /// Not on disk: what is going on with it.
    package var starting = false
    package var removing = false
    package var announcedStart = false
    package init() {}
}

extension SandboxRecord {
    package func encode() -> [UInt8] {
        var document = JSON.object([:])
        document["version"] = .int(1)
        document["id"] = .string(status.id)
        document["createdAt"] = .int(status.createdAt)
        document["state"] = .string(status.state == .ready ? "ready" : "notReady")
        document["config"] = status.config.json
        return document.encode()
    }

    /// nil: not a record of ours (an interrupted write after a power failure).
    package init?(_ bytes: [UInt8]) {
        guard let document = try? JSON.parse(bytes), document["version"].int == 1, let id = document["id"].string else {
            return nil
        }
        self.init()
        status.id = id
        status.createdAt = document["createdAt"].int ?? 0
        status.state = document["state"].string == "ready" ? .ready : .notReady
        status.config = SandboxConfig(json: document["config"])
    }
}

extension ContainerRecord {
    package func encode() -> [UInt8] {
        var document = JSON.object([:])
        document["version"] = .int(1)
        document["id"] = .string(status.id)
        document["sandbox"] = .string(status.sandbox)
        document["imageID"] = .string(status.imageID)
        document["state"] = .string(Self.names[status.state] ?? "unknown")
        document["createdAt"] = .int(status.createdAt)
        document["startedAt"] = .int(status.startedAt)
        document["finishedAt"] = .int(status.finishedAt)
        document["exitCode"] = .int(Int64(status.exitCode))
        document["reason"] = .string(status.reason)
        document["message"] = .string(status.message)
        document["logPath"] = .string(status.logPath)
        document["config"] = config.json
        document["image"] = image.json
        document["user"] = user.json
        document["lower"] = .strings(lower)
        return document.encode()
    }

    package init?(_ bytes: [UInt8]) {
        guard let document = try? JSON.parse(bytes), document["version"].int == 1, let id = document["id"].string,
            let sandbox = document["sandbox"].string
        else { return nil }
        self.init()
        config = ContainerConfig(json: document["config"])
        image = ImageConfig(json: document["image"])
        user = ResolvedUser(json: document["user"])
        lower = document["lower"].strings
        status.id = id
        status.sandbox = sandbox
        (status.name, status.attempt, status.image) = (config.name, config.attempt, config.image)
        status.imageID = document["imageID"].string ?? ""
        status.state = Self.names.first { $0.value == document["state"].string }?.key ?? .unknown
        status.createdAt = document["createdAt"].int ?? 0
        status.startedAt = document["startedAt"].int ?? 0
        status.finishedAt = document["finishedAt"].int ?? 0
        status.exitCode = Int32(clamping: document["exitCode"].int ?? 0)
        status.reason = document["reason"].string ?? ""
        status.message = document["message"].string ?? ""
        status.logPath = document["logPath"].string ?? ""
        (status.labels, status.annotations) = (config.labels, config.annotations)
        announcedStart = status.startedAt != 0
    }

    private static let names: [ContainerStatus.State: String] = [
        .created: "created", .running: "running", .exited: "exited", .unknown: "unknown",
    ]
}
