import Codecs
import GRPC
import Linux
import Synchronization

@testable import Node

/// A device plugin that says what a test tells it, on a socket of the node's folder.
final class TestDevicePlugin: Sendable {
    private struct State {
        var devices: [JSON]
        var lists: [GRPCStream] = []
        var calls: [String] = []
        var preferred: [String] = []
        var answer: JSON = [:]
        var failure: String?
        var task: Task<Void, Never>?
    }
    let folder: String
    let socket: String
    let table: ProtobufTable
    private let state: Mutex<State>

    init(folder: String, socket: String, devices: [String]) throws {
        (self.folder, self.socket) = (folder, socket)
        table = try ProtobufTable(PluginMessages.devices + "\n" + PluginMessages.registration)
        state = Mutex(State(devices: devices.map { ["ID": .string($0), "health": "Healthy"] }))
    }

    var calls: [String] { state.withLock { $0.calls } }
    func prefer(_ ids: [String]) { state.withLock { $0.preferred = ids } }
    func answer(_ answer: JSON) { state.withLock { $0.answer = answer } }
    func fail(_ message: String?) { state.withLock { $0.failure = message } }

    func set(_ devices: [(String, String)]) async throws {
        let lists = state.withLock { state in
            state.devices = devices.map { ["ID": .string($0.0), "health": .string($0.1)] }
            return state.lists
        }
        for list in lists { try await list.send(try listed()) }
    }

    private func listed() throws(GRPCStatus) -> [UInt8] {
        let devices = state.withLock { $0.devices }
        return try encode("ListAndWatchResponse", ["devices": .array(devices)])
    }
    private func encode(_ name: String, _ json: JSON) throws(GRPCStatus) -> [UInt8] {
        do throws(ProtobufError) { return try table.encode(name, json) } catch {
            throw GRPCStatus(.internal, error.message)
        }
    }

    func start() throws {
        let server = GRPCServer { [self] _, method in
            if method == "ListAndWatch" {
                return .serverStream { [self] _, stream throws(GRPCStatus) in
                    state.withLock { $0.lists.append(stream) }
                    try await stream.send(try listed())
                    while !Task.isCancelled { try? await Task.sleep(for: .seconds(60)) }
                }
            }
            return .unary { [self] request throws(GRPCStatus) in try respond(method, request.message) }
        }
        let path = folder + "/" + socket
        let listener = try UnixSocket.listen(path, .stream)
        let task = Task { [listener = Owned(listener)] in
            if let fd = listener.take() { try? await server.run(fd) }
        }
        state.withLock { $0.task = task }
    }

    func stop() {
        state.withLock { state in
            state.task?.cancel()
            state.lists = []
        }
        try? Files.remove(folder + "/" + socket)
    }

    private func respond(_ method: String, _ message: [UInt8]) throws(GRPCStatus) -> [UInt8] {
        func request(_ name: String) -> JSON { (try? table.decode(name, message)) ?? .null }
        let (answer, preferred, failure) = state.withLock { ($0.answer, $0.preferred, $0.failure) }
        func note(_ ids: JSON) {
            let text = ids.elements.compactMap(\.string).sorted().joined(separator: ",")
            state.withLock { $0.calls.append("\(method) \(text)") }
        }
        switch method {
        case "GetDevicePluginOptions":
            return try encode(
                "DevicePluginOptions", ["pre_start_required": true, "get_preferred_allocation_available": true])
        case "GetInfo":
            return try encode(
                "PluginInfo",
                [
                    "type": "DevicePlugin", "name": "example.test/disk", "endpoint": .string(folder + "/" + socket),
                    "supported_versions": ["v1beta1"],
                ])
        case "NotifyRegistrationStatus":
            let status = request("RegistrationStatus")
            state.withLock { $0.calls.append("status \(status["plugin_registered"].bool ?? false)") }
            return []
        case "GetPreferredAllocation":
            note(request("PreferredAllocationRequest")["container_requests"][0]["available_deviceIDs"])
            return try encode(
                "PreferredAllocationResponse", ["container_responses": [["deviceIDs": .strings(preferred)]]])
        case "PreStartContainer":
            note(request("PreStartContainerRequest")["devices_ids"])
            return []
        default:
            note(request("AllocateRequest")["container_requests"][0]["devices_ids"])
            if let failure { throw GRPCStatus(.unknown, failure) }
            return try encode("AllocateResponse", ["container_responses": [answer]])
        }
    }

    /// As a plugin does: tells the kubelet where it listens.
    func register(_ resource: String, version: String = "v1beta1", options: JSON = [:]) async throws(GRPCStatus) {
        let client = GRPCClient(.unix(folder + "/kubelet.sock"))
        defer { client.close() }
        let request: JSON = [
            "version": .string(version), "endpoint": .string(socket), "resource_name": .string(resource),
            "options": options,
        ]
        _ = try await client.call(
            "/v1beta1.Registration/Register", try encode("RegisterRequest", request), timeout: .seconds(30))
    }
}

/// A descriptor on its way into a task.
final class Owned: Sendable {
    private let raw: Mutex<Int32>
    init(_ fd: consuming FileDescriptor) { raw = Mutex(fd.take()) }
    func take() -> FileDescriptor? {
        let fd = raw.withLock { raw in
            defer { raw = -1 }
            return raw
        }
        return fd < 0 ? nil : FileDescriptor(owning: fd)
    }
}
