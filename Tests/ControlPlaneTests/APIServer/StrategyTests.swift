import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

/// What each kind refuses, in upstream's words.
@Suite struct StrategyTests {
    static let core = "/api/v1/namespaces/default/"

    static func pod(_ spec: String) -> String {
        #"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i""# + spec
    }

    static let refusals: [(String, String, [String])] = [
        (core + "pods", #"{"metadata":{"name":"p"},"spec":{}}"#, ["spec.containers: Required value"]),
        (
            core + "pods", #"{"metadata":{"name":"Bad_Name"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#,
            ["metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of"]
        ),
        (
            core + "pods",
            #"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"A"},{"name":"b","image":"i"},{"name":"b","image":"i"}]}}"#,
            [
                "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of",
                "spec.containers[0].image: Required value", "spec.containers[2].name: Duplicate value: \"b\"",
            ]
        ),
        (
            core + "pods", pod(#","ports":[{"containerPort":70000},{}]}]}}"#),
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[1].containerPort: Required value",
            ]
        ),
        (
            core + "pods", pod(#","env":[{"value":"x"},{"name":"A","valueFrom":{}}]}]}}"#),
            [
                "spec.containers[0].env[0].name: Required value",
                "spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`",
            ]
        ),
        (
            core + "pods", pod(#","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}"#),
            ["spec.containers[0].volumeMounts[0].name: Not found: \"v\""]
        ),
        (
            core + "pods", pod(#"}],"volumes":[{"name":"v"},{"name":"v","emptyDir":{}}]}}"#),
            ["spec.volumes[1].name: Duplicate value: \"v\""]
        ),
        (
            core + "pods", pod(#","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]}}"#),
            [
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"
            ]
        ),
        (
            core + "pods", pod(#","livenessProbe":{"periodSeconds":-1}}],"restartPolicy":"Sometimes"}}"#),
            [
                "spec.containers[0].livenessProbe: Required value: must specify a handler type",
                "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ]
        ),
        (
            core + "configmaps", #"{"metadata":{"name":"c","labels":{"a b":"x","k":"v v"}},"data":{"bad key":"x"}}"#,
            [
                "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters",
                "metadata.labels: Invalid value: \"v v\": a valid label must be an empty string or consist of",
                "data[bad key]: Invalid value: \"bad key\": a valid config key must consist of alphanumeric characters",
            ]
        ),
        (
            core + "secrets", #"{"metadata":{"name":"s"},"type":"kubernetes.io/tls"}"#,
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
        ),
        (
            core + "services", #"{"metadata":{"name":"1s"},"spec":{}}"#,
            ["metadata.name: Invalid value: \"1s\": a DNS-1035 label must consist of", "spec.ports: Required value"]
        ),
        (
            core + "services", #"{"metadata":{"name":"s"},"spec":{"ports":[{"port":80},{"port":80}],"type":"Any"}}"#,
            [
                "spec.type: Unsupported value: \"Any\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                "spec.ports[0].name: Required value", "spec.ports[1]: Duplicate value",
            ]
        ),
        (
            core + "services", #"{"metadata":{"name":"s"},"spec":{"ports":[{"port":0}],"clusterIP":"1.2.3.4"}}"#,
            [
                "spec.clusterIPs: Invalid value: [\"1.2.3.4\"]: failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is 10.43.0.0/16"
            ]
        ),
        (
            core + "services",
            #"{"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":1,"nodePort":80}]}}"#,
            [
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
            ]
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            #"{"metadata":{"name":"d"},"spec":{"replicas":-1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"c"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#,
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ]
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            #"{"metadata":{"name":"d"},"spec":{"selector":{},"strategy":{"rollingUpdate":{"maxUnavailable":0,"maxSurge":0}},"template":{"metadata":{"labels":{"a":"c"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
            [
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ]
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
            #"{"metadata":{"name":"r"},"rules":[{"verbs":[],"nonResourceURLs":["/x"]}]}"#,
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            ]
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            #"{"metadata":{"name":"r"},"roleRef":{"kind":"Role","name":"x"},"subjects":[{"kind":"Robot","name":"r"}]}"#,
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            ]
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            #"{"metadata":{"name":"l"},"spec":{"leaseDurationSeconds":0}}"#,
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
        ),
        (
            core + "events", #"{"metadata":{"name":"e"},"involvedObject":{"namespace":"other"}}"#,
            ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
        ),
    ]

    @Test(arguments: refusals)
    func whatIsInvalidIsNamed(_ target: String, _ body: String, _ messages: [String]) async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let answer = try await cluster.send("POST", target, Array(body.utf8))
        #expect(answer.code == 422 && answer.reason == "Invalid", "\(answer.text)")
        for message in messages { #expect(answer.message.contains(message), "\(answer.message)") }
        #expect(answer.json["details"]["causes"].elements.count >= messages.count)
        #expect(cluster.store.revision == revision)
    }

    @Test func aPodKeepsItsSpec() async throws {
        let cluster = try await Cluster()
        var pod = try await cluster.client.create(.pods, cluster.pod("p"))
        pod.json["spec"]["containers"][0]["image"] = "busybox:2"
        pod = try await cluster.client.update(.pods, pod)
        #expect(pod.generation == 2)
        pod.json["spec"]["hostNetwork"] = true
        let refused = try await cluster.call("PUT", Self.core + "pods/p", pod.json)
        #expect(refused.code == 422)
        #expect(
            refused.message.hasPrefix(
                "Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            ))
        #expect(refused.message.contains("+ hostNetwork: true"))
    }

    @Test func selectorsAndRolesStay() async throws {
        let cluster = try await Cluster()
        let template: JSON = [
            "metadata": ["labels": ["a": "b", "c": "d"]], "spec": ["containers": [["name": "c", "image": "i"]]],
        ]
        let deployments = "/apis/apps/v1/namespaces/default/deployments"
        _ = try await cluster.call(
            "POST", deployments,
            ["metadata": ["name": "d"], "spec": ["selector": ["matchLabels": ["a": "b"]], "template": template]])
        let selector = try await cluster.call(
            "PATCH", deployments + "/d", ["spec": ["selector": ["matchLabels": ["c": "d"]]]],
            type: "application/merge-patch+json")
        #expect(selector.code == 422)
        #expect(selector.message.contains("spec.selector: Invalid value: "))
        #expect(selector.message.hasSuffix(": field is immutable"))
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        _ = try await cluster.call(
            "POST", bindings,
            [
                "metadata": ["name": "b"],
                "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "x"],
            ])
        let role = try await cluster.call(
            "PATCH", bindings + "/b", ["roleRef": ["name": "y"]], type: "application/merge-patch+json")
        #expect(role.code == 422 && role.message.hasSuffix(": cannot change roleRef"))
    }

    @Test func whatIsImmutableSaysSo() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "POST", Self.core + "configmaps", ["metadata": ["name": "c"], "data": ["k": "v"], "immutable": true])
        let refused = try await cluster.call(
            "PATCH", Self.core + "configmaps/c", ["data": ["k": "w"]], type: "application/merge-patch+json")
        #expect(
            refused.message == "ConfigMap \"c\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
        )
        _ = try await cluster.call(
            "POST", Self.core + "secrets", ["metadata": ["name": "s"], "stringData": ["k": "v"]])
        let secret = try await cluster.call("GET", Self.core + "secrets/s")
        #expect(secret.json["data"]["k"] == "dg==" && secret.json["stringData"].isNull)
        #expect(secret.json["type"] == "Opaque")
    }

    @Test func eventsHaveTwoFaces() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call(
            "POST", Self.core + "events",
            [
                "metadata": ["name": "e"], "involvedObject": ["kind": "Pod", "namespace": "default", "name": "p"],
                "reason": "Started", "message": "hello", "type": "Normal", "count": 3,
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
            ])
        let newer = "/apis/events.k8s.io/v1/namespaces/default/events"
        let shown = try await cluster.call("GET", newer + "/e")
        #expect(shown.json["apiVersion"] == "events.k8s.io/v1")
        #expect(shown.json["note"] == "hello" && shown.json["regarding"]["name"] == "p")
        #expect(shown.json["deprecatedCount"] == 3 && shown.json["message"].isNull)
        let list = try await cluster.call("GET", newer + "?fieldSelector=regarding.name%3Dp,reason%3DStarted")
        #expect(list.json["kind"] == "EventList" && list.json["items"][0]["note"] == "hello")
        let made = try await cluster.call(
            "POST", newer,
            [
                "metadata": ["name": "f"], "regarding": ["kind": "Pod", "namespace": "default", "name": "q"],
                "reason": "R", "note": "n", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000001Z",
                "action": "A", "reportingController": "c", "reportingInstance": "i",
            ])
        #expect(made.code == 201 && made.json["regarding"]["name"] == "q", "\(made.text)")
        let core = try await cluster.call("GET", Self.core + "events/f")
        #expect(core.json["involvedObject"]["name"] == "q" && core.json["message"] == "n")
        #expect(core.json["reportingComponent"] == "c" && core.json["kind"] == "Event")
        let watch = try await cluster.watch(newer + "?watch=1&resourceVersion=\(cluster.store.revision)")
        _ = try await cluster.call(
            "PATCH", newer + "/f", ["series": ["count": 2, "lastObservedTime": "2026-01-01T00:00:02.000000Z"]],
            type: "application/merge-patch+json")
        let event = await watch.events(1)[0]
        #expect(event["type"] == "MODIFIED" && event["object"]["series"]["count"] == 2)
        watch.cancel()
    }

    @Test func leaseRenewalsMayWaitForTheDisk() async throws {
        let cluster = try await Cluster()
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        let made = try await cluster.call(
            "POST", leases,
            ["metadata": ["name": "l"], "spec": ["holderIdentity": "n", "renewTime": "2026-01-01T00:00:00.000000Z"]])
        var renewed = made.json
        renewed["spec"]["renewTime"] = "2026-01-01T00:00:10.000000Z"
        let put = try await cluster.call("PUT", leases + "/l", renewed)
        #expect(put.code == 200 && put.json["spec"]["renewTime"] == "2026-01-01T00:00:10.000000Z")
        renewed["metadata"]["resourceVersion"] = nil
        let blind = try await cluster.call("PUT", leases + "/l", renewed)
        #expect(blind.code == 422 && blind.message.contains("metadata.resourceVersion: Invalid value: 0"))
    }
}
