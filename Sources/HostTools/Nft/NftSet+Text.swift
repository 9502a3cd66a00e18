import Netlink

extension NftSet {
    /// The declaration's lines and the elements, between "{" and "}"; `elements` is nil where they are left out (-t).
    func lines(_ elements: [NftElement]?, isNumeric: Bool) -> [String] {
        var lines = [
            "type \(key.name)" + (has(NftSet.map) ? " : \(data.name)" : has(NftSet.object) ? " : counter" : "")
        ]
        if !has(NftSet.constant) {
            if savesMemory { lines.append("policy memory") }
            if size > 0 { lines.append("size \(size)") }
        }
        var words: [String] = []
        if has(NftSet.constant) { words.append("constant") }
        if has(NftSet.dynamic) { words.append("dynamic") }
        if has(NftSet.interval) { words.append("interval") }
        if has(NftSet.timeout) { words.append("timeout") }
        if !words.isEmpty { lines.append("flags " + words.joined(separator: ",")) }
        if merges { lines.append("auto-merge") }
        if timeout > 0 { lines.append("timeout " + NftType.duration(timeout, isNumeric: isNumeric)) }
        if collection > 0 {
            lines.append("gc-interval " + NftType.duration(UInt64(collection), isNumeric: isNumeric))
        }
        if let comment { lines.append("comment \"\(comment)\"") }
        if let elements, !elements.isEmpty { lines.append("elements = " + text(elements, isNumeric: isNumeric)) }
        return lines
    }

    /// "{ 1.2.3.4, 1.2.3.5 }", in as many lines as nft takes.
    func text(_ elements: [NftElement], isNumeric: Bool) -> String {
        var text = "{ "
        var count = 0
        for (index, element) in elements.enumerated() {
            if index > 0 {
                let isFull = count >= (key.isConcatenation ? 1 : key.perLine)
                text += isFull && !has(NftSet.anonymous) ? ",\n\t\t\t     " : ", "
                if isFull { count = 0 }
            }
            text += self.text(element, isNumeric: isNumeric)
            count += 1
        }
        return text + " }"
    }

    private func text(_ element: NftElement, isNumeric: Bool) -> String {
        var text = element.isCatchAll ? "*" : keyText(element, isNumeric: isNumeric)
        if let timeout = element.timeout, timeout != self.timeout || self.timeout == 0 {
            text += " timeout " + NftType.duration(timeout, isNumeric: isNumeric)
        }
        if let expires = element.expires { text += " expires " + NftType.duration(expires, isNumeric: isNumeric) }
        if let comment = element.comment { text += " comment \"\(comment)\"" }
        switch element.value {
        case .nothing: return text
        case .verdict(let words): return "\(text) : \(words)"
        case .object(let name): return "\(text) : \"\(name)\""
        case .data(let bytes):
            let types = data.fields
            let parts = zip(NftSet.split(bytes, types), types).map { $1.text($0, isNumeric: isNumeric) }
            return "\(text) : \(parts.joined(separator: " . "))"
        }
    }

    private func keyText(_ element: NftElement, isNumeric: Bool) -> String {
        let types = key.fields
        let starts = NftSet.split(element.key, types)
        guard let end = element.end else {
            return zip(starts, types).map { $1.text($0, isNumeric: isNumeric) }.joined(separator: " . ")
        }
        return zip(zip(starts, NftSet.split(end, types)), types).map { bounds, type in
            NftSet.range(Array(bounds.0), Array(bounds.1), type, isNumeric: isNumeric)
        }.joined(separator: " . ")
    }

    /// One value, a prefix or a range.
    static func range(_ first: [UInt8], _ last: [UInt8], _ type: NftType, isNumeric: Bool) -> String {
        if first == last { return type.text(first, isNumeric: isNumeric) }
        if type.hasPrefixes, let length = prefixLength(first, last) {
            return "\(type.text(first, isNumeric: isNumeric))/\(length)"
        }
        // Both ends without names: only numbers are in between.
        return "\(type.text(first, isNumeric: true))-\(type.text(last, isNumeric: true))"
    }

    /// nil: the range is no prefix.
    static func prefixLength(_ first: [UInt8], _ last: [UInt8]) -> Int? {
        var length = 0
        var isInside = true
        for (one, other) in zip(first, last) {
            for bit in (0..<8 as Range<UInt8>).reversed() {
                let (a, b) = (one >> bit & 1, other >> bit & 1)
                if isInside, a == b {
                    length += 1
                } else if a == 0, b == 1 {
                    isInside = false
                } else {
                    return nil
                }
            }
        }
        return length
    }

    /// A mask of ones and zeros behind them; nil: it is another.
    static func maskLength(_ mask: [UInt8]) -> Int? {
        prefixLength([UInt8](repeating: 0, count: mask.count), mask.map { ~$0 })
    }
}
