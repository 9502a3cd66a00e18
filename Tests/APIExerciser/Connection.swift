import COpenSSL
import Glibc

/// A TLS connection with blocking reads and writes: a client that costs the machine less than the server that it measures.
final class Connection {
    private let ssl: OpaquePointer
    let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    private var start = 0
    private var end = 0

    /// Nothing is said about why a server cannot be reached: there is nobody to measure then.
    init(_ target: Target) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = target.port.bigEndian
        inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        let descriptor = self.descriptor
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, let ssl = SSL_new(target.context) else { fatalError("cannot connect") }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        SSL_set_fd(ssl, descriptor)
        guard SSL_connect(ssl) == 1 else { fatalError("TLS handshake failed") }
        self.ssl = ssl
    }

    deinit {
        SSL_free(ssl)
        close(descriptor)
    }

    func send(_ bytes: [UInt8]) {
        var written = 0
        guard SSL_write_ex(ssl, bytes, bytes.count, &written) == 1 else { fatalError("write failed") }
    }

    /// Sends a request and reads the whole answer. Returns the status and how many bytes the body had.
    @discardableResult
    func call(_ request: [UInt8]) -> (status: Int, bytes: Int) {
        send(request)
        let head = readHead()
        var count = 0
        if let length = head.length {
            skip(length)
            count = length
        } else {
            while true {
                let size = readChunkSize()
                skip(size + 2)
                if size == 0 { break }
                count += size
            }
        }
        return (head.status, count)
    }

    /// Reads what follows the head of a watch: as much as is there, at least a byte. Returns how many events ended in it.
    func readEvents(_ last: inout UInt8) -> Int {
        if start == end { fill() }
        var events = 0
        while start < end {
            // A frame ends with a brace and a line end; the framing of chunks has carriage returns.
            if buffer[start] == 0x0A, last == 0x7D { events += 1 }
            last = buffer[start]
            start += 1
        }
        return events
    }

    var hasBytes: Bool { start < end || SSL_pending(ssl) > 0 }

    func readHead() -> (status: Int, length: Int?) {
        let first = readLine()
        let status = Int(String(decoding: first.dropFirst(9).prefix(3), as: UTF8.self)) ?? 0
        var length: Int?
        while true {
            let line = readLine()
            if line.isEmpty { return (status, length) }
            let name = "content-length:"
            if line.count > name.utf8.count, zip(line, name.utf8).allSatisfy({ $0 | 0x20 == $1 | 0x20 }) {
                let text = String(decoding: line.dropFirst(name.utf8.count), as: UTF8.self)
                length = Int(text.filter { $0 != " " })
            }
        }
    }

    private func readChunkSize() -> Int { Int(String(decoding: readLine(), as: UTF8.self), radix: 16) ?? 0 }

    private func readLine() -> [UInt8] {
        var line: [UInt8] = []
        while true {
            if start == end { fill() }
            let byte = buffer[start]
            start += 1
            if byte == 0x0A { return line }
            if byte != 0x0D { line.append(byte) }
        }
    }

    func discard(_ count: Int) { skip(count) }

    private func skip(_ count: Int) {
        var rest = count
        while rest > 0 {
            if start == end { fill() }
            let part = min(rest, end - start)
            start += part
            rest -= part
        }
    }

    private func fill() {
        var count = 0
        guard SSL_read_ex(ssl, &buffer, buffer.count, &count) == 1 else { fatalError("the server hung up") }
        (start, end) = (0, count)
    }
}

/// The server that is measured.
struct Target: @unchecked Sendable {
    let context: OpaquePointer
    let port: UInt16
    let process: Int32

    /// - Parameter tls: the directory of the server's certificates.
    init(process: Int32, port: UInt16, tls: String) {
        (self.process, self.port) = (process, port)
        guard let context = SSL_CTX_new(TLS_client_method()),
            SSL_CTX_use_certificate_chain_file(context, tls + "/client-admin.crt") == 1,
            SSL_CTX_use_PrivateKey_file(context, tls + "/client-admin.key", SSL_FILETYPE_PEM) == 1
        else { fatalError("no administrator's certificate in \(tls)") }
        self.context = context
    }

    func request(_ method: String, _ path: String, _ body: [UInt8] = []) -> [UInt8] {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        head += "User-Agent: bench/1\r\n"
        if !body.isEmpty { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
        return Array((head + "\r\n").utf8) + body
    }

    /// A line of /proc/PID/status, in bytes.
    func memory(_ name: String) -> Int64 {
        guard let file = fopen("/proc/\(process)/status", "r") else { fatalError("the server has gone") }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix(name + ":") else { continue }
            return (Int64(text.filter { ("0"..."9").contains($0) }) ?? 0) * 1024
        }
        return 0
    }

    /// Processor time that the server has taken, in seconds: its own, and the kernel's for it.
    var processorTime: (user: Double, system: Double) {
        guard let file = fopen("/proc/\(process)/stat", "r") else { fatalError("the server has gone") }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 1024)
        fgets(&line, 1024, file)
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let words = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard words.count > 12, let user = Double(words[11]), let system = Double(words[12]) else { return (0, 0) }
        return (user / 100, system / 100)
    }

    /// Forgets the peak of resident memory (`VmHWM`).
    func resetPeak() {
        guard let file = fopen("/proc/\(process)/clear_refs", "w") else { return }
        fputs("5", file)
        fclose(file)
    }
}

/// Runs `body` in so many threads and waits for them.
func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Box {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
    var threads: [pthread_t] = []
    for number in 0..<count {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box { body(number) })
        pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Box>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, box.toOpaque())
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
}

func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

extension Connection {
    /// The answer to a request that was sent before.
    func readAnswer() -> Int {
        let head = readHead()
        discard(head.length ?? 0)
        return head.status
    }
}
