internal import Linux

/// Runs `operation` and waits for it, but no longer than until this task is cancelled (nil). The operation is cancelled
/// with it and may end later: for calls that take long and may not notice (pulls, stops, hooks).
func untilCancelled<T: Sendable>(_ operation: @escaping @Sendable () async -> T) async -> T? {
    let race = OnceContinuation<T?>()
    let task = Task { race.resume(await operation()) }
    return await withTaskCancellationHandler {
        await race.value()
    } onCancel: {
        task.cancel()
        race.resume(nil)
    }
}

extension Files {
    /// nil: cannot be read.
    static func text(_ path: String, limit: Int = 1 << 20) -> String? {
        guard let bytes = try? read(path, limit: limit) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The first line without white space around it; nil: cannot be read or is empty.
    static func line(_ path: String) -> String? {
        guard let line = text(path, limit: 64 << 10)?.split(separator: "\n").first?.trimmingSpaces() else { return nil }
        return line.isEmpty ? nil : line
    }
}

extension Directories {
    /// Names only; none where the directory cannot be read.
    static func names(_ path: String) -> [String] { (try? list(path).map(\.name)) ?? [] }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var slice = self[...]
        while let first = slice.first, first.isWhitespace { slice = slice.dropFirst() }
        while let last = slice.last, last.isWhitespace { slice = slice.dropLast() }
        return String(slice)
    }
}
