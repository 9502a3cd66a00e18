package import Codecs

/// OpenAPI documents, written piece by piece from the schema table: a document of 600 KB never exists as a whole.
///
/// `/openapi/v3` is an index with one document per group version; `/openapi/v2` is one document for all of them.
/// Source: the OpenAPI 3.0 and 2.0 specifications, and the x-kubernetes extensions of the API concepts documentation.
package struct OpenAPI: Sendable {
    package enum Form: Sendable {
        case v2
        case v3(GroupVersion)
    }

    /// How a document is written. Protobuf exists for `/openapi/v2` only.
    package enum Encoding: Sendable { case json, protobuf }

    let schema: Schema
    /// "v1.36.0"
    let version: String

    package init(_ schema: Schema = .shared, version: String) { (self.schema, self.version) = (schema, version) }

    /// `/openapi/v3`: the documents and the hash by which clients cache them.
    package func index() -> JSON {
        var paths = JSONObject()
        for gv in Discovery(schema).groupVersions {
            let path = gv.group.isEmpty ? "api/\(gv.version)" : "apis/\(gv)"
            paths.append(path, ["serverRelativeURL": .string("/openapi/v3/\(path)?hash=\(hash(gv))")])
        }
        return ["paths": .object(paths)]
    }

    /// Changes when the group version's document does. (Also when others change their types: the table is hashed as one.)
    package func hash(_ gv: GroupVersion) -> String {
        var digest = ContentHash()
        digest.add(version)
        digest.add(String(TableHash.value, radix: 16))
        for row in rows(.v3(gv)) {
            digest.add(row.gvr.description)
            digest.add(row.kind)
            digest.add(row.verbs.names.joined(separator: ","))
            for sub in row.subresources { digest.add("\(sub.name) \(sub.kind) \(sub.verbs.rawValue)") }
            if let custom = row.openAPISchema { digest.add(custom) }
        }
        return digest.text
    }

    /// For an ETag of `/openapi/v2`.
    package func hash() -> String {
        var digest = ContentHash()
        for gv in Discovery(schema).groupVersions { digest.add(hash(gv)) }
        return digest.text
    }

    /// A document in pieces of about 32 KB; nil if the group version is not served, or not in this encoding.
    package func document(_ form: Form, as encoding: Encoding = .json) -> Chunks? {
        let rows = rows(form)
        guard !rows.isEmpty else { return nil }
        if case .v3 = form, encoding == .protobuf { return nil }
        return Chunks(self, form, encoding, rows)
    }

    private func rows(_ form: Form) -> [ResourceInfo] {
        switch form {
        case .v2: schema.servedResources
        case .v3(let gv): schema.servedResources.filter { $0.gvr.groupVersion == gv }
        }
    }

    /// The pieces of one document, in order, each made when it is asked for.
    package struct Chunks: Sequence, IteratorProtocol, Sendable {
        private enum Piece {
            case text(String)
            case protobuf([UInt8])
            case path(OpenAPIPath)
            case type(TypeID)
            case special(String, JSON)
            case custom(ResourceInfo)
        }

        private let writer: OpenAPISchemaWriter
        private let encoding: Encoding
        private let gvks: OpenAPIKinds
        private var pieces: [Piece] = []
        private var next_ = 0
        private var first = true

        init(_ api: OpenAPI, _ form: Form, _ encoding: Encoding, _ rows: [ResourceInfo]) {
            let isV3 = if case .v3 = form { true } else { false }
            self.encoding = encoding
            writer = OpenAPISchemaWriter(schema: api.schema, isV3: isV3)
            gvks = OpenAPIKinds(schema: api.schema)
            let frame = encoding == .protobuf ? Self.protobufFrame(api) : Self.jsonFrame(api, isV3: isV3)
            pieces.append(frame.head)
            pieces += OpenAPIPath.all(rows).map { .path($0) }
            pieces.append(frame.middle)
            let types = Self.reachable(api.schema, rows)
            pieces += types.map { .type($0) }
            pieces += OpenAPISchemaWriter.specials.map { .special($0.0, isV3 ? $0.1 : $0.2) }
            pieces += rows.filter { $0.typeName == nil }.map { .custom($0) }
            pieces.append(frame.tail)
        }

        /// What stands before the paths, between them and the definitions, and after these.
        private typealias Frame = (head: Piece, middle: Piece, tail: Piece)

        private static func protobufFrame(_ api: OpenAPI) -> Frame {
            (
                .protobuf(OpenAPIProtobuf.head(version: api.version)), .protobuf([]),
                .protobuf(OpenAPIProtobuf.tail())
            )
        }

        private static func jsonFrame(_ api: OpenAPI, isV3: Bool) -> Frame {
            let info = "\"info\":{\"title\":\"Kubernetes\",\"version\":\(JSON.string(api.version).text)}"
            let token =
                "{\"BearerToken\":{\"type\":\"apiKey\",\"description\":\"Bearer Token authentication\",\"name\":\"authorization\",\"in\":\"header\"}}"
            return isV3
                ? (
                    .text("{\"openapi\":\"3.0.0\",\(info),\"paths\":{"), .text("},\"components\":{\"schemas\":{"),
                    .text("},\"securitySchemes\":\(token)}}")
                )
                : (
                    .text("{\"swagger\":\"2.0\",\(info),\"paths\":{"), .text("},\"definitions\":{"),
                    .text("},\"securityDefinitions\":\(token),\"security\":[{\"BearerToken\":[]}]}")
                )
        }

        package mutating func next() -> [UInt8]? {
            guard next_ < pieces.count else { return nil }
            var out: [UInt8] = []
            out.reserveCapacity(40 * 1024)
            while next_ < pieces.count, out.count < 32 * 1024 {
                switch encoding {
                case .json: write(pieces[next_], to: &out)
                case .protobuf: writeProtobuf(pieces[next_], to: &out)
                }
                next_ += 1
            }
            return out
        }

        private mutating func write(_ piece: Piece, to out: inout [UInt8]) {
            if case .text(let text) = piece {
                out.append(contentsOf: text.utf8)
                first = true
                return
            }
            if !first { out.append(UInt8(ascii: ",")) }
            first = false
            func member(_ name: String, _ value: JSON) {
                out.append(jsonString: name)
                out.append(UInt8(ascii: ":"))
                value.encode(into: &out)
            }
            switch piece {
            case .text, .protobuf: break
            case .path(let path): member(path.path, path.item(writer))
            case .type(let id): member(writer.modelName(id), writer.definition(id, gvks))
            case .special(let name, let value): member(name, value)
            case .custom(let row):
                for (i, (name, value)) in writer.custom(row).enumerated() {
                    if i > 0 { out.append(UInt8(ascii: ",")) }
                    out.append(jsonString: name)
                    out.append(UInt8(ascii: ":"))
                    out.append(contentsOf: value)
                }
            }
        }

        private func writeProtobuf(_ piece: Piece, to out: inout [UInt8]) {
            switch piece {
            case .text: break
            case .protobuf(let bytes): out += bytes
            case .path(let path): out += OpenAPIProtobuf.path(path.path, path.item(writer))
            case .type(let id): out += OpenAPIProtobuf.definition(writer.modelName(id), writer.definition(id, gvks))
            case .special(let name, let value): out += OpenAPIProtobuf.definition(name, value)
            case .custom(let row):
                for (name, value) in writer.custom(row) {
                    // The schema was made by this process; one that does not parse is an object of any content.
                    out += OpenAPIProtobuf.definition(name, (try? JSON.parse(value)) ?? ["type": "object"])
                }
            }
        }

        /// The structs that the resources' kinds, lists and subresources are made of, in the order of their names.
        private static func reachable(_ schema: Schema, _ rows: [ResourceInfo]) -> [TypeID] {
            var open: [TypeID] = ["DeleteOptions", "Status", "WatchEvent", "ListMeta", "ObjectMeta"].compactMap {
                schema.id(named: "meta/v1." + $0)
            }
            for row in rows where row.typeName != nil {
                let kinds =
                    [row.gvk, GroupVersionKind(row.gvr.groupVersion, row.listKind)] + row.subresources.map(\.kind)
                open += kinds.compactMap { schema.kind($0)?.id }
            }
            var seen = Set(open)
            while let id = open.popLast() {
                for field in schema.type(id).fields {
                    var type = field.type
                    while true {
                        if case .array(let inner) = type {
                            type = inner
                        } else if case .map(let inner) = type {
                            type = inner
                        } else {
                            break
                        }
                    }
                    let found: TypeID? =
                        switch type {
                        case .object(let id): id
                        case .schemaOrBool, .schemaOrArray, .schemaOrStrings:
                            schema.id(named: "apiextensions/v1.JSONSchemaProps")
                        default: nil
                        }
                    if let found, seen.insert(found).inserted { open.append(found) }
                }
            }
            return seen.sorted { $0.rawValue < $1.rawValue }
        }
    }
}

/// FNV-1a in 64 bits, twice with different starts: no security in it, only a difference.
struct ContentHash {
    private var a: UInt64 = 0xCBF2_9CE4_8422_2325
    private var b: UInt64 = 0x8422_2325_CBF2_9CE4

    mutating func add(_ text: String) { add(text.utf8) }
    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            a = (a ^ UInt64(byte)) &* 0x100_0000_01B3
            b = (b ^ UInt64(byte &+ 0x55)) &* 0x100_0000_01B3
        }
        // A separator that no UTF-8 text has.
        a = (a ^ 0xFF) &* 0x100_0000_01B3
        b = (b ^ 0xFE) &* 0x100_0000_01B3
    }
    var value: UInt64 { a ^ b.byteSwapped }
    var text: String { (hex(a) + hex(b)).uppercased() }
    private func hex(_ value: UInt64) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

/// The hash of the built-in table, computed once (0.2 ms).
enum TableHash {
    static let value: UInt64 = {
        var digest = ContentHash()
        for package in SchemaTable.packages { digest.add(package.text.bytes) }
        digest.add(SchemaTable.descriptions.bytes)
        return digest.value
    }()
}
