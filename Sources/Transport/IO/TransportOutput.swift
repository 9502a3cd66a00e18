import NIOCore

/// Where a connection writes: its TLS session, or the channel itself. Small pieces are joined into records of up to
/// 16 KiB in the loop's staging buffer; a run of `append`s and the `flush` behind it must not be interleaved with
/// another connection's, which holds as long as they are called without suspending. On the loop only.
final class TransportOutput {
    let channel: any Channel
    private let tls: TLSHandler?
    private let loop: LoopContext

    init(channel: any Channel, tls: TLSHandler?, loop: LoopContext) {
        self.channel = channel
        self.tls = tls
        self.loop = loop
    }

    var isWritable: Bool { channel.isWritable }

    func forgetPeerCertificates() { tls?.forgetPeerCertificates() }

    func append(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while !rest.isEmpty {
            let room = LoopContext.scratchSize - loop.staging.readableBytes
            if loop.staging.readableBytes == 0, rest.count >= LoopContext.scratchSize, let tls {
                // Whole records need no staging.
                let whole = rest.count - rest.count % LoopContext.scratchSize
                tls.encrypt(UnsafeRawBufferPointer(rebasing: rest[..<whole]))
                rest = UnsafeRawBufferPointer(rebasing: rest[whole...])
                continue
            }
            let count = min(room, rest.count)
            loop.staging.writeBytes(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if loop.staging.readableBytes == LoopContext.scratchSize { emit() }
        }
    }

    func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func emit() {
        guard loop.staging.readableBytes > 0 else { return }
        if let tls {
            loop.staging.withUnsafeReadableBytes { tls.encrypt($0) }
            loop.staging.clear()
        } else {
            channel.write(loop.staging, promise: nil)
            loop.staging = ByteBuffer()
        }
    }

    /// Sends what was appended. The promise is kept once the bytes have left for the kernel.
    func flush(promise: EventLoopPromise<Void>? = nil) {
        emit()
        if let tls {
            tls.flush(promise: promise)
        } else if let promise {
            channel.writeAndFlush(ByteBuffer(), promise: promise)
        } else {
            channel.flush()
        }
    }

    /// Ends both directions after everything has left.
    func finish() {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        let channel = channel
        promise.futureResult.whenComplete { _ in channel.close(promise: nil) }
        flush(promise: promise)
    }

    /// Ends our direction after everything has left.
    func finishOutput() {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        let channel = channel
        promise.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
        flush(promise: promise)
    }
}

/// A read buffer that starts small, grows fourfold while reads fill it and falls back at once. Idle connections hold
/// none: NIO keeps the first buffer of a connection, which is tiny therefore, and of the others those that are said not to
/// grow any more, which is said of none.
struct SmallReadAllocator: RecvByteBufferAllocator {
    private static let first = 16
    private static let smallest = 2048
    private static let largest = 64 << 10
    private var size = SmallReadAllocator.first

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: size)
    }

    mutating func record(actualReadBytes: Int) -> Bool {
        if size == SmallReadAllocator.first {
            size = SmallReadAllocator.smallest
        } else if actualReadBytes >= size {
            size = min(size * 4, SmallReadAllocator.largest)
        } else if actualReadBytes < size / 4 {
            size = SmallReadAllocator.smallest
        }
        return true
    }
}
