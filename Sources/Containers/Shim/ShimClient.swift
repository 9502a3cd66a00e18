import Linux
import Synchronization

/// k3s's end of the shim's socket: requests with answers, and the exits of processes.
package final class ShimClient: Sendable {
    struct Reply: Sendable {
        var message: k3s_shim_message
        var descriptors: PassedDescriptors
    }

    private enum Answer: Sendable {
        case awaited
        case waiting(CheckedContinuation<Reply?, Never>)
        case arrived(Reply)
    }

    private struct State {
        var next: UInt32 = 1
        var pending: [UInt32: Answer] = [:]
        var listing: [ShimProcess]? = []
        var listed: CheckedContinuation<[ShimProcess]?, Never>?
        var program = ""
        var closed = false
    }

    private let socket: AsyncFD
    private let state = Mutex(State())
    private let onExit: @Sendable (ShimProcess) -> Void
    private let onClose: @Sendable () -> Void

    /// Connects to the shim of `directory`. `onExit` is called in the order of the exits, after `hello` has returned.
    package init(
        directory: String, onExit: @escaping @Sendable (ShimProcess) -> Void, onClose: @escaping @Sendable () -> Void
    ) throws(SysError) {
        socket = try AsyncFD(UnixSocket.connect(directory + "/shim.sock", .packets))
        self.onExit = onExit
        self.onClose = onClose
    }

    /// Starts the shim of `directory` unless it runs already. `command`: program and arguments before "--directory".
    package static func startShim(
        directory: String, command: [String], cgroupJoinFiles: [String]
    ) async throws(SysError) {
        let arguments = command + ["--directory", directory] + cgroupJoinFiles.flatMap { ["--cgroup", $0] }
        var child = try Spawned.start(
            arguments, environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], newSession: true, readOnlyProgram: true)
        let exit = try await child.wait()
        // 3: another one holds the directory, which is what we want.
        if exit != .exited(0) && exit != .exited(3) {
            throw SysError(EIO, call: "start shim (exit code \(exit.code))", path: directory)
        }
    }

    /// Introduces this client; returns the processes that the shim has.
    package func hello() async throws(SysError) -> [ShimProcess] {
        Task { [weak self] in await self?.readLoop() }
        let list = await withCheckedContinuation { (continuation: CheckedContinuation<[ShimProcess]?, Never>) in
            let closed = state.withLock { state in
                state.listed = continuation
                return state.closed
            }
            if closed {
                finish()
                return
            }
            Task {
                do throws(SysError) { _ = try await request(k3s_shim_message(K3S_SHIM_HELLO)) } catch { finish() }
            }
        }
        guard let list else { throw SysError(ECONNRESET, "shim") }
        return list
    }

    /// Identity of the shim's program, as it has told at `hello`, and that of a file.
    var program: String { state.withLock { $0.program } }
    static func identity(of path: String) -> String {
        var message = k3s_shim_message()
        withUnsafeMutablePointer(to: &message.id) {
            $0.withMemoryRebound(to: CChar.self, capacity: Int(K3S_SHIM_ID_SIZE)) { k3s_program_identity(path, $0) }
        }
        return message.name
    }

    /// Makes the shim become `program`, with its containers.
    func upgrade(to program: String) async throws(SysError) {
        let file = FileDescriptor(owning: try checked("open", program) { k3s_open_program(program) })
        var message = k3s_shim_message(K3S_SHIM_UPGRADE)
        message.value = Int32(K3S_SHIM_STATE_VERSION)
        let reply = try await request(message, descriptors: [file.raw])
        if reply.message.error != 0 { throw SysError(reply.message.error, "upgrade shim") }
    }

    var isClosed: Bool { state.withLock { $0.closed } }

    package func close() {
        socket.close()
        finish()
    }

    /// Sends a request and waits for its answer. The descriptors stay the caller's.
    @discardableResult
    func request(_ message: k3s_shim_message, descriptors: [Int32] = []) async throws(SysError) -> Reply {
        var message = message
        let sequence = state.withLock { state -> UInt32? in
            if state.closed { return nil }
            let sequence = state.next
            state.next &+= 1
            state.pending[sequence] = .awaited
            return sequence
        }
        guard let sequence else { throw SysError(ECONNRESET, "shim") }
        message.seq = sequence
        try await send(message, descriptors)
        let reply = await withCheckedContinuation { (continuation: CheckedContinuation<Reply?, Never>) in
            let reply = state.withLock { state -> Reply?? in
                switch state.pending[sequence] {
                case .arrived(let reply):
                    state.pending[sequence] = nil
                    return .some(reply)
                case .awaited:
                    state.pending[sequence] = .waiting(continuation)
                    return nil
                case .waiting, nil: return .some(nil)
                }
            }
            if let reply { continuation.resume(returning: reply) }
        }
        guard let reply else { throw SysError(ECONNRESET, "shim") }
        return reply
    }

    /// The socket's buffer holds hundreds of requests: it is full only while the shim does not run.
    private func send(_ message: k3s_shim_message, _ descriptors: [Int32]) async throws(SysError) {
        for _ in 0..<2000 {
            let result = try socket.withDescriptor { fd in
                withUnsafeBytes(of: message) { bytes in
                    k3s_send_fds(fd, bytes.baseAddress, bytes.count, descriptors, Int32(descriptors.count), 0)
                }
            }
            if result >= 0 { return }
            if result != -Int64(EAGAIN) { break }
            try? await Task.sleep(for: .milliseconds(5))
        }
        close()
        throw SysError(ECONNRESET, "shim")
    }

    private func readLoop() async {
        while true {
            var message = k3s_shim_message()
            var descriptors = [Int32](repeating: -1, count: 8)
            var count: Int32 = 0
            let size = try? await socket.whenReadable("recvmsg") { fd -> Int64 in
                count = 8
                return withUnsafeMutableBytes(of: &message) { bytes in
                    k3s_recv_fds(fd, bytes.baseAddress, bytes.count, &descriptors, &count, Int32(MSG_DONTWAIT))
                }
            }
            let passed = PassedDescriptors(Array(descriptors.prefix(Int(count))))
            guard let size, size == MemoryLayout<k3s_shim_message>.size, message.version == UInt16(K3S_SHIM_VERSION)
            else { break }
            handle(message, passed)
        }
        close()
    }

    private func handle(_ message: k3s_shim_message, _ descriptors: PassedDescriptors) {
        switch UInt32(message.type) {
        case UInt32(K3S_SHIM_REPLY.rawValue):
            let reply = Reply(message: message, descriptors: descriptors)
            let waiter = state.withLock { state -> CheckedContinuation<Reply?, Never>? in
                if state.listing != nil { state.program = message.name }
                switch state.pending[message.seq] {
                case .waiting(let continuation):
                    state.pending[message.seq] = nil
                    return continuation
                case .awaited:
                    state.pending[message.seq] = .arrived(reply)
                    return nil
                case .arrived, nil: return nil
                }
            }
            waiter?.resume(returning: reply)
        case UInt32(K3S_SHIM_PROCESS.rawValue):
            let process = ShimProcess(message)
            let listing = state.withLock { state -> Bool in
                state.listing?.append(process)
                return state.listing != nil
            }
            if !listing, process.state == .exited { onExit(process) }
        case UInt32(K3S_SHIM_LIST_END.rawValue):
            let (waiter, list) = state.withLock { state in
                defer { (state.listed, state.listing) = (nil, nil) }
                return (state.listed, state.listing ?? [])
            }
            waiter?.resume(returning: list)
        default: break
        }
    }

    /// Nobody may wait for an answer that cannot come any more.
    private func finish() {
        let (first, pending, listed) = state.withLock { state in
            defer {
                state.closed = true
                state.pending = [:]
                state.listed = nil
            }
            return (!state.closed, state.pending, state.listed)
        }
        for case .waiting(let waiter) in pending.values { waiter.resume(returning: nil) }
        listed?.resume(returning: nil)
        if first { onClose() }
    }
}
