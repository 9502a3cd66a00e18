internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Transport

extension KubeletServer {
    func logs(_ request: HTTPRequest, _ namespace: String, _ pod: String, _ container: String) async -> HTTPResponse {
        guard request.method == "GET" else { return Self.methodNotAllowed }
        let options: LogOptions
        let previous: Bool
        do throws(APIError) {
            (options, previous) = try Self.options(request.query, now: context.now())
        } catch {
            return .text(error.message + "\n", status: 400)
        }
        guard let worker = worker(namespace, pod) else { return Self.noPod(pod) }
        let target: PodWorker.LogTarget
        switch await worker.logTarget(container, previous: previous) {
        case .notFound(let message): return .text(message + "\n", status: 404)
        case .notReady(let message): return .text(message + "\n", status: 400)
        case .found(let found): target = found
        }
        guard Files.exists(target.path) else {
            return .text(
                "failed to try resolving symlinks in path \"\(target.path)\": no such file or directory\n", status: 500)
        }
        let follower = LogFollower(
            target: target, options: options, directory: agent.pods, runtime: context.runtime)
        return HTTPResponse(
            status: 200, headers: ["Content-Type": "text/plain"],
            body: .stream(length: nil) { writer in
                try await follower.run { bytes in try await writer.write(bytes) }
            })
    }

    static func options(_ query: HTTPQuery, now: Timestamp) throws(APIError) -> (LogOptions, previous: Bool) {
        var options = LogOptions()
        func flag(_ name: String) -> Bool { ["true", "1", "t", "T", "TRUE", "True"].contains(query[name] ?? "") }
        func number(_ name: String, _ least: Int64) throws(APIError) -> Int64? {
            guard let text = query[name], !text.isEmpty else { return nil }
            guard let value = Int64(text), value >= least else {
                throw .badRequest("\(name): Invalid value: \"\(text)\": must be an integer of at least \(least)")
            }
            return value
        }
        options.follow = flag("follow")
        options.timestamps = flag("timestamps")
        options.tailLines = try number("tailLines", 0)
        if query["tailLines"] == nil, let old = query["tail"], old != "all" {
            options.tailLines = try number("tail", 0)
        }
        options.limitBytes = try number("limitBytes", 1)
        if let seconds = try number("sinceSeconds", 1) { options.since = now.advanced(by: .seconds(-seconds)) }
        if let text = query["sinceTime"], !text.isEmpty {
            guard let time = Timestamp(text) else {
                throw .badRequest("sinceTime: Invalid value: \"\(text)\": must be an RFC 3339 time")
            }
            options.since = time
        }
        switch query["stream"] {
        case "Stdout": options.stderr = false
        case "Stderr": options.stdout = false
        default: break
        }
        return (options, flag("previous"))
    }
}

/// Sends one container's log, and follows it until the container has ended and everything is sent.
struct LogFollower: Sendable {
    let target: PodWorker.LogTarget
    let options: LogOptions
    let directory: PodDirectory
    let runtime: any ContainerRuntime

    func run(_ write: @escaping @Sendable ([UInt8]) async throws -> Void) async throws {
        var reader = try LogReader(path: target.path, options: options)
        guard options.follow else {
            while let text = try reader.next() { try await write(text) }
            return
        }
        // Before the first look, so that nothing falls between it and the wait.
        let watch = try DirectoryWatch([Path.parent(target.path)], [.shallow, .writes])
        defer { watch.close() }
        let (signals, signal) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let subscription = directory.onChange(of: target.container) { signal.yield() }
        defer { directory.cancel(subscription) }
        let watching = Task {
            while !Task.isCancelled {
                do throws(SysError) { try await watch.wait() } catch { return }
                signal.yield()
            }
        }
        defer { watching.cancel() }
        signal.yield()
        for await _ in signals {
            // Asked before reading: what was written before the end is then in the file.
            let ended = await hasEnded()
            repeat {
                while let text = try reader.next() { try await write(text) }
            } while reader.reopen()
            if ended || reader.isExhausted || Task.isCancelled { return }
        }
    }

    private func hasEnded() async -> Bool {
        guard let status = try? await runtime.container(target.container) else { return true }
        return status.state != .running && status.state != .created
    }
}

extension PodWorker {
    struct LogTarget: Sendable, Equatable {
        var path: String
        var container: String
    }
    enum LogLookup: Sendable {
        case found(LogTarget)
        case notFound(String)
        case notReady(String)
    }

    /// Which instance's log is meant, or upstream's words on why there is none.
    func logTarget(_ name: String, previous: Bool) -> LogLookup {
        guard let pod = decode() else { return .notFound("pod \"\(key.name)\" does not exist") }
        guard pod.container(name) != nil else {
            return .notFound("container \"\(name)\" not found in pod \"\(pod.name)\"")
        }
        let latest = state.latest(name)
        func target(_ record: ContainerRecord) -> LogLookup {
            .found(
                LogTarget(path: "\(context.podLogDirectory(pod))/\(name)/\(record.attempt).log", container: record.id))
        }
        // An instance that has ended and waits for its next is "the last" as well as "the previous".
        let isWaiting = waiting[name] != nil && stage == .running
        if previous {
            if let latest, latest.hasExited, isWaiting { return target(latest) }
            if let record = state.previous(name), record.hasExited { return target(record) }
            return .notReady("previous terminated container \"\(name)\" in pod \"\(pod.name)\" not found")
        }
        if let latest, latest.isRunning || latest.hasExited { return target(latest) }
        let reason = waiting[name]?.reason ?? (pod.initContainers.isEmpty ? "ContainerCreating" : "PodInitializing")
        let why: String
        switch reason {
        case "ErrImagePull": why = "image can't be pulled"
        case "ImagePullBackOff": why = "trying and failing to pull image"
        default: why = reason
        }
        return .notReady("container \"\(name)\" in pod \"\(pod.name)\" is waiting to start: \(why)")
    }

    /// The running instance of a container.
    func runningContainer(_ name: String) -> String? { state.latest(name).flatMap { $0.isRunning ? $0.id : nil } }
    var sandboxID: String? { state.sandbox.flatMap { $0.isReady ? $0.id : nil } }
    func spec(_ name: String) -> ContainerSpec? { decode()?.container(name) }
}
