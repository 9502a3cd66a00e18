import NIOCore

// The writing half of a connection. The methods that are async run in the request's task, which runs on the loop;
// `writeBody` may come from any task that a handler has started.
extension HTTPServerConnection {
    /// kube-apiserver compresses responses from this size on.
    private static let gzipThreshold = 128 << 10
    /// A piece of body that is handed to TLS between two looks at the peer's speed.
    private static let pieceSize = 64 << 10

    func respond(_ response: HTTPResponse) async {
        guard channel.eventLoop.inEventLoop else {
            let loop = self.loop
            await withTaskExecutorPreference(loop.executor) { await self.respond(response) }
            return
        }
        guard case .handling = phase, let head = current else { return }
        let isHead = head.method == "HEAD"
        do {
            switch response.body {
            case .bytes(let bytes):
                try await respondWhole(response, [bytes], isHead: isHead)
            case .chunks(let chunks):
                try await respondWhole(response, chunks, isHead: isHead)
            case .pieces(let count, let append):
                try await respondPieces(response, count, append, isHead: isHead)
            case .stream(let length, let write):
                try await respondStream(response, length, write, isHead: isHead)
            case .upgrade(let run):
                await respondUpgrade(response, run)
            }
        } catch {
            // The client learns from the broken framing that the body is not whole.
            deadline = nil
            close()
        }
    }

    private func respondWhole(_ response: HTTPResponse, _ chunks: [[UInt8]], isHead: Bool) async throws {
        var length: Int64 = 0
        for chunk in chunks { length += Int64(chunk.count) }
        if length >= Int64(HTTPServerConnection.gzipThreshold), !isHead, acceptsGzip(response) {
            try await respondCompressed(response, chunks)
            return
        }
        writeHead(response, framing: .length(length))
        if !isHead {
            for chunk in chunks {
                if chunk.count <= HTTPServerConnection.pieceSize, output.isWritable {
                    output.append(chunk)
                } else {
                    try await writePieces(chunk)
                }
            }
        }
        output.flush()
        responseEnded(reusable: true)
    }

    /// Never holds more of the body than a piece of a chunk and what waits for the peer.
    private func respondPieces(
        _ response: HTTPResponse, _ count: Int, _ append: @Sendable (Int, inout [UInt8]) throws -> Void, isHead: Bool
    ) async throws {
        var next = 0
        var gathered: [UInt8] = []
        func gather(_ size: Int) throws {
            while next < count, gathered.count < size {
                try append(next, &gathered)
                next += 1
            }
        }
        try gather(HTTPServerConnection.gzipThreshold)
        if next == count { return try await respondWhole(response, [gathered], isHead: isHead) }
        var response = response
        var gzip: Deflater?
        if acceptsGzip(response) {
            response.headers.add("Content-Encoding", "gzip")
            response.headers.add("Vary", "Accept-Encoding")
            gzip = try Deflater(.gzip, level: 1)
        }
        writeHead(response, framing: current?.minorVersion == 1 ? .chunked : .untilClose)
        if isHead {
            output.flush()
            return responseEnded(reusable: true)
        }
        while !gathered.isEmpty {
            if let packed = gzip?.compress(gathered[...], flush: .none) {
                if !packed.isEmpty { try await writeBody(packed) }
            } else {
                try await writeBody(gathered)
            }
            gathered.removeAll(keepingCapacity: true)
            try gather(HTTPServerConnection.pieceSize)
        }
        if let tail = gzip?.compress([], flush: .finish), !tail.isEmpty { try await writeBody(tail) }
        endBody()
    }

    /// Suspends between pieces while the peer is slow.
    private func writePieces(_ bytes: [UInt8]) async throws {
        var start = 0
        while start < bytes.count {
            if !output.isWritable {
                output.flush()
                try await waitWritable()
            }
            let end = min(start + HTTPServerConnection.pieceSize, bytes.count)
            bytes.withUnsafeBytes { output.append(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
            start = end
            // Without this the channel would not know yet how much waits.
            output.flush()
        }
    }

    private func acceptsGzip(_ response: HTTPResponse) -> Bool {
        guard server.configuration.gzip, response.status == 200, let headers = current?.headers,
            current?.minorVersion == 1, response.headers["Content-Encoding"] == nil
        else { return false }
        return headers.hasMember("Accept-Encoding", "gzip")
    }

    private func respondCompressed(_ response: HTTPResponse, _ chunks: [[UInt8]]) async throws {
        var response = response
        response.headers.add("Content-Encoding", "gzip")
        response.headers.add("Vary", "Accept-Encoding")
        var gzip = try Deflater(.gzip, level: 1)
        writeHead(response, framing: .chunked)
        for chunk in chunks {
            var start = 0
            while start < chunk.count {
                let end = min(start + HTTPServerConnection.pieceSize, chunk.count)
                let packed = gzip.compress(chunk[start..<end], flush: .none)
                start = end
                if !packed.isEmpty { try await writeBody(packed) }
            }
        }
        let tail = gzip.compress([], flush: .finish)
        if !tail.isEmpty { try await writeBody(tail) }
        endBody()
    }

    private func respondStream(
        _ response: HTTPResponse, _ length: Int64?, _ write: @Sendable (HTTPBodyWriter) async throws -> Void,
        isHead: Bool
    ) async throws {
        let chunked: ResponseFraming = current?.minorVersion == 1 ? .chunked : .untilClose
        writeHead(response, framing: length.map(ResponseFraming.length) ?? chunked)
        // A watch answers before its first event.
        output.flush()
        if isHead {
            responseEnded(reusable: true)
            return
        }
        try await write(HTTPBodyWriter(connection: self))
        if let length, length != bodyBytesWritten {
            throw HTTPConnectionError.bodyLengthMismatch(expected: length, written: bodyBytesWritten)
        }
        endBody()
    }

    private func respondUpgrade(_ response: HTTPResponse, _ run: @Sendable (any ByteStream) async -> Void) async {
        keepAlive = true
        writeHead(response, framing: .none)
        output.flush()
        guard let stream = becomeUpgraded() else { return }
        await run(stream)
        stream.close()
    }

    private func endBody() {
        if case .chunked = framing {
            output.append("0\r\n\r\n" as StaticString)
            output.flush()
        }
        if case .untilClose = framing { keepAlive = false }
        responseEnded(reusable: true)
    }

    /// Answers with bytes and no waiting: for refusals.
    func writeWhole(_ response: HTTPResponse, isHead: Bool) {
        var chunks: [[UInt8]] = []
        switch response.body {
        case .bytes(let bytes): chunks = [bytes]
        case .chunks(let list): chunks = list
        case .pieces, .stream, .upgrade: break
        }
        writeHead(response, framing: .length(chunks.reduce(0) { $0 + Int64($1.count) }))
        if !isHead { for chunk in chunks { output.append(chunk) } }
        output.flush()
    }

    // MARK: - Bytes

    /// Body bytes of a streamed response, sent at once.
    func writeBody(_ bytes: [UInt8]) async throws {
        if channel.eventLoop.inEventLoop {
            try writeBodyNow(bytes)
            if !output.isWritable { try await waitWritable() }
        } else {
            try await channel.eventLoop.suspend { [self] (waiter: LoopWaiter<Void>) in
                do {
                    try writeBodyNow(bytes)
                } catch {
                    waiter.resume(.failure(error))
                    return
                }
                park(waiter)
            }
        }
    }

    private func writeBodyNow(_ bytes: [UInt8]) throws {
        guard case .handling = phase, channel.isActive else { throw HTTPConnectionError.peerGone }
        guard !bytes.isEmpty else { return }
        bodyBytesWritten += Int64(bytes.count)
        switch framing {
        case .none: return
        case .length(let expected):
            guard bodyBytesWritten <= expected else {
                throw HTTPConnectionError.bodyLengthMismatch(expected: expected, written: bodyBytesWritten)
            }
            output.append(bytes)
        case .untilClose: output.append(bytes)
        case .chunked:
            output.append(String(bytes.count, radix: 16))
            output.append("\r\n" as StaticString)
            output.append(bytes)
            output.append("\r\n" as StaticString)
        }
        output.flush()
    }

    private func waitWritable() async throws {
        try await channel.eventLoop.suspend { [self] (waiter: LoopWaiter<Void>) in park(waiter) }
    }

    private func park(_ waiter: LoopWaiter<Void>) {
        guard case .handling = phase, channel.isActive else {
            waiter.resume(.failure(HTTPConnectionError.peerGone))
            return
        }
        if output.isWritable {
            waiter.resume(.success(()))
            return
        }
        writers.removeAll { $0.isDone }
        writers.append(waiter)
        if deadline == nil { setDeadline(limits.writePauseTimeout) }
    }

    private func writeHead(_ response: HTTPResponse, framing: ResponseFraming) {
        self.framing = framing
        bodyBytesWritten = 0
        if response.status == 200 {
            output.append("HTTP/1.1 200 OK\r\n" as StaticString)
        } else {
            output.append("HTTP/1.1 \(response.status) \(httpReasonPhrase(response.status))\r\n")
        }
        var hasDate = false
        let upgrading = response.status == 101
        for field in response.headers.fields {
            if asciiCaseInsensitiveEqual(field.name, "Content-Length")
                || asciiCaseInsensitiveEqual(field.name, "Transfer-Encoding")
                || (!upgrading && asciiCaseInsensitiveEqual(field.name, "Connection"))
            {
                continue
            }
            if asciiCaseInsensitiveEqual(field.name, "Date") { hasDate = true }
            output.append(field.name)
            output.append(": " as StaticString)
            output.append(singleLine(field.value))
            output.append("\r\n" as StaticString)
        }
        if !hasDate {
            output.append("Date: " as StaticString)
            output.append(loop.httpDate)
            output.append("\r\n" as StaticString)
        }
        switch framing {
        case .length(let length) where response.status != 204 && response.status != 304:
            output.append("Content-Length: " as StaticString)
            output.append(String(length))
            output.append("\r\n" as StaticString)
        case .chunked: output.append("Transfer-Encoding: chunked\r\n" as StaticString)
        case .untilClose: keepAlive = false
        case .none, .length: break
        }
        if !upgrading {
            if server.isDraining { keepAlive = false }
            if !keepAlive {
                output.append("Connection: close\r\n" as StaticString)
            } else if current?.minorVersion == 0 {
                output.append("Connection: keep-alive\r\n" as StaticString)
            }
        }
        output.append("\r\n" as StaticString)
    }
}

/// A header value can never start another header field.
func singleLine(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else { return value }
    return String(decoding: value.utf8.map { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
}
