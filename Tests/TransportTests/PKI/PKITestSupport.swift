import Linux
import Testing

@testable import Transport

/// 2026-01-01T00:00:00Z
let testNow: Int64 = 1_767_225_600

/// A directory that is removed at the end.
final class PKITestDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/k3s-pki-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try Directories.make(path, mode: 0o700)
    }

    deinit { try? Directories.removeTree(path) }

    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = path + "/" + name
        try Files.write(file, bytes)
        return file
    }
}

/// Runs a program to its end: exit status and output of both kinds.
func runTool(_ arguments: [String]) throws -> (status: Int32, output: String) {
    let log = "/tmp/k3s-tool-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    defer { unlink(log) }
    let output = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    defer { close(output) }
    guard let program = Command.find(arguments[0]) else { throw SysError(ENOENT, "find", path: arguments[0]) }
    var child = try Spawned.start([program] + arguments.dropFirst(), stdio: (nil, output, output))
    let exit = try child.waitBlocking()
    let status: Int32 = if case .exited(let code) = exit { code } else { -1 }
    return (status, try Files.readString(log))
}

/// The same numbers at every run (SplitMix64).
struct PKITestGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Damages an input: flips, cuts, doubles or overwrites some of it.
func damaged(_ bytes: [UInt8], using generator: inout PKITestGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
        let index = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[index] = .random(in: 0...255, using: &generator)
        case 2: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...20, using: &generator)))
        case 3: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 8)], at: index)
        default: bytes.removeLast(bytes.count - index)
        }
    }
    return bytes
}
