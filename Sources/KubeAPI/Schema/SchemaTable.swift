/// The schema of the built-in API as text in the binary's read-only data: nothing of it is on the heap until a type is used.
///
/// One line a type, one token a field; hack/gen-schema makes it and its table.py says what the tokens mean.
enum SchemaTable {
    /// The types of one Go package, which is one API group version.
    struct Package: Sendable {
        /// As type names have it: "core/v1".
        let name: String
        /// The API group: "" for core/v1.
        let group: String
        let version: String
        /// What names of OpenAPI models begin with: "io.k8s.api.core.v1".
        let model: String
        let text: StaticString
    }
}

extension StaticString {
    /// The text as bytes. It lives as long as the program.
    var bytes: UnsafeBufferPointer<UInt8> {
        guard hasPointerRepresentation else { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// The lines without their ends.
    func lineRanges() -> [Range<Int32>] {
        var found: [Range<Int32>] = []
        var start = 0
        while start < count {
            var end = start
            while end < count, self[end] != UInt8(ascii: "\n") { end += 1 }
            found.append(Int32(start)..<Int32(end))
            start = end + 1
        }
        return found
    }

    func text(_ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: self[range]), as: UTF8.self)
    }
}
