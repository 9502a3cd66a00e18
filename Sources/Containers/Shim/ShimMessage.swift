import Linux

/// Names of processes inside the shim's fixed-size messages.
extension k3s_shim_message {
    init(_ type: k3s_shim_type, id: String = "", parent: String = "") {
        self.init()
        version = UInt16(K3S_SHIM_VERSION)
        self.type = UInt16(type.rawValue)
        k3s_shim_message.copy(id, into: &self.id)
        k3s_shim_message.copy(parent, into: &self.parent)
    }

    /// Longer names are cut: ours have at most 71 bytes.
    private static func copy<T>(_ text: String, into field: inout T) {
        withUnsafeMutableBytes(of: &field) { buffer in
            buffer.copyBytes(from: Array(text.utf8.prefix(buffer.count - 1)))
        }
    }

    var name: String {
        withUnsafeBytes(of: id) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    mutating func set(_ flag: k3s_shim_flags, _ on: Bool = true) {
        if on { flags |= UInt32(flag.rawValue) }
    }

    func has(_ flag: k3s_shim_flags) -> Bool { flags & UInt32(flag.rawValue) != 0 }
}

/// State of a process as the shim tells it.
package struct ShimProcess: Sendable, Equatable {
    package enum State: Sendable { case running, exited }
    package var id: String
    package var state: State
    package var pid: Int32
    package var isExec: Bool
    /// 128 + signal when killed by a signal.
    package var exitCode: Int32
    package var oomKilled: Bool
    package var startedAt: Int64
    package var finishedAt: Int64

    init(_ message: k3s_shim_message) {
        id = message.name
        state = message.state == UInt32(K3S_SHIM_EXITED.rawValue) ? .exited : .running
        pid = message.pid
        isExec = message.has(K3S_SHIM_EXEC)
        exitCode = Self.code(message.status)
        oomKilled = message.oom_killed != 0
        (startedAt, finishedAt) = (message.started_at, message.finished_at)
    }

    private static func code(_ status: Int32) -> Int32 {
        k3s_wifexited(status) != 0 ? k3s_wexitstatus(status) : 128 + k3s_wtermsig(status)
    }

    /// A process about whose end nothing is known.
    init(unobserved id: String, finishedAt: Int64) {
        self.id = id
        (state, pid, isExec, exitCode, oomKilled) = (.exited, 0, false, 255, false)
        (startedAt, self.finishedAt) = (finishedAt, finishedAt)
    }

    /// The record that the shim leaves on disk: "1 status oom started finished".
    package init?(id: String, record: [UInt8]) {
        let fields = String(decoding: record, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard fields.count == 5, fields[0] == "1", let status = Int32(fields[1]), let started = Int64(fields[3]),
            let finished = Int64(fields[4])
        else { return nil }
        self.id = id
        (state, pid, isExec) = (.exited, 0, false)
        exitCode = Self.code(status)
        oomKilled = fields[2] == "1"
        (startedAt, finishedAt) = (started, finished)
    }
}

/// Descriptors that came with a message; those nobody takes are closed.
package final class PassedDescriptors: @unchecked Sendable {
    // Handed from the reader to the one requester, never shared.
    private var descriptors: [Int32]
    init(_ descriptors: [Int32]) { self.descriptors = descriptors }
    deinit { for fd in descriptors where fd >= 0 { close(fd) } }

    /// The next one, nil when there is no more.
    func take() -> FileDescriptor? {
        guard !descriptors.isEmpty else { return nil }
        return FileDescriptor(owning: descriptors.removeFirst())
    }
}
