import Codecs
import Testing

@testable import KubeAPI

@Suite struct StrategicMergeTests {
    private func apply(_ patch: String, to document: String, _ gvk: GroupVersionKind = .init("", "v1", "Pod")) throws
        -> String
    {
        try Patch.apply(.strategic, try JSON.parse(patch), to: try JSON.parse(document), as: gvk).text
    }
    private func failure(_ patch: String, to document: String) -> APIError? {
        do {
            _ = try apply(patch, to: document)
            return nil
        } catch {
            return error as? APIError
        }
    }

    struct Vector: Sendable {
        var name: String
        var patch: String
        var document: String
        var result: String
        var kind = GroupVersionKind("", "v1", "Pod")
    }

    static let deployment = GroupVersionKind("apps", "v1", "Deployment")
    static let vectors: [Vector] = [
        .init(
            name: "scalars and maps merge", patch: #"{"metadata":{"labels":{"b":"2"}}}"#,
            document: #"{"metadata":{"labels":{"a":"1"}}}"#,
            result: #"{"metadata":{"labels":{"a":"1","b":"2"}}}"#),
        .init(
            name: "null removes", patch: #"{"metadata":{"labels":{"a":null}}}"#,
            document: #"{"metadata":{"labels":{"a":"1","c":"3"}}}"#,
            result: #"{"metadata":{"labels":{"c":"3"}}}"#),
        .init(
            name: "null that matches nothing is nothing", patch: #"{"metadata":{"annotations":{"a":null}}}"#,
            document: "{}",
            result: #"{"metadata":{"annotations":{}}}"#),
        .init(
            name: "keyed list merges by name", patch: #"{"spec":{"containers":[{"name":"b","image":"new"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2","tty":true}]}}"#,
            result: #"{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"new","tty":true}]}}"#

        ),
        .init(
            name: "new element of a keyed list", patch: #"{"spec":{"containers":[{"name":"c","image":"3"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"c","image":"3"},{"name":"a"},{"name":"b"}]}}"#),
        .init(
            name: "delete an element", patch: #"{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"b"}]}}"#),
        .init(
            name: "replace a list", patch: #"{"spec":{"containers":[{"name":"z"},{"$patch":"replace"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"z"}]}}"#),
        .init(
            name: "replace a map", patch: #"{"metadata":{"labels":{"x":"1","$patch":"replace"}}}"#,
            document: #"{"metadata":{"labels":{"a":"1"},"name":"n"}}"#,
            result: #"{"metadata":{"labels":{"x":"1"},"name":"n"}}"#),
        .init(
            name: "delete a map", patch: #"{"spec":{"securityContext":{"$patch":"delete"}}}"#,
            document: #"{"spec":{"securityContext":{"runAsUser":1}}}"#,
            result: #"{"spec":{"securityContext":{}}}"#),
        .init(
            name: "atomic list is replaced", patch: #"{"spec":{"containers":[{"name":"a","command":["new"]}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a","command":["x","y"]}]}}"#,
            result: #"{"spec":{"containers":[{"name":"a","command":["new"]}]}}"#),
        .init(
            name: "list without strategy is replaced", patch: #"{"spec":{"tolerations":[{"key":"b"}]}}"#,
            document: #"{"spec":{"tolerations":[{"key":"a"}]}}"#,
            result: #"{"spec":{"tolerations":[{"key":"b"}]}}"#),
        .init(
            name: "primitive list merges", patch: #"{"metadata":{"finalizers":["c","a"]}}"#,
            document: #"{"metadata":{"finalizers":["a","b"]}}"#,
            result: #"{"metadata":{"finalizers":["c","a","b"]}}"#),
        .init(
            name: "primitives are deleted", patch: #"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}"#,
            document: #"{"metadata":{"finalizers":["a","b"]}}"#,
            result: #"{"metadata":{"finalizers":["b"]}}"#),
        .init(
            name: "deleting from no list is nothing",
            patch: #"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}"#, document: #"{"metadata":{}}"#,
            result: #"{"metadata":{}}"#),
        .init(
            name: "element order with a change",
            patch:
                #"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"2"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"b"},{"name":"a","image":"2"}]}}"#),
        .init(
            name: "element order alone",
            patch: #"{"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"a"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"b"},{"name":"c"},{"name":"a"}]}}"#),
        .init(
            name: "element order of primitives",
            patch: #"{"metadata":{"$setElementOrder/finalizers":["c","a"],"finalizers":["c"]}}"#,
            document: #"{"metadata":{"finalizers":["a","b"]}}"#,
            result: #"{"metadata":{"finalizers":["c","a","b"]}}"#),
        .init(
            name: "element order with a new list",
            patch: #"{"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"a","image":"1"}]}}"#,
            document: #"{"spec":{}}"#, result: #"{"spec":{"containers":[{"name":"a","image":"1"}]}}"#),
        .init(
            name: "element order with a deletion",
            patch:
                #"{"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"a","$patch":"delete"}]}}"#,
            document: #"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            result: #"{"spec":{"containers":[{"name":"b"}]}}"#),
        .init(
            name: "retained keys", patch: #"{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#,
            document: #"{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}}"#,
            result: #"{"spec":{"strategy":{"type":"Recreate"}}}"#, kind: deployment),
        .init(
            name: "retained keys of a volume",
            patch: #"{"spec":{"volumes":[{"name":"v","$retainKeys":["name","emptyDir"],"emptyDir":{}}]}}"#,
            document: #"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}"#,
            result: #"{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}"#),
        .init(
            name: "ports merge by containerPort",
            patch: #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"http"}]}]}}"#,
            document:
                #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":443},{"containerPort":80,"protocol":"TCP"}]}]}}"#,
            result:
                #"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":443},{"containerPort":80,"protocol":"TCP","name":"http"}]}]}}"#
        ),
        .init(
            name: "service ports merge by port", patch: #"{"spec":{"ports":[{"port":80,"nodePort":30000}]}}"#,
            document: #"{"spec":{"ports":[{"port":80,"name":"x"}]}}"#,
            result: #"{"spec":{"ports":[{"port":80,"name":"x","nodePort":30000}]}}"#, kind: .init("", "v1", "Service")),
        .init(
            name: "conditions merge by type", patch: #"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#,
            document:
                #"{"status":{"conditions":[{"type":"Other","status":"True"},{"type":"Ready","status":"True","reason":"x"}]}}"#,
            result:
                #"{"status":{"conditions":[{"type":"Other","status":"True"},{"type":"Ready","status":"False","reason":"x"}]}}"#,
            kind: .init("", "v1", "Node")),
        .init(
            name: "owner references merge by uid",
            patch: #"{"metadata":{"ownerReferences":[{"uid":"1","controller":true}]}}"#,
            document: #"{"metadata":{"ownerReferences":[{"uid":"1","name":"n"}]}}"#,
            result: #"{"metadata":{"ownerReferences":[{"uid":"1","name":"n","controller":true}]}}"#),
        .init(
            name: "another kind of value replaces", patch: #"{"metadata":{"labels":null},"spec":{"nodeName":"x"}}"#,
            document: #"{"metadata":{"labels":{"a":"b"}},"spec":{"nodeName":5}}"#,
            result: #"{"metadata":{},"spec":{"nodeName":"x"}}"#),
        .init(
            name: "directives in new members do not stay",
            patch: #"{"spec":{"volumes":[{"name":"a","$patch":"delete"},{"name":"b"}]}}"#, document: #"{"spec":{}}"#,
            result: #"{"spec":{"volumes":[{"name":"b"}]}}"#),
    ]

    @Test(arguments: vectors.indices)
    func vectorApplies(_ index: Int) throws {
        let vector = Self.vectors[index]
        #expect(try apply(vector.patch, to: vector.document, vector.kind) == vector.result, "\(vector.name)")
    }

    @Test(arguments: [
        (#"{"spec":{"containers":[{"image":"x"}]}}"#, "map: map[image:x] does not contain declared merge key: name"),
        (#"{"spec":{"$patch":"frob"}}"#, "unknown patch type: frob in map: map[$patch:frob]"),
        (
            #"{"spec":{"containers":[{"name":"a","$patch":"merge"}]}}"#,
            "merging lists cannot yet be specified in the patch"
        ),
        (#"{"spec":{"$retainKeys":"x"}}"#, "invalid patch format of retainKeys"),
        (#"{"spec":{"$retainKeys":["x"],"y":1}}"#, "invalid patch format of retainKeys"),
        (#"{"metadata":{"$deleteFromPrimitiveList":["a"]}}"#, "invalid patch format of primitive list"),
        (#"{"spec":{"$setElementOrder/containers":"x"}}"#, "invalid patch format of setElementOrder list"),
        (
            #"{"spec":{"$setElementOrder/nope":[]}}"#,
            "unable to find api field in struct PodSpec for the json field \"nope\""
        ),
        (
            #"{"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"z"}]}}"#,
            "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n"
        ),
    ])
    func badPatchSaysWhatIsWrong(_ patch: String, _ message: String) {
        let error = failure(patch, to: #"{"metadata":{"finalizers":["a"]},"spec":{"containers":[{"name":"a"}]}}"#)
        #expect(error?.message == message)
        #expect(error?.code == 400)
    }

    @Test func listsOfListsAreRefused() {
        #expect(
            failure(#"{"metadata":{"finalizers":[["a"]]}}"#, to: #"{"metadata":{"finalizers":["a"]}}"#)?.message
                .hasSuffix("lists of lists are not supported") == true)
    }

    @Test func largeListsMergeInLinearTime() throws {
        func list(_ count: Int, _ image: String) -> JSON {
            ["spec": ["containers": .array((0..<count).map { ["name": .string("c\($0)"), "image": .string(image)] })]]
        }
        let merged = try Patch.apply(
            .strategic, list(20_000, "new"), to: list(20_000, "old"), as: .init("", "v1", "Pod"))
        #expect(merged["spec"]["containers"].elements.count == 20_000)
        #expect(merged["spec"]["containers"].elements.allSatisfy { $0["image"] == "new" })
    }
}
