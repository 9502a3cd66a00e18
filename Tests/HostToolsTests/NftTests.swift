import Linux
import Netlink
import Testing

@testable import HostTools

@Suite struct NftTests {
    private func text(
        _ family: UInt8 = 2, _ sets: [NftSet] = [], numeric: Bool = false, _ body: (inout MessageBuffer) -> Void
    ) -> String {
        var list = MessageBuffer(capacity: 1024)
        body(&list)
        return list.withBytes {
            NftRuleDecoder.decode(
                ByteView($0), family: family, sets: Dictionary(uniqueKeysWithValues: sets.map { ($0.name, $0) }),
                isNumeric: numeric)
        }
    }

    private static func payload(_ list: inout MessageBuffer, _ base: UInt32, _ offset: UInt32, _ length: UInt32) {
        list.expression("payload") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: base)
            $0.attribute(3, big: offset)
            $0.attribute(4, big: length)
        }
    }

    private static func compare(_ list: inout MessageBuffer, _ operation: UInt32 = 0, _ bytes: [UInt8]) {
        list.expression("cmp") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: operation)
            $0.nested(3) { $0.attribute(1, bytes: bytes) }
        }
    }

    private static func meta(_ list: inout MessageBuffer, _ key: UInt32) {
        list.expression("meta") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: key)
        }
    }

    private static func mask(_ list: inout MessageBuffer, _ mask: [UInt8], xor: [UInt8]) {
        list.expression("bitwise") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: UInt32(1))
            $0.attribute(3, big: UInt32(mask.count))
            $0.nested(4) { $0.attribute(1, bytes: mask) }
            $0.nested(5) { $0.attribute(1, bytes: xor) }
        }
    }

    @Test func aProtocolIsNamedByWhatFollows() {
        let rule = text {
            Self.meta(&$0, 16)
            Self.compare(&$0, 0, [6])
            Self.payload(&$0, 2, 2, 2)
            Self.compare(&$0, 1, [0, 80])
        }
        #expect(rule == "tcp dport != 80")
    }

    @Test func prefixes() {
        let rule = text {
            Self.payload(&$0, 1, 12, 4)
            Self.mask(&$0, [255, 255, 0, 0], xor: [0, 0, 0, 0])
            Self.compare(&$0, 0, [10, 42, 0, 0])
        }
        #expect(rule == "ip saddr 10.42.0.0/16")
        // As nft optimizes them: the first bytes only.
        let short = text {
            Self.payload(&$0, 1, 12, 4)
            Self.compare(&$0, 1, [10, 42])
        }
        #expect(short == "ip saddr != 10.42.0.0/16")
    }

    @Test func bitsOfAMark() {
        let one: [UInt8] = [1, 0, 0, 0]
        let rule = text {
            Self.meta(&$0, 3)
            Self.mask(&$0, one, xor: [0, 0, 0, 0])
            Self.compare(&$0, 0, one)
            Self.meta(&$0, 3)
            Self.mask(&$0, one.map { ~$0 }, xor: one)
            $0.expression("meta") {
                $0.attribute(2, big: UInt32(3))
                $0.attribute(3, big: UInt32(1))
            }
        }
        #expect(rule == "meta mark & 0x00000001 == 0x00000001 meta mark set meta mark | 0x00000001")
    }

    @Test func whatIsNotKnownIsAComment() {
        #expect(text { $0.expression("tproxy") { _ in } } == "# unknown: tproxy")
        #expect(text { Self.compare(&$0, 0, [1]) } == "# unknown: cmp")
        #expect(text { $0.expression("lookup") { _ in } } == "# unknown: lookup")
        #expect(
            text {
                Self.payload(&$0, 4, 1, 2); Self.compare(&$0, 0, [1, 2])
            } == "@ih,8,16 258")
    }

    @Test func rangesOfOneFieldArePutTogether() {
        var set = NftSet(name: "s", key: .ipv4)
        set.flags = NftSet.interval
        func element(_ key: [UInt8], _ isEnd: Bool) -> NftElement {
            var element = NftElement(key: key)
            element.isRangeEnd = isEnd
            return element
        }
        let elements = set.inOrder([
            element([224, 0, 0, 0], false), element([10, 43, 0, 0], true), element([240, 0, 0, 0], true),
            element([10, 42, 0, 0], false), element([0, 0, 0, 0], true), element([255, 0, 0, 9], false),
        ])
        #expect(
            set.text(elements, isNumeric: false)
                == "{ 10.42.0.0/16, 224.0.0.0/4,\n\t\t\t     255.0.0.9-255.255.255.255 }")
        #expect(set.lines(elements, isNumeric: false).prefix(2) == ["type ipv4_addr", "flags interval"])
    }

    @Test func concatenationsCountFromTheEnd() {
        let set = NftSet(name: "s", key: NftType(id: 7 << 12 | 12 << 6 | 13))
        func element(_ last: UInt8, _ port: [UInt8]) -> NftElement {
            NftElement(key: [10, 43, 0, last, 6, 0, 0, 0] + port + [0, 0])
        }
        let elements = set.inOrder([element(1, [1, 187]), element(2, [0, 80]), element(1, [0, 80])])
        #expect(
            set.text(elements, isNumeric: true)
                == "{ 10.43.0.1 . 6 . 80,\n\t\t\t     10.43.0.2 . 6 . 80,\n\t\t\t     10.43.0.1 . 6 . 443 }")
        #expect(set.key.name == "ipv4_addr . inet_proto . inet_service")
    }

    @Test(
        arguments: [
            (-100, 2, "prerouting", "dstnat"), (-98, 2, "prerouting", "dstnat + 2"), (-98, 2, "output", "-98"),
            (-5, 10, "input", "filter - 5"), (0, 3, "input", "filter"), (300, 2, "postrouting", "300"),
            (Int32.min, 1, "input", "-2147483648"), (101, 2, "postrouting", "srcnat + 1"),
        ] as [(Int32, UInt8, String, String)])
    func priorities(_ value: Int32, _ family: UInt8, _ hook: String, _ text: String) {
        #expect(NftNames.priority(value, family, hook, isNumeric: false) == text)
    }

    @Test func valuesOfAnyLength() {
        #expect(NftType.time.text([UInt8](repeating: 0xff, count: 8), isNumeric: false).hasPrefix("213503982334d"))
        #expect(NftType.mark.text([1], isNumeric: false) == "0x00000001")
        #expect(NftType.ipv4.text([1, 2], isNumeric: false) == "0x0102")
        #expect(NftType(id: 63).text([UInt8](repeating: 1, count: 9), isNumeric: false) == "0x010101010101010101")
        #expect(NftType(id: 0).name == "unknown" && NftType.interface.text([0, 0, 0, 0], isNumeric: false) == "0")
    }

    @Test(arguments: [
        (0, "0s"), (10_800_000, "3h"), (90_061_001, "1d1h1m1s1ms"), (UInt64.max, "213503982334d14h25m51s615ms"),
    ])
    func durations(_ milliseconds: UInt64, _ text: String) { #expect(NftType.duration(milliseconds) == text) }

    @Test(arguments: [
        "", "add rule x", "list", "list foo", "list table", "list chain ip a", "list tables ip extra", "--nosuch",
    ])
    func otherCommandsAreRefused(_ words: String) {
        let null = (try? FileDescriptor.open("/dev/null", O_RDWR).take()) ?? 2
        defer { close(null) }
        let call = ToolCall(
            name: "nft", arguments: words.split(separator: " ").map(String.init), output: null, errors: null)
        #expect(NftCommand.run(call) == 1)
    }
}
