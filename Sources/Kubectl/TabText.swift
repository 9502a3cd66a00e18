/// Columns of text, as Go's text/tabwriter aligns them: a column is a block of consecutive lines that have a cell there,
/// and the last cell of a line belongs to no column.
enum TabText {
    /// - Parameters:
    ///   - minimum: width of a column with its padding.
    ///   - padding: spaces behind the widest cell.
    static func format(_ lines: [[String]], minimum: Int, padding: Int) -> String {
        var out = ""
        var widths: [Int] = []
        let counts = lines.map { $0.map { $0.unicodeScalars.count } }

        func write(_ range: Range<Int>) {
            for line in range {
                for (column, cell) in lines[line].enumerated() {
                    out += cell
                    if column < widths.count {
                        out += String(repeating: " ", count: max(0, widths[column] - counts[line][column]))
                    }
                }
                out += "\n"
            }
        }
        func block(_ range: Range<Int>) {
            var start = range.lowerBound
            let column = widths.count
            var this = range.lowerBound
            while this < range.upperBound {
                if column >= lines[this].count - 1 {
                    this += 1
                    continue
                }
                write(start..<this)
                start = this
                var width = minimum
                while this < range.upperBound, column < lines[this].count - 1 {
                    width = max(width, counts[this][column] + padding)
                    this += 1
                }
                widths.append(width)
                block(start..<this)
                widths.removeLast()
                start = this
            }
            write(start..<range.upperBound)
        }
        block(0..<lines.count)
        return out
    }

    /// A table as `kubectl get` prints it.
    static func table(_ rows: [[String]]) -> String { format(rows, minimum: 6, padding: 3) }

    /// A text with tabs, as `kubectl describe` prints it.
    static func described(_ text: String) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return format(
            lines.map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }, minimum: 0,
            padding: 2)
    }
}
