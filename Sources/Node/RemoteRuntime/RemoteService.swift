internal import Codecs
internal import Containers
internal import GRPC

/// The other end of CRI v1: calls by name, messages as `JSON` (`CRIMessages`). Connects by itself, again and again.
struct RemoteService: Sendable {
    /// As the kubelet's runtimeRequestTimeout.
    static let timeout: Duration = .seconds(120)

    let client: GRPCClient
    let table: ProtobufTable
    /// "runtime.v1.RuntimeService" or "runtime.v1.ImageService"
    let name: String

    /// - Parameter timeout: nil: as long as it takes.
    func call(
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
