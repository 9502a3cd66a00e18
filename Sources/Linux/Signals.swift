/// Signals for the main program.
package enum Signals {
    /// Every write to a closed pipe or socket then answers EPIPE.
    package static func ignoreBrokenPipe() { k3s_ignore_signal(SIGPIPE) }

    /// Signals as a stream. Call early, before other threads are started: they inherit the blocked mask.
    package static func stream(_ signals: [Int32]) throws(SysError) -> AsyncStream<Int32> {
        let raw = try checked("signalfd") { k3s_signalfd(signals, Int32(signals.count)) }
        let fd = try AsyncFD(FileDescriptor(owning: raw))
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(16))
        let task = Task {
            while let signal = try? await fd.whenReadable(
                "signalfd",
                { fd in
                    let number = k3s_signalfd_read(fd)
                    return number == 0 ? -EAGAIN : number
                })
            {
                continuation.yield(signal)
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in
            task.cancel()
            fd.close()
        }
        return stream
    }

    /// "SIGTERM", "TERM", "15", "SIGRTMIN+3" as image configurations write them; nil when it is no signal.
    package static func number(_ name: String) -> Int32? {
        if let number = Int32(name) { return (1...64).contains(number) ? number : nil }
        var key = name.uppercased()
        if key.hasPrefix("SIG") { key.removeFirst(3) }
        if let number = names[key] { return number }
        // glibc's SIGRTMIN: 34 (two are taken by the thread library).
        for (prefix, base, sign) in [("RTMIN", Int32(34), Int32(1)), ("RTMAX", Int32(64), Int32(-1))]
        where key.hasPrefix(prefix) {
            let rest = key.dropFirst(prefix.count)
            if rest.isEmpty { return base }
            guard let mark = rest.first, mark == (sign > 0 ? "+" : "-"), let offset = Int32(rest.dropFirst()),
                (0...30).contains(offset)
            else { return nil }
            return base + sign * offset
        }
        return nil
    }

    private static let names: [String: Int32] = [
        "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
        "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17,
        "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26,
        "PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31,
    ]
}
