package import Codecs
package import KubeAPI
internal import Linux
package import Logging
package import Store
import Synchronization
internal import Transport

/// `--secrets-encryption` and `k3s secrets-encrypt`: the configuration in `cred/encryption-config.json`, the keys that
/// are in use, and the steps from one key to the next. The stage is kept in `cred/encryption-state.json`
/// (`<stage>-<SHA-256 of the configuration>`) and shown on the server's node.
///
/// Without the flag nothing new is encrypted, but what the file's keys have encrypted stays readable.
/// Source: k3s pkg/secretsencrypt, pkg/server/handlers/secrets-encrypt.go.
package final class SecretsEncryption: ValueCipher, Sendable {
    package static let annotation = "k3s.io/encryption-config-hash"

    private struct State {
        var bytes: [UInt8]?
        var configuration: EncryptionConfiguration?
        var stage = "start"
        /// A rewrite of all secrets is under way.
        var isActive = false
    }

    private let directory: String
    private let provider: EncryptionDocument.Provider?
    private let state = Mutex(State())

    private var file: String { directory + "/cred/encryption-config.json" }
    private var stateFile: String { directory + "/cred/encryption-state.json" }

    /// - Parameters:
    ///   - server: `<data-dir>/server`.
    ///   - provider: with what new values are encrypted; nil: not at all. A configuration is made where there is none.
    package init(server: String, provider name: String?) throws {
        directory = server
        provider = name.flatMap { EncryptionDocument.Provider(rawValue: $0) }
        var bytes = try Files.readIfPresent(file, limit: 1 << 20)
        if bytes == nil, let provider {
            let made = try EncryptionDocument(provider, isEnabled: true).json.encode()
            try Directories.make(server + "/cred", mode: 0o700)
            try Files.writeAtomically(file, made, mode: 0o600)
            bytes = made
        }
        guard let bytes else { return }
        let configuration = try EncryptionConfiguration(bytes, path: file)
        let known = (try Files.readIfPresent(stateFile, limit: 4096)).map { String(decoding: $0, as: UTF8.self) }
        let stage = known?.split(separator: "-").first.map(String.init)
        state.withLock { ($0.bytes, $0.configuration, $0.stage) = (bytes, configuration, stage ?? "start") }
        if known == nil { try save(stage: "start") }
    }

    // MARK: - Values

    package func seal(_ value: [UInt8], key: String) throws -> [UInt8] {
        guard provider != nil, let configuration = state.withLock({ $0.configuration }) else { return value }
        return try configuration.seal(value, key: key)
    }

    package func open(_ sealed: [UInt8], key: String) throws -> [UInt8] {
        guard let configuration = state.withLock({ $0.configuration }) else {
            throw PKIError.malformed(what: file, reason: "is missing")
        }
        return try configuration.open(sealed, key: key)
    }

    // MARK: - Stage

    /// What the node is to say: the stage and the configuration's digest; nil: there is no configuration.
    package var mark: String? {
        state.withLock { state in
            state.bytes.map { "\(state.isActive ? "reencrypt_active" : state.stage)-\(SHA256.hexDigest($0))" }
        }
    }

    private func save(stage: String) throws {
        let text = state.withLock { state in
            state.stage = stage
            return "\(stage)-\(SHA256.hexDigest(state.bytes ?? []))"
        }
        try Files.writeAtomically(stateFile, Array(text.utf8), mode: 0o600)
    }

    private func document() throws -> EncryptionDocument {
        guard let bytes = state.withLock({ $0.bytes }) else {
            throw APIError.badRequest("secrets encryption is not configured: open \(file): no such file or directory")
        }
        return try EncryptionDocument(try YAML.parse(bytes), path: file)
    }

    /// First the file, then what is in use: what was encrypted can be read after a crash.
    private func use(_ document: EncryptionDocument) throws {
        let bytes = document.json.encode()
        let configuration = try EncryptionConfiguration(bytes, path: file)
        try Directories.make(directory + "/cred", mode: 0o700)
        try Files.writeAtomically(file, bytes, mode: 0o600)
        state.withLock { ($0.bytes, $0.configuration) = (bytes, configuration) }
    }

    /// `GET /v1-k3s/encrypt/status`
    func status(_ client: any KubeClient) async throws -> JSON {
        guard state.withLock({ $0.bytes }) != nil, let own = mark else { return ["stage": "", "activekey": ""] }
        let document = try document()
        let shown = document.shown
        let stage = own.split(separator: "-").first.map(String.init) ?? ""
        var status: JSON = [
            "stage": .string(stage), "activekey": .string(shown.active),
            "enable": .bool(document.isEnabled && provider != nil),
        ]
        let mismatch = try await mismatch(client)
        if let mismatch { status["hasherror"] = .string(mismatch) } else { status["hashmatch"] = true }
        if !shown.inactive.isEmpty { status["inactivekeys"] = .strings(shown.inactive) }
        return status
    }

    /// Servers that differ; nil: none do.
    private func mismatch(_ client: any KubeClient) async throws -> String? {
        let servers = LabelSelector.equal(["node-role.kubernetes.io/control-plane": "true"])
        let nodes = try await client.list(.nodes, namespace: nil, options: ListOptions(labels: servers)).decoded()
        var first: (name: String, mark: String)?
        for node in nodes {
            guard let mark = node.annotations[Self.annotation] else { continue }
            guard let known = first else {
                first = (node.name, mark)
                continue
            }
            if mark != known.mark { return "hash does not match between \(known.name) and \(node.name)" }
        }
        return nil
    }

    // MARK: - Steps

    /// `PUT /v1-k3s/encrypt/config`: `{"stage": ..., "enable": ..., "force": ..., "skip": ...}`
    func change(_ request: JSON, _ work: Work) async throws {
        let (force, skip) = (request["force"].bool ?? false, request["skip"].bool ?? false)
        guard let stage = request["stage"].string else {
            guard let enable = request["enable"].bool else {
                throw APIError.badRequest("stage or enable is expected")
            }
            return try await setEnabled(enable, work)
        }
        switch stage {
        case "prepare":
            let provider = try await begin(["start", "reencrypt_finished"], stage, force: force, work)
            var document = try document()
            try document.append(provider, now: work.clock.now())
            try finish(document, stage)
        case "rotate":
            let provider = try await begin(["prepare"], stage, force: force, work)
            var document = try document()
            document.rotate(provider)
            try finish(document, stage)
        case "reencrypt_active":
            let provider = try await begin(["rotate"], "reencrypt", force: force, work)
            try activate()
            Task { [self] in
                do { try await rewrite(provider, removing: !skip, work) } catch {
                    work.logger.error("secrets-encrypt: \(error)")
                }
            }
        case "rotate_keys":
            let provider = try await begin(["start", "reencrypt_finished"], nil, force: false, work)
            try activate()
            do {
                var document = try document()
                try document.append(provider, now: work.clock.now())
                document.rotate(provider)
                try use(document)
            } catch {
                state.withLock { $0.isActive = false }
                throw error
            }
            try await rewrite(provider, removing: true, work)
        default: throw APIError.badRequest("unknown stage \(stage) requested")
        }
    }

    /// Whether the step may be taken now, and with which kind of key.
    /// - Parameter classic: of the old way of three steps, which only knows aescbc; nil: the new way.
    private func begin(
        _ stages: [String], _ classic: String?, force: Bool, _ work: Work
    ) async throws -> EncryptionDocument.Provider {
        guard let provider else {
            throw APIError.badRequest("secrets encryption is off: start the server with --secrets-encryption first")
        }
        if let classic, provider == .secretbox {
            throw APIError.badRequest("\(classic) does not support secretbox key type, use rotate-keys instead")
        }
        _ = try document()
        if force { return provider }
        if let mismatch = try await mismatch(work.client) { throw APIError.badRequest(mismatch) }
        let (stage, isActive) = state.withLock { ($0.stage, $0.isActive) }
        let now = isActive ? "reencrypt_active" : stage
        guard stages.contains(now) else {
            throw APIError.badRequest("incorrect stage: \(now) found on node \(work.node)")
        }
        let saved = (try Files.readIfPresent(stateFile, limit: 4096)).map { String(decoding: $0, as: UTF8.self) }
        guard let saved, saved == mark else {
            throw APIError.badRequest(
                "invalid hash: \(saved?.split(separator: "-").last ?? "") found on node \(work.node)")
        }
        return provider
    }

    private func finish(_ document: EncryptionDocument, _ stage: String) throws {
        try use(document)
        try save(stage: stage)
    }

    private func activate() throws {
        let wasActive = state.withLock { state in
            defer { state.isActive = true }
            return state.isActive
        }
        if wasActive { throw APIError.badRequest("reencryption is already under way") }
    }

    private func setEnabled(_ enable: Bool, _ work: Work) async throws {
        if state.withLock({ $0.bytes }) == nil {
            guard enable else { throw APIError.badRequest("secrets encryption is not configured") }
            // Takes effect when the server is started with the flag; then rotate-keys encrypts what is there.
            try finish(try EncryptionDocument(provider ?? .aescbc, isEnabled: false), "start")
            work.logger.info("secrets-encrypt: restart k3s with --secrets-encryption, then run rotate-keys")
            return
        }
        var document = try document()
        guard document.isEnabled != enable else {
            work.logger.info("Secrets encryption already \(enable ? "enabled" : "disabled")")
            return
        }
        if enable {
            guard let provider else {
                throw APIError.badRequest("secrets encryption is off: start the server with --secrets-encryption first")
            }
            guard document.keys[provider]?.isEmpty == false else {
                throw APIError.badRequest(
                    "cannot enable secrets encryption with \(provider.rawValue) key type, no keys found")
            }
            document.prefer(provider)
        } else {
            document.isEnabled = false
        }
        try activate()
        do {
            try use(document)
            try save(stage: state.withLock { $0.stage })
        } catch {
            state.withLock { $0.isActive = false }
            throw error
        }
        try await rewrite(nil, removing: false, work)
    }

    // MARK: - Rewriting

    /// What the steps need of the server.
    struct Work: Sendable {
        let client: any KubeClient
        let store: any Store
        let clock: any KubeClock
        let logger: Logger
        let node: String
    }

    /// Writes all secrets anew, which encrypts them with the key that writes now; then drops the key before.
    private func rewrite(_ provider: EncryptionDocument.Provider?, removing: Bool, _ work: Work) async throws {
        defer { state.withLock { $0.isActive = false } }
        let events = EventRecorder(client: work.client, clock: work.clock, component: "secrets-reencrypt")
        func tell(_ reason: String, _ text: String, _ type: EventType = .normal) async {
            await events.event(.node(work.node), type: type, reason: reason, text)
        }
        do {
            let count = try await Self.rewriteAll(work.store) {
                await tell("SecretsProgress", "reencrypted \($0) secrets")
            }
            await tell("SecretsUpdateComplete", "reencrypted \(count) secrets")
        } catch {
            await tell("SecretsUpdateError", "failed to update secret: \(error)", .warning)
            throw error
        }
        guard removing, let provider else { return }
        // What is superseded is still on the disk, and encrypted with the old key.
        try await work.store.compact(to: work.store.revision)
        var document = try document()
        document.removeOld(provider)
        try finish(document, "reencrypt_finished")
    }

    /// - Returns: how many.
    static func rewriteAll(
        _ store: any Store, progress: (Int) async -> Void = { _ in }
    ) async throws(StoreError) -> Int {
        let prefix = "/registry/secrets/"
        var count = 0
        var first: Int64?
        var last: String?
        while true {
            let page = try store.range(prefix: prefix, startAfter: last, limit: 20, revision: nil)
            for entry in page.entries {
                if let written = try await rewrite(entry, store) { first = min(first ?? written, written) }
                count += 1
                if count % 50 == 0 { await progress(count) }
            }
            last = page.entries.last?.key
            if !page.more || last == nil { break }
        }
        // Writes become visible in the order of their revisions: what was on its way while the first page was read, and
        // encrypted with the old key, is seen now and older than the first rewrite.
        if let first {
            for entry in try store.range(prefix: prefix).entries where entry.modRevision < first {
                _ = try await rewrite(entry, store)
            }
        }
        return count
    }

    /// - Returns: the new revision; nil: somebody else has written or deleted it, which does as well.
    private static func rewrite(_ entry: StoreEntry, _ store: any Store) async throws(StoreError) -> Int64? {
        guard let object = try? KubeObject(decoding: entry) else { return nil }
        let template = ObjectTemplate(object, managed: ObjectTemplate.managedFields(in: entry.value))
        do throws(StoreError) {
            return try await store.update(entry.key, expected: entry.modRevision) { template.encoded(revision: $0) }
                .modRevision
        } catch {
            switch error {
            case .conflict, .keyNotFound: return nil
            default: throw error
            }
        }
    }
}

/// Keeps the stage of encryption at rest on the server's own node, where other servers and `secrets-encrypt status` look.
package struct EncryptionAnnotator: Controller {
    package let name = "secrets-encryption"
    private let client: any KubeClient
    private let encryption: SecretsEncryption
    private let node: String

    package init(client: any KubeClient, encryption: SecretsEncryption, node: String) {
        (self.client, self.encryption, self.node) = (client, encryption, node)
    }

    package var sources: [WatchSource] {
        let node = node
        return [
            WatchSource(.nodes, needsMetadataOnly: true) { object, _ in object.name == node ? [object.key] : [] }
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let mark = encryption.mark else { return nil }
        guard let node = try await client.getIfPresent(.nodes, namespace: "", name: key.name),
            node.annotations[SecretsEncryption.annotation] != mark
        else { return nil }
        let patch: JSON = ["metadata": ["annotations": .object([SecretsEncryption.annotation: .string(mark)])]]
        _ = try await client.patch(.nodes, namespace: "", name: key.name, patch, type: .merge, subresource: nil)
        return nil
    }
}

extension Supervisor {
    private var encryptionWork: SecretsEncryption.Work {
        SecretsEncryption.Work(
            client: api.client(as: .system), store: api.registry.store, clock: api.configuration.clock, logger: logger,
            node: settings.nodeName)
    }

    /// `/v1-k3s/encrypt/status` and `/v1-k3s/encrypt/config`
    func encrypt(_ name: String, _ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        guard let encryption else { throw .unavailable("the server is starting") }
        let work = encryptionWork
        do {
            if name == "encrypt/status" {
                try Self.only("GET", request)
                return .json(try await encryption.status(work.client).encode())
            }
            try Self.only("PUT", request)
            guard let body = try? JSON.parse(request.body), body.object != nil else {
                throw APIError.badRequest("a JSON object with stage or enable is expected")
            }
            do { try await encryption.change(body, work) } catch {
                await annotate(encryption, work)
                throw error
            }
            await annotate(encryption, work)
            return HTTPResponse(status: 200)
        } catch let error as APIError {
            throw error
        } catch {
            throw .internalError("secrets-encrypt: \(error)")
        }
    }

    private func annotate(_ encryption: SecretsEncryption, _ work: SecretsEncryption.Work) async {
        let annotator = EncryptionAnnotator(client: work.client, encryption: encryption, node: work.node)
        _ = try? await annotator.reconcile(ObjectKey(name: work.node))
    }
}
