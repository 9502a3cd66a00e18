import Linux
import Netlink

/// What the live tests need; the reason is shown when they are skipped.
package enum Live {
    package static let isRoot = getuid() == 0
    package static let reason: String = "needs root and network namespaces"
}

/// Output of a shell command run in a network namespace, with its exit status.
package func shell(_ command: String, in namespace: NetworkNamespace) -> (output: String, status: Int32) {
    let full = "nsenter --net=\(namespace.processPath) sh -c '\(command)' 2>&1"
    guard let pipe = popen(full, "r") else { return ("popen failed", -1) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&buffer, 1, buffer.count, pipe)
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    let status = pclose(pipe)
    return (String(decoding: bytes, as: UTF8.self), status >> 8)
}

/// `nft list ruleset`: an independent reader of what was written.
package func nftRuleset(_ namespace: NetworkNamespace) -> (output: String, status: Int32) {
    shell("nft list ruleset", in: namespace)
}

/// Bytes as rows of hex for golden comparison.
package func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// The hex digits of annotated text: everything after `#` in a line is commentary.
package func annotated(_ text: String) -> String {
    text.split(separator: "\n").map { $0.prefix { $0 != "#" } }.joined().filter { $0.isHexDigit }
}
