import Linux

/// Carries bytes between two endpoints until both are done: one block of each direction in memory at most.
struct SocatTransfer {
    struct Settings {
        var blockSize = 8192
        /// After one side's end the other has this long without traffic, in seconds.
        var closing = 0.5
        /// Without traffic at all; nil: for ever.
        var idle: Double?
        var leftToRight = true
        var rightToLeft = true
        var dumpsText = false
        var dumpsHex = false
    }

    /// One direction.
    private struct Lane {
        var input: Int32
        var output: Int32
        var isInputSocket: Bool
        var isOutputSocket: Bool
        var isDatagram: Bool
        var peer: InternetAddress?
        var ending: SocatEndpoint.Ending
        var ignoresEnd: Bool
        var mark: String
        var pending: ArraySlice<UInt8> = []
        var total: Int64 = 0
        var sawEnd = false
        /// End of input and nothing left to write, or nothing goes this way.
        var isDone = false
    }

    enum Outcome { case done, timedOut, failed(String) }

    private var lanes: [Lane] = []
    private let settings: Settings
    private let log: SocatLog
    private var buffer: [UInt8]

    init(_ left: SocatEndpoint, _ right: SocatEndpoint, _ settings: Settings, _ log: SocatLog) {
        (self.settings, self.log) = (settings, log)
        buffer = [UInt8](repeating: 0, count: max(1, min(settings.blockSize, 1 << 24)))
        func lane(_ from: SocatEndpoint, _ to: SocatEndpoint, _ mark: String, on: Bool) -> Lane {
            var lane = Lane(
                input: from.input, output: to.output, isInputSocket: from.isInputSocket,
                isOutputSocket: to.isOutputSocket, isDatagram: from.isDatagram, peer: to.peer, ending: to.ending,
                ignoresEnd: from.ignoresEnd, mark: mark)
            // One descriptor for both ways is not closed while the other way may still need it.
            if lane.ending == .close, to.input == to.output { lane.ending = .nothing }
            lane.pending = from.initial[...]
            lane.sawEnd = from.isOneShot
            lane.isDone = !on
            return lane
        }
        lanes = [
            lane(left, right, ">", on: settings.leftToRight), lane(right, left, "<", on: settings.rightToLeft),
        ]
    }

    mutating func run() -> Outcome {
        for index in lanes.indices where !lanes[index].pending.isEmpty { dump(index, lanes[index].pending) }
        while true {
            if lanes.allSatisfy({ $0.isDone }) { return .done }
            var polls: [pollfd] = []
            var owners: [(lane: Int, writes: Bool)] = []
            for (index, lane) in lanes.enumerated() where !lane.isDone {
                if !lane.pending.isEmpty {
                    polls.append(pollfd(fd: lane.output, events: Int16(POLLOUT), revents: 0))
                    owners.append((index, true))
                } else if lane.sawEnd {
                    finish(index)
                } else {
                    polls.append(pollfd(fd: lane.input, events: Int16(POLLIN), revents: 0))
                    owners.append((index, false))
                }
            }
            if polls.isEmpty { continue }
            let isClosing = lanes.contains { $0.isDone } && settings.leftToRight && settings.rightToLeft
            let seconds = isClosing ? min(settings.closing, settings.idle ?? .infinity) : settings.idle
            let milliseconds = seconds.map { Int32(max(0, min($0 * 1000, 2_000_000_000)).rounded(.up)) } ?? -1
            let count = poll(&polls, nfds_t(polls.count), milliseconds)
            if count < 0 {
                if errno == EINTR { continue }
                return .failed("poll(): \(errorText(errno))")
            }
            if count == 0 {
                if !isClosing { log.notice("inactivity timeout triggered") }
                return isClosing ? .done : .timedOut
            }
            for (entry, owner) in zip(polls, owners) where entry.revents != 0 {
                if entry.revents & Int16(POLLNVAL) != 0 {
                    return .failed("poll(): fd \(entry.fd): Bad file descriptor")
                }
                if let failure = owner.writes ? write(owner.lane) : read(owner.lane) { return .failed(failure) }
            }
        }
    }

    private mutating func read(_ index: Int) -> String? {
        let lane = lanes[index]
        let count = buffer.withUnsafeMutableBytes { bytes in
            lane.isInputSocket
                ? recv(lane.input, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT))
                : Glibc.read(lane.input, bytes.baseAddress, bytes.count)
        }
        if count < 0 {
            let code = errno
            if code == EAGAIN || code == EINTR { return nil }
            // A terminal whose program has gone; a program that did not read what was for it.
            if code == EIO || code == ECONNRESET || code == EPIPE {
                log.warn("read(\(lane.input)): \(errorText(code))")
                lanes[index].sawEnd = true
                return nil
            }
            return "read(\(lane.input)): \(errorText(code))"
        }
        if count == 0 {
            if lane.isDatagram { return nil }
            if lane.ignoresEnd {
                usleep(100_000)
                return nil
            }
            log.notice("socket \(index + 1) (fd \(lane.input)) is at EOF")
            lanes[index].sawEnd = true
            return nil
        }
        lanes[index].pending = buffer[..<count]
        dump(index, lanes[index].pending)
        return write(index)
    }

    private mutating func write(_ index: Int) -> String? {
        let lane = lanes[index]
        // What is no socket may block; a pipe that can be written to takes this much.
        let size = lane.isOutputSocket ? lane.pending.count : min(lane.pending.count, 4096)
        let isPlain = !lane.isOutputSocket
        if isPlain {
            var entry = pollfd(fd: lane.output, events: Int16(POLLOUT), revents: 0)
            if poll(&entry, 1, 0) == 0 { return nil }
        }
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        let count = lane.pending.withUnsafeBytes { bytes -> Int in
            if isPlain { return Glibc.write(lane.output, bytes.baseAddress, size) }
            if let peer = lane.peer {
                return peer.withPointer { sendto(lane.output, bytes.baseAddress, bytes.count, flags, $0, $1) }
            }
            return send(lane.output, bytes.baseAddress, bytes.count, flags)
        }
        if count < 0 {
            if errno == EAGAIN || errno == EINTR { return nil }
            return "write(\(lane.output), ..., \(size)): \(errorText(errno))"
        }
        lanes[index].pending = lane.pending.dropFirst(count)
        lanes[index].total += Int64(count)
        return nil
    }

    /// The reader at the other side learns that nothing more comes.
    private mutating func finish(_ index: Int) {
        let lane = lanes[index]
        lanes[index].isDone = true
        switch lane.ending {
        case .shutdown: shutdown(lane.output, Int32(SHUT_WR))
        case .close: Glibc.close(lane.output)
        case .nothing: break
        }
    }

    // MARK: What passes (-v, -x)

    private func dump(_ index: Int, _ bytes: ArraySlice<UInt8>) {
        guard settings.dumpsText || settings.dumpsHex else { return }
        let lane = lanes[index]
        let micro = "\(k3s_wall_nanoseconds() / 1000 % 1_000_000)"
        let fraction = "000" + String(repeating: "0", count: max(0, 6 - micro.utf8.count)) + micro
        let end = lane.total + Int64(bytes.count) - 1
        log.raw("\(lane.mark) \(SocatLog.time()).\(fraction)  length=\(bytes.count) from=\(lane.total) to=\(end)\n")
        log.raw(SocatTransfer.dumped(bytes, text: settings.dumpsText, hex: settings.dumpsHex))
    }

    static func dumped(_ bytes: ArraySlice<UInt8>, text: Bool, hex: Bool) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var result: [UInt8] = []
        if !hex {
            for byte in bytes {
                let isShown = byte == 9 || byte == 10 || byte == 13 || (32..<127).contains(byte)
                result.append(isShown ? byte : UInt8(ascii: "."))
            }
            return String(decoding: result, as: UTF8.self)
        }
        func line(_ part: ArraySlice<UInt8>) {
            for byte in part { result += [32, digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
            if text {
                result += Array(repeating: 32, count: max(0, 16 - part.count) * 3 + 2)
                result += part.map { (32..<127).contains($0) ? $0 : UInt8(ascii: ".") }
            }
            result.append(10)
        }
        if !text {
            line(bytes)
        } else {
            var rest = bytes
            while !rest.isEmpty {
                line(rest.prefix(16))
                rest = rest.dropFirst(16)
            }
            result += Array("--\n".utf8)
        }
        return String(decoding: result, as: UTF8.self)
    }
}
