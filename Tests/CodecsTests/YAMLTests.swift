import Testing

@testable import Codecs

@Suite struct YAMLTests {
    private func parse(_ text: String) throws -> JSON { try YAML.parse(Array(text.utf8)) }
    private func failure(_ text: String, limits: YAML.Limits = .init()) -> String? {
        do throws(YAMLError) {
            _ = try YAML.parse(Array(text.utf8), limits: limits)
            return nil
        } catch {
            return error.message
        }
    }

    @Test(arguments: [
        ("1", JSON.int(1)), ("-7", -7), ("0644", 420), ("0o17", 15), ("0x1F", 31), ("0b101", 5), ("1_000", 1000),
        ("+3", 3), ("9223372036854775807", .int(.max)), ("-9223372036854775808", .int(.min)), ("08", 8),
        ("1.5", 1.5), ("1e3", 1000), (".5", 0.5), ("2.", 2), ("1e+2", 100),
        ("true", true), ("yes", true), ("on", true), ("y", true), ("False", false), ("off", false), ("n", false),
        ("null", .null), ("~", .null), ("", .null), ("Null", .null),
        ("hello", "hello"), ("\"1\"", "1"), ("'yes'", "yes"), ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"), ("100m", "100m"), ("1Gi", "1Gi"), ("1.2.3", "1.2.3"),
        ("!!str 12", "12"), ("!!int \"12\"", 12), ("!!binary aGk=", "hi"), ("-", .array([.null])), ("12:30", "12:30"),
        (".inf", ".inf"), ("e5", "e5"), ("0x", "0x"), ("1e", "1e"), ("tRuE", "tRuE"),
    ])
    func scalarsResolveAsInGo(_ text: String, _ value: JSON) throws {
        #expect(try parse(text) == value)
    }

    @Test func nestedDocumentKeepsItsOrder() throws {
        let value = try parse(
            """
            kind: Pod
            apiVersion: v1
            spec:
              containers:
              - name: a
                command: ["sh", "-c", "echo hi"]
              - {name: b, image: "x:1"}
            text: |
              one
              two
            folded: >-
              three
              four
            """)
        #expect(
            value.text
                == #"{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","command":["sh","-c","echo hi"]},{"name":"b","image":"x:1"}]},"text":"one\ntwo\n","folded":"three four"}"#
        )
    }

    @Test func streamsHaveManyDocumentsAndEmptyOnesAreLeftOut() throws {
        let text = "---\n# only a comment\n---\na: 1\n---\n---\nb: 2\n...\n"
        #expect(try YAML.parseAll(Array(text.utf8)) == [["a": 1], ["b": 2]])
        #expect(try YAML.parseAll([]) == [])
        #expect(try YAML.parse([]) == .null)
    }

    @Test func jsonIsYAML() throws {
        #expect(
            try parse(#"{"a": [1, 2.5, "x\n", null, true], "b": {}}"#) == [
                "a": [1, 2.5, "x\n", .null, true], "b": [:],
            ])
    }

    @Test func anchorsAndMergeKeysExpand() throws {
        let value = try parse(
            """
            base: &base {a: 1, b: 2}
            other: &other {b: 3, c: 4}
            one:
              <<: *base
              a: 9
            two:
              <<: [*base, *other]
            three: *base
            """)
        #expect(value["one"] == ["a": 9, "b": 2])
        #expect(value["two"] == ["a": 1, "b": 2, "c": 4])
        #expect(value["three"] == ["a": 1, "b": 2])
    }

    @Test func keysOfOtherTypesBecomeText() throws {
        #expect(try parse("1: a\ntrue: b\n2.5: c") == ["1": "a", "true": "b", "2.5": "c"])
    }

    @Test func duplicateKeyIsAnErrorWithItsLine() {
        #expect(failure("a: 1\nb: 2\na: 3\n") == "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map")
    }

    @Test func theLastOfDuplicateKeysWinsWhereTheyAreAllowed() throws {
        var duplicates: [String] = []
        let value = try YAML.parse(Array("a: 1\nb: {c: 1, c: 2}\na: 3\n".utf8), duplicates: &duplicates)
        #expect(value == ["a": 3, "b": ["c": 2]])
        #expect(duplicates == ["line 2: key \"c\" already set in map", "line 3: key \"a\" already set in map"])
        #expect(
            failure("a: 1\nb: {c: 1, c: 2}\na: 3\n")
                == "yaml: unmarshal errors:\n  line 2: key \"c\" already set in map\n  line 3: key \"a\" already set in map"
        )
    }

    @Test func syntaxErrorsHaveLines() {
        #expect(failure("a: 1\nb: c: d\n") == "yaml: line 2: mapping values are not allowed in this context")
        #expect(failure("a: [1, 2\nb: 3\n")?.hasPrefix("yaml: line ") == true)
        #expect(failure("a: *nope") == "yaml: unknown anchor 'nope' referenced")
        #expect(failure("a: &x [*x]") == "yaml: anchor 'x' value contains itself")
        #expect(failure("<<: 3") == "yaml: map merge requires map or sequence of maps as the value")
        #expect(failure("? [a]\n: b")?.contains("a key must be") == true)
        #expect(failure("!!int x")?.contains("cannot decode !!str `x` as a !!int") == true)
        #expect(failure("\tx: 1")?.contains("cannot start any token") == true)
    }

    @Test func billionLaughsStopsEarly() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for i in 1...9 {
            let refs = Array(repeating: "*a\(i - 1)", count: 9).joined(separator: ", ")
            text += "a\(i): &a\(i) [\(refs)]\n"
        }
        #expect(failure(text) == "yaml: document contains excessive aliasing")
        // Few aliases of a long text as well.
        let long =
            "a: &a \"\(String(repeating: "x", count: 1 << 20))\"\nb: [\(Array(repeating: "*a", count: 20).joined(separator: ","))]"
        #expect(failure(long) == "yaml: document contains excessive aliasing")
    }

    @Test func depthAndSizeAreBounded() {
        let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
        #expect(failure(deep) != nil)
        var limits = YAML.Limits()
        limits.values = 10
        #expect(failure("[1,2,3,4,5,6,7,8,9,10,11]", limits: limits) == "yaml: document has more than 10 values")
    }

    @Test func writesWhatKubectlPrints() {
        let value: JSON = [
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": ["name": "x", "labels": [:], "annotations": ["n": "1", "yes": "no", "empty": ""]],
            "data": [
                "script": "#!/bin/sh\necho hi\n", "noNewline": "a\nb", "star": "*", "colon": "a: b", "time": "12:30",
            ],
            "list": [1, "two", ["x": .null], []], "num": 2.5,
        ]
        #expect(
            YAML.text(value) == """
                apiVersion: v1
                data:
                  colon: 'a: b'
                  noNewline: |-
                    a
                    b
                  script: |
                    #!/bin/sh
                    echo hi
                  star: '*'
                  time: "12:30"
                kind: ConfigMap
                list:
                - 1
                - two
                - x: null
                - []
                metadata:
                  annotations:
                    empty: ""
                    "n": "1"
                    "yes": "no"
                  labels: {}
                  name: x
                num: 2.5

                """)
    }

    @Test func documentOrderIsKeptOnRequest() {
        #expect(YAML.text(["b": 1, "a": 2], sortKeys: false) == "b: 1\na: 2\n")
        #expect(YAML.text(["b": 1, "a": 2]) == "a: 2\nb: 1\n")
        #expect(YAML.text(["k10": 1, "k9": 2, "k": 3, "k.x": 4, "kA": 5]) == "k: 3\nk.x: 4\nk9: 2\nk10: 1\nkA: 5\n")
    }

    @Test(arguments: [
        "true", "null", "~", "12", "0x1F", "1e3", " lead", "trail ", "- dash", "# hash", "a #b", "tab\there",
        "\u{1}ctl",
        "emoji \u{1F600}", "multi\nline", "ends\n\n", "\nbegins", "  indented\nblock", "'quote'", "\"double\"", "{}",
        "[x]",
        "a: b", "", "=", "<<", "2024-01-01", "%percent", "@at", "`tick", "\\back", "x\r\ny", "\u{85}", "\u{2028}",
        "...", "---",
    ])
    func everyStringComesBack(_ text: String) throws {
        let value: JSON = ["key": .string(text), text: [.string(text)]]
        #expect(try YAML.parse(YAML.encode(value)) == value)
    }

    @Test func mangledTextNeverTraps() {
        let seeds = [
            "a: &x [1, *x, {b: c}]\n<<: {d: e}\n--- |\n text\n", "- ? k\n  : v\n- !!int 5\n",
            "{a: [1, 2, {b: 'c'}], d: \"e\\n\"}",
        ].map { Array($0.utf8) }
        var random = SystemRandomNumberGenerator()
        for round in 0..<4000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.insert(contentsOf: bytes[at...].prefix(5), at: at)
                default: bytes.remove(at: at)
                }
                if bytes.isEmpty { bytes = [32] }
            }
            guard let documents = try? YAML.parseAll(bytes) else { continue }
            // What was read can be written and read again.
            #expect((try? YAML.parseAll(YAML.encodeAll(documents))) == documents)
        }
    }
}
