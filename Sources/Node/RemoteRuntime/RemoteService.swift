package import Codecs
internal import Containers
package import GRPC

/// The other end of CRI v1: calls by name, messages as `JSON` (`CRIMessages`). Connects by itself, again and again.
package struct RemoteService: Sendable {
    /// As the kubelet's runtimeRequestTimeout.
    package static let timeout: Duration = .seconds(120)

    let client: GRPCClient
    package let table: ProtobufTable
    /// "runtime.v1.RuntimeService" or "runtime.v1.ImageService"
    let name: String

    init(client: GRPCClient, table: ProtobufTable, name: String) {
        (self.client, self.table, self.name) = (client, table, name)
    }

    /// Both services of an endpoint such as "unix:///run/containerd/containerd.sock".
    package static func services(
        at endpoint: String
    ) throws(GRPCStatus) -> (runtime: RemoteService, images: RemoteService) {
        guard let target = GRPCClient.Target(endpoint) else {
            throw GRPCStatus(
                .invalidArgument, "\"\(endpoint)\": expected a socket such as unix:///run/containerd/containerd.sock")
        }
        let client = GRPCClient(target)
        do throws(ProtobufError) {
            let table = try ProtobufTable(CRIMessages.table)
            return (
                RemoteService(client: client, table: table, name: "runtime.v1.RuntimeService"),
                RemoteService(client: client, table: table, name: "runtime.v1.ImageService")
            )
        } catch { throw GRPCStatus(.internal, error.message) }
    }

    /// - Parameter timeout: nil: as long as it takes.
    package func call(
        _ method: String, _ request: JSON = [:], timeout: Duration? = Self.timeout
    ) async throws(GRPCStatus) -> JSON {
        let bytes = try encode(method, request)
        let answer = try await client.call("/\(name)/\(method)", bytes, timeout: timeout)
        do throws(ProtobufError) { return try table.decode(method + "Response", answer) } catch {
            throw GRPCStatus(.internal, "the answer of \(method): \(error.message)")
        }
    }

    private func encode(_ method: String, _ request: JSON) throws(GRPCStatus) -> [UInt8] {
        do throws(ProtobufError) { return try table.encode(method + "Request", request) } catch {
            throw GRPCStatus(.internal, error.message)
        }
    }

    func stream(_ method: String, _ request: JSON = [:]) async throws(GRPCStatus) -> GRPCStream {
        try await client.stream("/\(name)/\(method)", try encode(method, request))
    }
}
extension RuntimeError {
    /// - Parameter code: of failures that are not about the connection or a missing object.
    init(_ status: GRPCStatus, _ code: Code = .io) {
        let code: Code =
            switch status.code {
            case .notFound: .notFound
            case .alreadyExists: .alreadyExists
            case .unavailable: .unavailable
            case .deadlineExceeded: .timedOut
            case .invalidArgument: .invalid
            default: code
            }
        self.init(code, status.description)
    }
}
