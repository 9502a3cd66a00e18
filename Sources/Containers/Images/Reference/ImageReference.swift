/// A normalised image reference: registry, repository and a tag, a digest or both.
///
/// Grammar and defaults are those of `github.com/distribution/reference` (what docker, containerd and the kubelet use):
/// "busybox" is docker.io/library/busybox:latest, the first path component is a registry only if it holds a dot, a
/// colon or upper-case letters or is "localhost", and "index.docker.io" is docker.io.
package struct ImageReference: Sendable, Hashable, CustomStringConvertible {
    /// "docker.io", "localhost:5000", "[::1]:5000"
    package let registry: String
    /// "library/busybox"
    package let repository: String
    package let tag: String?
    package let digest: Digest?

    /// "docker.io/library/busybox"
    package var name: String { registry + "/" + repository }

    /// What the registry is asked for: the digest if there is one, the tag otherwise.
    package var object: String { digest?.description ?? tag ?? "latest" }

    /// "docker.io/library/busybox:1.36", "…@sha256:…", or both.
    package var description: String {
        var text = name
        if let tag { text += ":" + tag }
        if let digest { text += "@" + digest.description }
        return text
    }

    /// The tag form that the image database keeps. nil with a digest: the tag beside it says nothing about the image.
    package var tagged: String? { digest == nil ? tag.map { name + ":" + $0 } : nil }

    package init(registry: String, repository: String, tag: String?, digest: Digest?) {
        (self.registry, self.repository, self.tag, self.digest) = (registry, repository, tag, digest)
    }

    package init(_ text: String) throws(ImageError) {
        func invalid(_ reason: String) -> ImageError {
            ImageError(.invalidReference, "failed to parse image reference \"\(clipped(text))\": \(reason)")
        }
        guard !text.isEmpty else { throw invalid("repository name must have at least one component") }
        guard text.utf8.count <= 1024 else { throw invalid("reference is longer than 1024 bytes") }
        guard text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { throw invalid("invalid reference format") }
        guard !(text.utf8.count == 64 && text.utf8.allSatisfy(Self.isHex)) else {
            throw invalid("cannot specify 64-byte hexadecimal strings")
        }

        var rest = text[...]
        var digest: Digest?
        if let at = rest.lastIndex(of: "@") {
            do { digest = try Digest(rest[rest.index(after: at)...]) } catch {
                throw invalid(error.code == .unsupported ? "unsupported digest algorithm" : "invalid reference format")
            }
            rest = rest[..<at]
        }

        var domain = "docker.io"
        if let slash = rest.firstIndex(of: "/") {
            let first = rest[..<slash]
            if first.contains(where: { $0 == "." || $0 == ":" || $0.isUppercase }) || first == "localhost" {
                domain = String(first)
                rest = rest[rest.index(after: slash)...]
            }
        }
        if domain == "index.docker.io" { domain = "docker.io" }

        var tag: String?
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("/") {
            let text = rest[rest.index(after: colon)...]
            guard Self.isTag(text) else { throw invalid("invalid reference format") }
            tag = String(text)
            rest = rest[..<colon]
        }
        var repository = String(rest)
        guard Self.isDomain(domain), !repository.isEmpty else { throw invalid("invalid reference format") }
        guard !repository.contains(where: \.isUppercase) else {
            throw invalid("invalid reference format: repository name (\(clipped(repository))) must be lowercase")
        }
        guard repository.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(Self.isPathComponent) else {
            throw invalid("invalid reference format")
        }
        if domain == "docker.io", !repository.contains("/") { repository = "library/" + repository }
        guard domain.utf8.count + 1 + repository.utf8.count <= 255 else {
            throw invalid("repository name must not be more than 255 characters")
        }
        self.init(
            registry: domain, repository: repository, tag: tag ?? (digest == nil ? "latest" : nil), digest: digest)
    }

    // MARK: grammar

    private static func isAlphanumeric(_ c: UInt8) -> Bool {
        isLowerOrDigit(c) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(c)
    }

    @Sendable private static func isHex(_ c: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(c)
    }

    private static func isLowerOrDigit(_ c: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c)
    }

    /// `[\w][\w.-]{0,127}`
    static func isTag(_ text: Substring) -> Bool {
        let underscore = UInt8(ascii: "_")
        guard let first = text.utf8.first, text.utf8.count <= 128 else { return false }
        guard isAlphanumeric(first) || first == underscore else { return false }
        return text.utf8.allSatisfy {
            isAlphanumeric($0) || $0 == underscore || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
        }
    }

    /// Host names and IPv4 by their components, IPv6 in brackets; a port of digits may follow.
    static func isDomain(_ text: String) -> Bool {
        var host = text[...]
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return false }
            let address = host[host.index(after: host.startIndex)..<end]
            let tail = host[host.index(after: end)...]
            guard !address.isEmpty, address.utf8.allSatisfy({ $0 == UInt8(ascii: ":") || isHex($0 | 0x20) }) else {
                return false
            }
            return tail.isEmpty || (tail.hasPrefix(":") && isPort(tail.dropFirst()))
        }
        if let colon = host.lastIndex(of: ":") {
            guard isPort(host[host.index(after: colon)...]) else { return false }
            host = host[..<colon]
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    private static func isPort(_ text: Substring) -> Bool { UInt16(text) != nil && !text.hasPrefix("+") }

    /// `[a-z0-9]+` runs joined by one of ".", "_", "__" or any number of "-".
    @Sendable static func isPathComponent(_ text: Substring) -> Bool {
        let bytes = Array(text.utf8)
        var index = 0
        while true {
            let start = index
            while index < bytes.count, isLowerOrDigit(bytes[index]) { index += 1 }
            if index == start { return false }
            if index == bytes.count { return true }
            let separator = bytes[index]
            switch separator {
            case UInt8(ascii: "."): index += 1
            case UInt8(ascii: "_"):
                index += 1
                if index < bytes.count, bytes[index] == separator { index += 1 }
            case UInt8(ascii: "-"):
                while index < bytes.count, bytes[index] == separator { index += 1 }
            default: return false
            }
        }
    }
}
