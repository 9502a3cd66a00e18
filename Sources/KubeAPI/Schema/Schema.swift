internal import Codecs
import Synchronization

/// What is known about the API's types and resources: the built-in table, and what custom resource definitions add.
///
/// A type is decoded from the table when it is first used (some microseconds) and kept. All methods may be called from any thread.
package final class Schema: Sendable {
    /// The built-in schema of this process.
    package static let shared = Schema()

    /// Where a type's line is. 8 bytes a type.
    private struct Line {
        let start: Int32
        let length: UInt16
        let package: UInt8
    }

    private let lines: [Line]
    /// The first type of each package.
    private let firsts: [UInt16]
    private let types: Mutex<[TypeSchema?]>
    let registry: Mutex<ResourceRegistry>

    package init() {
        var lines: [Line] = []
        var firsts: [UInt16] = []
        for (number, package) in SchemaTable.packages.enumerated() {
            firsts.append(UInt16(lines.count))
            for range in package.text.bytes.lineRanges() {
                lines.append(Line(start: range.lowerBound, length: UInt16(range.count), package: UInt8(number)))
            }
        }
        firsts.append(UInt16(lines.count))
        (self.lines, self.firsts) = (lines, firsts)
        types = Mutex([TypeSchema?](repeating: nil, count: lines.count))
        registry = Mutex(ResourceRegistry())
        registry.withLock { $0.load(SchemaTable.resources) }
    }

    /// The number of built-in types.
    package var typeCount: Int { lines.count }
    package var allTypes: [TypeID] { lines.indices.map { TypeID(rawValue: UInt16($0)) } }

    package func type(_ id: TypeID) -> TypeSchema {
        let index = Int(id.rawValue)
        if let known = types.withLock({ $0[index] }) { return known }
        // Outside of the lock, for inlined types are looked up meanwhile; the first to finish wins.
        let line = lines[index]
        let package = SchemaTable.packages[Int(line.package)]
        let parser = TypeLineParser(schema: self, package: package.name, text: package.text.bytes)
        let start = Int(line.start)
        let made = parser.parse(start..<start + Int(line.length), id: id)
        return types.withLock { types in
            if let known = types[index] { return known }
            types[index] = made
            return made
        }
    }

    /// By full name: "core/v1.Container".
    package func type(named name: String) -> TypeSchema? { id(named: name).map(type) }

    package func id(named name: String) -> TypeID? {
        guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")) else { return nil }
        return id(package: name[..<dot], name: name[name.utf8.index(after: dot)...])
    }

    private func id(package: Substring, name: Substring) -> TypeID? {
        guard let number = SchemaTable.packages.firstIndex(where: { $0.name == package }) else { return nil }
        let text = SchemaTable.packages[number].text.bytes
        var name = name
        return name.withUTF8 { wanted in
            var low = Int(firsts[number])
            var high = Int(firsts[number + 1])
            while low < high {
                let middle = (low + high) / 2
                switch order(lines[middle], in: text, wanted) {
                case 0: return TypeID(rawValue: UInt16(middle))
                case ..<0: low = middle + 1
                default: high = middle
                }
            }
            return nil
        }
    }

    /// Compares a line's first word with a name.
    private func order(_ line: Line, in text: UnsafeBufferPointer<UInt8>, _ name: UnsafeBufferPointer<UInt8>) -> Int {
        let start = Int(line.start)
        let end = start + Int(line.length)
        for i in 0...name.count {
            let at = start + i
            let mine = at < end && text[at] != UInt8(ascii: " ") ? Int(text[at]) : -1
            let theirs = i < name.count ? Int(name[i]) : -1
            if mine != theirs { return mine - theirs }
            if mine == -1 { return 0 }
        }
        return 1
    }

    /// The type of a kind of the built-in API; also of lists, options and reviews. Kinds of metav1 that every group
    /// version serves (`DeleteOptions`, `Status`, ...) are found under any.
    package func kind(_ gvk: GroupVersionKind) -> TypeSchema? {
        if let package = SchemaTable.packages.first(where: {
            $0.group == gvk.group && $0.version == gvk.version && $0.name != "meta/v1"
        }), let id = id(package: package.name[...], name: gvk.kind[...]) {
            let found = type(id)
            if found.fields.first?.name == "kind" { return found }
        }
        guard Self.metaKinds.contains(gvk.kind), let id = id(package: "meta/v1", name: gvk.kind[...]) else {
            return nil
        }
        return type(id)
    }

    /// metav1's own kinds: the options are served in every group version, the others in v1 and meta.k8s.io/v1.
    private static let metaKinds: Set<String> = [
        "Status", "DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions",
        "APIVersions",
        "APIGroupList", "APIGroup", "APIResourceList", "Table", "PartialObjectMetadata", "PartialObjectMetadataList",
    ]

    /// The API group and version of a package name ("core/v1"), and the prefix of its OpenAPI models.
    package func package(named name: String) -> (group: String, version: String, model: String)? {
        SchemaTable.packages.first { $0.name == name }.map { ($0.group, $0.version, $0.model) }
    }
    /// The package that holds an API group version's types.
    package func package(of gv: GroupVersion) -> String? {
        SchemaTable.packages.first { $0.group == gv.group && $0.version == gv.version && $0.name != "meta/v1" }?.name
    }
    /// The types of a package, in the order of their names.
    package func types(inPackage name: String) -> [TypeID] {
        guard let number = SchemaTable.packages.firstIndex(where: { $0.name == name }) else { return [] }
        return (firsts[number]..<firsts[number + 1]).map { TypeID(rawValue: $0) }
    }
}
