import COpenSSL

/// What is wrong with a key, certificate, token or one of their files. No case holds secret bytes.
package enum PKIError: Error, Sendable, Equatable, CustomStringConvertible {
    /// An input that cannot be used; `what` names it (a path, "certificate request", ...).
    case malformed(what: String, reason: String)
    /// An operation of the crypto library that failed.
    case crypto(operation: String, reason: String)
    /// A file that cannot be read or written.
    case file(String)

    package var description: String {
        switch self {
        case .malformed(let what, let reason): "\(what): \(reason)"
        case .crypto(let operation, let reason): "\(operation): \(reason)"
        case .file(let text): text
        }
    }

    /// The failure that OpenSSL has just left in its queue.
    static func openSSL(_ operation: String) -> PKIError {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        let reason = ERR_reason_error_string(code).map { String(cString: $0) }
        return .crypto(operation: operation, reason: reason ?? "failed (OpenSSL error \(code))")
    }
}
