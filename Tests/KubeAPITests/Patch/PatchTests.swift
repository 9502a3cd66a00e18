import Codecs
import Testing

@testable import KubeAPI

@Suite struct PatchTests {
    static let pod = GroupVersionKind("", "v1", "Pod")
    static let deployment = GroupVersionKind("apps", "v1", "Deployment")

    private func apply(_ type: PatchType, _ patch: String, to document: String, _ gvk: GroupVersionKind = pod) throws
        -> JSON
    {
        try Patch.apply(type, try JSON.parse(patch), to: try JSON.parse(document), as: gvk)
    }
    private func failure(_ type: PatchType, _ patch: String, to document: String, _ gvk: GroupVersionKind = pod)
        -> APIError?
    {
        do {
            _ = try apply(type, patch, to: document, gvk)
            return nil
        } catch {
            return error as? APIError
        }
    }

    // MARK: - RFC 6902

    @Test(arguments: [
        (#"[{"op":"add","path":"/b","value":2}]"#, #"{"a":1}"#, #"{"a":1,"b":2}"#),
        (#"[{"op":"add","path":"/a","value":{"x":null}}]"#, #"{"a":1}"#, #"{"a":{"x":null}}"#),
        (#"[{"op":"add","path":"/l/1","value":9}]"#, #"{"l":[1,2]}"#, #"{"l":[1,9,2]}"#),
        (#"[{"op":"add","path":"/l/-","value":9}]"#, #"{"l":[1]}"#, #"{"l":[1,9]}"#),
        (#"[{"op":"add","path":"/l/2","value":9}]"#, #"{"l":[1,2]}"#, #"{"l":[1,2,9]}"#),
        (#"[{"op":"add","path":"/n","value":null}]"#, #"{}"#, #"{"n":null}"#),
        (#"[{"op":"remove","path":"/a"}]"#, #"{"a":1,"b":2}"#, #"{"b":2}"#),
        (#"[{"op":"remove","path":"/l/0"}]"#, #"{"l":[1,2]}"#, #"{"l":[2]}"#),
        (#"[{"op":"remove","path":"/l/-1"}]"#, #"{"l":[1,2]}"#, #"{"l":[1]}"#),
        (#"[{"op":"replace","path":"/a/b","value":3}]"#, #"{"a":{"b":1,"c":2}}"#, #"{"a":{"b":3,"c":2}}"#),
        (#"[{"op":"replace","path":"/l/1","value":3}]"#, #"{"l":[1,2]}"#, #"{"l":[1,3]}"#),
        (#"[{"op":"move","from":"/a","path":"/b"}]"#, #"{"a":1}"#, #"{"b":1}"#),
        (#"[{"op":"move","from":"/l/0","path":"/l/1"}]"#, #"{"l":[1,2]}"#, #"{"l":[2,1]}"#),
        (#"[{"op":"copy","from":"/a","path":"/b"}]"#, #"{"a":{"x":1}}"#, #"{"a":{"x":1},"b":{"x":1}}"#),
        (
            #"[{"op":"test","path":"/a","value":{"y":2,"x":1.0}},{"op":"remove","path":"/a"}]"#,
            #"{"a":{"x":1,"y":2}}"#, "{}"
        ),
        (#"[{"op":"test","path":"/none","value":null}]"#, "{}", "{}"),
        (#"[{"op":"add","path":"/a~1b~0c","value":1}]"#, "{}", #"{"a/b~c":1}"#),
        (#"[{"op":"add","path":"/","value":1}]"#, "{}", #"{"":1}"#),
        ("[]", #"{"a":1}"#, #"{"a":1}"#),
    ])
    func jsonPatchApplies(_ patch: String, _ document: String, _ result: String) throws {
        #expect(try apply(.json, patch, to: document).text == result)
    }

    @Test(arguments: [
        (#"[{"op":"test","path":"/a","value":2}]"#, "testing value /a failed: test failed"),
        (
            #"[{"op":"replace","path":"/x","value":2}]"#,
            "replace operation does not apply: doc is missing key: /x: missing value"
        ),
        (
            #"[{"op":"remove","path":"/x"}]"#,
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value"
        ),
        (
            #"[{"op":"remove","path":"/l/9"}]"#,
            "error in remove for path: '/l/9': Unable to access invalid index: 9: invalid index referenced"
        ),
        (
            #"[{"op":"add","path":"/x/y","value":1}]"#,
            "add operation does not apply: doc is missing path: \"/x/y\": missing value"
        ),
        (
            #"[{"op":"add","path":"/a/y","value":1}]"#,
            "add operation does not apply: doc is missing path: \"/a/y\": missing value"
        ),
        (
            #"[{"op":"add","path":"/l/z","value":1}]"#,
            "error in add for path: '/l/z': value was not a proper array index: 'z': strconv.Atoi: parsing \"z\": invalid syntax"
        ),
        (
            #"[{"op":"add","path":"/l/-9","value":1}]"#,
            "error in add for path: '/l/-9': Unable to access invalid index: -9: invalid index referenced"
        ),
        (#"[{"op":"frob","path":"/a"}]"#, "Unexpected kind: frob"),
        (#"[{"op":"add"}]"#, "add operation failed to decode path: missing value"),
        (
            #"[{"op":"copy","from":"/x","path":"/b"}]"#,
            "copy operation does not apply: doc is missing from path: /x: missing value"
        ),
        (
            #"[{"op":"move","from":"/o","path":"/o/p"}]"#,
            "move operation does not apply: doc is missing destination path: /o/p: missing value"
        ),
        (
            #"[{"op":"replace","path":"","value":{}}]"#,
            "replace operation does not apply: doc is missing key: : missing value"
        ),
    ])
    func jsonPatchErrorsSayWhatFailed(_ patch: String, _ detail: String) {
        let error = failure(.json, patch, to: #"{"a":1,"l":[1],"o":{}}"#)
        #expect(error?.code == 422)
        #expect(error?.message == "the server rejected our request due to an error in our request: " + detail)
        #expect(error?.causes.first?.message == detail)
    }

    @Test func jsonPatchMustBeAListOfObjects() {
        #expect(failure(.json, "{}", to: "{}")?.code == 400)
        #expect(failure(.json, "[1]", to: "{}")?.code == 400)
    }

    @Test func jsonPatchIsBounded() {
        let many =
            "[" + Array(repeating: #"{"op":"test","path":"/a","value":1}"#, count: 10_001).joined(separator: ",") + "]"
        #expect(failure(.json, many, to: #"{"a":1}"#)?.code == 413)
        // Doubling thirty times would be a gigabyte.
        let doubling =
            "[" + Array(repeating: #"{"op":"copy","from":"/a","path":"/a/-"}"#, count: 40).joined(separator: ",") + "]"
        #expect(
            failure(.json, doubling, to: #"{"a":["0123456789"]}"#)?.message.contains(
                "accumulated size increase of copy") == true)
        let deep = #"[{"op":"add","path":""# + String(repeating: "/a", count: 5000) + #"","value":1}]"#
        #expect(failure(.json, deep, to: "{}")?.code == 422)
    }

    // MARK: - RFC 7386

    /// The examples of the RFC's appendix.
    @Test(arguments: [
        (#"{"a":"c"}"#, #"{"a":"b"}"#, #"{"a":"c"}"#), (#"{"b":"c"}"#, #"{"a":"b"}"#, #"{"a":"b","b":"c"}"#),
        (#"{"a":null}"#, #"{"a":"b"}"#, "{}"), (#"{"a":null}"#, #"{"a":"b","b":"c"}"#, #"{"b":"c"}"#),
        (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":"c"}"#), (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":["b"]}"#),
        (#"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"c"}}"#, #"{"a":{"b":"d"}}"#),
        (#"{"a":[1]}"#, #"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#), (#"{"a":1}"#, #"{"e":null}"#, #"{"e":null,"a":1}"#),
        (#"{"a":{"bb":{"ccc":null}}}"#, "{}", #"{"a":{"bb":{}}}"#),
    ])
    func mergePatchApplies(_ patch: String, _ document: String, _ result: String) throws {
        #expect(try apply(.merge, patch, to: document).text == result)
    }

    @Test func mergePatchMustBeAnObject() {
        #expect(failure(.merge, "[]", to: "{}")?.message == "Invalid JSON Patch")
    }

    @Test func mergeOfManyMembersIsTheSameAsOfFew() throws {
        let document = JSON.map(Dictionary(uniqueKeysWithValues: (0..<40).map { ("k\($0)", "v") }))
        var patch = JSONObject()
        for i in 0..<40 { patch.append("k\(i + 20)", i % 2 == 0 ? .null : "w") }
        let merged = Patch.merge(.object(patch), into: document)
        #expect(merged["k19"] == "v")
        #expect(merged["k20"].isNull)
        #expect(merged["k21"] == "w")
        #expect(merged["k59"] == "w")
        #expect(merged.object?.count == 40)
    }

    // MARK: - All of them, to an object

    @Test func patchedObjectIsDecodedAndDefaulted() throws {
        let old = try Schema.shared.decode(
            try JSON.parse(
                #"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"x:1"}]}}"#
            ),
            as: Self.pod, defaults: true
        ).json
        let bytes = Array(#"{"spec":{"containers":[{"name":"b","image":"y"}]}}"#.utf8)
        let patched = try Patch.apply(.strategic, bytes: bytes, to: old, as: Self.pod, validation: .strict)
        #expect(patched.json["spec"]["containers"].elements.map { $0["name"] } == ["b", "a"])
        #expect(patched.json["spec"]["containers"][0]["imagePullPolicy"] == "Always")
    }

    @Test func patchToNonsenseIsInvalid() throws {
        let old: JSON = ["kind": "Pod", "apiVersion": "v1", "metadata": ["name": "p"], "spec": ["containers": []]]
        func error(_ type: PatchType, _ text: String, _ validation: FieldValidation) -> APIError? {
            do {
                _ = try Patch.apply(type, bytes: Array(text.utf8), to: old, as: Self.pod, validation: validation)
                return nil
            } catch {
                return error
            }
        }
        let typed = error(.merge, #"{"spec":{"hostNetwork":"yes"}}"#, .ignore)
        #expect(typed?.code == 422)
        #expect(
            typed?.message.contains(
                "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool") == true)
        let unknown = error(.strategic, #"{"spec":{"foo":1}}"#, .strict)
        #expect(unknown?.message.contains("strict decoding error: unknown field \"spec.foo\"") == true)
        #expect(unknown?.causes.first?.field == "patch")
        #expect(error(.strategic, #"{"spec":{"foo":1}}"#, .ignore) == nil)
        #expect(error(.merge, "{", .warn)?.message.hasPrefix("error decoding patch: ") == true)
        #expect(error(.merge, "{", .warn)?.code == 400)
        let warned = try Patch.apply(
            .merge, bytes: Array(#"{"a":1,"metadata":{"labels":{"x":"1","x":"2"}}}"#.utf8), to: old, as: Self.pod,
            validation: .warn)
        #expect(warned.warnings == ["duplicate field \"metadata.labels.x\"", "unknown field \"a\""])
        let operations = #"[{"op":"add","path":"/metadata/labels","value":{},"foo":1,"value":{"x":"y"}}]"#
        let operated = try Patch.apply(
            .json, bytes: Array(operations.utf8), to: old, as: Self.pod, validation: .warn)
        #expect(operated.json["metadata"]["labels"] == ["x": "y"])
        #expect(
            operated.warnings == [
                "json patch unknown field \"[0].foo\"", "json patch duplicate field \"[0].value\"",
            ])
        let strict = error(.json, operations, .strict)
        #expect(
            strict?.message.contains(
                "strict decoding error: json patch unknown field \"[0].foo\", json patch duplicate field \"[0].value\"")
                == true)
    }

    @Test func randomPatchesNeverTrap() throws {
        var random = SystemRandomNumberGenerator()
        let paths = [
            "", "/", "/spec", "/spec/containers", "/spec/containers/0", "/spec/containers/-", "/spec/containers/0/name",
            "/x/y", "/-1", "/spec/containers/-1", "~", "/~2",
        ]
        let values: [JSON] = [.null, 1, "x", [], [:], ["a": [1, ["b": .null]]], .double(1.5)]
        let document = try JSON.parse(
            #"{"metadata":{"finalizers":["a","b"]},"spec":{"containers":[{"name":"a","ports":[{"containerPort":1}]},{"name":"b"}]}}"#
        )
        for _ in 0..<4000 {
            let operations = (0..<4).map { _ -> JSON in
                [
                    "op": .string(
                        ["add", "remove", "replace", "move", "copy", "test", "?"].randomElement(using: &random) ?? ""),
                    "path": .string(paths.randomElement(using: &random) ?? ""),
                    "from": .string(paths.randomElement(using: &random) ?? ""),
                    "value": values.randomElement(using: &random) ?? .null,
                ]
            }
            _ = try? Patch.apply(.json, .array(operations), to: document, as: Self.pod)
        }
        let names = [
            "metadata", "spec", "containers", "ports", "finalizers", "name", "$patch", "$retainKeys",
            "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/",
            "$deleteFromPrimitiveListx", "containerPort", "volumes",
        ]
        func value(_ depth: Int) -> JSON {
            switch Int.random(in: 0..<(depth > 4 ? 4 : 8), using: &random) {
            case 0: .null
            case 1: .string(["a", "b", "replace", "delete", "merge"].randomElement(using: &random) ?? "")
            case 2: .int(Int64.random(in: 0...2, using: &random))
            case 3: ["name": "a", "$patch": "delete"]
            case 4: .array((0..<2).map { _ in value(depth + 1) })
            default:
                .object(JSONObject(members: names.shuffled(using: &random).prefix(4).map { ($0, value(depth + 1)) }))
            }
        }
        for _ in 0..<6000 { _ = try? Patch.apply(.strategic, value(0), to: document, as: Self.pod) }
        for _ in 0..<3000 {
            let patch: JSON = [
                "spec": ["containers": value(2), "$setElementOrder/containers": value(3)], "metadata": value(1),
            ]
            _ = try? Patch.apply(.strategic, patch, to: document, as: Self.pod)
        }
    }
}
