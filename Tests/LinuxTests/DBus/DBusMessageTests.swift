import Linux
import Testing

@Suite("D-Bus messages") struct DBusMessageTests {
    /// As `dbus-send --system --dest=org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus.Hello` writes it.
    @Test func aCallHasTheBytesOfTheSpecification() {
        var hello = DBusMessage.call("Hello", on: "/org/freedesktop/DBus", "org.freedesktop.DBus", at: "a.b")
        hello.serial = 1
        var expected: [UInt8] = [0x6c, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]
        var fields: [UInt8] = []
        func field(_ code: UInt8, _ type: Character, _ text: String) {
            while fields.count % 8 != 0 { fields.append(0) }
            fields += [code, 1, type.asciiValue ?? 0, 0, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8) + [0]
        }
        field(1, "o", "/org/freedesktop/DBus")
        field(2, "s", "org.freedesktop.DBus")
        field(3, "s", "Hello")
        field(6, "s", "a.b")
        expected += [UInt8(fields.count), 0, 0, 0] + fields
        while expected.count % 8 != 0 { expected.append(0) }
        #expect(hello.encoded() == expected)
    }

    @Test func whatIsWrittenIsRead() throws {
        var message = DBusMessage(.signal)
        message.serial = 77
        message.fields = [1: .objectPath("/p"), 2: .string("i.f"), 3: .string("M"), 5: .uint32(9)]
        message.body = [
            .string("text"), .bool(true), .uint64(1 << 40), .int32(-1), .variant(.uint64(5)), .descriptor(0),
        ]
        let bytes = message.encoded()
        let read = try DBusMessage(decoding: bytes[...])
        #expect(read.body == message.body && read.serial == 77 && read.answers == 9)
        #expect(read.member == "M" && read.path == "/p" && read.interface == "i.f")
        #expect(try DBusMessage.length(bytes[..<20]) == bytes.count)
        #expect(try DBusMessage.length(bytes[..<15]) == nil)
    }

    @Test func anythingElseIsRefusedAndNothingTraps() {
        var message = DBusMessage.call("M", on: "/p", "i.f", at: "d", [.variant(.string("x")), .uint32(1)])
        message.serial = 3
        let good = message.encoded()
        for index in good.indices {
            for value: UInt8 in [0, 1, 0x7f, 0xff] {
                var bad = good
                bad[index] = value
                _ = try? DBusMessage(decoding: bad[...])
                _ = try? DBusMessage(decoding: bad[..<index])
            }
        }
        #expect(throws: DBusMessage.Malformed.self) { try DBusMessage(decoding: [UInt8](repeating: 0, count: 64)[...]) }
    }

    /// The body of StartTransientUnit: arrays of structures of variants, each with its own alignment.
    @Test func arraysAndStructuresHaveTheBytesOfTheSpecification() throws {
        var message = DBusMessage(.answer)
        message.body = [
            .array("(sv)", [.structure([.string("P"), .variant(.array("u", [.uint32(7)]))])]), .array("(sa(sv))", []),
            .array("y", [.byte(1), .byte(2)]),
        ]
        let bytes = message.encoded()
        // Fields: the signature "a(sv)a(sa(sv))ay" alone.
        let fields: [UInt8] = [8, 1, 0x67, 0, 16] + Array("a(sv)a(sa(sv))ay".utf8) + [0]
        let body: [UInt8] = [
            20, 0, 0, 0, 0, 0, 0, 0,  // length; a structure begins at a multiple of eight
            1, 0, 0, 0, 0x50, 0, 2, 0x61, 0x75, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0,  // "P", variant "au"
            0, 0, 0, 0,  // no element
            2, 0, 0, 0, 1, 2,
        ]
        #expect(Array(bytes[4..<8]) == [UInt8(body.count), 0, 0, 0])
        #expect(Array(bytes[12..<(16 + fields.count)]) == [UInt8(fields.count), 0, 0, 0] + fields)
        #expect(Array(bytes.suffix(body.count)) == body)
        #expect(try DBusMessage(decoding: bytes[...]).body == message.body)
    }

    @Test func arraysThatLieAreRefused() {
        var message = DBusMessage(.answer)
        message.body = [.array("(sv)", [.structure([.string("P"), .variant(.byte(7))])])]
        let good = message.encoded()
        for index in good.indices {
            for value: UInt8 in [0, 1, 3, 0x28, 0x29, 0x61, 0x7f, 0xff] {
                var bad = good
                bad[index] = value
                _ = try? DBusMessage(decoding: bad[...])
            }
        }
        // An array of nothing would never end.
        message.body = [.array("()", [])]
        var bytes = message.encoded()
        bytes[4] = 16
        bytes[bytes.count - 8] = 8
        bytes += [UInt8](repeating: 0, count: 16)
        #expect(throws: DBusMessage.Malformed.self) { try DBusMessage(decoding: bytes[...]) }
    }
}
