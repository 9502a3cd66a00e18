import Linux

/// A few threads for work that blocks (disk, decompression), so that the cooperative pool never waits for a disk. Threads
/// are started when there is work and end after five idle seconds: an idle node has none of them.
final class BlockingThreads: @unchecked Sendable {
    static let shared = BlockingThreads(limit: 6)

    private typealias Job = @Sendable () -> Void

    // Guarded by `mutex`.
    private var queue: [Job] = []
    private var threads = 0
    private var idle = 0
    private let limit: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private init(limit: Int) {
        self.limit = limit
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    /// Runs `work` on one of the threads. Jobs are taken in order; there is no limit on waiting ones, because every
    /// caller waits for its own.
    func run<T: Sendable>(_ work: @escaping @Sendable () throws(ImageError) -> T) async throws(ImageError) -> T {
        let result: Result<T, ImageError> = await withCheckedContinuation { continuation in
            submit {
                do throws(ImageError) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    private func submit(_ job: @escaping Job) {
        pthread_mutex_lock(mutex)
        queue.append(job)
        let start = idle < queue.count && threads < limit
        if start { threads += 1 }
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
        if start, !startThread() { runHere() }
    }

    private func startThread() -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 512 << 10)
        var thread = pthread_t()
        let box = Unmanaged.passRetained(self)
        let code = pthread_create(&thread, &attributes, { context in
            guard let context else { return nil }
            Unmanaged<BlockingThreads>.fromOpaque(context).takeRetainedValue().loop()
            return nil
        }, box.toOpaque())
        if code != 0 { box.release() }
        return code == 0
    }

    /// No thread could be had: better slow than stuck.
    private func runHere() {
        pthread_mutex_lock(mutex)
        threads -= 1
        let job = threads == 0 && !queue.isEmpty ? queue.removeFirst() : nil
        pthread_mutex_unlock(mutex)
        job?()
    }

    private func loop() {
        pthread_mutex_lock(mutex)
        while true {
            if !queue.isEmpty {
                let job = queue.removeFirst()
                pthread_mutex_unlock(mutex)
                job()
                pthread_mutex_lock(mutex)
                continue
            }
            var deadline = timespec()
            clock_gettime(CLOCK_REALTIME, &deadline)
            deadline.tv_sec += 5
            idle += 1
            let code = pthread_cond_timedwait(condition, mutex, &deadline)
            idle -= 1
            if code == ETIMEDOUT, queue.isEmpty { break }
        }
        threads -= 1
        pthread_mutex_unlock(mutex)
    }
}
