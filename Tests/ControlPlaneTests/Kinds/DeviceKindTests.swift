import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

/// What the kinds of dynamic resource allocation and of storage refuse, in upstream's words.
@Suite struct DeviceKindTests {
    private static let group = "/apis/resource.k8s.io/v1/"
    private static let claims = group + "namespaces/default/resourceclaims"
    private static let slices = group + "resourceslices"
    private static let storage = "/apis/storage.k8s.io/v1/"

    private static func claim(_ devices: String) -> String {
        #"{"metadata":{"name":"x"},"spec":{"devices":{"# + devices + "}}}"
    }

    private static func slice(_ members: String, node: String = #""nodeName":"n","#) -> String {
        #"{"metadata":{"name":"x"},"spec":{"driver":"gpu.test","pool":{"name":"p","resourceSliceCount":1},"#
            + node + members + "}}"
    }

    private static func device(_ members: String) -> String {
        slice(#""devices":[{"name":"d","# + members + "}]")
    }

    private static let one = #"{"name":"r","exactly":{"deviceClassName":"gpu"}}"#
    private static let oneOf =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"

    static let claimRows: [(String, String, [String])] = [
        (
            claims, claim(#""requests":[{"name":"R"},{"name":"b","exactly":{}}]"#),
            [
                "spec.devices.requests[0].name: Invalid value: \"R\": a lowercase RFC 1123 label",
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                "spec.devices.requests[1].exactly.deviceClassName: Required value",
            ]
        ),
        (
            claims,
            claim(
                #""requests":[{"name":"r","exactly":{"deviceClassName":"gpu"},"firstAvailable":[{"name":"s","deviceClassName":"gpu"}]}]"#
            ),
            ["but multiple fields are set"]
        ),
        (
            claims,
            claim(
                #""requests":[{"name":"r","exactly":{"deviceClassName":"gpu","allocationMode":"All","count":2}},{"name":"r","exactly":{"deviceClassName":"gpu","count":-1,"selectors":[{}]}},{"name":"t","exactly":{"deviceClassName":"gpu","allocationMode":"Some"}}]"#
            ),
            [
                "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                "spec.devices.requests[1].exactly.count: Invalid value: -1: must be greater than zero",
                "spec.devices.requests[1].exactly.selectors[0].cel: Required value",
                "spec.devices.requests[1]: Duplicate value: \"r\"",
                "spec.devices.requests[2].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"",
            ]
        ),
        (
            claims,
            claim(
                #""requests":[\#(one)],"constraints":[{"requests":["other"],"matchAttribute":"model"},{"requests":["r","r"]}]"#
            ),
            [
                "spec.devices.constraints[0].requests[0]: Invalid value: \"other\": must be the name of a request in the claim",
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a name separated by a slash",
                "spec.devices.constraints[1].requests[1]: Duplicate value: \"r\"",
                "spec.devices.constraints[1]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\"",
            ]
        ),
        (
            claims,
            claim(
                #""requests":[{"name":"r","exactly":{"deviceClassName":"gpu","selectors":[{"cel":{"expression":"device.driver > 1"}},{"cel":{"expression":"device.driver"}}]}}]"#
            ),
            [
                "spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: \"device.driver > 1\": compilation failed: ERROR: <input>:1:15: found no matching overload for '_>_' applied to '(string, int)'",
                "spec.devices.requests[0].exactly.selectors[1].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string",
            ]
        ),
        (
            claims, claim(#""requests":[{"name":"r","exactly":{"deviceClassName":"gpu","adminAccess":true}}]"#),
            [
                "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
            ]
        ),
        (
            claims,
            claim(#""requests":[\#(one)],"config":[{},{"opaque":{"driver":"Bad_Driver","parameters":[]}}]"#),
            [
                "spec.devices.config[0].opaque: Required value",
                "spec.devices.config[1].opaque.driver: Invalid value: \"Bad_Driver\": a lowercase RFC 1123 subdomain",
                "spec.devices.config[1].opaque.parameters: Invalid value: \"<value omitted>\"",
            ]
        ),
        (
            claims,
            claim(
                #""requests":[{"name":"r","exactly":{"deviceClassName":"gpu","tolerations":[{"operator":"Exists","value":"v"},{"operator":"Equal"},{"key":"k","operator":"Like","effect":"Never"}]}}]"#
            ),
            [
                "tolerations[0].value: Invalid value: \"v\": must be empty for operator `Exists`",
                "tolerations[1].key: Required value: must not be empty for operator `Equal`",
                "tolerations[2].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\"",
                "tolerations[2].effect: Unsupported value: \"Never\"",
            ]
        ),
        (
            claims,
            claim("\"requests\":[" + (0..<33).map { #"{"name":"r\#($0)"}"# }.joined(separator: ",") + "]"),
            ["spec.devices.requests: Too many: 33: must have at most 32 items"]
        ),
        (
            group + "namespaces/default/resourceclaimtemplates",
            #"{"metadata":{"name":"x"},"spec":{"metadata":{"labels":{"-":"b"}},"spec":{"devices":{"requests":[{"name":"r"}]}}}}"#,
            [
                "spec.metadata.labels: Invalid value",
                "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ]
        ),
        (
            group + "deviceclasses",
            #"{"metadata":{"name":"x"},"spec":{"selectors":[{}],"config":[{}],"extendedResourceName":"gpu"}}"#,
            [
                "spec.selectors[0].cel: Required value", "spec.config[0].opaque: Required value",
                "spec.extendedResourceName: Invalid value: \"gpu\": must be a valid extended resource name",
            ]
        ),
    ]

    static let sliceRows: [(String, String, [String])] = [
        (
            slices, #"{"metadata":{"name":"x"},"spec":{"driver":"","pool":{"name":"a//b","generation":-1}}}"#,
            [
                "spec.driver: Required value", "spec.pool.name: Invalid value: \"\": a lowercase RFC 1123 subdomain",
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                "spec: Required value: \(oneOf)",
            ]
        ),
        (
            slices, slice(#""allNodes":true"#),
            ["spec: Invalid value: \"{`nodeName`, `allNodes`}\": \(oneOf), but multiple fields are set"]
        ),
        (
            slices, slice(#""allNodes":false,"nodeSelector":{"nodeSelectorTerms":[]}"#, node: ""),
            [
                "spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
                "spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term",
                "spec.allNodes: Invalid value: false: must be either unset or set to true",
            ]
        ),
        (
            slices,
            device(#""attributes":{"a/b/c":{"int":1},"9":{"int":1},"/x":{"bool":true},"ok":{"int":1,"bool":true}}"#),
            [
                "spec.devices[0].attributes: Invalid value: \"a/b/c\": must not contain more than one slash",
                "spec.devices[0].attributes: Invalid value: \"9\": a valid C identifier must start",
                "spec.devices[0].attributes: Invalid value: \"\": the domain must not be empty",
                "spec.devices[0].attributes[ok]: Invalid value: {", ": exactly one value must be specified",
            ]
        ),
        (
            slices, device(#""attributes":{"v":{"version":"1.2"},"w":{"version":"01.2.3"}}"#),
            [
                "spec.devices[0].attributes[v].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
                "spec.devices[0].attributes[w].version",
            ]
        ),
        (
            slices, device(#""nodeName":"n","taints":[{"key":"k"},{"key":"","effect":"NoSchedule"}]"#),
            [
                "spec.devices[0].taints[0].effect: Required value",
                "spec.devices[0].taints[1].key: Invalid value: \"\": name part must be non-empty",
                "can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ]
        ),
        (
            slices, device(#""capacity":{"memory":{"value":"1Gi","requestPolicy":{"default":"1Mi"}}}"#),
            ["spec.devices[0].capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true"]
        ),
        (
            slices,
            device(
                #""allowMultipleAllocations":true,"capacity":{"a":{"value":"10","requestPolicy":{"default":"3","validValues":["2","1","20"]}},"b":{"value":"10","requestPolicy":{"validRange":{"min":"1"}}},"c":{"value":"10","requestPolicy":{"default":"1","validRange":{"min":"2","max":"11","step":"9"}}}}"#
            ),
            [
                "capacity[a].requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
                "capacity[a].requestPolicy.validValues[2]: Invalid value: \"20\": option is larger than capacity value: 10",
                "capacity[a].requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
                "capacity[b].requestPolicy.default: Required value: required when validRange is defined",
                "capacity[c].requestPolicy.validRange.default: Invalid value: \"1\": default is less than min: 2",
                "capacity[c].requestPolicy.validRange.max: Invalid value: \"11\": max is larger than capacity value: 10",
                "capacity[c].requestPolicy.validRange.step: Invalid value: \"9\": one step 11 is larger than capacity value: 10",
            ]
        ),
        (
            slices, slice(#""devices":[{"name":"d"},{"name":"d"}],"sharedCounters":[{"name":"","counters":{}}]"#),
            [
                "spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed",
                "spec.devices[1]: Duplicate value: \"d\"", "spec.sharedCounters[0].name: Required value",
                "spec.sharedCounters[0].counters: Required value",
            ]
        ),
        (
            slices, slice("\"devices\":[" + (0..<129).map { #"{"name":"d\#($0)"}"# }.joined(separator: ",") + "]"),
            ["spec.devices: Too many: 129: must have at most 128 items"]
        ),
    ]

    static let storageRows: [(String, String, [String])] = [
        (
            storage + "storageclasses",
            #"{"metadata":{"name":"x"},"provisioner":"a/b/c","parameters":{"":"x"},"allowedTopologies":[{"matchLabelExpressions":[{"key":"z","values":[]},{"key":"z","values":["a","a"]}]}]}"#,
            [
                "provisioner: Invalid value: \"a/b/c\": a qualified name must consist",
                "parameters: Invalid value: \"\": field can not be empty.",
                "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
                "allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: \"a\"",
                "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"z\"",
            ]
        ),
        (
            storage + "csidrivers",
            #"{"metadata":{"name":"x"},"spec":{"volumeLifecycleModes":["Never"],"tokenRequests":[{"audience":"a","expirationSeconds":1},{"audience":"a"}],"nodeAllocatableUpdatePeriodSeconds":1}}"#,
            [
                "spec.volumeLifecycleModes: Unsupported value: \"Never\": supported values: \"Ephemeral\", \"Persistent\"",
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds",
            ]
        ),
        (
            storage + "csinodes",
            #"{"metadata":{"name":"x"},"spec":{"drivers":[{"name":"d","nodeID":"","topologyKeys":["a","a","-"]},{"name":"d","nodeID":"n","topologyKeys":[""],"allocatable":{"count":-1}}]}}"#,
            [
                "spec.drivers[0].nodeID: Required value", "spec.drivers[0].topologyKeys: Duplicate value: \"a\"",
                "spec.drivers[0].topologyKeys: Invalid value: [\"a\",\"a\",\"-\"]",
                "spec.drivers[1].name: Duplicate value: \"d\"", "spec.drivers[1].topologyKeys: Required value",
                "spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            ]
        ),
        (
            storage + "volumeattachments",
            #"{"metadata":{"name":"x"},"spec":{"attacher":"A_","nodeName":"","source":{"persistentVolumeName":"V"}}}"#,
            [
                "spec.attacher: Invalid value: \"A_\"", "spec.nodeName: Invalid value: \"\"",
                "spec.source.persistentVolumeName: Invalid value: \"V\"",
            ]
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            #"{"metadata":{"name":"x"},"handler":"h","overhead":{"podFixed":{"cpu":"-1"}},"scheduling":{"nodeSelector":{"-":"v"},"tolerations":[{"key":"k","operator":"Is"},{"key":"k","operator":"Is"}]}}"#,
            [
                "overhead.podFixed[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "scheduling.nodeSelector: Invalid value",
                "scheduling.tolerations[0].operator: Unsupported value: \"Is\"",
                "scheduling.tolerations[1]: Duplicate value",
            ]
        ),
        (
            "/apis/networking.k8s.io/v1/ingressclasses",
            #"{"metadata":{"name":"x"},"spec":{"controller":"a.b/c","parameters":{"kind":"","name":"a/b","scope":"Namespace"}}}"#,
            [
                "spec.parameters.kind: Required value",
                "spec.parameters.name: Invalid value: \"a/b\": may not contain '/'",
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ]
        ),
    ]

    @Test(arguments: claimRows + sliceRows + storageRows)
    func whatIsInvalidIsNamed(_ target: String, _ body: String, _ messages: [String]) async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let answer = try await cluster.send("POST", target, Array(body.utf8))
        #expect(answer.code == 422 && answer.reason == "Invalid", "\(answer.text)")
        for message in messages { #expect(answer.message.contains(message), "\(message)\n\(answer.message)") }
        #expect(cluster.store.revision == revision)
    }

    static let versions: [(String, Bool)] = [
        ("1.2.3", true), ("0.0.0", true), ("1.2.3-alpha.1+build.5", true), ("1.2.3-01", false), ("1.2.3-0a", true),
        ("1.2", false), ("1.02.3", false), ("1.2.3+", false), ("1.2.3-", false), ("v1.2.3", false), ("", false),
    ]

    @Test(arguments: versions)
    func versionsAreSemantic(_ version: String, _ isGood: Bool) async throws {
        let cluster = try await Cluster()
        let body = Self.device(#""attributes":{"v":{"version":"\#(version)"}}"#)
        #expect(try await cluster.send("POST", Self.slices, Array(body.utf8)).code == (isGood ? 201 : 422))
    }

    @Test func aClaimsLife() async throws {
        let cluster = try await Cluster()
        func put(_ target: String, _ object: JSON) async throws -> Cluster.Answer {
            try await cluster.call("PUT", target, object)
        }
        let body = Self.claim(#""requests":[\#(Self.one)]"#)
        var claim = try await cluster.send("POST", Self.claims, Array(body.utf8)).json
        #expect(claim["spec"]["devices"]["requests"][0]["exactly"]["count"] == 1, "\(claim.text)")
        let target = Self.claims + "/x"
        var changed = claim
        changed["spec"]["devices"]["requests"] = []
        #expect(try await put(target, changed).message.contains("spec: Invalid value"))
        let consumer: JSON = ["resource": "pods", "name": "p", "uid": "1"]
        claim["status"] = ["reservedFor": .array([consumer])]
        #expect(
            try await put(target + "/status", claim).message.contains(
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"))
        let result: JSON = ["request": "r", "driver": "gpu.test", "pool": "p", "device": "d"]
        var wrong = result
        wrong["request"] = "other"
        claim["status"] = ["allocation": ["devices": ["results": .array([wrong])]], "reservedFor": .array([consumer])]
        #expect(
            try await put(target + "/status", claim).message.contains(
                "status.allocation.devices.results[0].request: Invalid value: \"other\""))
        claim["status"]["allocation"]["devices"]["results"] = .array([result])
        claim["status"]["devices"] = [["driver": "gpu.test", "pool": "p", "device": "e"]]
        #expect(
            try await put(target + "/status", claim).message.contains(
                "status.devices[0]: Invalid value: \"gpu.test/p/e\": must be an allocated device in the claim"))
        claim["status"]["devices"] = .null
        let given = try await put(target + "/status", claim)
        #expect(given.code == 200, "\(given.text)")
        claim = given.json
        claim["status"]["allocation"]["devices"]["results"][0]["device"] = "e"
        #expect(try await put(target + "/status", claim).message.contains("status.allocation: Invalid value"))
    }

    /// Whether a kind has a status of its own, counts generations, and what of it stays as it was made.
    static let fixed: [(target: String, body: String, change: JSON, message: String)] = [
        (
            slices, slice(#""allNodes":true"#, node: ""), ["spec": ["driver": "other.test"]],
            "spec.driver: Invalid value: \"other.test\": field is immutable"
        ),
        (
            storage + "csidrivers", #"{"metadata":{"name":"x"},"spec":{"attachRequired":true}}"#,
            ["spec": ["attachRequired": false]], "spec.attachedRequired: Invalid value: false: field is immutable"
        ),
        (
            storage + "csinodes",
            #"{"metadata":{"name":"x"},"spec":{"drivers":[{"name":"d","nodeID":"n"}]}}"#,
            ["spec": ["drivers": [["name": "d", "nodeID": "m"]]]], "CSINodeDriver: Invalid value"
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses", #"{"metadata":{"name":"x"},"handler":"h"}"#, ["handler": "i"],
            "handler: Invalid value: \"i\": field is immutable"
        ),
        (
            "/apis/networking.k8s.io/v1/ingressclasses", #"{"metadata":{"name":"x"},"spec":{"controller":"a.b/c"}}"#,
            ["spec": ["controller": "a.b/d"]], "spec.controller: Invalid value: \"a.b/d\": field is immutable"
        ),
        (
            storage + "storageclasses", #"{"metadata":{"name":"x"},"provisioner":"a.b/c"}"#,
            ["provisioner": "a.b/d"], "provisioner: Forbidden: updates to provisioner are forbidden."
        ),
    ]

    @Test(arguments: fixed.indices)
    func whatIsFixedStays(_ index: Int) async throws {
        let row = Self.fixed[index]
        let cluster = try await Cluster()
        let made = try await cluster.send("POST", row.target, Array(row.body.utf8))
        #expect(made.code == 201, "\(made.text)")
        let answer = try await cluster.call(
            "PATCH", row.target + "/x", row.change, type: "application/merge-patch+json")
        #expect(answer.code == 422 && answer.message.contains(row.message), "\(answer.text)")
    }

    @Test func slicesAreFoundByNodeAndDriver() async throws {
        let cluster = try await Cluster()
        #expect(try await cluster.send("POST", Self.slices, Array(Self.slice(#""devices":[]"#).utf8)).code == 201)
        for (selector, count) in [("spec.nodeName=n", 1), ("spec.nodeName=m", 0), ("spec.driver=gpu.test", 1)] {
            let list = try await cluster.call("GET", Self.slices + "?fieldSelector=" + selector)
            #expect(list.json["items"].elements.count == count, "\(list.text)")
        }
    }
}
