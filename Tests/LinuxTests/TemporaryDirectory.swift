import Linux

/// A directory that goes with the closure.
func withTemporaryDirectory<R>(_ body: (String) throws -> R) throws -> R {
    let path = try makeTemporaryDirectory()
    defer { try? Directories.removeTree(path) }
    return try body(path)
}

func withTemporaryDirectory<R>(_ body: (String) async throws -> R) async throws -> R {
    let path = try makeTemporaryDirectory()
    defer { try? Directories.removeTree(path) }
    return try await body(path)
}

private func makeTemporaryDirectory() throws -> String {
    let path = "/tmp/k3s-linux-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    try Directories.make(path, mode: 0o700)
    return path
}
