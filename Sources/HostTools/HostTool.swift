import Linux

/// The small programs that a node otherwise takes from the distribution (iptables, conntrack, ipset ...), inside the one binary:
/// linked under a tool's name, or as `k3s NAME ARGUMENTS`, k3s is that tool. They run before anything else is set up, on the
/// main thread alone, and talk to the kernel by plain system calls.
package struct HostTool: Sendable {
    /// What one is called with; returns the exit code. Output is flushed after it.
    package typealias Main = @Sendable (_ call: ToolCall) -> Int32

    package let name: String
    package let main: Main

    init(_ name: String, _ main: @escaping Main) { (self.name, self.main) = (name, main) }

    /// All tools, by folder. A tool that comes is one more row in its folder's list.
    package static var all: [HostTool] { xtables + nft + conntrack + sets + files + processes + network }

    package static var names: [String] { all.map(\.name) }

    /// The tool of that name, which may be a path: what argv[0] or the first argument says.
    package static func named(_ name: String) -> HostTool? {
        let last = Path.last(name)
        return all.first { $0.name == last }
    }

    package func run(_ arguments: [String]) -> Int32 {
        let call = ToolCall(name: name, arguments: arguments)
        let code = main(call)
        if call.flush() { return code }
        // A reader that has gone has been told enough.
        if call.outputError != EPIPE { call.complain("\(name): write error") }
        return max(code, 1)
    }
}

/// One run of a tool: arguments (without the name) and standard streams. Output is collected and written in large pieces;
/// what goes to standard error comes after the output that was before it.
package final class ToolCall {
    package let name: String
    package let arguments: [String]
    private var pending: [UInt8] = []
    /// Why output could not be written; 0: it was.
    private(set) var outputError: Int32 = 0
    private let output: Int32
    private let errors: Int32
    package let input: Int32

    package init(name: String, arguments: [String], input: Int32 = 0, output: Int32 = 1, errors: Int32 = 2) {
        (self.name, self.arguments) = (name, arguments)
        (self.input, self.output, self.errors) = (input, output, errors)
    }

    package func write(_ text: String) {
        pending.append(contentsOf: text.utf8)
        if pending.count > 1 << 16 { flush() }
    }

    package func write(bytes: [UInt8]) {
        pending.append(contentsOf: bytes)
        if pending.count > 1 << 16 { flush() }
    }

    package func line(_ text: String) { write(text + "\n") }

    /// To standard error, with a line's end.
    package func complain(_ text: String) {
        flush()
        ToolCall.writeAll(Array((text + "\n").utf8), to: errors)
    }

    /// False when somebody closed the other end, or the disk is full.
    @discardableResult
    package func flush() -> Bool {
        if !pending.isEmpty {
            let code = ToolCall.writeAll(pending, to: output)
            if code != 0 { outputError = code }
            pending.removeAll(keepingCapacity: true)
        }
        return outputError == 0
    }

    /// All of standard input.
    package func readInput(limit: Int = 256 << 20) throws(SysError) -> [UInt8] {
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try syscall("read") {
                chunk.withUnsafeMutableBytes { Glibc.read(input, $0.baseAddress, $0.count) }
            }
            if count == 0 { return result }
            guard result.count + count <= limit else { throw SysError(EFBIG, "read") }
            result.append(contentsOf: chunk[..<count])
        }
    }

    @discardableResult
    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        var done = 0
        while done < bytes.count {
            let offset = done
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + offset }, bytes.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                return errno
            }
            done += count
        }
        return 0
    }
}
