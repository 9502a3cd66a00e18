import Linux
import Netlink

/// Why a pod has no network: what was tried, for which pod, and what to do about it.
package struct PodNetworkError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// No address left in the node's range.
        case exhausted
        /// A host port is taken by another pod.
        case hostPortTaken
        /// Bad configuration or arguments.
        case invalid
        /// The kernel refused.
        case kernel
        /// State files.
        case storage
    }
    package var code: Code
    package var message: String
    package var cause: NetlinkError?
    package var description: String { message }

    package init(_ code: Code, _ message: String, cause: NetlinkError? = nil) {
        (self.code, self.message, self.cause) = (code, message, cause)
    }

    init(_ what: String, _ cause: NetlinkError) { self.init(.kernel, "\(what): \(cause)", cause: cause) }
    init(_ what: String, _ cause: SysError) { self.init(.storage, "\(what): \(cause)") }
}

/// Runs netlink work and says for what.
func kernel<T>(_ what: @autoclosure () -> String, _ body: () throws(NetlinkError) -> T) throws(PodNetworkError) -> T {
    do throws(NetlinkError) { return try body() } catch { throw PodNetworkError(what(), error) }
}
