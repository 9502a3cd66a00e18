import Testing

@testable import Codecs

@Suite("JSON") struct JSONTests {
    @Test(arguments: [
        #"{"a":1,"b":[true,false,null,"x"],"c":{"d":-9223372036854775808}}"#, #"[]"#, #"{}"#, #""é\n\"\\""#,
        #"9223372036854775807"#, #"1.5"#, #"{"z":1,"a":2}"#,
    ])
    func textSurvivesARoundTrip(_ text: String) throws {
        #expect(try JSON.parse(text).text == text)
    }

    @Test func escapesAreDecoded() throws {
        #expect(try JSON.parse(#""\u0041\ud83d\ude00\t\/\ud800x""#).string == "A😀\t/\u{FFFD}x")
    }

    @Test func charactersThatGoEscapesAreEscaped() {
        #expect(JSON.string("<a&b>\u{2028}\u{1}").text == #""\u003ca\u0026b\u003e\u2028\u0001""#)
    }

    /// Wherever it stands: plain text is passed over eight bytes at a time.
    @Test(arguments: Array("\"\\<>&$\u{1}\u{1F}\u{7F}\u{2028}\u{2027}â\u{FFFD}😀".unicodeScalars))
    func aCharacterIsEscapedAtEveryPlace(_ scalar: Unicode.Scalar) throws {
        let alone = String(JSON.string(String(scalar)).text.dropFirst().dropLast())
        for before in 0..<20 {
            for after in [0, 1, 7, 8, 9] {
                let (left, right) = (String(repeating: "x", count: before), String(repeating: "é", count: after))
                let text = left + String(scalar) + right
                #expect(JSON.string(text).text == "\"" + left + alone + right + "\"")
                #expect(try JSON.parse(JSON.string(text).text).string == text)
            }
        }
    }

    @Test(arguments: [
        ("", "unexpected end of JSON input"), ("{", "unexpected end of JSON input"),
        ("{a}", "invalid character 'a' looking for beginning of object key string"),
        (#"{"a" 1}"#, "invalid character '1' after object key"),
        (#"{"a":1 2}"#, "invalid character '2' after object key:value pair"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("tru", "unexpected end of JSON input"), ("1 1", "invalid character '1' after top-level value"),
        ("\"\u{1}\"", "invalid character '\\x1' in string literal"),
        ("01", "invalid character '1' after top-level value"),
        ("1e999", "number 1e999 is out of range"),
    ])
    func badTextIsRefusedInGosWords(_ text: String, _ message: String) {
        let error = #expect(throws: JSONError.self) { try JSON.parse(text) }
        #expect(error?.message.hasPrefix(message.prefix(24)) == true)
    }

    @Test func depthIsBounded() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: JSONError.self) { try JSON.parse(deep) }
    }

    @Test func duplicateKeysAreReportedAndTheLastWins() throws {
        var duplicates: [String] = []
        let json = try JSON.parse(
            Array(#"{"spec":{"ports":[{"name":"a","name":"b"}]},"x":1,"x":2}"#.utf8), duplicates: &duplicates)
        #expect(duplicates == ["spec.ports[0].name", "x"])
        #expect(json["spec"]["ports"][0]["name"].string == "b")
        #expect(json["x"].int == 2)
    }

    @Test func pathsCanBeSetThroughAbsentMembers() {
        var json: JSON = [:]
        json["metadata"]["labels"]["a"] = "b"
        #expect(json.text == #"{"metadata":{"labels":{"a":"b"}}}"#)
        json["metadata"]["labels"]["a"] = .null
        #expect(json.text == #"{"metadata":{"labels":{}}}"#)
    }

    @Test func readingThroughAScalarLeavesItAlone() {
        var json: JSON = ["a": 1]
        json["a"]["b"] = .null
        #expect(json["a"].int == nil || json["a"].int == 1)
        #expect(json["a"]["b"]["c"].isNull)
    }

    @Test func mutatedTextNeverTraps() {
        let seed = Array(#"{"a":[1,2.5e3,"x\u00e9\n",{"b":null,"c":[true,false]}],"d":"\ud83d\ude00"}"#.utf8)
        var state: UInt64 = 42
        func random(_ n: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % n
        }
        for _ in 0..<20_000 {
            var text = seed
            for _ in 0...random(4) {
                switch random(3) {
                case 0: text[random(text.count)] = UInt8(random(256))
                case 1: text.remove(at: random(text.count))
                default: text.insert(UInt8(random(256)), at: random(text.count))
                }
            }
            if let json = try? JSON.parse(text) { #expect((try? JSON.parse(json.encode())) == json) }
        }
    }
}

@Suite("Base64") struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ])
    func vectorsOfTheStandard(_ plain: String, _ coded: String) {
        #expect(Base64.encode(plain.utf8) == coded)
        #expect(Base64.decode(coded).map { String(decoding: $0, as: UTF8.self) } == plain)
    }
    @Test(arguments: ["Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Z*=="]) func badTextIsRefused(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }
    @Test func urlAlphabetHasNoPadding() {
        #expect(Base64.encodeURL([0xFB, 0xFF]) == "-_8")
        #expect(Base64.decodeURL("-_8") == [0xFB, 0xFF])
    }
}

@Suite("Timestamp") struct TimestampTests {
    @Test(arguments: [
        "1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2038-01-19T03:14:08Z", "1969-12-31T23:59:59Z",
        "2100-03-01T00:00:00Z",
    ])
    func secondsSurviveARoundTrip(_ text: String) { #expect(Timestamp(text)?.rfc3339 == text) }
    @Test func offsetsAndFractionsAreUnderstood() {
        #expect(Timestamp("2026-01-02T03:04:05.123456789+02:00")?.rfc3339Nano == "2026-01-02T01:04:05.123456789Z")
        #expect(Timestamp("2026-01-02T03:04:05.5Z")?.rfc3339Micro == "2026-01-02T03:04:05.500000Z")
    }
    @Test(arguments: [
        "", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01 00:00:00", "2026-01-01T00:00:00.Z",
        "2026-01-01T24:00:00Z",
    ])
    func badTextIsRefused(_ text: String) { #expect(Timestamp(text) == nil) }
}
