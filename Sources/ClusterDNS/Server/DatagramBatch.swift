import Linux

/// Datagrams that are received in one system call, and their answers, sent in one. Only the reactor's thread uses it.
final class DatagramBatch: @unchecked Sendable {
    static let size = Int(K3S_DATAGRAMS)
    /// More than any query has; what is longer is no query.
    private static let room = 1024
    /// No answer over UDP is longer.
    private static let answerRoom = Int(EDNS.ownSize)

    /// Of the kernel's pages those that were written to exist: a quiet server has none of it.
    private let bytes = UnsafeMutableRawPointer.allocate(
        byteCount: size * (room + answerRoom), alignment: 16)
    private let received = UnsafeMutablePointer<k3s_datagram>.allocate(capacity: size)
    private let answers = UnsafeMutablePointer<k3s_datagram>.allocate(capacity: size)
    private(set) var answered = 0

    deinit {
        bytes.deallocate()
        received.deallocate()
        answers.deallocate()
    }

    /// Their number; those of the time before are gone.
    func receive(_ fd: Int32) -> Int {
        answered = 0
        for index in 0..<Self.size {
            received[index].bytes = bytes + index * Self.room
            received[index].length = UInt32(Self.room)
        }
        return max(0, Int(k3s_receive_datagrams(fd, received, Int32(Self.size))))
    }

    /// nil: longer than a query can be.
    func message(_ index: Int) -> UnsafeRawBufferPointer? {
        let count = Int(received[index].length)
        return count <= Self.room ? UnsafeRawBufferPointer(start: bytes + index * Self.room, count: count) : nil
    }

    func client(_ index: Int) -> SocketAddress {
        SocketAddress(storage: received[index].address, length: received[index].address_length)
    }

    /// The answer to a message, which goes out under the message's id.
    func answer(_ index: Int, _ answer: [UInt8], id message: UnsafeRawBufferPointer) {
        guard answer.count >= 12, answer.count <= Self.answerRoom, answered < Self.size else { return }
        let place = bytes + Self.size * Self.room + answered * Self.answerRoom
        answer.withUnsafeBytes { source in
            if let base = source.baseAddress { place.copyMemory(from: base, byteCount: source.count) }
        }
        place.copyMemory(from: message.baseAddress.unsafelyUnwrapped, byteCount: 2)
        answers[answered].bytes = place
        answers[answered].length = UInt32(answer.count)
        answers[answered].address = received[index].address
        answers[answered].address_length = received[index].address_length
        answered += 1
    }

    func send(_ fd: Int32) {
        if answered > 0 { k3s_send_datagrams(fd, answers, Int32(answered)) }
    }
}
