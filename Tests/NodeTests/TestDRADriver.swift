import Codecs
import GRPC
import KubeAPI
import Linux
import Synchronization

@testable import Node

/// A driver of dynamic resource allocation that notes what it is asked; a claim's devices are CDI names of its own making.
final class TestDRADriver: Sendable {
    private struct State {
        var calls: [String] = []
        var failure: String?
        var task: Task<Void, Never>?
    }
    let socket: String
    let name: String
    let version: String
    private let table: ProtobufTable
    private let state = Mutex(State())

    init(_ root: String, name: String = "gpu.test", version: String = "v1.DRAPlugin") throws {
        socket = root + "/plugins_registry/\(name)-reg.sock"
        (self.name, self.version) = (name, version)
        table = try ProtobufTable(DRAMessages.table + "\n" + PluginMessages.registration)
    }

    /// "NodePrepareResources c1"
    var calls: [String] { state.withLock { $0.calls } }
    func fail(_ message: String?) { state.withLock { $0.failure = message } }

    func start() throws {
        let server = GRPCServer { [self] service, method in
            .unary { [self] request throws(GRPCStatus) in
                do throws(ProtobufError) { return try respond(service, method, request.message) } catch {
                    throw GRPCStatus(.internal, error.message)
                }
            }
        }
        let listener = try UnixSocket.listen(socket, .stream)
        let task = Task { [listener = Owned(listener)] in
            if let fd = listener.take() { try? await server.run(fd) }
        }
        state.withLock { $0.task = task }
    }

    func stop() {
        state.withLock { $0.task?.cancel() }
        try? Files.remove(socket)
    }

    private func respond(_ service: String, _ method: String, _ message: [UInt8]) throws(ProtobufError) -> [UInt8] {
        switch method {
        case "GetInfo":
            return try table.encode(
                "PluginInfo",
                [
                    "type": "DRAPlugin", "name": .string(name), "endpoint": .string(socket),
                    "supported_versions": [.string(version)],
                ])
        case "NotifyRegistrationStatus": return []
        default: break
        }
        guard service == DRAMessages.services.first(where: { $0.0 == version })?.1 else {
            throw ProtobufError("service \(service)")
        }
        let claims = try table.decode("PrepareRequest", message)["claims"].elements
        let failure = state.withLock { state -> String in
            for claim in claims { state.calls.append("\(method) \(claim["name"].string ?? "")") }
            return method == "NodePrepareResources" ? state.failure ?? "" : ""
        }
        let isPreparation = method == "NodePrepareResources"
        let answers = claims.map { claim -> JSON in
            let device: JSON = [
                "request_names": ["gpu"], "pool_name": "p", "device_name": "d",
                "cdi_device_ids": [.string("gpu.test/claim=\(claim["name"].string ?? "")")],
            ]
            let good: JSON = isPreparation ? ["devices": [device]] : [:]
            return ["key": claim["uid"], "value": failure.isEmpty ? good : ["error": .string(failure)]]
        }
        return try table.encode(isPreparation ? "PrepareResponse" : "UnprepareResponse", ["claims": .array(answers)])
    }
}
