import Codecs
import KubeAPI
import Synchronization

/// A watch over HTTP: a line of JSON for each event. What does not fit a line of `lineLimit` bytes ends the watch, as does
/// a connection that is lost; both are followed by another list.
final class RemoteWatch: WatchStream {
    /// Objects have 1.5 MiB at most (the store's limit), and their managed fields about as much again.
    static let lineLimit = 4 << 20

    private struct State {
        /// What came and is no whole event yet, from `start` on.
        var buffer: [UInt8] = []
        var start = 0
        /// Up to where there is no line end.
        var searched = 0
        var closed = false
        var body: HTTPClientBody?
    }
    private let state: Mutex<State>

    init(_ body: HTTPClientBody) { state = Mutex(State(body: body)) }

    func close() {
        let body = state.withLock { state -> HTTPClientBody? in
            state.closed = true
            state.buffer = []
            (state.start, state.searched) = (0, 0)
            defer { state.body = nil }
            return state.body
        }
        body?.cancel()
    }

    func next() async throws(APIError) -> WatchEvent? {
        while true {
            while let line = takeLine() {
                if let event = try Self.event(line) { return event }
            }
            guard let body = state.withLock({ $0.body }) else { return nil }
            do {
                guard let bytes = try await body.next() else {
                    close()
                    return nil
                }
                guard append(bytes) else {
                    close()
                    throw APIError.internalError("an event of the watch is larger than \(Self.lineLimit) bytes")
                }
            } catch let error as APIError {
                throw error
            } catch {
                // Lost, silent for too long, or the task was cancelled.
                close()
                return nil
            }
        }
    }

    private func append(_ bytes: [UInt8]) -> Bool {
        state.withLock { state in
            guard !state.closed else { return true }
            if state.buffer.isEmpty {
                state.buffer = bytes
            } else {
                state.buffer.append(contentsOf: bytes)
            }
            // One piece has 64 KiB at most, the rest is what has no end yet.
            return state.buffer.count - state.start <= Self.lineLimit + (64 << 10)
        }
    }

    private func takeLine() -> [UInt8]? {
        state.withLock { state in
            let from = max(state.searched, state.start)
            guard let end = state.buffer[from...].firstIndex(of: UInt8(ascii: "\n")) else {
                // Events that were taken are dropped before more is read.
                if state.start > 0 {
                    state.buffer = Array(state.buffer[state.start...])
                    state.start = 0
                }
                state.searched = state.buffer.count
                return nil
            }
            let line = Array(state.buffer[state.start..<end])
            (state.start, state.searched) = (end + 1, end + 1)
            return line
        }
    }

    /// nil: an empty line, or a kind of event that is not ours to know.
    private static func event(_ line: [UInt8]) throws(APIError) -> WatchEvent? {
        guard let type = RawJSON.text(of: ["type"], in: line), let range = RawJSON.range(of: ["object"], in: line)
        else {
            if line.allSatisfy({ $0 <= 0x20 }) { return nil }
            throw .internalError("an event of the watch cannot be read")
        }
        guard let kind = WatchEvent.Kind(rawValue: type) else {
            guard type == "ERROR" else { return nil }
            let json = (try? JSON.parse(Array(line[range]))) ?? .null
            throw APIError(status: json, code: 500)
        }
        return WatchEvent(kind, RemoteClient.encoded(line, range))
    }
}
