import Codecs
import GRPC
import Linux
import Synchronization

@testable import Node

/// A CRI runtime on a socket: remembers what it is asked, answers as a test says.
final class FakeCRI: Sendable {
    struct State {
        var answers: [String: JSON] = [:]
        var failures: [String: GRPCStatus] = [:]
        var requests: [(method: String, message: JSON)] = []
        var server: Task<Void, Never>?
    }
    let path: String
    let state = Mutex(State())
    private let table: ProtobufTable

    init() throws {
        path = "/tmp/fake-cri-\(getpid())-\(UInt64.random(in: 0...UInt64.max)).sock"
        table = try ProtobufTable(CRIMessages.table)
        Signals.ignoreBrokenPipe()
        answer("Version", ["runtime_name": "fake", "runtime_version": "1.2", "runtime_api_version": "v1"])
        answer("RuntimeConfig", ["linux": ["cgroup_driver": 1]])
        answer("Status", Self.status(runtime: true, network: true))
        fail("GetContainerEvents", GRPCStatus(.unimplemented, "unknown method GetContainerEvents"))
        for method in ["ListPodSandbox", "ListContainers", "StopPodSandbox", "RemovePodSandbox", "StopContainer"] {
            answer(method, [:])
        }
    }

    deinit {
        state.withLock { $0.server?.cancel() }
        unlink(path)
    }

    static func status(runtime: Bool, network: Bool, message: String = "") -> JSON {
        func condition(_ type: String, _ isTrue: Bool) -> JSON {
            ["type": .string(type), "status": .bool(isTrue), "reason": "Why", "message": .string(message)]
        }
        return ["status": ["conditions": [condition("RuntimeReady", runtime), condition("NetworkReady", network)]]]
    }

    func answer(_ method: String, _ message: JSON) {
        state.withLock { ($0.answers[method], $0.failures[method]) = (message, nil) }
    }

    func fail(_ method: String, _ status: GRPCStatus) { state.withLock { $0.failures[method] = status } }

    /// The messages of a method so far.
    func asked(_ method: String) -> [JSON] {
        state.withLock { $0.requests.filter { $0.method == method }.map(\.message) }
    }

    func start() throws {
        let listener = try UnixSocket.listen(path, .stream).take()
        let server = GRPCServer { [weak self] service, method in
            guard let self else { return nil }
            if method == "GetContainerEvents" {
                return .serverStream { _, _ throws(GRPCStatus) in throw GRPCStatus(.unimplemented, "no events") }
            }
            return .unary { request throws(GRPCStatus) in try self.respond(method, request.message) }
        }
        let task = Task { try? await server.run(FileDescriptor(owning: listener)) } as Task<Void?, Never>
        state.withLock {
            $0.server = Task {
                await withTaskCancellationHandler {
                    _ = await task.value
                } onCancel: {
                    task.cancel()
                }
            }
        }
    }

    /// The socket stays, without anybody behind it.
    func stop() async {
        let server = state.withLock { state in
            defer { state.server = nil }
            return state.server
        }
        server?.cancel()
        await server?.value
    }

    private func respond(_ method: String, _ bytes: [UInt8]) throws(GRPCStatus) -> [UInt8] {
        do throws(ProtobufError) {
            let message = try table.decode(method + "Request", bytes)
            let (answer, failure) = state.withLock { state in
                state.requests.append((method, message))
                return (state.answers[method], state.failures[method])
            }
            if let failure { throw ProtobufError("\(failure.code.rawValue)|\(failure.message)") }
            guard let answer else { throw ProtobufError("12|unknown method \(method)") }
            return try table.encode(method + "Response", answer)
        } catch {
            let parts = error.message.split(separator: "|", maxSplits: 1).map(String.init)
            throw GRPCStatus(.init(rawValue: Int(parts[0]) ?? 13), parts.last ?? "")
        }
    }
}
