import Codecs
import KubeAPI

@testable import ControlPlane

extension FuzzTarget {
    private static let pod = GroupVersionKind("", "v1", "Pod")
    private static let deployment = GroupVersionKind("apps", "v1", "Deployment")
    private static let podText =
        #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},"finalizers":["f.example/x"]},"spec":{"containers":[{"name":"c","image":"i:1","ports":[{"containerPort":80}],"env":[{"name":"A","value":"b"}],"resources":{"limits":{"cpu":"100m"}}}],"tolerations":[{"key":"k","operator":"Exists"}]}}"#

    private static func patch(_ name: String, _ type: PatchType, _ patches: [String]) -> FuzzTarget {
        FuzzTarget(
            name, seeds: patches.map { podText + "\0" + $0 },
            words: [
                "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "/-",
                "~1",
            ]
        ) { bytes in
            let (document, patch) = bytes.halves
            guard let document = try? JSON.parse(document) else { return }
            _ = try? Patch.apply(type, bytes: patch, to: document, as: pod, validation: .strict)
        }
    }

    static let api: [FuzzTarget] = [
        FuzzTarget("strict-decoding", seeds: [podText], words: ["\"spec\":", "\"status\":", "null", "[]", "{}"]) {
            bytes in
            var duplicates: [String] = []
            guard let json = try? JSON.parse(bytes, duplicates: &duplicates) else { return }
            for kind in [pod, deployment] {
                let result = try? Schema.shared.decode(
                    json, as: kind, validation: .strict, duplicates: duplicates, defaults: true)
                if let result { _ = Schema.shared.encodeProtobufMessage(result.json, as: kind) }
            }
        },
        FuzzTarget(
            "protobuf-objects",
            bytes: [(try? JSON.parse(podText)).flatMap { Schema.shared.encodeProtobuf($0) } ?? []]
        ) { bytes in
            guard let json = try? Schema.shared.decodeProtobuf(bytes, expecting: pod) else { return }
            _ = Schema.shared.encodeProtobuf(json)
        },
        patch(
            "json-patch", .json,
            [
                #"[{"op":"add","path":"/metadata/labels/a~1b","value":"c"},{"op":"test","path":"/kind","value":"Pod"}]"#,
                #"[{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"},{"op":"remove","path":"/spec"}]"#,
                #"[{"op":"copy","from":"/spec","path":"/spec/containers/0/env"}]"#,
            ]),
        patch("merge-patch", .merge, [#"{"metadata":{"labels":{"x":null}},"spec":{"containers":[]}}"#]),
        patch(
            "strategic-patch", .strategic,
            [
                #"{"spec":{"containers":[{"name":"c","$patch":"delete"},{"name":"d","image":"j"}]}}"#,
                #"{"metadata":{"$deleteFromPrimitiveList/finalizers":["f.example/x"]},"spec":{"$setElementOrder/containers":[{"name":"c"}]}}"#,
                #"{"spec":{"containers":[{"name":"c","ports":[{"containerPort":80,"$patch":"replace"}]}],"$retainKeys":["containers"]}}"#,
            ]),
        FuzzTarget(
            "apply-fields",
            seeds: [
                #"{"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{}}}}}"#
            ],
            words: ["k:{}", "v:", "i:0", "f:", ".\":{}"]
        ) { bytes in
            guard let json = try? JSON.parse(bytes), let set = FieldSet(fieldsV1: json) else { return }
            _ = set.fieldsV1.encode()
        },
        FuzzTarget(
            "selectors", seeds: ["a=b,c!=d,e in (f,g),!h,i notin (j),k>1", "metadata.name=x,status.phase!=y"],
            words: [" in (", ")", "!=", "==", ","]
        ) { bytes in
            _ = try? LabelSelector(parsing: bytes.asText)
            _ = try? FieldSelector(parsing: bytes.asText)
        },
        FuzzTarget("continue-token", seeds: [ContinueToken(key: "/registry/pods/a", revision: 7).text]) {
            guard let token = try? ContinueToken($0.asText) else { return }
            require((try? ContinueToken(token.text))?.key == token.key, "own token does not parse")
        },
        FuzzTarget(
            "audit-policy",
            seeds: [
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
                    + "- level: None\n  nonResourceURLs: [/healthz*]\n- level: Request\n  users: [jane]\n"
                    + "  resources: [{group: apps, resources: [\"*/status\", deployments/scale], resourceNames: [a]}]\n"
            ], words: ["level: ", "rules: ", "- ", "*", "resources: ", "omitStages: "]
        ) { bytes in
            guard let policy = try? AuditPolicy(bytes, path: "policy") else { return }
            for path in ["/healthz/x", "/apis/apps/v1/namespaces/a/deployments/a/scale"] {
                _ = policy.decide(RequestInfo(method: "GET", path: path, watches: false), UserInfo("jane"))
            }
        },
        FuzzTarget("token-file", seeds: ["t1,jane,1\nt2,boss,2,\"dev,ops\"\n"], words: ["\"", "\"\"", ",", "\r\n"]) {
            guard let tokens = try? StaticTokens($0, path: "tokens") else { return }
            require(tokens.authenticate("") == nil, "nothing is a token")
        },
        FuzzTarget(
            "cron", seeds: ["*/5 1-3,7 * JAN-mar sun", "@every 1h30m", "TZ=Europe/Paris 0 0 1 1 *"], words: ["@", "*/"]
        ) {
            guard let schedule = try? CronSchedule($0.asText) else { return }
            _ = schedule
        },
        FuzzTarget(
            "cel",
            seeds: [
                "device.attributes[\"gpu.test\"].model in [\"a\", 'b'] && !(device.driver == \"x\")",
                "device.capacity[\"d\"].x.compareTo(quantity(\"1Gi\")) >= 0 || has(device.attributes.a.b)",
                "[1, 2u, 3.5e2, -4].all(i, i < 0x10) ? {'k': b\"v\"}.map(k, k + r'\\n') : optional.none().orValue([null])",
                "cel.bind(v, semver('1.2.3-a+b'), v.major() + 7 / 2 % 3) == 'grüße'.split('').size()",
            ],
            words: [".exists(", "cel.bind(", "[?", ".?", "&&", "||", "\"\"\"", "\\u00e4", "quantity(", ".substring("]
        ) { bytes in
            guard let program = try? DeviceExpression.compile(bytes.asText) else { return }
            let device: JSON = [
                "attributes": ["model": ["string": "a"], "d/v": ["version": "1.2.3"]],
                "capacity": ["x": ["value": "1Gi"]],
            ]
            guard let value = try? DeviceExpression.value(of: device, driver: "gpu.test") else { return }
            _ = try? DeviceExpression.matches(program, value)
        },
    ]
}
