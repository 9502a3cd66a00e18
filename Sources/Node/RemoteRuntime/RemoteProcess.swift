internal import Containers
internal import Transport

/// A process behind the runtime's streaming server.
final class RemoteProcess: ContainerProcess {
    private let client: RemoteCommandClient

    private init(_ client: RemoteCommandClient) { self.client = client }

    static func connect(
        _ url: String, _ http: HTTPClient, stdin: Bool, stdout: Bool, stderr: Bool, tty: Bool
    ) async throws(RuntimeError) -> RemoteProcess {
        let options = RemoteCommandOptions(stdin: stdin, stdout: stdout, stderr: stderr, tty: tty)
        do {
            return RemoteProcess(try await RemoteCommandClient.connect(http, HTTPURL(url), options: options))
        } catch { throw RuntimeError(.unavailable, "the runtime's streams: \(error)") }
    }

    func writeStdin(_ bytes: [UInt8]) async throws(RuntimeError) {
        do { try await client.writeStdin(bytes) } catch { throw RuntimeError(.io, "stdin: \(error)") }
    }

    func closeStdin() async { client.closeStdin() }
    func readStdout() async -> [UInt8]? { await client.readStdout() }
    func readStderr() async -> [UInt8]? { await client.readStderr() }
    func resize(columns: UInt16, rows: UInt16) async { client.resize(TerminalSize(width: columns, height: rows)) }

    func wait() async throws(RuntimeError) -> Int32 {
        switch await client.result() {
        case .success: return 0
        case .exited(let code): return code
        case .failed(let message): throw RuntimeError(.unavailable, message)
        }
    }

    func close() async { client.close() }
}
