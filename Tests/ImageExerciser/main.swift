// Imports an archive into a store and says how long it took, and how much memory:
//   image-exerciser STORE ARCHIVE
// A program of its own, as OpenSSL's shared libraries count in the memory of the process that links them.
import COpenSSL
import Containers
import Linux
import Logging

/// OpenSSL's, as the product has it.
final class Hash: SHA256Hashing, @unchecked Sendable {
    // Fed by one layer at a time.
    private let context = EVP_MD_CTX_new()
    init() { EVP_DigestInit_ex(context, EVP_sha256(), nil) }
    deinit { EVP_MD_CTX_free(context) }
    func update(_ bytes: UnsafeRawBufferPointer) { EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) }
    func finish() -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 32)
        EVP_DigestFinal_ex(context, &result, nil)
        return result
    }
}

struct Nowhere: RegistryTransport {
    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse {
        throw RegistryTransportError(.connect, "no network in a measurement")
    }
}

func status(_ field: String) throws -> Int {
    for line in try Files.readString("/proc/self/status").split(separator: "\n") where line.hasPrefix(field) {
        return Int(line.filter(\.isNumber)) ?? 0
    }
    return 0
}

guard CommandLine.arguments.count == 3 else { exit(2) }
do {
    let store = try ImageStore(
        root: CommandLine.arguments[1], transport: Nowhere(), sha256: { Hash() },
        logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }))
    // The high-water mark from now on.
    try Files.overwrite("/proc/self/clear_refs", "5")
    let before = try status("VmRSS:")
    let begin = ContinuousClock.now
    _ = try await store.importArchive(path: CommandLine.arguments[2])
    print("unpack \((ContinuousClock.now - begin).nanoseconds / 1_000_000) ms")
    print("unpack-memory \(Double(try status("VmHWM:") - before) / 1024) MiB")
} catch {
    print("error", error)
    exit(1)
}
