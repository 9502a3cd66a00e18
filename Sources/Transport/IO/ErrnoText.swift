import Linux

/// `connection refused`, ... as the C library words it, with Go's small first letter.
func errorText(_ code: Int32) -> String {
    var bytes = [CChar](repeating: 0, count: 128)
    let text = bytes.withUnsafeMutableBufferPointer { buffer -> String in
        guard let base = buffer.baseAddress, strerror_r(code, base, buffer.count) == 0 else {
            return "errno \(code)"
        }
        return String(cString: base)
    }
    return text.prefix(1).lowercased() + text.dropFirst()
}
