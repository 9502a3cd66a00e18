import Linux
import Synchronization

package enum NetlinkProtocol: Int32, Sendable {
    case route = 0
    case netfilter = 12
    case generic = 16
}

/// MSG_TRUNC: the real length is returned, so that a cut datagram is noticed.
private let messageTruncated: Int32 = 0x20

/// A netlink socket for requests and dumps. One request at a time (a lock is held from the send to the last answer,
/// which for netlink is microseconds: the kernel works inside `sendmsg`). Every answer's sequence number is checked,
/// late answers of an earlier request are dropped.
package final class NetlinkSocket: Sendable {
    private struct State {
        var sequence: UInt32 = 1
        var sendBuffer = 212_992
    }

    private let handle: FileDescriptor
    private var descriptor: Int32 { handle.raw }
    private let state = Mutex(State())
    /// Datagrams of a dump are at most 32 KiB (the kernel's NLMSG_GOODSIZE limit for large receive buffers).
    private static let receiveCapacity = 32 << 10
    private static let dumpAttempts = 12

    /// Opens the socket in the namespace of the calling thread, or in `namespace`.
    package init(_ kind: NetlinkProtocol, in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        if let namespace {
            handle = FileDescriptor(
                owning: try namespace.run { () throws(NetlinkError) in try NetlinkSocket.open(kind) })
        } else {
            handle = FileDescriptor(owning: try NetlinkSocket.open(kind))
        }
    }

    private static func open(_ kind: NetlinkProtocol) throws(NetlinkError) -> Int32 {
        let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_NETLINK, type, kind.rawValue)
        guard descriptor >= 0 else {
            throw NetlinkError(
                errno, "open a netlink socket (\(kind))",
                hint: errno == EPROTONOSUPPORT && kind == .netfilter
                    ? "the kernel lacks CONFIG_NETFILTER_NETLINK (modprobe nfnetlink)" : nil)
        }
        var on: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        // Extended acks, and acks without a copy of the request: both since Linux 4.12; older kernels only say less.
        setsockopt(descriptor, 270, 11, &on, size)
        setsockopt(descriptor, 270, 10, &on, size)
        // Headers of dump requests are checked and honoured as filters (4.20).
        if kind == .route { setsockopt(descriptor, 270, 12, &on, size) }
        _ = k3s_set_receive_timeout(descriptor, 30)
        return descriptor
    }

    // MARK: requests

    /// Sends the messages in `buffer` as one datagram and waits until the last one that asks for an ack has it.
    /// The first error stops nothing in the kernel for rtnetlink (each message stands alone); for nf_tables it undoes
    /// the batch. It is thrown after all answers are in.
    /// - Parameter isBatch: the first message begins a batch. An error of that one is about all of it; where the kernel has
    ///   no such subsystem there is no other answer.
    package func request(
        _ buffer: inout MessageBuffer, _ operation: @autoclosure () -> String, isBatch: Bool = false
    ) throws(NetlinkError) {
        let failure = try exchange(&buffer, operation, isBatch: isBatch) { _ in }
        if let failure { throw failure }
    }

    /// A request answered by one message of data (and an ack if asked for): a "get".
    package func query<T>(
        _ buffer: inout MessageBuffer, _ operation: @autoclosure () -> String, _ parse: (MessageView) -> T?
    ) throws(NetlinkError) -> T? {
        var found: T?
        let failure = try exchange(&buffer, operation) { message in if found == nil { found = parse(message) } }
        if let failure { throw failure }
        return found
    }

    /// All objects of a dump for which `parse` gives a value; starts over when the kernel says that the tables changed
    /// under the dump (NLM_F_DUMP_INTR).
    package func dump<T>(
        _ buffer: inout MessageBuffer, _ operation: @autoclosure () -> String, _ parse: (MessageView) -> T?
    ) throws(NetlinkError) -> [T] {
        for _ in 0..<NetlinkSocket.dumpAttempts {
            var found: [T] = []
            var interrupted = false
            let failure = try exchange(&buffer, operation, isDump: true) { message in
                if message.flags.contains(.dumpInterrupted) { interrupted = true }
                if message.type >= 0x10, let value = parse(message) { found.append(value) }
            }
            // nf_tables reports an interrupted dump as EINTR.
            if let failure {
                guard failure.code == EINTR else { throw failure }
                interrupted = true
            }
            if !interrupted { return found }
        }
        throw NetlinkError(EAGAIN, operation(), hint: "the tables kept changing while they were read")
    }

    // MARK: exchange

    private func exchange(
        _ buffer: inout MessageBuffer, _ operation: () -> String, isDump: Bool = false, isBatch: Bool = false,
        _ handle: (MessageView) -> Void
    ) throws(NetlinkError) -> NetlinkError? {
        switch buffer.failure {
        case .limit(let bytes)?: throw NetlinkError(EMSGSIZE, operation(), hint: "the request is over \(bytes) bytes")
        case .attributeTooLong(let type, let bytes)?:
            throw NetlinkError(EMSGSIZE, operation(), hint: "attribute \(type) has \(bytes) bytes, the limit is 65531")
        case nil: break
        }
        // The lock only orders the conversation; typed errors leave it as a Result.
        let outcome: Result<NetlinkError?, NetlinkError> = state.withLock { state in
            do throws(NetlinkError) {
                let first = state.sequence
                let (last, answered) = buffer.number(from: first)
                state.sequence = last &+ 1
                try send(&buffer, &state, operation)
                guard let final = isDump ? last : answered else { return .success(nil) }
                return .success(
                    try receive(
                        first: first, final: final, isDump: isDump, isBatch: isBatch, operation, handle))
            } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    private func send(
        _ buffer: inout MessageBuffer, _ state: inout State, _ operation: () -> String
    ) throws(NetlinkError) {
        // One transaction is one datagram, so the socket's buffer must take it whole. The kernel doubles the value.
        if buffer.count + 4096 > state.sendBuffer {
            var wanted = Int32(clamping: buffer.count + 65536)
            let size = socklen_t(MemoryLayout<Int32>.size)
            if setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, size) != 0 {
                setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &wanted, size)
            }
            state.sendBuffer = Int(wanted)
        }
        let code: Int32 = buffer.withBytes { bytes in
            // sockaddr_nl to the kernel: family, pad, port 0, no groups.
            var address: (UInt16, UInt16, UInt32, UInt32) = (UInt16(AF_NETLINK), 0, 0, 0)
            while true {
                let sent = withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(descriptor, bytes.baseAddress, bytes.count, 0, $0, 12)
                    }
                }
                if sent >= 0 { return 0 }
                if errno != EINTR { return errno }
            }
        }
        guard code == 0 else {
            throw NetlinkError(code, operation(), hint: code == EMSGSIZE ? "the batch has \(buffer.count) bytes" : nil)
        }
    }

    /// Returns the first error among the answers; throws when the conversation itself broke.
    private func receive(
        first: UInt32, final: UInt32, isDump: Bool, isBatch: Bool, _ operation: () -> String,
        _ handle: (MessageView) -> Void
    ) throws(NetlinkError) -> NetlinkError? {
        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: NetlinkSocket.receiveCapacity, alignment: 8)
        defer { storage.deallocate() }
        var failure: NetlinkError?
        while true {
            let count = recv(descriptor, storage.baseAddress, storage.count, messageTruncated)
            if count < 0 {
                if errno == EINTR { continue }
                if errno == ENOBUFS, let failure { return failure }
                throw NetlinkError(errno == EAGAIN ? ETIMEDOUT : errno, "\(operation()): read the kernel's answer")
            }
            guard count <= storage.count else {
                throw NetlinkError(EMSGSIZE, "\(operation()): an answer of \(count) bytes is over \(storage.count)")
            }
            var messages = MessageSequence(UnsafeRawBufferPointer(rebasing: storage[..<count]))
            while let message = messages.next() {
                // Distance from the first number, so that the counter may wrap.
                guard message.sequence &- first <= final &- first else { continue }
                switch message.type {
                case 2:
                    let code = message.payload.load(0, as: Int32.self) ?? -EBADMSG
                    if code != 0, failure == nil {
                        failure = error(code, message, operation, index: Int(message.sequence &- first))
                    }
                    if message.sequence == final || isBatch && code != 0 && message.sequence == first { return failure }
                case 3:
                    let code = message.payload.load(0, as: Int32.self) ?? 0
                    if message.flags.contains(.dumpInterrupted) { handle(message) }
                    if code < 0 { failure = failure ?? error(code, message, operation, index: nil) }
                    if message.sequence == final { return failure }
                case 4: throw NetlinkError(ENOBUFS, "\(operation()): the kernel dropped answers")
                default: handle(message)
                }
            }
            if messages.malformed { throw NetlinkError(EBADMSG, "\(operation()): read the kernel's answer") }
        }
    }

    private func error(_ code: Int32, _ message: MessageView, _ operation: () -> String, index: Int?) -> NetlinkError {
        NetlinkError(
            code == .min ? EBADMSG : abs(code), operation(), kernelMessage: message.kernelMessage, messageIndex: index)
    }
}
