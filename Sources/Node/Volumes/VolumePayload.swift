internal import Codecs
internal import KubeAPI

/// Why a volume cannot be set up: the message of the FailedMount event.
package struct VolumeError: Error, Sendable, Equatable {
    package var volume: String
    package var message: String
    /// What was being done.
    package var step: String
    package init(_ volume: String, _ message: String, step: String = "MountVolume.SetUp") {
        (self.volume, self.message, self.step) = (volume, message, step)
    }
    /// "MountVolume.SetUp failed for volume "x" : configmap "y" not found"
    package var eventMessage: String { "\(step) failed for volume \"\(volume)\" : \(message)" }
}

/// Turns the sources of configMap, secret, downwardAPI and projected volumes into files.
package struct VolumePayload {
    package typealias Payload = [String: AtomicWriter.File]

    let facts: PodFacts
    let volume: String
    let object: @Sendable (ObjectReference) async throws(APIError) -> KubeObject?
    /// Audience ("" for the default), seconds, path.
    let token: @Sendable (String, Int64, String) async throws(APIError) -> [UInt8]

    private func fail(_ message: String) -> VolumeError { VolumeError(volume, message) }

    /// The files of a volume; nil: it is not one of the kinds that are files from the API.
    func files(_ spec: JSON) async throws(VolumeError) -> Payload? {
        if !spec["configMap"].isNull {
            let source = spec["configMap"]
            return try await keys(.configMap, source, name: source["name"].string ?? "", mode: mode(source, 0o644))
        }
        if !spec["secret"].isNull {
            let source = spec["secret"]
            return try await keys(.secret, source, name: source["secretName"].string ?? "", mode: mode(source, 0o644))
        }
        if !spec["downwardAPI"].isNull {
            return try downward(spec["downwardAPI"], mode: mode(spec["downwardAPI"], 0o644))
        }
        guard !spec["projected"].isNull else { return nil }
        return try await projected(spec["projected"])
    }

    private func mode(_ source: JSON, _ fallback: UInt32) -> UInt32 {
        UInt32(clamping: source["defaultMode"].int ?? Int64(fallback)) & 0o777
    }

    private func projected(_ spec: JSON) async throws(VolumeError) -> Payload {
        let mode = mode(spec, 0o644)
        var payload: Payload = [:]
        for source in spec["sources"].elements {
            var part: Payload = [:]
            if !source["configMap"].isNull {
                part = try await keys(
                    .configMap, source["configMap"], name: source["configMap"]["name"].string ?? "", mode: mode)
            } else if !source["secret"].isNull {
                part = try await keys(
                    .secret, source["secret"], name: source["secret"]["name"].string ?? "", mode: mode)
            } else if !source["downwardAPI"].isNull {
                part = try downward(source["downwardAPI"], mode: mode)
            } else if !source["serviceAccountToken"].isNull {
                part = try await tokenFile(source["serviceAccountToken"], mode: mode)
            } else {
                let kind = source.object?.keys.first ?? "unknown"
                throw fail("projected source \(kind) is not supported")
            }
            payload.merge(part) { _, new in new }
        }
        return payload
    }

    private func tokenFile(_ source: JSON, mode: UInt32) async throws(VolumeError) -> Payload {
        let path = source["path"].string ?? "token"
        do throws(APIError) {
            let bytes = try await token(source["audience"].string ?? "", source["expirationSeconds"].int ?? 3600, path)
            // The token is for the pod's user alone: who shares the node does not read it.
            let user = Self.commonUser(facts.pod)
            let grouped = !facts.pod.security["fsGroup"].isNull
            return [
                path: AtomicWriter.File(
                    bytes, mode: user != nil || grouped ? 0o600 : mode, owner: user.flatMap { UInt32(exactly: $0) })
            ]
        } catch {
            throw fail("failed to fetch token: \(error.message)")
        }
    }

    /// The user that all containers run as, where they agree.
    static func commonUser(_ pod: Pod) -> Int64? {
        let users = (pod.containers + pod.initContainers).map {
            $0.security["runAsUser"].int ?? pod.security["runAsUser"].int
        }
        guard let first = users.first, let user = first, users.allSatisfy({ $0 == user }) else { return nil }
        return user
    }

    private func keys(
        _ kind: ObjectReference.Kind, _ source: JSON, name: String, mode: UInt32
    ) async throws(VolumeError) -> Payload {
        let optional = source["optional"].bool ?? false
        let found: KubeObject?
        do throws(APIError) {
            found = try await object(ObjectReference(kind, facts.pod.namespace, name))
        } catch {
            throw fail(error.message)
        }
        guard let found else {
            if optional { return [:] }
            throw fail("\(kind.rawValue) \"\(name)\" not found")
        }
        var data: [String: [UInt8]] = [:]
        for (key, value) in found["data"].stringMap {
            data[key] = kind == .configMap ? Array(value.utf8) : Base64.decode(value) ?? []
        }
        for (key, value) in found["binaryData"].stringMap { data[key] = Base64.decode(value) ?? [] }
        let items = source["items"].elements
        if items.isEmpty { return data.mapValues { AtomicWriter.File($0, mode: mode) } }
        var payload: Payload = [:]
        for item in items {
            let key = item["key"].string ?? ""
            guard let bytes = data[key] else {
                if optional { continue }
                throw fail("references non-existent \(kind == .configMap ? "config" : "secret") key: \(key)")
            }
            payload[item["path"].string ?? key] = AtomicWriter.File(
                bytes, mode: item["mode"].int.map { UInt32(clamping: $0) & 0o777 } ?? mode)
        }
        return payload
    }

    private func downward(_ source: JSON, mode: UInt32) throws(VolumeError) -> Payload {
        var payload: Payload = [:]
        for item in source["items"].elements {
            let path = item["path"].string ?? ""
            let text: String?
            if let field = item["fieldRef"]["fieldPath"].string {
                text = facts.field(field)
            } else {
                text = facts.resource(item["resourceFieldRef"], container: nil)
            }
            guard let text else { throw fail("downwardAPI item \(path): unknown field") }
            payload[path] = AtomicWriter.File(
                Array(text.utf8), mode: item["mode"].int.map { UInt32(clamping: $0) & 0o777 } ?? mode)
        }
        return payload
    }
}

extension Pod {
    /// ConfigMaps and Secrets that its volumes show, and that are followed while it runs.
    package var volumeReferences: Set<ObjectReference> {
        var references: Set<ObjectReference> = []
        func add(_ source: JSON) {
            if let name = source["configMap"]["name"].string {
                references.insert(ObjectReference(.configMap, namespace, name))
            }
            let secret = source["secret"]
            if let name = secret["secretName"].string ?? secret["name"].string {
                references.insert(ObjectReference(.secret, namespace, name))
            }
        }
        for volume in volumes {
            add(volume)
            for source in volume["projected"]["sources"].elements { add(source) }
        }
        return references
    }
}
