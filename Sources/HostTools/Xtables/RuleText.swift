import Netlink

/// A line of iptables-restore by itself, without a kernel: for tests of parsing, encoding and printing.
package enum RuleText {
    /// What `-S` prints of the rules that a line ("-A INPUT -p tcp ...") makes, and of the same after their way through the kernel's
    /// form.
    package static func roundTrip(
        _ line: String, _ family: AddressFamily = .ipv4
    ) throws(ToolError) -> [(written: String, read: String)] {
        let command = try RuleParser.parse(family, try IptablesRestore.words(line[...])) { (_, _) in true }
        return command.rules.map { rule in
            var list = MessageBuffer(capacity: 1024)
            rule.encode(into: &list)
            let read = list.withBytes { RuleDecoder.decode(family, expressions: ByteView($0)) }
            return (rule.options(), read.options())
        }
    }

    /// A rule from the kernel's bytes (NFTA_RULE_EXPRESSIONS) as `-S` and `-L` print it.
    package static func decode(_ expressions: [UInt8], _ family: AddressFamily) -> (options: String, words: String) {
        let rule = expressions.withUnsafeBytes { RuleDecoder.decode(family, expressions: ByteView($0)) }
        return (rule.options(counters: true), rule.line(Rule.ListFormat(isNumeric: true, isVerbose: true), number: nil))
    }
}
