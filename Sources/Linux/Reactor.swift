import Synchronization

/// One epoll instance and one thread that waits on it: readiness of descriptors for the whole process.
///
/// Handlers run on the reactor's thread and must be short: wake somebody, hand a chunk over. `AsyncFD` is what most
/// code wants. Nothing wakes the thread when nothing happens.
package final class Reactor: Sendable {
    /// Handler of a descriptor's events (EPOLLIN | EPOLLOUT | EPOLLHUP ... bits).
    package typealias Handler = @Sendable (_ events: UInt32) -> Void

    /// The process's reactor; its thread starts with the first use.
    package static let shared = Reactor()

    /// Names a registration; never used twice, so that a late event of a closed descriptor finds nobody.
    package struct Token: Hashable, Sendable {
        fileprivate var number: UInt64
    }

    private struct State {
        var next: UInt64 = 1
        var handlers: [UInt64: Handler] = [:]
    }

    private let epoll: Int32
    private let state = Mutex(State())

    package init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "epoll_create1: \(SysError.text(errno))")
        let epoll = epoll
        PosixThread.start(name: "reactor", stackBytes: 256 << 10) { [weak self] in
            Reactor.loop(epoll: epoll, reactor: { self })
        }
    }

    deinit {
        // The loop sees the missing reactor at its next event; closing epoll alone would not wake it.
        let wake = eventfd(1, Int32(EFD_CLOEXEC))
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = 0
        epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event)
    }

    /// Watches `fd` for `events`; edge triggered unless `level`. The descriptor must stay open until `remove`.
    package func add(
        _ fd: Int32, events: UInt32, level: Bool = false, _ handler: @escaping Handler
    ) throws(SysError) -> Token {
        let number = state.withLock { state in
            defer { state.next += 1 }
            state.handlers[state.next] = handler
            return state.next
        }
        var event = epoll_event()
        event.events = events | (level ? 0 : EPOLLET.rawValue)
        event.data.u64 = number
        if epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0 {
            let code = errno
            state.withLock { _ = $0.handlers.removeValue(forKey: number) }
            throw SysError(code, "epoll_ctl")
        }
        return Token(number: number)
    }

    /// Changes what is watched (level triggered registrations).
    package func modify(_ token: Token, _ fd: Int32, events: UInt32, level: Bool = false) throws(SysError) {
        var event = epoll_event()
        event.events = events | (level ? 0 : EPOLLET.rawValue)
        event.data.u64 = token.number
        if epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) != 0 { throw SysError(errno, "epoll_ctl") }
    }

    /// To be called before the descriptor is closed. A handler that runs at this moment may still finish.
    package func remove(_ token: Token, _ fd: Int32) {
        state.withLock { _ = $0.handlers.removeValue(forKey: token.number) }
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nil)
    }

    private static func loop(epoll: Int32, reactor: () -> Reactor?) {
        let capacity = 64
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while true {
            let count = epoll_wait(epoll, events, Int32(capacity), -1)
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            guard let owner = reactor() else {
                close(epoll)
                return
            }
            for index in 0..<Int(count) {
                let event = events[index]
                let handler = owner.state.withLock { $0.handlers[event.data.u64] }
                handler?(event.events)
            }
        }
    }
}

/// Threads of our own, for work that blocks or that changes the thread's namespaces.
package enum PosixThread {
    private final class Start {
        let body: @Sendable () -> Void
        let name: String
        init(_ name: String, _ body: @escaping @Sendable () -> Void) { (self.name, self.body) = (name, body) }
    }

    /// Starts a detached thread with all signals blocked.
    package static func start(
        name: String, stackBytes: Int = 512 << 10, _ body: @escaping @Sendable () -> Void
    ) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackBytes)
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name, body))
        let result = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                k3s_block_signals()
                k3s_set_thread_name(String(start.name.prefix(15)))
                start.body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "pthread_create: \(SysError.text(result))")
    }
}
