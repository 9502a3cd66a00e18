internal import Codecs
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// The pods that files on the node ask for, and their mirrors in the API: pods that show what the node runs, and that come
/// back when somebody deletes them. The files count, with or without an API server.
/// Source: k8s.io/kubernetes/pkg/kubelet/config/file.go and pod/mirror_client.go.
final class StaticPods: Sendable {
    struct Wanted: Sendable {
        var file: String
        var uid: String
        var object: KubeObject
    }
    private struct State {
        var wanted: [ObjectKey: Wanted] = [:]
        var mirrors: [ObjectKey: KubeObject] = [:]
        /// What the log says of a file or a mirror already.
        var problems: [String: String] = [:]
        /// The API's pods have been listed: what is not among the mirrors is not there.
        var isListed = false
        var failures = 0
    }
    private let context: NodeContext
    private let path: String
    private let state = Mutex(State())
    private let news: AsyncStream<Void>
    private let poke: AsyncStream<Void>.Continuation

    init(context: NodeContext, path: String) {
        (self.context, self.path) = (context, path)
        (news, poke) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Follows the files until the task is cancelled; the pods go on.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.followFiles() }
            group.addTask { for await _ in self.news { await self.reconcile() } }
            await group.waitForAll()
        }
    }

    var uids: [String] { state.withLock { $0.wanted.values.map(\.uid) } }

    // MARK: Files

    private func followFiles() async {
        while !Task.isCancelled {
            let isDirectory = Files.isDirectory(path)
            let watch = try? DirectoryWatch([isDirectory ? path : Path.parent(path)], .shallow)
            guard let watch else {
                // The folder is not there, or there is no inotify: as often as upstream looks.
                await context.clock.sleep(for: .seconds(20))
                await scan()
                continue
            }
            await scan()
            do throws(SysError) {
                while !Task.isCancelled, Files.isDirectory(path) == isDirectory {
                    try await watch.wait()
                    await scan()
                }
            } catch {
                context.logger.debug("\(path): \(error.description)")
            }
            watch.close()
        }
    }

    /// Reads all files and takes over what has changed.
    func scan() async {
        let known = state.withLock { $0.wanted }
        var found: [ObjectKey: Wanted] = [:]
        for file in files() {
            do throws(StaticPodError) {
                let bytes = try read(file)
                guard !bytes.isEmpty else { continue }
                let object = try StaticPodManifest.decode(
                    bytes, file: file, node: context.configuration.name, now: context.now())
                if let other = found[object.key] {
                    throw StaticPodError("pod \(object.key) is in \(other.file) already")
                }
                found[object.key] = Wanted(file: file, uid: object.uid, object: object)
                said(file, "")
            } catch {
                if said(file, error.message) {
                    context.logger.error("static pod \(file): \(error.message)")
                }
                // What runs of an earlier, good version goes on.
                for (key, old) in known where old.file == file && found[key] == nil { found[key] = old }
            }
        }
        for (key, new) in found {
            // When it was seen first is part of the pod.
            if let old = known[key], old.uid == new.uid { found[key] = old }
        }
        let result = found
        state.withLock { $0.wanted = result }
        for (key, old) in known where result[key]?.uid != old.uid {
            context.logger.info(
                "static pod \(key): \(result[key] == nil ? "its file is gone" : "its file has changed")")
            await context.pods?.removeStatic(uid: old.uid)
        }
        for (key, new) in result where known[key]?.uid != new.uid { await context.pods?.startStatic(new.object) }
        poke.yield()
    }

    private func files() -> [String] {
        guard Files.isDirectory(path) else { return Files.exists(path) ? [path] : [] }
        let entries = (try? Directories.list(path)) ?? []
        return entries.filter { !$0.name.hasPrefix(".") && ($0.kind == .file || $0.kind == .symbolicLink) }
            .map { Path.join(path, $0.name) }.filter { !Files.isDirectory($0) }
    }

    private func read(_ file: String) throws(StaticPodError) -> [UInt8] {
        do throws(SysError) { return try Files.read(file, limit: StaticPodManifest.limit) } catch {
            throw StaticPodError(error.description)
        }
    }

    /// True: this is news.
    @discardableResult
    private func said(_ subject: String, _ problem: String) -> Bool {
        state.withLock { state in
            guard state.problems[subject, default: ""] != problem else { return false }
            state.problems[subject] = problem.isEmpty ? nil : problem
            return !problem.isEmpty
        }
    }

    // MARK: Mirrors

    static func isMirror(_ object: KubeObject) -> Bool { object.annotations[StaticPodManifest.mirror] != nil }

    func reset(mirrors: [KubeObject]) async {
        let lost = state.withLock { state -> [ObjectKey] in
            let before = state.mirrors.keys
            state.mirrors = [:]
            for mirror in mirrors { state.mirrors[mirror.key] = mirror }
            state.isListed = true
            return before.filter { key in state.mirrors[key] == nil }
        }
        for key in lost { await tell(key, nil) }
        for mirror in mirrors { await tell(mirror.key, mirror) }
        poke.yield()
    }

    func changed(mirror: KubeObject) async {
        let needsWork = state.withLock { state in
            state.mirrors[mirror.key] = mirror
            return state.wanted[mirror.key].map { !Self.shows(mirror, $0) } ?? true
        }
        await tell(mirror.key, mirror)
        if needsWork { poke.yield() }
    }

    func removed(mirror: KubeObject) async {
        let isKnown = state.withLock { state in
            guard state.mirrors[mirror.key]?.uid == mirror.uid else { return false }
            state.mirrors[mirror.key] = nil
            return true
        }
        guard isKnown else { return }
        await tell(mirror.key, nil)
        poke.yield()
    }

    /// A pod has got its worker.
    func started(_ key: ObjectKey) async {
        await tell(key, state.withLock { $0.mirrors[key] })
        poke.yield()
    }

    /// The containers of a pod have ended and nothing of it is left.
    func finished() { poke.yield() }

    /// A worker learns of the mirror that shows its own pod, and of no other.
    private func tell(_ key: ObjectKey, _ mirror: KubeObject?) async {
        guard let worker = context.pods?.worker(namespace: key.namespace, name: key.name), worker.isStatic else {
            return
        }
        let own = mirror.flatMap { $0.annotations[StaticPodManifest.mirror] == worker.uid ? $0 : nil }
        await worker.set(mirror: own)
    }

    private static func shows(_ mirror: KubeObject, _ wanted: Wanted) -> Bool {
        mirror.annotations[StaticPodManifest.mirror] == wanted.uid && !mirror.isBeingDeleted
    }

    private func reconcile() async {
        let (wanted, mirrors, isListed) = state.withLock { ($0.wanted, $0.mirrors, $0.isListed) }
        guard isListed else { return }
        var failed = false
        for key in Set(wanted.keys).union(mirrors.keys) {
            do throws(APIError) {
                try await reconcile(key, wanted[key], mirrors[key])
                said("mirror \(key)", "")
            } catch {
                failed = true
                if said("mirror \(key)", error.message) {
                    context.logger.error("mirror of static pod \(key): \(error.message)")
                }
            }
        }
        let delay = state.withLock { state -> Duration? in
            state.failures = failed ? min(state.failures + 1, 6) : 0
            return failed ? min(.seconds(1 << (state.failures - 1)), .seconds(30)) : nil
        }
        if let delay { _ = context.timers.schedule(after: delay) { [poke] in poke.yield() } }
    }

    private func reconcile(_ key: ObjectKey, _ wanted: Wanted?, _ mirror: KubeObject?) async throws(APIError) {
        let worker = context.pods?.worker(namespace: key.namespace, name: key.name)
        if let mirror {
            if let wanted, Self.shows(mirror, wanted) { return }
            // What is ending is shown until it has ended.
            if !mirror.isBeingDeleted, let worker, worker.isStatic, worker.uid != wanted?.uid { return }
            do throws(APIError) {
                try await context.client.delete(
                    .pods, namespace: key.namespace, name: key.name,
                    options: DeleteOptions(gracePeriodSeconds: 0, uid: mirror.uid))
            } catch {
                guard error.isNotFound || error.isConflict else { throw error }
            }
            await removed(mirror: mirror)
        }
        guard let wanted, worker?.uid == wanted.uid else { return }
        let node = try await context.client.get(.nodes, namespace: "", name: context.configuration.name)
        var object = wanted.object
        for field in ["uid", "creationTimestamp"] { object.metadata[field] = .null }
        object.status = .null
        object.metadata["annotations"][StaticPodManifest.mirror] = .string(wanted.uid)
        object.metadata["ownerReferences"] = [
            [
                "apiVersion": "v1", "kind": "Node", "name": .string(node.name), "uid": .string(node.uid),
                "controller": true,
            ]
        ]
        do throws(APIError) {
            await changed(mirror: try await context.client.create(.pods, object))
        } catch {
            // An ordinary pod has the name, or the watch is behind: it will tell.
            guard error.isAlreadyExists, state.withLock({ $0.mirrors[key] != nil }) else { throw error }
        }
    }
}
