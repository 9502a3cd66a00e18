import Linux

/// A network namespace, held open: /proc/PID/ns/net, a bind mount of it, or the caller's own.
///
/// A thread that entered a namespace must not go back to running other people's code, so entering is done on a thread
/// of its own that ends with the closure. Sockets opened there belong to that namespace for good and can be used from
/// anywhere.
package final class NetworkNamespace: Sendable {
    private let handle: FileDescriptor
    package let path: String
    var descriptor: Int32 { handle.raw }

    /// Opens the namespace that `path` names.
    package init(path: String) throws(NetlinkError) {
        do throws(SysError) { handle = try FileDescriptor.open(path, O_RDONLY) } catch {
            throw NetlinkError(error.code, "open network namespace \(path)")
        }
        self.path = path
    }

    /// The namespace of the calling thread.
    package static func current() throws(NetlinkError) -> NetworkNamespace {
        try NetworkNamespace(path: "/proc/thread-self/ns/net")
    }

    /// A new namespace that lives as long as the handle (or a mount or socket of it) does.
    package static func make() throws(NetlinkError) -> NetworkNamespace {
        final class Box: @unchecked Sendable { var result: Result<NetworkNamespace, NetlinkError>? }
        let box = Box()
        try ShortThread.start {
            do throws(NetlinkError) {
                let code = k3s_unshare(K3S_CLONE_NEWNET)
                guard code == 0 else {
                    throw NetlinkError(-code, "make a network namespace", hint: "CAP_SYS_ADMIN is needed")
                }
                box.result = .success(try current())
            } catch { box.result = .failure(error) }
        }.join()
        guard let result = box.result else { throw NetlinkError(EINTR, "make a network namespace") }
        return try result.get()
    }

    /// A path by which other processes can open the namespace while this handle lives.
    package var processPath: String { "/proc/\(getpid())/fd/\(descriptor)" }

    /// Device and inode: equal for two handles of one namespace.
    package func identity() throws(NetlinkError) -> (device: UInt64, inode: UInt64) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw NetlinkError(errno, "stat network namespace \(path)") }
        return (UInt64(status.st_dev), UInt64(status.st_ino))
    }

    /// Moves the calling thread; only for threads that end soon.
    func enter() throws(NetlinkError) {
        let code = k3s_setns(descriptor, Int32(K3S_CLONE_NEWNET))
        guard code == 0 else {
            throw NetlinkError(
                -code, "enter network namespace \(path)", hint: code == -EPERM ? "CAP_SYS_ADMIN is needed" : nil)
        }
    }

    /// Runs `body` on a new thread inside the namespace and waits for it.
    package func run<T>(_ body: @escaping () throws(NetlinkError) -> T) throws(NetlinkError) -> T {
        let job = Job<T>()
        try ShortThread.start {
            do throws(NetlinkError) {
                try self.enter()
                job.result = .success(try body())
            } catch {
                job.result = .failure(error)
            }
        }.join()
        guard let result = job.result else { throw NetlinkError(EINTR, "run in network namespace \(path)") }
        return try result.get()
    }

    // Written by the thread, read after it was joined.
    private final class Job<T>: @unchecked Sendable { var result: Result<T, NetlinkError>? }
}

/// A POSIX thread that is waited for: for work that must leave the thread it is called on alone.
package struct ShortThread {
    private let thread: pthread_t

    private final class Start { let body: () -> Void; init(_ body: @escaping () -> Void) { self.body = body } }

    package static func start(_ body: @escaping () -> Void) throws(NetlinkError) -> ShortThread {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(body))
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                k3s_block_signals()
                start.body()
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw NetlinkError(code, "start a thread")
        }
        return ShortThread(thread: thread)
    }

    package func join() { pthread_join(thread, nil) }
    package func detach() { pthread_detach(thread) }
}
