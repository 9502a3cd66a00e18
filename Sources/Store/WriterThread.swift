import Linux

/// A signal between tasks and the writer thread, on the monotonic clock. Posting does not wait for the thread.
final class Signal: @unchecked Sendable {
    // Mutex and condition may be used from any thread; they only have to stay where they are.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var posted = false

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func post() {
        pthread_mutex_lock(mutex)
        let first = !posted
        posted = true
        pthread_mutex_unlock(mutex)
        if first { pthread_cond_signal(condition) }
    }

    /// Returns after a post or at the deadline, and takes all posts together. False: there was none.
    @discardableResult
    func wait(until deadline: ContinuousClock.Instant?) -> Bool {
        pthread_mutex_lock(mutex)
        defer {
            posted = false
            pthread_mutex_unlock(mutex)
        }
        guard let deadline else {
            while !posted { pthread_cond_wait(condition, mutex) }
            return true
        }
        let left = ContinuousClock.now.duration(to: deadline)
        guard left > .zero else { return posted }
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let nanoseconds = Int64(time.tv_nsec) + left.components.attoseconds / 1_000_000_000
        time.tv_sec += .init(left.components.seconds + nanoseconds / 1_000_000_000)
        time.tv_nsec = .init(nanoseconds % 1_000_000_000)
        while !posted, pthread_cond_timedwait(condition, mutex, &time) == 0 {}
        return posted
    }
}

/// Starts a detached thread with all signals blocked. Returns 0 or an errno.
func startThread(name: StaticString, _ body: @escaping @Sendable () -> Void) -> Int32 {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        let name: StaticString

        init(_ run: @escaping @Sendable () -> Void, _ name: StaticString) {
            self.run = run
            self.name = name
        }
    }

    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 512 << 10)
    // The thread inherits the mask: it never runs a handler of ours.
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let argument = Unmanaged.passRetained(Body(body, name))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
            k3s_set_thread_name("\(body.name)")
            body.run()
            return nil
        }, argument.toOpaque())
    if code != 0 { argument.release() }
    return code
}
