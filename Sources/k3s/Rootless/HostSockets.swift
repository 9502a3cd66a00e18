import CShims
import Linux
import Synchronization

/// Sockets of the host's network namespace: a socket belongs to the namespace it was made in, so the parent makes it and
/// passes it on. What is done with it (connect, bind) is then done here, with the host's addresses and rules.
final class HostSockets: Sendable {
    private let parent: FileDescriptor
    /// Answers come in the order of the requests.
    private let asking = Mutex(())

    init(_ parent: consuming FileDescriptor) { self.parent = parent }

    /// Non-blocking, close-on-exec. Takes as long as the parent needs to wake up.
    func make(_ domain: Int32, stream: Bool) throws(SysError) -> FileDescriptor {
        let type = stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue
        var request = k3s_rootless_request(domain: domain, type: Int32(type))
        var reply = k3s_rootless_reply()
        var (descriptor, count): (Int32, Int32) = (-1, 1)
        let raw = parent.raw
        let result = asking.withLock { _ -> Int64 in
            let sent = k3s_send_fds(raw, &request, MemoryLayout<k3s_rootless_request>.size, nil, 0, 0)
            if sent < 0 { return sent }
            return k3s_recv_fds(raw, &reply, MemoryLayout<k3s_rootless_reply>.size, &descriptor, &count, 0)
        }
        if result < 0 { throw SysError(Int32(-result), "ask the rootless parent for a socket") }
        guard result > 0 else { throw SysError(ECONNRESET, "ask the rootless parent for a socket") }
        guard reply.error == 0, count == 1 else {
            throw SysError(reply.error == 0 ? EPROTO : reply.error, "socket of the host's network")
        }
        return FileDescriptor(owning: descriptor)
    }
}
