internal import CYaml

/// What is wrong with a YAML text; the message has the words and the line number of Go's yaml package.
package struct YAMLError: Error, Sendable, Equatable, CustomStringConvertible {
    package var message: String
    /// From 1; 0 where there is none.
    package var line: Int
    package var description: String { message }
}

/// YAML as Kubernetes reads and writes it: the JSON types only, scalars resolved by YAML 1.1's rules as sigs.k8s.io/yaml
/// does (`yes` and `0644` are no strings, dates are). The scanner and the emitter are libyaml's.
package enum YAML {
    package struct Limits: Sendable {
        package var depth = 256
        /// Scalars, lists and maps in all, those that aliases repeat counted each time.
        package var values = 1_000_000
        /// What aliases may add, in values and in bytes of text.
        package var aliasedValues = 100_000
        package var aliasedBytes = 8 * 1024 * 1024
        package init() {}
    }

    /// The first document; `.null` if there is none.
    /// - Throws: for a text that is not YAML, a key given twice, and whatever passes the limits.
    package static func parse(_ bytes: [UInt8], limits: Limits = Limits()) throws(YAMLError) -> JSON {
        try documents(bytes, limits: limits, maximum: 1).first ?? .null
    }

    /// The same, but where a key is given twice the last value wins, as in Go; `duplicates` gets what the strict form
    /// complains of: `line 3: key "a" already set in map`.
    package static func parse(
        _ bytes: [UInt8], limits: Limits = Limits(), duplicates: inout [String]
    ) throws(YAMLError) -> JSON {
        var found: [String] = []
        defer { duplicates += found }
        return try documents(bytes, limits: limits, maximum: 1, duplicates: &found).first ?? .null
    }

    /// All documents of a stream, "---" between them. Empty ones are left out, as kubectl does.
    package static func parseAll(_ bytes: [UInt8], limits: Limits = Limits()) throws(YAMLError) -> [JSON] {
        try documents(bytes, limits: limits, maximum: .max).filter { !$0.isNull }
    }

    /// The same, but where a key is given twice the last value wins; see `parse(_:limits:duplicates:)`.
    package static func parseAll(
        _ bytes: [UInt8], limits: Limits = Limits(), duplicates: inout [String]
    ) throws(YAMLError) -> [JSON] {
        try documents(bytes, limits: limits, maximum: .max, duplicates: &duplicates).filter { !$0.isNull }
    }

    private static func documents(_ bytes: [UInt8], limits: Limits, maximum: Int) throws(YAMLError) -> [JSON] {
        var duplicates: [String] = []
        let found = try documents(bytes, limits: limits, maximum: maximum, duplicates: &duplicates)
        guard let first = duplicates.first else { return found }
        // "line 3: key ..."
        let line = Int(first.dropFirst(5).prefix { $0 != ":" }) ?? 0
        throw YAMLError(message: message(duplicates: duplicates), line: line)
    }

    /// The words in which Go's package complains of keys that are given twice.
    package static func message(duplicates: [String]) -> String {
        "yaml: unmarshal errors:\n  " + duplicates.joined(separator: "\n  ")
    }

    private static func documents(
        _ bytes: [UInt8], limits: Limits, maximum: Int, duplicates: inout [String]
    ) throws(YAMLError) -> [JSON] {
        let result: Result<([JSON], [String]), YAMLError> = bytes.withUnsafeBufferPointer { text in
            let reader = YAMLReader(text, limits: limits)
            defer { reader.close() }
            do throws(YAMLError) {
                return .success((try reader.documents(maximum: maximum), reader.duplicates))
            } catch {
                return .failure(error)
            }
        }
        let (documents, found) = try result.get()
        duplicates += found
        return documents
    }
}

/// Builds values from libyaml's events, one document at a time.
private final class YAMLReader {
    private struct Anchored {
        var value: JSON
        var values: Int
        var bytes: Int
    }

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private var event = yaml_event_t()
    private var hasEvent = false
    private let limits: YAML.Limits
    private var anchors: [String: Anchored] = [:]
    private var open: Set<String> = []
    private var depth = 0
    private var values = 0
    private var bytes = 0
    private var aliasedValues = 0
    private var aliasedBytes = 0
    private static let maximumDuplicates = 100
    private(set) var duplicates: [String] = []

    init(_ text: UnsafeBufferPointer<UInt8>, limits: YAML.Limits) {
        self.limits = limits
        parser = .allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
        yaml_parser_initialize(parser)
        // libyaml wants an address even for no bytes.
        yaml_parser_set_input_string(parser, text.baseAddress ?? UnsafePointer(Self.empty), text.count)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    }

    nonisolated(unsafe) private static let empty: UnsafeMutablePointer<UInt8> = {
        let byte = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
        byte.initialize(to: 0)
        return byte
    }()

    func close() {
        release()
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    private func release() {
        if hasEvent { yaml_event_delete(&event) }
        hasEvent = false
    }

    private var line: Int { Int(event.start_mark.line) + 1 }

    private func fail(_ message: String) -> YAMLError {
        YAMLError(message: "yaml: line \(line): \(message)", line: line)
    }
    private func failPlain(_ message: String) -> YAMLError { YAMLError(message: "yaml: \(message)", line: line) }

    private func next() throws(YAMLError) {
        release()
        guard yaml_parser_parse(parser, &event) == 1 else {
            let problem = parser.pointee.problem.map { String(cString: $0) } ?? "the text could not be read"
            var line = Int(parser.pointee.problem_mark.line)
            if parser.pointee.error == YAML_SCANNER_ERROR || parser.pointee.error == YAML_PARSER_ERROR { line += 1 }
            if parser.pointee.error == YAML_READER_ERROR {
                throw YAMLError(message: "yaml: \(problem)", line: 0)
            }
            throw YAMLError(message: "yaml: line \(line): \(problem)", line: line)
        }
        hasEvent = true
    }

    func documents(maximum: Int) throws(YAMLError) -> [JSON] {
        var found: [JSON] = []
        while found.count < maximum {
            try next()
            switch event.type {
            case YAML_STREAM_END_EVENT: return found
            case YAML_DOCUMENT_START_EVENT:
                anchors = [:]
                try next()
                found.append(try node())
            default: continue
            }
        }
        return found
    }

    /// The node that begins with the current event; its last event is current afterwards.
    private func node() throws(YAMLError) -> JSON {
        values += 1
        guard values <= limits.values else { throw failPlain("document has more than \(limits.values) values") }
        let anchor = anchorName()
        if let anchor { open.insert(anchor) }
        let before = (values: values - 1, bytes: bytes)
        let value: JSON
        switch event.type {
        case YAML_ALIAS_EVENT: return try alias()
        case YAML_SCALAR_EVENT: value = try scalar()
        case YAML_SEQUENCE_START_EVENT: value = try sequence()
        case YAML_MAPPING_START_EVENT: value = try mapping()
        default: throw fail("did not find expected node content")
        }
        if let anchor {
            open.remove(anchor)
            anchors[anchor] = Anchored(value: value, values: values - before.values, bytes: bytes - before.bytes)
        }
        return value
    }

    private func anchorName() -> String? {
        let name =
            switch event.type {
            case YAML_SCALAR_EVENT: event.data.scalar.anchor
            case YAML_SEQUENCE_START_EVENT: event.data.sequence_start.anchor
            case YAML_MAPPING_START_EVENT: event.data.mapping_start.anchor
            default: nil as UnsafeMutablePointer<yaml_char_t>?
            }
        return name.map { String(cString: $0) }
    }

    private func alias() throws(YAMLError) -> JSON {
        let name = event.data.alias.anchor.map { String(cString: $0) } ?? ""
        guard !open.contains(name) else { throw failPlain("anchor '\(name)' value contains itself") }
        guard let found = anchors[name] else { throw failPlain("unknown anchor '\(name)' referenced") }
        aliasedValues += found.values
        aliasedBytes += found.bytes
        values += found.values
        bytes += found.bytes
        guard aliasedValues <= limits.aliasedValues, aliasedBytes <= limits.aliasedBytes, values <= limits.values else {
            throw failPlain("document contains excessive aliasing")
        }
        return found.value
    }

    private func enter() throws(YAMLError) {
        depth += 1
        guard depth <= limits.depth else { throw fail("exceeded max depth of \(limits.depth)") }
    }

    private func sequence() throws(YAMLError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var list: [JSON] = []
        try next()
        while event.type != YAML_SEQUENCE_END_EVENT {
            list.append(try node())
            try next()
        }
        return .array(list)
    }

    private func mapping() throws(YAMLError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var members: [JSONObject.Member] = []
        var places: [String: Int] = [:]
        var merges: [(JSON, Int)] = []
        try next()
        while event.type != YAML_MAPPING_END_EVENT {
            let keyLine = line
            let isMerge = isMergeKey()
            let key = try self.key(try node(), keyLine)
            try next()
            let value = try node()
            if isMerge {
                merges.append((value, keyLine))
            } else if let place = places[key] {
                members[place].value = value
                if duplicates.count < Self.maximumDuplicates {
                    duplicates.append("line \(keyLine): key \(JSON.string(key).text) already set in map")
                }
            } else {
                places[key] = members.count
                members.append((key, value))
            }
            try next()
        }
        for (value, line) in merges { try merge(value, into: &members, &places, line) }
        return .object(JSONObject(members: members))
    }

    private func isMergeKey() -> Bool {
        guard event.type == YAML_SCALAR_EVENT, event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE else { return false }
        return event.data.scalar.length == 2 && event.data.scalar.value[0] == UInt8(ascii: "<")
            && event.data.scalar.value[1] == UInt8(ascii: "<")
    }

    /// Members of a merged map, where the map does not have them itself; of several maps the first wins.
    private func merge(
        _ value: JSON, into members: inout [JSONObject.Member], _ places: inout [String: Int], _ line: Int
    ) throws(YAMLError) {
        switch value {
        case .object(let object):
            for (key, value) in object where places[key] == nil {
                places[key] = members.count
                members.append((key, value))
            }
        case .array(let list):
            for item in list {
                guard case .object = item else { throw Self.badMerge(line) }
                try merge(item, into: &members, &places, line)
            }
        default: throw Self.badMerge(line)
        }
    }

    private static func badMerge(_ line: Int) -> YAMLError {
        YAMLError(message: "yaml: map merge requires map or sequence of maps as the value", line: line)
    }

    /// JSON's keys are strings: numbers and booleans become text.
    private func key(_ value: JSON, _ line: Int) throws(YAMLError) -> String {
        switch value {
        case .string(let text): return text
        case .int, .double, .bool: return value.text
        case .null, .array, .object:
            throw YAMLError(
                message: "yaml: line \(line): a key must be a string, a number or a boolean", line: line)
        }
    }

    private func scalar() throws(YAMLError) -> JSON {
        let scalar = event.data.scalar
        let raw = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
        let text = String(decoding: raw, as: UTF8.self)
        bytes += raw.count
        let tag = scalar.tag.map { String(cString: $0) } ?? ""
        let plain = scalar.style == YAML_PLAIN_SCALAR_STYLE
        switch tag {
        case "": return plain ? YAMLScalar.resolve(text) : .string(text)
        case "!", "tag:yaml.org,2002:str": return .string(text)
        case "tag:yaml.org,2002:binary":
            guard let decoded = Base64.decode(text) else { throw fail("!!binary value contains invalid base64 data") }
            return .string(String(decoding: decoded, as: UTF8.self))
        case "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null":
            let value = YAMLScalar.resolve(text)
            if YAMLScalar.tag(of: value) == tag { return value }
            if tag.hasSuffix("float"), case .int = value { return value }
            let short = "!!" + (tag.split(separator: ":").last.map(String.init) ?? "")
            throw fail("cannot decode !!str `\(text.prefix(40))` as a \(short)")
        default: return .string(text)
        }
    }
}
