internal import CYaml

extension YAML {
    /// The text that `kubectl -o yaml` prints: block style, two spaces, lists not indented below their key, strings quoted
    /// only where they would be read as something else, literal blocks for text of several lines.
    ///
    /// - Parameter sortKeys: in the order of Go's yaml package (numbers by value); else in the document's own order.
    package static func encode(_ value: JSON, sortKeys: Bool = true) -> [UInt8] {
        encodeAll([value], sortKeys: sortKeys)
    }

    /// Several documents, "---" between them.
    package static func encodeAll(_ documents: [JSON], sortKeys: Bool = true) -> [UInt8] {
        var out: [UInt8] = []
        for (i, document) in documents.enumerated() {
            if i > 0 { out.append(ascii: "---\n") }
            let writer = YAMLWriter(sortKeys: sortKeys)
            writer.write(document)
            out += writer.close()
        }
        return out
    }

    package static func text(_ value: JSON, sortKeys: Bool = true) -> String {
        String(decoding: encode(value, sortKeys: sortKeys), as: UTF8.self)
    }
}

/// Feeds libyaml's emitter. Its only failures are of memory and of events in a wrong order, which this cannot make.
private final class YAMLWriter {
    private let emitter: UnsafeMutablePointer<yaml_emitter_t>
    private var output: [UInt8] = []
    private let sortKeys: Bool

    init(sortKeys: Bool) {
        self.sortKeys = sortKeys
        emitter = .allocate(capacity: 1)
        emitter.initialize(to: yaml_emitter_t())
        yaml_emitter_initialize(emitter)
        yaml_emitter_set_unicode(emitter, 1)
        let me = Unmanaged.passUnretained(self).toOpaque()
        yaml_emitter_set_output(
            emitter,
            { data, buffer, size in
                guard let data, let buffer else { return 0 }
                let writer = Unmanaged<YAMLWriter>.fromOpaque(data).takeUnretainedValue()
                writer.output.append(contentsOf: UnsafeBufferPointer(start: buffer, count: size))
                return 1
            }, me)
    }

    func close() -> [UInt8] {
        yaml_emitter_delete(emitter)
        emitter.deallocate()
        return output
    }

    private func emit(_ initialize: (inout yaml_event_t) -> Int32) {
        var event = yaml_event_t()
        guard initialize(&event) == 1 else { return }
        // The emitter owns the event from here on, also when it fails.
        yaml_emitter_emit(emitter, &event)
    }

    func write(_ document: JSON) {
        emit { yaml_stream_start_event_initialize(&$0, YAML_UTF8_ENCODING) }
        emit { yaml_document_start_event_initialize(&$0, nil, nil, nil, 1) }
        node(document)
        emit { yaml_document_end_event_initialize(&$0, 1) }
        emit { yaml_stream_end_event_initialize(&$0) }
        yaml_emitter_flush(emitter)
    }

    private func node(_ value: JSON) {
        switch value {
        case .null: scalar("null", YAML_PLAIN_SCALAR_STYLE)
        case .bool, .int, .double: scalar(value.text, YAML_PLAIN_SCALAR_STYLE)
        case .string(let text): string(text)
        case .array(let list):
            let style = list.isEmpty ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE
            emit { yaml_sequence_start_event_initialize(&$0, nil, nil, 1, style) }
            for element in list { node(element) }
            emit { yaml_sequence_end_event_initialize(&$0) }
        case .object(let object):
            let style = object.isEmpty ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE
            emit { yaml_mapping_start_event_initialize(&$0, nil, nil, 1, style) }
            let members = sortKeys ? object.members.sorted { YAMLKeyOrder.precedes($0.key, $1.key) } : object.members
            for (key, value) in members {
                string(key)
                node(value)
            }
            emit { yaml_mapping_end_event_initialize(&$0) }
        }
    }

    private func string(_ text: String) {
        if text.utf8.contains(UInt8(ascii: "\n")) {
            scalar(text, YAML_LITERAL_SCALAR_STYLE)
        } else if case .string = YAMLScalar.resolve(text), !YAMLScalar.isBase60(text), text != "<<", text != "=",
            !YAMLScalar.looksLikeFloatWord(text)
        {
            scalar(text, YAML_PLAIN_SCALAR_STYLE)
        } else {
            scalar(text, YAML_DOUBLE_QUOTED_SCALAR_STYLE)
        }
    }

    private func scalar(_ text: String, _ style: yaml_scalar_style_t) {
        var text = text
        text.withUTF8 { bytes in
            emit { event in
                // An empty string has no address, but libyaml wants one; it only reads.
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { none in
                    none[0] = 0
                    return yaml_scalar_event_initialize(
                        &event, nil, nil, bytes.baseAddress ?? UnsafePointer(none.baseAddress),
                        Int32(clamping: bytes.count),
                        1, 1, style)
                }
            }
        }
    }
}

extension YAMLScalar {
    /// .inf, .nan and dates are other things to other readers.
    static func looksLikeFloatWord(_ text: String) -> Bool {
        let word = text.drop { $0 == "-" || $0 == "+" }
        if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(word) { return true }
        // A date (2006-1-2, perhaps with a time) resolves to a timestamp.
        let parts = text.prefix(10).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].utf8.count == 4, parts[0].utf8.allSatisfy({ $0 &- 48 < 10 }) else {
            return false
        }
        return text.utf8.count == 10 ? isDate(text) : Timestamp(text) != nil
    }

    private static func isDate(_ text: String) -> Bool { Timestamp(text + "T00:00:00Z") != nil }
}

/// The order in which Go's yaml package writes keys: letters after other characters, numbers by their value.
enum YAMLKeyOrder {
    static func precedes(_ a: String, _ b: String) -> Bool {
        let x = Array(a.unicodeScalars)
        let y = Array(b.unicodeScalars)
        var inDigits = false
        for i in 0..<min(x.count, y.count) {
            if x[i] == y[i] {
                inDigits = isDigit(x[i])
                continue
            }
            let xLetter = x[i].properties.isAlphabetic
            let yLetter = y[i].properties.isAlphabetic
            if xLetter, yLetter { return x[i].value < y[i].value }
            if xLetter || yLetter { return inDigits ? xLetter : yLetter }
            if isDigit(x[i]) || isDigit(y[i]) {
                let (xEnd, xZeros) = run(x, i)
                let (yEnd, yZeros) = run(y, i)
                // A longer run of digits (without leading zeros) is a larger number.
                if xEnd - xZeros != yEnd - yZeros { return xEnd - xZeros < yEnd - yZeros }
                let p = x[xZeros..<xEnd].map(\.value)
                let q = y[yZeros..<yEnd].map(\.value)
                if p != q { return p.lexicographicallyPrecedes(q) }
            }
            return x[i].value < y[i].value
        }
        return x.count < y.count
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { scalar.value &- 48 < 10 }

    /// The end of the digits at `start`, and where they begin without leading zeros.
    private static func run(_ text: [Unicode.Scalar], _ start: Int) -> (end: Int, first: Int) {
        var end = start
        while end < text.count, isDigit(text[end]) { end += 1 }
        var first = start
        while first > 0, isDigit(text[first - 1]) { first -= 1 }
        while first < end, text[first] == "0" { first += 1 }
        return (end, min(first, end))
    }
}
