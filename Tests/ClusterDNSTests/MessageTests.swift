import ClusterDNS
import Netlink
import Testing

@Suite struct DNSNameTests {
    @Test func textAndWireFormAreOneName() throws {
        #expect(try name("Web.Default").wire == Array("\u{3}web\u{7}default\u{0}".utf8))
        #expect(try name("web.default.").description == "web.default.")
        #expect(DNSName(".") == .root)
        #expect(try name("a\\.b.c").labels.count == 2)
        #expect(try name("a\\.b\\032.c").description == "a\\.b\\032.c.")
    }

    @Test(arguments: ["", "a..b", ".a", "a\\", "a\\300"]) func noNameIsMadeOf(_ text: String) {
        #expect(DNSName(text) == nil)
    }

    @Test func lengthsAreBounded() {
        #expect(DNSName(String(repeating: "a", count: 64) + ".b") == nil)
        let label = String(repeating: "a", count: 63)
        #expect(DNSName([label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")) != nil)
        #expect(DNSName([label, label, label, String(repeating: "b", count: 62)].joined(separator: ".")) == nil)
    }

    @Test func insideIsByLabels() throws {
        #expect(try name("a.b.c").isInside(name("b.c")))
        #expect(try name("b.c").isInside(name("b.c")))
        #expect(try !name("ab.c").isInside(name("b.c")))
        #expect(try name("x").isInside(.root))
    }
}

@Suite struct MessageTests {
    private func parse(_ bytes: [UInt8]) -> DNSQuery.Parsed { bytes.withUnsafeBytes { DNSQuery.parse($0) } }

    @Test func aQueryIsRead() throws {
        guard case .query(let query) = parse(try query("WEB.default", .aaaa, id: 0x1234, edns: 4096)) else {
            Issue.record("not a query")
            return
        }
        #expect(query.id == 0x1234)
        #expect(query.name == (try name("web.default")))
        #expect(query.question.contains(UInt8(ascii: "W")), "the question keeps the client's spelling")
        #expect(query.type == .aaaa)
        #expect(query.edns?.size == 4096)
        #expect(query.datagramLimit == 1232)
    }

    @Test func answersAreNotAnswered() throws {
        #expect(parse(try query("a", .a, flags: 0x8100)) == .drop)
        #expect(parse([1, 2, 3]) == .drop)
    }

    @Test func whatCannotBeAnsweredIsRefusedWithItsId() throws {
        func refusal(_ bytes: [UInt8]) -> DNSCode? {
            guard case .refusal(let reply, let code) = parse(bytes) else { return nil }
            #expect(reply[0] == 0 && reply[1] == 7 && reply[2] & 0x80 != 0)
            return code
        }
        #expect(refusal(try query("a", .a, flags: 0x2800)) == .notImplemented)
        var two = try query("a", .a)
        two[5] = 2
        #expect(refusal(two) == .formatError)
        #expect(refusal(Array(try query("abc.def", .a).dropLast(5))) == .formatError)
        var version = try query("a", .a, edns: 512)
        version[version.count - 5] = 1
        #expect(refusal(version) == .badVersion)
        // A name that points to itself.
        #expect(refusal([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]) == .formatError)
        #expect(refusal([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 12, 0, 1, 0, 1]) == .formatError)
    }

    private func sample() throws -> [UInt8] {
        let owner = try name("db.default.svc.cluster.local")
        let question = owner.wire + [0, 33, 0, 1]
        var writer = DNSWriter(id: 9, flags: 0x8580, question: question, name: owner, limit: 4096)
        let target = try name("db-0.db.default.svc.cluster.local")
        writer.add(
            DNSRecord(owner, .srv, ttl: 5, .service(priority: 0, weight: 100, port: 80, target: target)), to: .answer)
        writer.add(DNSRecord(owner, .mx, ttl: 5, .mail(preference: 10, target)), to: .answer)
        writer.add(DNSRecord(owner, .cname, ttl: 5, .name(target)), to: .answer)
        writer.add(DNSRecord(owner, .txt, ttl: 5, .text("hello")), to: .answer)
        writer.add(
            DNSRecord(owner, .soa, ttl: 5, .authority(primary: target, mailbox: owner, numbers: [1, 2, 3, 4, 5])),
            to: .authority)
        writer.add(.address(target, ttl: 5, try address("10.42.0.5")), to: .additional)
        writer.add(.address(target, ttl: 5, try address("fd00::5")), to: .additional)
        return writer.finish(edns: EDNS(size: 1232))
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let message = try DNSMessage(sample())
        #expect(message.answers.count == 4 && message.authorities.count == 1 && message.additionals.count == 2)
        #expect(message.answers[2].data == .name(try name("db-0.db.default.svc.cluster.local")))
        #expect(message.answers[3].data == .raw([5] + Array("hello".utf8)))
        #expect(message.additionals[0].data == .address(try address("10.42.0.5")))
        #expect(!message.isTruncated)
    }

    @Test func namesAreWrittenOnce() throws {
        let bytes = try sample()
        let label = Array("\u{4}db-0".utf8)
        let count = (0...bytes.count - label.count).count { Array(bytes[$0..<$0 + label.count]) == label }
        // In the SRV record, which may not be compressed, and once more for all others.
        #expect(count <= 2)
    }

    @Test func whatDoesNotFitIsLeftOutAndMarked() throws {
        let owner = try name("many.example")
        var writer = DNSWriter(id: 1, flags: 0x8180, question: owner.wire + [0, 1, 0, 1], name: owner, limit: 512)
        var added = 0
        for index in 0..<100 where writer.add(.address(owner, ttl: 5, .v4(UInt32(index))), to: .answer, reserving: 11) {
            added += 1
        }
        let bytes = writer.finish(edns: EDNS(size: 512))
        #expect(bytes.count <= 512)
        let message = try DNSMessage(bytes)
        #expect(message.isTruncated)
        #expect(message.answers.count == added && added == 29)
    }

    /// Random damage to real messages: reading ends, with a message or an error, and what is read can be written.
    @Test func damagedMessagesDoNoHarm() throws {
        var generator = SystemRandomNumberGenerator()
        let seeds = [
            try sample(), try query("web.default.svc.cluster.local", .a, edns: 1232), try query("x", .any),
        ]
        let key = CacheKey(try name("db.default.svc.cluster.local"), .srv)
        var (read, refused) = (0, 0)
        for round in 0..<60_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: bytes.removeLast(Int.random(in: 0...min(20, bytes.count), using: &generator))
                case 1: bytes.append(UInt8.random(in: 0...255, using: &generator))
                case 2 where !bytes.isEmpty:
                    // A pointer anywhere.
                    let index = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[index] = 0xc0
                default:
                    guard !bytes.isEmpty else { continue }
                    let index = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[index] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            _ = parse(bytes)
            let stored = bytes.withUnsafeBytes { try? StoredAnswer($0, id: 9, key, maximumTTL: 30) }
            #expect(stored.map { $0.bytes.count <= bytes.count } != false)
            do throws(DNSFormatError) {
                let message = try DNSMessage(bytes)
                read += 1
                var writer = DNSWriter(
                    id: 1, flags: 0, question: message.name.wire + [0, 1, 0, 1], name: message.name, limit: 65_535)
                for record in message.answers + message.additionals { writer.add(record, to: .answer) }
                let again = try DNSMessage(writer.finish(edns: nil))
                #expect(again.answers.count == message.answers.count + message.additionals.count)
            } catch { refused += 1 }
        }
        #expect(read > 1000 && refused > 1000, "\(read) read, \(refused) refused")
    }
}
