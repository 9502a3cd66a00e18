import Codecs
import KubeAPI

extension FuzzTarget {
    static let codecs: [FuzzTarget] = [
        FuzzTarget(
            "json",
            seeds: [
                #"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"a","args":["x",1,-2.5e3,true,null]}]}}"#,
                #"["\u0041\ud83d\ude00\n\"",{"a":{"a":[[[]]]}},1e308,-0.0,123456789012345678901234567890]"#,
            ], words: ["\\u", "\\ud800", "null", "true", "{\"\":", "[[[[", "e+", "-"]
        ) { bytes in
            guard let value = try? JSON.parse(bytes) else { return }
            let text = value.encode()
            guard let again = try? JSON.parse(text) else { return require(false, "own JSON does not parse") }
            require(again.encode() == text, "own JSON changes when it is written again")
        },
        FuzzTarget(
            "yaml",
            seeds: [
                "a: 1\nb:\n- x\n- {c: [1, 2], d: ~}\n---\n? k\n: |\n  text\n  more\n",
                "x: &anchor {a: 1}\ny: *anchor\nz: 'it''s'\nw: \"\\u0041\"\n",
            ], words: ["&a ", "*a", "<<: ", "!!binary ", "---\n", "%YAML 1.1\n", "|2-\n", "? ", ": "]
        ) { bytes in
            for document in (try? YAML.parseAll(bytes)) ?? [] { _ = document.encode() }
        },
        FuzzTarget(
            "protobuf-wire", bytes: [[8, 150, 1, 18, 3, 97, 98, 99, 29, 1, 2, 3, 4, 33, 1, 2, 3, 4, 5, 6, 7, 8]]
        ) {
            var reader = ProtobufReader($0[...])
            while let field = try? reader.next() { if case .bytes(let inner) = field.value { _ = inner.count } }
        },
        FuzzTarget("base64", seeds: ["aGVsbG8=", "_-8", "aGVs\nbG8="]) { bytes in
            if let decoded = Base64.decode(bytes.asText) { _ = Base64.encode(decoded) }
            _ = Base64.decodeURL(bytes.asText)
        },
        FuzzTarget(
            "timestamp", seeds: ["2026-02-28T23:59:60Z", "2024-02-29T00:00:00.123456789+14:00"],
            words: ["9999", "-", "T"]
        ) { bytes in
            guard let time = Timestamp(bytes.asText) else { return }
            require(Timestamp(time.rfc3339) != nil, "own time does not parse: \(time.rfc3339)")
        },
        FuzzTarget(
            "quantity", seeds: ["1.5Gi", "100m", "-1e3", "9223372036854775807", "0.000000001"], words: ["Ei", "E"]
        ) {
            guard let quantity = Quantity($0.asText) else { return }
            let text = quantity.description
            guard let again = Quantity(text) else { return require(false, "own quantity does not parse: \(text)") }
            require(again.description == text, "quantity \(text) is \(again.description) the second time")
        },
    ]
}
