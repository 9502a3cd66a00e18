import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

/// What networking, storage and node kinds refuse and keep.
@Suite struct NetworkKindTests {
    private static let networking = "/apis/networking.k8s.io/v1/"
    private static let namespaced = networking + "namespaces/default/"

    private static func ingress(_ path: String) -> String {
        #"{"metadata":{"name":"x"},"spec":{"rules":[{"http":{"paths":["# + path + "]}}]}}"
    }

    static let refusals: [(String, String, [String])] = [
        (
            namespaced + "ingresses", #"{"metadata":{"name":"x"},"spec":{}}"#,
            ["either `defaultBackend` or `rules` must be specified"]
        ),
        (
            namespaced + "ingresses", ingress(#"{"path":"x","backend":{"service":{"name":"s"}}}"#),
            [
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ]
        ),
        (
            namespaced + "ingresses",
            ingress(
                #"{"path":"a//b","pathType":"Exact","backend":{"service":{"name":"S","port":{"name":"p","number":1}}}}"#
            ),
            [
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
                "cannot set both port name & port number",
                "spec.rules[0].http.paths[0].backend.service.name: Invalid value: \"S\": a DNS-1035 label must consist of",
            ]
        ),
        (
            namespaced + "ingresses",
            #"{"metadata":{"name":"x","annotations":{"kubernetes.io/ingress.class":"a"}},"spec":{"ingressClassName":"a","rules":[{"host":"10.0.0.1"},{"host":"*x.test"},{"host":"Bad"}]}}"#,
            [
                "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": can not be set when the class field is also set",
                "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
                "spec.rules[1].host: Invalid value: \"*x.test\": a wildcard DNS-1123 subdomain must start with '*.'",
                "spec.rules[2].host: Invalid value: \"Bad\": a lowercase RFC 1123 subdomain",
            ]
        ),
        (
            networking + "ingressclasses", #"{"metadata":{"name":"x"},"spec":{"controller":"web"}}"#,
            ["spec.controller: Invalid value: \"web\": must be a domain-prefixed path (such as \"acme.io/foo\")"]
        ),
        (
            namespaced + "networkpolicies",
            #"{"metadata":{"name":"x"},"spec":{"podSelector":{},"policyTypes":["Both"],"ingress":[{"from":[{},{"ipBlock":{"cidr":"10.0.0.0/8","except":["11.0.0.0/16"]}},{"podSelector":{},"ipBlock":{"cidr":"x"}}],"ports":[{"port":0},{"endPort":5},{"port":10,"endPort":5}]}]}}"#,
            [
                "spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Egress\", \"Ingress\"",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                "spec.ingress[0].from[2]: Forbidden: may not specify both ipBlock and another peer",
                "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ingress[0].ports[1].port: Required value: must be specified when `endPort` is set",
                "spec.ingress[0].ports[2].endPort: Invalid value: 5: must be greater than or equal to `port`",
            ]
        ),
        (
            networking + "ipaddresses", #"{"metadata":{"name":"10.0.0.01"},"spec":{}}"#,
            [
                "metadata.name: Invalid value: \"10.0.0.01\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "spec.parentRef: Required value",
            ]
        ),
        (
            networking + "servicecidrs", #"{"metadata":{"name":"x"},"spec":{"cidrs":["10.0.0.1/8","10.0.0.0/8"]}}"#,
            ["must be in canonical form (\"10.0.0.0/8\")", "may specify no more than one IP for each IP family"]
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses", #"{"metadata":{"name":"x"},"reclaimPolicy":"Burn"}"#,
            [
                "provisioner: Required value",
                "reclaimPolicy: Unsupported value: \"Burn\": supported values: \"Delete\", \"Retain\"",
            ]
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            #"{"metadata":{"name":"x"},"spec":{"drivers":[{"name":"d","nodeID":"n"},{"name":"d"}]}}"#,
            ["spec.drivers[1].name: Duplicate value: \"d\"", "spec.drivers[1].nodeID: Required value"]
        ),
        (
            "/apis/storage.k8s.io/v1/volumeattachments", #"{"metadata":{"name":"x"},"spec":{"source":{}}}"#,
            ["spec.attacher: Required value", "must specify exactly one of inlineVolumeSpec and persistentVolumeName"]
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses", #"{"metadata":{"name":"x"},"handler":"Bad_One"}"#,
            ["handler: Invalid value: \"Bad_One\": a lowercase RFC 1123 label must consist of"]
        ),
    ]

    @Test(arguments: refusals)
    func whatIsInvalidIsNamed(_ target: String, _ body: String, _ messages: [String]) async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let answer = try await cluster.send("POST", target, Array(body.utf8))
        #expect(answer.code == 422 && answer.reason == "Invalid", "\(answer.text)")
        for message in messages { #expect(answer.message.contains(message), "\(answer.message)") }
        #expect(cluster.store.revision == revision)
    }

    static let fixed: [(String, String, String, JSON, String)] = [
        (
            "/apis/storage.k8s.io/v1/storageclasses", #""provisioner":"a.io/x","parameters":{"a":"b"}"#, "parameters",
            ["parameters": ["a": "c"]], "parameters: Forbidden: updates to parameters are forbidden."
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses", #""provisioner":"a.io/x""#, "provisioner",
            ["provisioner": "b.io/x"], "provisioner: Forbidden: updates to provisioner are forbidden."
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses", #""handler":"runc""#, "handler", ["handler": "kata"],
            "handler: Invalid value: \"kata\": field is immutable"
        ),
        (
            networking + "ingressclasses", #""spec":{"controller":"a.io/x"}"#, "controller",
            ["spec": ["controller": "b.io/x"]], "spec.controller: Invalid value: \"b.io/x\": field is immutable"
        ),
    ]

    @Test(arguments: fixed)
    func someFieldsStay(
        _ collection: String, _ body: String, _ field: String, _ patch: JSON, _ message: String
    ) async throws {
        let cluster = try await Cluster()
        let made = try await cluster.send(
            "POST", collection, Array((#"{"metadata":{"name":"x"},"# + body + "}").utf8))
        #expect(made.code == 201, "\(made.text)")
        let answer = try await cluster.call(
            "PATCH", collection + "/x", patch, type: "application/merge-patch+json")
        #expect(answer.code == 422 && answer.message.contains(message), "\(field): \(answer.text)")
    }
}
