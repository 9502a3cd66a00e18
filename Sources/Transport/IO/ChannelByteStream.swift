import NIOCore

/// A channel after `101 Switching Protocols`. The HTTP handler of the channel passes its events on; everything below
/// the `ByteStream` face is touched on the loop only.
final class ChannelByteStream: ByteStream, @unchecked Sendable {
    /// Reading from the channel stops while this much waits for `read`.
    private static let readAhead = 64 << 10

    private let channel: any Channel
    private let output: TransportOutput
    private var inbound: [ByteBuffer] = []
    private var inboundBytes = 0
    private var inputEnded = false
    private var outputEnded = false
    private var reader: LoopWaiter<[UInt8]?>?
    private var drainers: [LoopWaiter<Void>] = []

    init(channel: any Channel, output: TransportOutput) {
        self.channel = channel
        self.output = output
    }

    // MARK: - From the channel's handler

    func received(_ buffer: ByteBuffer) {
        guard buffer.readableBytes > 0 else { return }
        if let reader, !reader.isDone {
            self.reader = nil
            reader.resume(.success(Array(buffer.readableBytesView)))
        } else {
            inbound.append(buffer)
            inboundBytes += buffer.readableBytes
        }
    }

    func readCompleted() {
        if inboundBytes < ChannelByteStream.readAhead, !inputEnded { channel.read() }
    }

    func inputClosed() {
        inputEnded = true
        reader?.resume(.success(nil))
        reader = nil
    }

    func writabilityChanged() {
        guard output.isWritable else { return }
        for waiter in drainers { waiter.resume(.success(())) }
        drainers = []
    }

    func becameInactive() {
        inputClosed()
        outputEnded = true
        for waiter in drainers { waiter.resume(.failure(HTTPConnectionError.peerGone)) }
        drainers = []
    }

    // MARK: - ByteStream

    func read() async throws -> [UInt8]? {
        try await channel.eventLoop.suspend { [self] waiter in
            if inbound.isEmpty {
                if inputEnded {
                    waiter.resume(.success(nil))
                } else {
                    reader = waiter
                    channel.read()
                }
            } else {
                waiter.resume(.success(takeInbound()))
            }
        }
    }

    private func takeInbound() -> [UInt8] {
        let wasFull = inboundBytes >= ChannelByteStream.readAhead
        var bytes: [UInt8] = []
        bytes.reserveCapacity(inboundBytes)
        for buffer in inbound { bytes.append(contentsOf: buffer.readableBytesView) }
        inbound = []
        inboundBytes = 0
        if wasFull, !inputEnded { channel.read() }
        return bytes
    }

    func send(_ bytes: [UInt8]) {
        channel.eventLoop.runOnLoop { [self] in
            guard !outputEnded, !bytes.isEmpty else { return }
            output.append(bytes)
            output.flush()
        }
    }

    func drained() async throws {
        try await channel.eventLoop.suspend { [self] (waiter: LoopWaiter<Void>) in
            if outputEnded {
                waiter.resume(.failure(HTTPConnectionError.peerGone))
            } else if output.isWritable {
                waiter.resume(.success(()))
            } else {
                drainers.removeAll { $0.isDone }
                drainers.append(waiter)
            }
        }
    }

    func closeWrite() {
        channel.eventLoop.runOnLoop { [self] in
            guard !outputEnded else { return }
            outputEnded = true
            output.finishOutput()
        }
    }

    func close() {
        channel.eventLoop.runOnLoop { [self] in
            outputEnded = true
            inputEnded = true
            output.finish()
        }
    }

    func abort() {
        channel.close(promise: nil)
    }
}
