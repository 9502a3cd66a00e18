import Linux

/// What the kernel (or the way to it) refused: errno, what was tried, and the kernel's own words where it gives any
/// (extended acknowledgements, NLMSGERR_ATTR_MSG).
package struct NetlinkError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A positive errno.
    package var code: Int32
    /// What was tried, with the names in it: `add link "veth12ab"`.
    package var operation: String
    package var kernelMessage: String?
    /// What the user can do about it, where that is known.
    package var hint: String?
    /// Which message of the request failed, from 0; nil if the whole.
    package var messageIndex: Int?

    package init(
        _ code: Int32, _ operation: String, kernelMessage: String? = nil, hint: String? = nil, messageIndex: Int? = nil
    ) {
        (self.code, self.operation, self.kernelMessage) = (code, operation, kernelMessage)
        (self.hint, self.messageIndex) = (hint, messageIndex)
    }

    package var description: String {
        var text = "\(operation): \(errnoText(code)) (errno \(code))"
        if let kernelMessage { text += ": kernel says \"\(kernelMessage)\"" }
        if let hint { text += "; \(hint)" }
        return text
    }

    package var isNotFound: Bool { code == ENOENT || code == ENODEV || code == ESRCH || code == EADDRNOTAVAIL }
    package var isExisting: Bool { code == EEXIST }
    package var isUnsupported: Bool { code == EOPNOTSUPP || code == EAFNOSUPPORT || code == EPROTONOSUPPORT }
}

/// Text of an errno (glibc's `strerror` has a buffer per thread since 2.32).
func errnoText(_ code: Int32) -> String { strerror(code).map { String(cString: $0) } ?? "error" }
