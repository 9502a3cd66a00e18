import Codecs
import Testing

@testable import KubeAPI

@Suite struct CELTests {
    static let variables = [
        CELField("x", .int), CELField("name", .string), CELField("object", .dyn), CELField("flag", .bool),
        CELField(
            "device",
            .object(
                "kubernetes.DRADevice",
                [CELField("driver", .string), CELField("capacity", .map(.string, .map(.string, .quantity)))])),
    ]
    static let values: [(name: String, value: CELValue)] = [
        ("x", .int(7)), ("name", .string("grüße")), ("flag", .bool(true)),
        ("object", CELValue(["a": [1, 2.5, "three"], "b": ["c": true], "n": nil, "s": "text", "m-n": 3])),
        (
            "device",
            .map(
                CELMap([
                    (.string("driver"), .string("gpu.test")),
                    (
                        .string("capacity"),
                        .map(
                            CELMap([
                                (.string("gpu.test"), .map(CELMap([(.string("memory"), .quantity(Quantity(1 << 30)))])))
                            ]))
                    ),
                ]))
        ),
    ]

    static func text(_ value: CELValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let flag): "\(flag)"
        case .int(let number): "\(number)"
        case .uint(let number): "\(number)u"
        case .double(let number): "\(number)"
        case .string(let text): "'\(text)'"
        case .bytes(let bytes): "\(bytes)"
        case .type(let name): name
        case .quantity(let amount): "\(amount)"
        case .version(let version): "\(version)"
        case .optional(let inner): inner.map { "some(\(text($0)))" } ?? "none"
        case .list, .tree(.array): "[\((value.items ?? []).map(text).joined(separator: ", "))]"
        case .map, .tree:
            "{\((value.keys ?? []).map { "\(text($0)): \(value.member($0).map(text) ?? "")" }.joined(separator: ", "))}"
        }
    }

    static func evaluate(_ source: String) -> String {
        do throws(CELError) {
            let program = try CELProgram.compile(source, variables: variables)
            do throws(CELError) { return text(try program.evaluate(values)) } catch { return "! " + error.message }
        } catch {
            return error.message
        }
    }

    @Test(arguments: [
        ("1 + 2 * 3 - 4", "3"), ("-2 - -3", "1"), ("7 / 2", "3"), ("-7 / 2", "-3"), ("-7 % 3", "-1"),
        ("10 - 3 - 2", "5"), ("2 * 3 + 4 * 5", "26"), ("1 + 2 < 4 == true", "true"), ("0x10", "16"), ("3u", "3u"),
        ("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807 + 1", "! integer overflow"),
        ("1 / 0", "! division by zero"), ("1 % 0", "! modulus by zero"), ("1.5 + 2.0", "3.5"), ("1e3", "1000.0"),
        ("1 == 1.0", "true"), ("1u < 2", "true"), ("-1 < 1u", "true"),
        ("9007199254740993 == 9007199254740992.0", "false"),
        ("'a' + \"b\"", "'ab'"), (#"'\u00e4\x41\101\n'"#, "'äAA\n'"), (#"r'\n'"#, #"'\n'"#), ("'''a'b'''", "'a'b'"),
        ("b'ab'", "[97, 98]"), ("[1, 2] + [3]", "[1, 2, 3]"), ("[1, 2][1]", "2"),
        ("[1][1]", "! index out of bounds: 1"),
        ("{'a': 1}['a']", "1"), ("{'a': 1}.a", "1"), ("{'a': 1}['b']", "! no such key: b"),
        ("{'a': 1, 'a': 2}", "! Failed with repeated key"), ("2 in [1, 2]", "true"), ("'b' in {'a': 1}", "false"),
        ("true ? 1 : 2", "1"), ("x > 5 && name.startsWith('gr')", "true"), ("!flag || x == 7", "true"),
        ("false && 1 / 0 == 1", "false"), ("1 / 0 == 1 && false", "false"), ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 || false", "! division by zero"), ("x == 7 // a comment", "true"),
        ("object.a[2]", "'three'"), ("object.b.c", "true"), ("object.zz", "! no such key: zz"),
        ("has(object.b.c)", "true"), ("has(object.b.d)", "false"), ("object.n == null", "true"),
        ("object['m-n'] == 3", "true"), ("object.?zz.hasValue()", "false"), ("object.?s.orValue('no')", "'text'"),
        ("object.?zz.orValue('no')", "'no'"), ("object[?'s'].value()", "'text'"), ("optional.none().orValue(1)", "1"),
        ("size('grüße')", "5"), ("name.size()", "5"), ("size([1, 2])", "2"), ("object.size()", "5"),
        ("type(1) == int", "true"), ("int('12') + int(2.9)", "14"), ("string(1.0)", "'1'"), ("double(1)", "1.0"),
        ("uint(-1)", "! integer overflow"), ("int('x')", "! type conversion error from 'string' to 'int'"),
    ])
    func valuesAreWorkedOut(_ source: String, _ expected: String) { #expect(Self.evaluate(source) == expected) }

    @Test(arguments: [
        ("[1, 2, 3].all(i, i > 0)", "true"), ("[1, 2, 3].exists(i, i > 2)", "true"),
        ("[1, 1].exists_one(i, i == 1)", "false"),
        ("[1, 2, 3].filter(i, i != 2)", "[1, 3]"), ("[1, 2].map(i, i * x)", "[7, 14]"),
        ("[1, 2, 3].map(i, i > 1, i * 10)", "[20, 30]"), ("{'a': 1, 'b': 2}.all(k, k < 'c')", "true"),
        ("[0, 1].exists(i, 1 / i == 1)", "true"), ("[0, 2].exists(i, 1 / i == 1)", "! division by zero"),
        ("cel.bind(y, x + 1, y * y)", "64"), ("[[1], [2]].map(l, l.map(i, i + x))", "[[8], [9]]"),
        ("object.a.exists(i, i == 'three')", "true"), ("'abc'.contains('bc')", "true"),
        ("'abc'.endsWith('bc')", "true"),
        ("'A-b'.lowerAscii()", "'a-b'"), ("'a'.upperAscii()", "'A'"), ("' a '.trim()", "'a'"),
        ("'tacocat'.indexOf('c')", "2"), ("'tacocat'.lastIndexOf('c')", "4"), ("'grüße'.substring(2, 4)", "'üß'"),
        ("'abc'.charAt(1)", "'b'"), ("'abc'.substring(4)", "! index out of range: 4"),
        ("'a-b-c'.replace('-', '+', 1)", "'a+b-c'"), ("'ab'.replace('', '.')", "'.a.b.'"),
        ("'a,b,c'.split(',')", "['a', 'b', 'c']"), ("'a,b,c'.split(',', 2)", "['a', 'b,c']"),
        ("['a', 'b'].join('+')", "'a+b'"), ("[3, 1, 2].min()", "1"), ("[3, 1].sum()", "4"),
        ("[1, 2].isSorted()", "true"),
        ("sets.contains([1, 2], [2])", "true"), ("sets.intersects([1], [2])", "false"),
        ("quantity('1Gi').compareTo(quantity('1024Mi'))", "0"), ("quantity('1').add(2)", "3"),
        ("quantity('100m').isLessThan(quantity('1'))", "true"), ("isQuantity('x')", "false"),
        ("quantity('5').asInteger()", "5"), ("quantity('-1').sign()", "-1"),
        ("device.capacity['gpu.test'].memory.compareTo(quantity('500Mi')) > 0", "true"),
        ("semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1'))", "true"), ("semver('1.2.3').minor()", "2"),
        ("semver('v1.2', true)", "1.2.0"), ("isSemver('1.2')", "false"),
        ("semver('1.0.0-alpha.9').compareTo(semver('1.0.0-alpha.10'))", "-1"),
    ])
    func functionsAndLoopsWork(_ source: String, _ expected: String) { #expect(Self.evaluate(source) == expected) }

    @Test(arguments: [
        ("noSuch", "ERROR: <input>:1:1: undeclared reference to 'noSuch' (in container '')\n | noSuch\n | ^"),
        (
            "x +\n  noSuch",
            "ERROR: <input>:2:3: undeclared reference to 'noSuch' (in container '')\n |   noSuch\n | ..^"
        ),
        ("device.zz", "ERROR: <input>:1:7: undefined field 'zz'\n | device.zz\n | ......^"),
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^"
        ),
        ("device.driver > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("device.capacity['a'].b > 1", "found no matching overload for '_>_' applied to '(kubernetes.Quantity, int)'"),
        ("name.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("frob(1)", "undeclared reference to 'frob' (in container '')"),
        ("name.matches('a.*')", "regular expressions ('matches') are not supported"),
        ("1 +", "Syntax error: mismatched input '<EOF>'"), ("(1", "Syntax error: mismatched input '<EOF>'"),
        ("1 2", "Syntax error: mismatched input 'literal'"),
        ("'abc", "Syntax error: token recognition error at: ''abc'"),
        ("a ; b", "Syntax error: token recognition error at: ';'"), ("has(x)", "invalid argument to has() macro"),
        ("[1].all(a.b, true)", "argument must be a simple name"), ("if", "Syntax error: reserved identifier: if"),
        ("99999999999999999999", "invalid int literal"), (#"'\q'"#, "unable to unescape string"),
        ("flag && 1", "found no matching overload for '_&&_' applied to '(bool, int)'"),
        ("x.all(i, true)", "expression of type 'int' cannot be range of a comprehension"),
    ])
    func mistakesAreToldWithTheirPlace(_ source: String, _ expected: String) {
        let message = Self.evaluate(source)
        #expect(Array(message.utf8).count >= expected.utf8.count && contains(message, expected), "\(message)")
    }

    private func contains(_ text: String, _ part: String) -> Bool {
        let (text, part) = (Array(text.utf8), Array(part.utf8))
        return text.indices.contains { text[$0...].starts(with: part) }
    }

    @Test func depthLengthAndWorkAreBounded() throws {
        let deep = String(repeating: "(", count: 500) + "1" + String(repeating: ")", count: 500)
        #expect(contains(Self.evaluate(deep), "expression recursion limit exceeded"))
        let long = Array(repeating: "1", count: 500).joined(separator: "+")
        #expect(contains(Self.evaluate(long), "expression recursion limit exceeded"))
        #expect(Self.evaluate(Array(repeating: "true", count: 500).joined(separator: "&&")) == "true")
        #expect(contains(Self.evaluate(String(repeating: ".", count: 5000)), "Syntax error"))
        let list = "[" + Array(repeating: "1", count: 200).joined(separator: ",") + "]"
        let loops = "\(list).all(a, \(list).all(b, \(list).all(c, true)))"
        #expect(Self.evaluate(loops) == "! operation cancelled: actual cost limit exceeded")
        // Twice as large with each name.
        var doubling = "a30 == a30"
        for i in (1...30).reversed() { doubling = "cel.bind(a\(i), [a\(i - 1), a\(i - 1)], \(doubling))" }
        #expect(
            Self.evaluate("cel.bind(a0, [1], \(doubling))") == "! operation cancelled: actual cost limit exceeded")
        var text = "a40.size()"
        for i in (1...40).reversed() { text = "cel.bind(a\(i), a\(i - 1) + a\(i - 1), \(text))" }
        #expect(Self.evaluate("cel.bind(a0, 'ab', \(text))") == "! operation cancelled: actual cost limit exceeded")
    }

    @Test func typesAreKnownBeforeThereAreValues() throws {
        func type(_ source: String) throws -> CELType { try CELProgram.compile(source, variables: Self.variables).type }
        #expect(try type("x > 1") == .bool)
        #expect(try type("object.a") == .dyn)
        #expect(try type("device.driver") == .string)
        #expect(try type("[1].map(i, string(i))") == .list(.string))
    }
}
