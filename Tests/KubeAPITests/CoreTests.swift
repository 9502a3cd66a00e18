import Codecs
import Testing

@testable import KubeAPI

@Suite("Quantity") struct QuantityTests {
    @Test(arguments: [
        ("100m", "100m"), ("0.1", "100m"), ("1.5Gi", "1536Mi"), ("1Gi", "1Gi"), ("1024Mi", "1Gi"), ("1000", "1k"),
        ("0", "0"),
        ("2e3", "2e3"), ("12e6", "12e6"), ("1.5", "1500m"), ("100Ki", "100Ki"), ("1.0000000001", "1000000001n"),
        ("-5", "-5"),
        ("128974848", "128974848"), ("1M", "1M"), ("512Mi", "512Mi"),
    ])
    func canonicalTextIsUpstreams(_ text: String, _ canonical: String) {
        #expect(Quantity(text)?.description == canonical)
    }
    @Test(arguments: [
        "", "abc", "1.2.3", "1kk", "Mi", "--1", "1e", "1e99999999999", "9999999999999999999999999999999999999999",
    ])
    func badTextIsRefused(_ text: String) { #expect(Quantity(text) == nil) }
    @Test func valuesAreRoundedUp() {
        #expect(Quantity("1500m")?.value == 2)
        #expect(Quantity("0.0001")?.milliValue == 1)
    }
}

@Suite("LabelSelector") struct LabelSelectorTests {
    @Test(arguments: [
        ("a=b", ["a": "b"], true), ("a==b,c!=d", ["a": "b"], true), ("a in (x, y)", ["a": "y"], true),
        ("a notin (x,y)", ["a": "x"], false), ("a notin (x)", [:], true), ("!a", ["a": ""], false),
        ("a", ["a": ""], true),
        ("a>5", ["a": "6"], true), ("a<5", ["a": "6"], false), ("", ["x": "y"], true), ("a=", ["a": ""], true),
    ])
    func selectsAsUpstream(_ text: String, _ labels: [String: String], _ matches: Bool) throws {
        let selector = try LabelSelector(parsing: text)
        #expect(selector.matches(labels) == matches)
        #expect(try LabelSelector(parsing: selector.text) == selector)
    }
    @Test(arguments: ["a in", "a in (", "=b", "a=b c", "a,,b", "a>x", "!", "a b", "/x=1"])
    func badTextIsRefused(_ text: String) { #expect(throws: APIError.self) { try LabelSelector(parsing: text) } }
    @Test func aMissingSelectorSelectsNothing() throws {
        #expect(try !LabelSelector(json: .null).matches([:]))
        #expect(try LabelSelector(json: [:]).matches(["a": "b"]))
    }
}

@Suite("FieldSelector") struct FieldSelectorTests {
    @Test func termsAreAllNeeded() throws {
        let selector = try FieldSelector(parsing: "metadata.name=a,status.phase!=Running,spec.nodeName==")
        #expect(selector.matches { ["metadata.name": "a", "status.phase": "Pending"][$0] ?? "" })
        #expect(!selector.matches { ["metadata.name": "a", "status.phase": "Running"][$0] ?? "" })
        #expect(throws: APIError.self) { try FieldSelector(parsing: "a") }
    }
}

@Suite("APIError") struct APIErrorTests {
    @Test func statusSurvivesARoundTrip() {
        let error = APIError.invalid(
            GroupVersionKind("apps", "v1", "Deployment"), "web",
            [.required("spec.selector"), .invalid("spec.replicas", -1, "must be greater than or equal to 0")])
        #expect(
            error.message
                == #"Deployment.apps "web" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be greater than or equal to 0]"#
        )
        #expect(APIError(status: error.json, code: 0) == error)
    }
}

@Suite("VirtualClock") struct VirtualClockTests {
    @Test func sleepersWakeWhenTheirTimeComes() async {
        let clock = VirtualClock()
        let task = Task { await clock.sleep(for: .seconds(3600)) }
        while clock.sleeping == 0 { await Task.yield() }
        clock.advance(by: .seconds(3600))
        await task.value
        #expect(clock.now().rfc3339 == "2026-01-01T01:00:00Z")
    }
}
