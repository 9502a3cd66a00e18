/// Functions of texts; positions are code points. Source: cel-go's ext.Strings.
enum CELTexts {
    private static var noOverload: CELError { CELEvaluation.noOverload }

    static func call(_ function: CELFunction, _ v: [CELValue]) throws(CELError) -> CELValue {
        guard case .string(let own)? = v.first else { throw noOverload }
        switch function {
        case .startsWith, .endsWith, .contains: return .bool(try matches(function, own, v))
        case .lowerAscii:
            return .string(String(decoding: own.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self))
        case .upperAscii:
            return .string(String(decoding: own.utf8.map { (97...122).contains($0) ? $0 - 32 : $0 }, as: UTF8.self))
        case .trim: return .string(trimmed(own))
        case .reverse: return text(Array(own.unicodeScalars).reversed())
        case .charAt:
            let scalars = Array(own.unicodeScalars)
            let at = try position(v, 1, scalars.count)
            return at == scalars.count ? .string("") : text([scalars[at]])
        case .substring:
            let scalars = Array(own.unicodeScalars)
            let start = try position(v, 1, scalars.count)
            let end = v.count == 3 ? try position(v, 2, scalars.count) : scalars.count
            guard start <= end else {
                throw CELError("invalid substring range. start: \(start), end: \(end)")
            }
            return text(Array(scalars[start..<end]))
        case .indexOf, .lastIndexOf: return try find(function, own, v)
        case .replace: return try replaced(own, v)
        case .split: return try split(own, v)
        default: throw noOverload
        }
    }

    private static func text(_ scalars: [Unicode.Scalar]) -> CELValue {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return .string(String(view))
    }

    private static func argument(_ v: [CELValue], _ i: Int) throws(CELError) -> String {
        guard v.count > i, case .string(let text) = v[i] else { throw noOverload }
        return text
    }

    private static func position(_ v: [CELValue], _ i: Int, _ count: Int) throws(CELError) -> Int {
        guard v.count > i, case .int(let at) = v[i] else { throw noOverload }
        guard at >= 0, at <= Int64(count) else { throw CELError("index out of range: \(at)") }
        return Int(at)
    }

    private static func matches(_ function: CELFunction, _ own: String, _ v: [CELValue]) throws(CELError) -> Bool {
        let (text, part) = (Array(own.utf8), Array(try argument(v, 1).utf8))
        switch function {
        case .startsWith: return text.starts(with: part)
        case .endsWith: return text.count >= part.count && text.suffix(part.count).elementsEqual(part)
        default: return first(part, in: text, from: 0) != nil
        }
    }

    /// Where a part begins; the empty one is everywhere.
    private static func first<T: Equatable>(_ part: [T], in list: [T], from start: Int) -> Int? {
        var at = start
        while at + part.count <= list.count {
            if list[at..<(at + part.count)].elementsEqual(part) { return at }
            at += 1
        }
        return nil
    }

    private static func trimmed(_ text: String) -> String {
        var scalars = Substring(text).unicodeScalars
        while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
        while let first = scalars.first, first.properties.isWhitespace { scalars.removeFirst() }
        return String(scalars)
    }

    private static func find(_ function: CELFunction, _ own: String, _ v: [CELValue]) throws(CELError) -> CELValue {
        let (scalars, part) = (Array(own.unicodeScalars), Array(try argument(v, 1).unicodeScalars))
        if function == .indexOf {
            let start = v.count == 3 ? try position(v, 2, scalars.count) : 0
            return .int(Int64(first(part, in: scalars, from: start) ?? -1))
        }
        var at = scalars.count - part.count
        if v.count == 3 { at = min(at, try position(v, 2, scalars.count)) }
        while at >= 0 {
            if scalars[at..<(at + part.count)].elementsEqual(part) { return .int(Int64(at)) }
            at -= 1
        }
        return .int(-1)
    }

    private static func limit(_ v: [CELValue], _ i: Int) throws(CELError) -> Int64 {
        guard v.count > i else { return -1 }
        guard case .int(let limit) = v[i] else { throw noOverload }
        return limit
    }

    /// Parts between separators, at most as many as asked for; the empty separator parts all code points.
    private static func parts(_ own: String, _ separator: String, _ most: Int64) -> [[Unicode.Scalar]] {
        let (scalars, mark) = (Array(own.unicodeScalars), Array(separator.unicodeScalars))
        var (result, start) = ([[Unicode.Scalar]](), 0)
        while most < 0 || Int64(result.count) < most - 1 {
            if mark.isEmpty {
                guard start + 1 < scalars.count else { break }
                result.append([scalars[start]])
                start += 1
                continue
            }
            guard let end = first(mark, in: scalars, from: start) else { break }
            result.append(Array(scalars[start..<end]))
            start = end + mark.count
        }
        if !(mark.isEmpty && scalars.isEmpty) { result.append(Array(scalars[start...])) }
        return result
    }

    private static func split(_ own: String, _ v: [CELValue]) throws(CELError) -> CELValue {
        let most = try limit(v, 2)
        if most == 0 { return .list([]) }
        return .list(parts(own, try argument(v, 1), most).map(text))
    }

    private static func replaced(_ own: String, _ v: [CELValue]) throws(CELError) -> CELValue {
        let (old, new, most) = (try argument(v, 1), try argument(v, 2), try limit(v, 3))
        if old.isEmpty {
            // Between all code points, and at both ends.
            var (result, left) = ("", most)
            for scalar in own.unicodeScalars {
                if left != 0 { result += new }
                left -= left > 0 ? 1 : 0
                result.unicodeScalars.append(scalar)
                try bound(result)
            }
            return .string(left == 0 ? result : result + new)
        }
        let pieces = parts(own, old, most < 0 ? -1 : most == .max ? -1 : most + 1)
        var result = ""
        for (i, piece) in pieces.enumerated() {
            if i > 0 { result += new }
            result.unicodeScalars.append(contentsOf: piece)
            try bound(result)
        }
        return .string(result)
    }

    static func join(_ items: [CELValue], _ separator: CELValue) throws(CELError) -> CELValue {
        guard case .string(let separator) = separator else { throw noOverload }
        var result = ""
        for (i, item) in items.enumerated() {
            guard case .string(let text) = item else { throw noOverload }
            if i > 0 { result += separator }
            result += text
            try bound(result)
        }
        return .string(result)
    }

    private static func bound(_ text: String) throws(CELError) {
        if text.utf8.count > 1 << 20 { throw CELError("text of more than 1 MiB") }
    }
}
