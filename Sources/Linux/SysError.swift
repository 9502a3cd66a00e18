/// A failed system call: errno, the name of the call and, where there is one, the path it was about.
///
/// Reads like the tools users know: `open /etc/foo: no such file or directory`.
package struct SysError: Error, Sendable, Equatable, CustomStringConvertible {
    /// errno, positive.
    package var code: Int32
    package var call: String
    package var path: String?

    package init(_ code: Int32, _ call: StaticString, path: String? = nil) {
        (self.code, self.call, self.path) = (code < 0 ? -code : code, "\(call)", path)
    }

    package init(_ code: Int32, call: String, path: String? = nil) {
        (self.code, self.call, self.path) = (code < 0 ? -code : code, call, path)
    }

    package var description: String {
        if let path { return "\(call) \(path): \(SysError.text(code))" }
        return "\(call): \(SysError.text(code))"
    }

    /// The errno's text as Go programs (and so runc, containerd, the kubelet) print it: strerror in lower case.
    package static func text(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        let message = buffer.withUnsafeMutableBufferPointer {
            String(cString: k3s_strerror(code, $0.baseAddress, $0.count))
        }
        guard let first = message.first, first.isUppercase else { return message }
        // "I/O error" style acronyms keep their case.
        let second = message.dropFirst().first
        if let second, second.isUppercase || second == "/" { return message }
        return first.lowercased() + message.dropFirst()
    }
}

/// Calls a libc function that answers -1 with errno; tries again on EINTR.
@discardableResult
package func syscall<R: SignedInteger & FixedWidthInteger>(
    _ call: StaticString, _ path: @autoclosure () -> String? = nil, _ body: () -> R
) throws(SysError) -> R {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw SysError(code, call, path: path()) }
    }
}

/// Checks the result of a k3s_ shim: -errno on failure; tries again on EINTR.
@discardableResult
package func checked<R: SignedInteger & FixedWidthInteger>(
    _ call: StaticString, _ path: @autoclosure () -> String? = nil, _ body: () -> R
) throws(SysError) -> R {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = Int32(-result)
        if code != EINTR { throw SysError(code, call, path: path()) }
    }
}
