internal import Codecs
package import KubeAPI
internal import Linux
package import Logging

/// Applies what lies in `<data-dir>/server/manifests`, and again when a file changes: each file is an Addon
/// (k3s.cattle.io/v1, in kube-system) that tells its checksum and has the events.
///
/// As in k3s: objects that left a file are deleted, those of a file that was deleted stay; `NAME.skip` makes files of that
/// name ignored; `--disable NAME` deletes the objects, the file and the Addon. Unlike it nothing is polled: inotify
/// tells of changes, and what failed is tried again after a while.
/// Source: k3s pkg/deploy.
package struct AddonDeployer: Sendable {
    package static let namespace = "kube-system"
    static let kindsAnnotation = "addon.k3s.cattle.io/gvks"
    static let kind = GroupVersionKind("k3s.cattle.io", "v1", "Addon")

    /// What earlier passes have found out.
    struct Memory {
        /// Files that are applied, as they were.
        var done: [String: AddonFile] = [:]
        /// Files that failed, as they were, and when they are due again; nil: when there are other kinds.
        var failed: [String: (file: AddonFile, due: Timestamp?, generation: Int64)] = [:]
        var isFirst = true
    }

    private let client: any KubeClient
    private let clock: any KubeClock
    private let set: ObjectSetApply
    private let schema: Schema
    private let events: EventRecorder
    private let directory: String
    private let disabled: Set<String>
    private let logger: Logger

    /// Between attempts at a file that failed.
    private static let pause: Duration = .seconds(15)

    /// - Parameter directory: made if it is missing.
    package init(_ api: APIServer, directory: String, disabled: Set<String>, node: String, logger: Logger) {
        let client = api.client(as: .system)
        (self.client, clock, schema) = (client, api.configuration.clock, api.registry.schema)
        set = ObjectSetApply(client: client, resources: api.registry.resources)
        events = EventRecorder(client: client, clock: clock, component: "deploy", host: node)
        (self.directory, self.disabled, self.logger) = (directory, disabled, logger)
    }

    /// Until the task is cancelled.
    package func run() async {
        var memory = Memory()
        while !Task.isCancelled {
            do throws(SysError) {
                try Directories.make(directory, mode: 0o700)
                // Watched before it is read: no change is missed.
                let linked = try AddonFile.all(directory).linked
                let watch = try DirectoryWatch([directory] + linked, .attributes)
                defer { watch.close() }
                try await pass(&memory)
                guard try await changed(watch, memory) else { continue }
                // Somebody is copying files.
                await clock.sleep(for: .milliseconds(250))
            } catch {
                if Task.isCancelled { return }
                logger.error("manifests: \(error)")
                await clock.sleep(for: Self.pause)
            }
        }
    }

    /// false: it is time to try again what failed.
    private func changed(_ watch: DirectoryWatch, _ memory: Memory) async throws(SysError) -> Bool {
        guard !memory.failed.isEmpty else {
            try await watch.wait()
            return true
        }
        let clock = clock
        let answer = await withTaskGroup(of: Result<Bool, SysError>.self) { group in
            group.addTask {
                do throws(SysError) { try await watch.wait() } catch { return .failure(error) }
                return .success(true)
            }
            group.addTask {
                await clock.sleep(for: Self.pause)
                return .success(false)
            }
            let first = await group.next() ?? .success(false)
            group.cancelAll()
            return first
        }
        return try answer.get()
    }

    /// Looks at all files once.
    func pass(_ memory: inout Memory) async throws(SysError) {
        let files = try AddonFile.all(directory).files
        let skipped = Set(files.map(\.name).filter { $0.hasSuffix(".skip") }.map { String($0.dropLast(5)) })
        let paths = Set(files.map(\.path))
        memory.done = memory.done.filter { paths.contains($0.key) }
        memory.failed = memory.failed.filter { paths.contains($0.key) }
        for file in files where !Task.isCancelled {
            if file.isDisabled(disabled) {
                do throws(APIError) { try await remove(file) } catch {
                    logger.error("Failed to process config: failed to delete \(file.path): \(error.message)")
                    memory.failed[file.path] = (file, clock.now().advanced(by: Self.pause), schema.generation)
                }
            } else if file.isManifest, !skipped.contains(file.name), isDue(file, memory) {
                memory.done[file.path] = nil
                memory.failed[file.path] = nil
                if let failure = await deploy(file, isForced: memory.isFirst) {
                    logger.error("Failed to process config: failed to process \(file.path): \(failure.text)")
                    let due = failure.lacksKind ? nil : clock.now().advanced(by: Self.pause)
                    memory.failed[file.path] = (file, due, schema.generation)
                } else {
                    memory.done[file.path] = file
                }
            }
        }
        memory.isFirst = false
    }

    /// Some file systems give all files one time, the epoch: that tells nothing, the checksum decides.
    private func isDue(_ file: AddonFile, _ memory: Memory) -> Bool {
        if let failed = memory.failed[file.path], failed.file == file {
            guard let due = failed.due else { return schema.generation != failed.generation }
            return clock.now() >= due
        }
        return memory.done[file.path] != file || file.modified == 0
    }

    // MARK: - One file

    private func addon(_ name: String) async throws(APIError) -> KubeObject {
        try await client.getIfPresent(.addons, namespace: Self.namespace, name: name)
            ?? KubeObject(Self.kind, name: name, namespace: Self.namespace)
    }

    private func kinds(_ addon: KubeObject) -> [GroupVersionKind] {
        (addon.annotations[Self.kindsAnnotation] ?? "").split(separator: ";").compactMap { ObjectSetApply.kind($0) }
    }

    /// Applies a file. nil: done, or nothing to do.
    private func deploy(_ file: AddonFile, isForced: Bool) async -> ObjectSetApply.Failure? {
        do throws(APIError) {
            var addon = try await addon(file.addon)
            addon.spec["source"] = .string(file.path)
            if addon.uid.isEmpty { addon = try await client.create(.addons, addon) }
            addon.spec["source"] = .string(file.path)
            let bytes: [UInt8]
            do throws(SysError) { bytes = try Files.read(file.path, limit: AddonManifest.sizeLimit) } catch {
                return await failed(addon, "ReadManifestFailed", "Read manifest at \"\(file.path)\"", "\(error)")
            }
            let manifest: AddonManifest
            do throws(ManifestError) { manifest = try AddonManifest(bytes) } catch {
                return await failed(addon, "ParseManifestFailed", "Parse manifest at \"\(file.path)\"", "\(error)")
            }
            if !isForced, manifest.checksum == addon.spec["checksum"].string { return nil }
            await events.event(addon, reason: "ApplyingManifest", "Applying manifest at \"\(file.path)\"")
            var failure = await set.apply(manifest.objects, owner: addon, known: kinds(addon))
            if !failure.messages.isEmpty {
                let told = await failed(
                    addon, "ApplyManifestFailed", "Applying manifest at \"\(file.path)\"", failure.text)
                failure.messages = told.messages
                return failure
            }
            await events.event(addon, reason: "AppliedManifest", "Applied manifest at \"\(file.path)\"")
            addon.spec["checksum"] = .string(manifest.checksum)
            var annotations = addon.annotations
            annotations[Self.kindsAnnotation] =
                ObjectSetApply.kinds(manifest.objects).map { ObjectSetApply.text($0) }.joined(separator: ";")
            addon.annotations = annotations
            addon.resourceVersion = 0
            _ = try await client.update(.addons, addon)
            return nil
        } catch {
            return ObjectSetApply.Failure(messages: [error.message])
        }
    }

    private func failed(
        _ addon: KubeObject, _ reason: String, _ what: String, _ why: String
    ) async -> ObjectSetApply.Failure {
        // Events are of 1,024 bytes at most.
        let why = why.utf8.count > 800 ? String(why.prefix(800)) + "..." : why
        await events.event(addon, type: .warning, reason: reason, "\(what) failed: \(why)")
        return ObjectSetApply.Failure(messages: [why])
    }

    /// Deletes what a file has deployed, the file, and its Addon.
    private func remove(_ file: AddonFile) async throws(APIError) {
        let addon = try await addon(file.addon)
        var known = kinds(addon)
        if let bytes = try? Files.read(file.path, limit: AddonManifest.sizeLimit),
            let manifest = try? AddonManifest(bytes)
        {
            known += ObjectSetApply.kinds(manifest.objects)
        }
        let failure = await set.apply([], owner: addon, known: known)
        guard failure.messages.isEmpty else { throw .internalError(failure.text) }
        if file.isOurs {
            do throws(SysError) { try Files.remove(file.path) } catch { throw .internalError("\(error)") }
        }
        guard !addon.uid.isEmpty else { return }
        await events.event(addon, reason: "DeletingManifest", "Deleting manifest at \"\(file.path)\"")
        try await client.deleteIfPresent(.addons, addon)
    }
}
