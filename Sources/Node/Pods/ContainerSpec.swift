package import Codecs
package import KubeAPI

/// One container of a pod's spec: a view of its JSON with the names and defaults of core/v1.Container.
package struct ContainerSpec: Sendable {
    package enum Kind: Sendable { case initial, regular, ephemeral }

    package let json: JSON
    package let kind: Kind
    package let name: String

    package init(_ json: JSON, _ kind: Kind) {
        (self.json, self.kind) = (json, kind)
        name = json["name"].string ?? ""
    }

    package var image: String { json["image"].string ?? "" }
    package var command: [String] { json["command"].elements.compactMap(\.string) }
    package var args: [String] { json["args"].elements.compactMap(\.string) }
    package var workingDirectory: String { json["workingDir"].string ?? "" }
    package var security: JSON { json["securityContext"] }
    package var volumeMounts: [JSON] { json["volumeMounts"].elements }
    package var terminationMessagePath: String { json["terminationMessagePath"].string ?? "/dev/termination-log" }
    package var fallsBackToLogs: Bool { json["terminationMessagePolicy"].string == "FallbackToLogsOnError" }
    package var postStart: JSON { json["lifecycle"]["postStart"] }
    package var preStop: JSON { json["lifecycle"]["preStop"] }
    /// The name of the signal that asks the container to stop ("SIGUSR1"), where the spec gives one.
    package var stopSignal: String? { json["lifecycle"]["stopSignal"].string }

    /// An init container that stays: restartPolicy Always (a sidecar).
    package var isSidecar: Bool { kind == .initial && json["restartPolicy"].string == "Always" }

    /// Always where the tag is "latest" or absent, else IfNotPresent, as the API server defaults it.
    package var pullPolicy: String {
        if let policy = json["imagePullPolicy"].string, !policy.isEmpty { return policy }
        let image = image
        if image.contains("@") { return "IfNotPresent" }
        let last = image.split(separator: "/").last ?? ""
        guard let colon = last.firstIndex(of: ":") else { return "Always" }
        return last[last.index(after: colon)...] == "latest" ? "Always" : "IfNotPresent"
    }

    package func probe(_ kind: ProbeKind) -> ProbeSpec? { ProbeSpec(json[kind.field]) }

    package func request(_ resource: String) -> Quantity? {
        (json["resources"]["requests"][resource].string ?? json["resources"]["limits"][resource].string)
            .flatMap { Quantity($0) }
    }
    package func limit(_ resource: String) -> Quantity? {
        json["resources"]["limits"][resource].string.flatMap { Quantity($0) }
    }

    /// Of what a change means a new container: name and image (upstream's HashContainer).
    package var hash: String { String(FNV.hash32(name + "\u{0}" + image), radix: 16) }

    /// "spec.containers{app}": where an event about the container points.
    package var fieldPath: String {
        switch kind {
        case .initial: "spec.initContainers{\(name)}"
        case .regular: "spec.containers{\(name)}"
        case .ephemeral: "spec.ephemeralContainers{\(name)}"
        }
    }
}

/// Fowler-Noll-Vo 1a, for change detection (never for security).
enum FNV {
    static func hash32(_ text: String) -> UInt32 {
        var hash: UInt32 = 0x811C_9DC5
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return hash
    }
    static func hash64(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return hash
    }
}
