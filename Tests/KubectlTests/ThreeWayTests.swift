import Codecs
import Testing

@testable import Kubectl

@Suite struct ThreeWayTests {
    private func pod(_ containers: JSON, _ extra: JSON = [:]) -> JSON {
        var pod: JSON = ["spec": ["containers": containers]]
        for (key, value) in extra.object ?? [:] { pod["spec"][key] = value }
        return pod
    }
    private let merge = ThreeWay(apiVersion: "v1", kind: "Pod")

    @Test func whatOthersAddedStays() {
        let mine = pod([["name": "a", "image": "1"]])
        let now = pod(
            [["name": "side", "image": "s"], ["name": "a", "image": "1", "stdin": true]], ["nodeName": "n"])
        let wanted = pod([["name": "a", "image": "2"]])
        #expect(
            merge.result(original: mine, modified: wanted, current: now)
                == pod(
                    [["name": "side", "image": "s"], ["name": "a", "image": "2", "stdin": true]], ["nodeName": "n"]))
    }

    @Test func whatTheLastConfigurationHadGoes() {
        let before = pod(
            [["name": "a", "image": "1", "stdin": true], ["name": "b", "image": "1"]], ["hostNetwork": true])
        let wanted = pod([["name": "a", "image": "1"]])
        #expect(merge.result(original: before, modified: wanted, current: before) == wanted)
    }

    @Test func listsOfUnknownKindsAreReplaced() {
        let custom = ThreeWay(apiVersion: "example.com/v1", kind: "Thing")
        let now: JSON = ["spec": ["list": [["name": "a"], ["name": "b"]]]]
        let wanted: JSON = ["spec": ["list": [["name": "a"]]]]
        #expect(custom.result(original: .null, modified: wanted, current: now) == wanted)
    }

    @Test func theDifferenceOfEqualsIsNothing() {
        let object: JSON = ["a": ["b": [1, 2]], "c": .null]
        #expect(ThreeWay.difference(object, object) == nil)
        #expect(
            ThreeWay.difference(["a": 1, "b": ["c": 2]], ["b": ["c": 3]]).map { $0 == ["a": .null, "b": ["c": 3]] }
                == true)
    }
}
