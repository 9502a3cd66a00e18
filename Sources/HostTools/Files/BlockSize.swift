import Linux

/// Sizes as GNU's tools print them ("1.5G"), and the block sizes that their options name ("1M", "KB", "human-readable").
struct BlockSize: Equatable {
    /// Bytes that count as one, when nothing is scaled.
    var unit: UInt64 = 1024
    /// Scaled to fit: 1.5K, 23M.
    var isScaled = false
    /// Powers of 1024, else of 1000.
    var isBinary = true
    /// A letter for the unit behind the number.
    var hasLetter = false
    /// "B" behind that.
    var hasB = false

    static let human = BlockSize(unit: 1, isScaled: true, isBinary: true, hasLetter: true)
    static let si = BlockSize(unit: 1, isScaled: true, isBinary: false, hasLetter: true)

    init(unit: UInt64 = 1024, isScaled: Bool = false, isBinary: Bool = true, hasLetter: Bool = false) {
        (self.unit, self.isScaled, self.isBinary, self.hasLetter) = (unit, isScaled, isBinary, hasLetter)
    }

    /// Why a text is no size; xstrtol(3) of gnulib tells these apart, and the tools say so.
    enum Failure: Error, Equatable {
        case invalid, suffix, tooLarge

        /// About the argument of an option.
        func text(_ option: String, _ argument: String) -> String {
            switch self {
            case .invalid: "invalid \(option) argument '\(argument)'"
            case .suffix: "invalid suffix in \(option) argument '\(argument)'"
            case .tooLarge: "\(option) argument '\(argument)' too large"
            }
        }
    }

    /// What the environment says, else 1024 bytes.
    static func standard(_ variables: [String], _ environment: (String) -> String?) -> BlockSize {
        for name in variables {
            if let value = environment(name) { return (try? BlockSize(value)) ?? BlockSize() }
        }
        return BlockSize(unit: environment("POSIXLY_CORRECT") == nil ? 1024 : 512)
    }

    init(_ text: String) throws(Failure) {
        if text == "human-readable" { self = .human; return }
        if text == "si" { self = .si; return }
        var text = text[...]
        if text.hasPrefix("'") { text = text.dropFirst() }
        let (size, _) = try BlockSize.number(text, isSigned: false)
        if size == 0 { throw .invalid }
        unit = UInt64(size)
        if let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) {
            hasLetter = true
            hasB = text.hasSuffix("B")
            isBinary = !hasB || text.hasSuffix("iB")
        }
    }

    /// A number with an optional suffix (K, KiB, KB, M ...), or the suffix alone.
    static func number(_ text: Substring, isSigned: Bool) throws(Failure) -> (value: Int64, isNegative: Bool) {
        var rest = text.utf8
        var isNegative = false
        if isSigned, let sign = rest.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            isNegative = sign == UInt8(ascii: "-")
            rest = rest.dropFirst()
        }
        var value: UInt64 = 0
        var digits = 0
        var fits = true
        while let digit = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) {
            let (product, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, more) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
            if over || more { fits = false }
            value = sum
            digits += 1
            rest = rest.dropFirst()
        }
        if digits == 0 { value = 1 }
        guard let letter = rest.first else {
            if digits == 0 { throw .invalid }
            return try signed(fits ? value : .max, isNegative)
        }
        let powers = Array("KMGTPEZY".utf8)
        let upper =
            letter == UInt8(ascii: "k") || letter == UInt8(ascii: "m") || letter == UInt8(ascii: "g")
                || letter == UInt8(ascii: "t") ? letter - 32 : letter
        guard let exponent = powers.firstIndex(of: upper) else { throw digits == 0 ? .invalid : .suffix }
        let suffix = String(decoding: Array(rest.dropFirst()), as: UTF8.self)
        let base: UInt64
        switch suffix {
        case "", "iB": base = 1024
        case "B", "D": base = 1000
        default: throw .suffix
        }
        for _ in 0...exponent {
            let (product, over) = value.multipliedReportingOverflow(by: base)
            if over { fits = false }
            value = product
        }
        return try signed(fits ? value : .max, isNegative)
    }

    private static func signed(_ value: UInt64, _ isNegative: Bool) throws(Failure) -> (Int64, Bool) {
        guard value <= UInt64(Int64.max) else { throw .tooLarge }
        return (isNegative ? -Int64(value) : Int64(value), isNegative)
    }

    /// Rounded up, as du and df do.
    func text(_ amount: UInt64) -> String {
        guard isScaled else {
            let (whole, part) = amount.quotientAndRemainder(dividingBy: unit)
            return "\(whole + (part > 0 ? 1 : 0))" + letter(exponent(of: unit))
        }
        let base: UInt64 = isBinary ? 1024 : 1000
        var (value, tenths, rest, exponent) = (amount, UInt64(0), UInt64(0), 0)
        // `rest`: 0 nothing, 1 below half a tenth, 2 half, 3 above: only whether there is any matters for rounding up.
        while value >= base, exponent < 8 {
            let tenfold = (value % base) * 10 + tenths
            let doubled = (tenfold % base) * 2 + (rest >> 1)
            value /= base
            tenths = tenfold / base
            rest = doubled < base ? (doubled + rest != 0 ? 1 : 0) : 2 + (base < doubled + rest ? 1 : 0)
            exponent += 1
        }
        if exponent > 0, value < 10 {
            if rest > 0 {
                tenths += 1
                rest = 0
                if tenths == 10 { (value, tenths) = (value + 1, 0) }
            }
            if value < 10 { return "\(value).\(tenths)" + letter(exponent) }
        }
        if tenths + rest > 0 {
            value += 1
            if value == base, exponent < 8 { return "1.0" + letter(exponent + 1) }
        }
        return "\(value)" + letter(exponent)
    }

    private func exponent(of size: UInt64) -> Int {
        let base: UInt64 = isBinary ? 1024 : 1000
        var (power, exponent) = (UInt64(1), 0)
        while power < size, exponent < 8 {
            let (next, over) = power.multipliedReportingOverflow(by: base)
            exponent += 1
            if over { break }
            power = next
        }
        return exponent
    }

    private func letter(_ exponent: Int) -> String {
        guard hasLetter else { return "" }
        let letters = Array("KMGTPEZY")
        var text = ""
        if exponent > 0, exponent <= letters.count {
            text = !isBinary && exponent == 1 ? "k" : String(letters[exponent - 1])
        }
        if hasB { text += isBinary && exponent > 0 ? "iB" : "B" }
        return text
    }
}
