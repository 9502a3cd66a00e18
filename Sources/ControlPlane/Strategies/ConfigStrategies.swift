internal import Codecs
internal import KubeAPI

/// Keys and sizes of what pods get as files and variables.
enum ConfigData {
    static let limit = 1 << 20

    static func checkKey(_ key: String, _ path: String, _ check: inout Validation) {
        if let problem = keyProblem(key) { check.add(.invalid("\(path)[\(key)]", .string(key), problem)) }
    }

    static func keyProblem(_ key: String) -> String? {
        if key.utf8.count > 253 { return "must be no more than 253 bytes" }
        let plain = key.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte) || byte == 45
                || byte == 46
                || byte == 95
        }
        if key.isEmpty || !plain {
            return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                + "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        }
        if key == "." { return "must not be '.'" }
        if key == ".." { return "must not be '..'" }
        if key.hasPrefix("..") { return "must not start with '..'" }
        return nil
    }

    /// Bytes behind base64 text.
    static func decodedSize(_ value: JSON) -> Int {
        guard let text = value.string else { return 0 }
        let padding = text.utf8.suffix(2).count { $0 == UInt8(ascii: "=") }
        return text.utf8.count / 4 * 3 - padding
    }

    static func checkImmutable(_ object: KubeObject, _ old: KubeObject, _ keys: [String], _ check: inout Validation) {
        guard old["immutable"].bool == true else { return }
        let why = "field is immutable when `immutable` is set"
        if object["immutable"].bool != true { check.add(.forbidden("immutable", why)) }
        for key in keys where object[key] != old[key] { check.add(.forbidden(key, why)) }
    }
}

struct ConfigMapStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var size = 0
        let binary = object["binaryData"]
        for (key, value) in object["data"].object ?? JSONObject() {
            ConfigData.checkKey(key, "data", &check)
            if !binary[key].isNull {
                check.add(.invalid("data[\(key)]", .string(key), "duplicate of key present in binaryData"))
            }
            size += value.string?.utf8.count ?? 0
        }
        for (key, value) in binary.object ?? JSONObject() {
            ConfigData.checkKey(key, "binaryData", &check)
            size += ConfigData.decodedSize(value)
        }
        if size > ConfigData.limit { check.add(.tooLong("[]", limit: ConfigData.limit)) }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        ConfigData.checkImmutable(object, old, ["data", "binaryData"], &check)
        validateCreate(object, &check)
    }
}

struct SecretStrategy: ResourceStrategy {
    var selectableFields: [SelectableField] { [SelectableField("type")] }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) { Self.foldStringData(&object) }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        Self.foldStringData(&object)
        // An update that says nothing of the type means the one it has.
        if (object["type"].string ?? "").isEmpty { object.json["type"] = old.json["type"] }
    }

    /// `stringData` is for writing only: its values become base64 in `data`.
    private static func foldStringData(_ object: inout KubeObject) {
        guard case .object(let texts) = object["stringData"] else { return }
        for (key, value) in texts {
            object.json["data"][key] = .string(Base64.encode(Array((value.string ?? "").utf8)))
        }
        object.json["stringData"] = .null
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var size = 0
        let data = object["data"]
        for (key, value) in data.object ?? JSONObject() {
            ConfigData.checkKey(key, "data", &check)
            size += ConfigData.decodedSize(value)
        }
        if size > ConfigData.limit { check.add(.tooLong("data", limit: ConfigData.limit)) }
        func require(_ key: String) {
            if data[key].isNull { check.add(.required("data[\(key)]")) }
        }
        switch object["type"].string ?? "" {
        case "kubernetes.io/service-account-token":
            if (object.annotations["kubernetes.io/service-account.name"] ?? "").isEmpty {
                check.add(.required("metadata.annotations[kubernetes.io/service-account.name]"))
            }
        case "kubernetes.io/dockercfg": requireJSON(data, ".dockercfg", &check)
        case "kubernetes.io/dockerconfigjson": requireJSON(data, ".dockerconfigjson", &check)
        case "kubernetes.io/basic-auth":
            if data["username"].isNull, data["password"].isNull {
                check.add(.required("data[username]"))
                check.add(.required("data[password]"))
            }
        case "kubernetes.io/ssh-auth": require("ssh-privatekey")
        case "kubernetes.io/tls":
            require("tls.crt")
            require("tls.key")
        default: break
        }
    }

    private func requireJSON(_ data: JSON, _ key: String, _ check: inout Validation) {
        guard let text = data[key].string else {
            check.add(.required("data[\(key)]"))
            return
        }
        do throws(JSONError) {
            _ = try JSON.parse(Base64.decode(text) ?? [])
        } catch {
            check.add(.invalid("data[\(key)]", "<secret contents redacted>", error.message))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        check.immutable(object["type"], old["type"], "type")
        ConfigData.checkImmutable(object, old, ["data"], &check)
        validateCreate(object, &check)
    }
}

/// Leases: a renewal that changes nothing else may reach the disk later.
struct LeaseStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        if let seconds = object.spec["leaseDurationSeconds"].int, seconds <= 0 {
            check.add(.invalid("spec.leaseDurationSeconds", .int(seconds), "must be greater than 0"))
        }
        check.nonNegative(object.spec["leaseTransitions"], "spec.leaseTransitions")
    }

    func durability(of object: KubeObject, old: KubeObject, subresource: String) -> WriteUrgency {
        var (new, before) = (object.spec, old.spec)
        new["renewTime"] = .null
        before["renewTime"] = .null
        return new == before && object.metadata["labels"] == old.metadata["labels"] ? .deferred : .durable
    }
}

struct PriorityClassStrategy: ResourceStrategy {
    static let system: [String: Int64] = [
        "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000,
    ]
    private static let userLimit: Int64 = 1_000_000_000

    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let value = object["value"].int ?? 0
        if object.name.hasPrefix("system-") {
            if Self.system[object.name] != value {
                check.add(
                    .forbidden(
                        "metadata.name",
                        "priority class names with 'system-' prefix are reserved for system use only. error: "
                            + "\(object.name) is not a known system priority class"))
            }
        } else if value > Self.userLimit {
            check.add(
                .forbidden("value", "maximum allowed value of a user defined priority is \(Self.userLimit)"))
        }
        check.oneOf(object["preemptionPolicy"], ["Never", "PreemptLowerPriority"], "preemptionPolicy")
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if (object["value"].int ?? 0) != (old["value"].int ?? 0) {
            check.add(.forbidden("value", "may not be changed in an update."))
        }
        check.immutable(object["preemptionPolicy"], old["preemptionPolicy"], "preemptionPolicy")
    }
}

struct ServiceAccountStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }
}

struct ControllerRevisionStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        if object["data"].isNull { check.add(.required("data", "data is mandatory")) }
        check.nonNegative(object["revision"], "revision")
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        check.immutable(object["data"], old["data"], "data")
    }
}

struct PodTemplateStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    var returnsDeletedObject: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        PodTemplate.check(object["template"], "template", &check)
    }
}
