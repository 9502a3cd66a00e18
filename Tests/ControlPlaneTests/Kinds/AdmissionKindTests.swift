import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

/// Webhook configurations, admission policies and API services: stored, checked, and honest about having no effect.
@Suite struct AdmissionKindTests {
    private static let group = "/apis/admissionregistration.k8s.io/v1/"
    private static let rule: JSON = [
        "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
    ]
    private static let hook: JSON = [
        "name": "a.b.test", "clientConfig": ["service": ["name": "s", "namespace": "n", "path": "/x/y"]],
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
    ]

    private func webhook(_ cluster: Cluster, _ change: JSON, _ kind: String = "validating") async throws
        -> Cluster.Answer
    {
        var hook = Self.hook
        for (key, value) in change.object ?? JSONObject() { hook[key] = value }
        return try await cluster.call(
            "POST", Self.group + kind + "webhookconfigurations", ["metadata": ["name": "x"], "webhooks": [hook]])
    }

    @Test func defaultsAreFilledInAndWhoeverMakesOneIsWarned() async throws {
        let cluster = try await Cluster()
        for kind in ["validating", "mutating"] {
            let made = try await webhook(cluster, [:], kind)
            #expect(made.code == 201, "\(made.text)")
            let hook = made.json["webhooks"][0]
            #expect(
                hook["failurePolicy"] == "Fail" && hook["timeoutSeconds"] == 10 && hook["matchPolicy"] == "Equivalent")
            #expect(hook["namespaceSelector"] == [:] && hook["objectSelector"] == [:])
            #expect(hook["clientConfig"]["service"]["port"] == 443 && hook["rules"][0]["scope"] == "*")
            #expect(hook["reinvocationPolicy"] == (kind == "mutating" ? "Never" : .null))
            #expect(made.json["metadata"]["generation"] == 1)
            #expect(made.headers["Warning"]?.contains("has no effect") == true)
        }
    }

    /// What is changed in a good webhook, and what is said of it.
    static let refusals: [(JSON, String)] = [
        (
            ["name": "short"],
            "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots"
        ),
        (["sideEffects": .null], "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        (
            ["sideEffects": "Some"],
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""
        ),
        (
            ["timeoutSeconds": 31],
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"
        ),
        (["clientConfig": [:]], "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        (
            ["clientConfig": ["url": "http://a.test"]],
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"
        ),
        (
            ["clientConfig": ["url": "https://u@a.test/x?y=z#f"]],
            "[webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL, webhooks[0].clientConfig.url: Invalid value: \"f\": fragments are not permitted in the URL, webhooks[0].clientConfig.url: Invalid value: \"y=z\": query parameters are not permitted in the URL]"
        ),
        (
            ["clientConfig": ["service": ["name": "s", "namespace": "n", "path": "/a//b"]]],
            "webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"
        ),
        (
            ["admissionReviewVersions": ["v9"]],
            "webhooks[0].admissionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1"
        ),
        (
            ["admissionReviewVersions": []],
            "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"
        ),
        (
            [
                "rules": [
                    [
                        "operations": ["CREATE", "*"], "apiGroups": ["*"], "apiVersions": ["*"],
                        "resources": ["pods/*", "pods/log"],
                    ]
                ]
            ],
            "[webhooks[0].rules[0].operations: Invalid value: [\"CREATE\",\"*\"]: if '*' is present, must not specify other operations, webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log]"
        ),
        (
            ["rules": [["operations": ["FLY"], "apiGroups": [], "apiVersions": ["v1"], "resources": ["*", "pods"]]]],
            "[webhooks[0].rules[0].operations[0]: Unsupported value: \"FLY\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\", webhooks[0].rules[0].apiGroups: Required value, webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources]"
        ),
        (
            ["matchConditions": [["name": "a", "expression": " "], ["name": "a", "expression": "true"]]],
            "[webhooks[0].matchConditions[0].expression: Required value, webhooks[0].matchConditions[1].name: Duplicate value: \"a\"]"
        ),
    ]

    @Test(arguments: refusals) func badWebhooksAreRefused(_ change: JSON, _ text: String) async throws {
        let cluster = try await Cluster()
        let answer = try await webhook(cluster, change)
        #expect(answer.code == 422)
        #expect(
            answer.message == "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"x\" is invalid: " + text)
        #expect(try await cluster.call("GET", Self.group + "validatingwebhookconfigurations/x").code == 404)
    }

    /// The resource, a spec, and what is said of it.
    static let policies: [(String, JSON, [String])] = [
        (
            "validatingadmissionpolicies", [:],
            [
                "spec.matchConstraints: Required value",
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ]
        ),
        (
            "validatingadmissionpolicies",
            [
                "matchConstraints": ["resourceRules": []], "paramKind": ["kind": "Config_Map"],
                "variables": [["name": "namespace", "expression": ""]],
                "validations": [["expression": "", "message": "a\nb", "reason": "Odd"]],
                "auditAnnotations": [["key": "a b", "valueExpression": ""]],
            ],
            [
                "spec.matchConstraints.resourceRules: Required value", "spec.paramKind.apiVersion: Required value",
                "spec.paramKind.kind: Invalid value: \"Config_Map\": may have mixed case, but should otherwise match:",
                "spec.variables[0].name: Invalid value: \"namespace\": name is not a valid CEL identifier",
                "spec.variables[0].expression: Required value: expression is not specified",
                "spec.validations[0].expression: Required value: expression is not specified",
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[0].reason: Unsupported value: \"Odd\"", "spec.auditAnnotations[0].key: Invalid value",
                "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            ]
        ),
        (
            "mutatingadmissionpolicies",
            [
                "matchConstraints": [
                    "resourceRules": [
                        ["operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]]
                    ]
                ],
                "mutations": [["patchType": "JSONPatch", "applyConfiguration": ["expression": "x"]]],
            ],
            [
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"CREATE\", \"UPDATE\"",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
                "spec.reinvocationPolicy: Required value",
            ]
        ),
        (
            "validatingadmissionpolicybindings",
            ["paramRef": ["name": "a", "selector": [:]], "validationActions": ["Deny", "Warn"]],
            [
                "spec.policyName: Required value",
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "must not contain both Deny and Warn (repeating the same validation failure information",
            ]
        ),
        (
            "mutatingadmissionpolicybindings", ["policyName": "p", "paramRef": ["parameterNotFoundAction": "Deny"]],
            ["spec.paramRef: Required value: one of name or selector must be specified"]
        ),
    ]

    @Test(arguments: policies) func badPoliciesAreRefused(_ resource: String, _ spec: JSON, _ texts: [String])
        async throws
    {
        let cluster = try await Cluster()
        let answer = try await cluster.call(
            "POST", Self.group + resource, ["metadata": ["name": "x"], "spec": spec])
        #expect(answer.code == 422, "\(answer.text)")
        for text in texts { #expect(answer.message.contains(text), "\(answer.message)") }
        #expect(answer.json["details"]["causes"].elements.count == texts.count, "\(answer.message)")
    }

    // MARK: - API services

    private static let services = "/apis/apiregistration.k8s.io/v1/apiservices"

    @Test func theServersOwnGroupsAreLocalAndAvailable() async throws {
        let cluster = try await Cluster { $0.schema = Schema() }
        try await cluster.server.bootstrap()
        try await cluster.server.bootstrap()
        let core = try await cluster.call("GET", Self.services + "/v1.").json
        #expect(core["spec"] == ["version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1], "\(core.text)")
        #expect(core["metadata"]["labels"] == ["kube-aggregator.kubernetes.io/automanaged": "onstart"])
        let condition = core["status"]["conditions"][0]
        #expect(condition["type"] == "Available" && condition["status"] == "True" && condition["reason"] == "Local")
        #expect(condition["message"] == "Local APIServices are always available")
        let list = try await cluster.call("GET", Self.services).json["items"].elements
        #expect(list.contains { $0["metadata"]["name"] == "v2.autoscaling" && $0["spec"]["versionPriority"] == 30 })
        #expect(!list.contains { $0["metadata"]["name"] == "v1.apiregistration.k8s.io" })
        let table = try await cluster.call(
            "GET", Self.services + "/v1.apps", headers: ["Accept": TableTests.accept]
        ).json
        #expect(table["rows"][0]["cells"].elements == ["v1.apps", "Local", "True", "0s"])
    }

    @Test func anAggregatedServiceSaysThatNobodyAsksIt() async throws {
        let cluster = try await Cluster()
        let spec: JSON = [
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": ["name": "metrics-server", "namespace": "kube-system"],
        ]
        let made = try await cluster.call(
            "POST", Self.services, ["metadata": ["name": "v1beta1.metrics.k8s.io"], "spec": spec])
        #expect(made.code == 201 && made.json["spec"]["service"]["port"] == 443, "\(made.text)")
        #expect(made.json["status"]["conditions"][0]["status"] == "False")
        #expect(made.headers["Warning"]?.contains("aggregation is not supported") == true)
        var wrong = spec
        (wrong["versionPriority"], wrong["caBundle"], wrong["service"]["name"]) = (0, "eA==", .null)
        let answer = try await cluster.call("POST", Self.services, ["metadata": ["name": "v1.x"], "spec": wrong])
        #expect(answer.code == 422)
        for text in [
            "metadata.name: Invalid value: \"v1.x\": must be `spec.version+\".\"+spec.group`: \"v1beta1.metrics.k8s.io\"",
            "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            "spec.service.name: Required value",
            "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
        ] { #expect(answer.message.contains(text), "\(answer.message)") }
    }

    // MARK: - Component statuses

    @Test func componentsAreAskedWhenSomebodyAsks() async throws {
        let cluster = try await Cluster()
        let path = "/api/v1/componentstatuses"
        func rows() async throws -> [JSON] {
            try await cluster.call("GET", path, headers: ["Accept": TableTests.accept]).json["rows"].elements
                .map { $0["cells"] }
        }
        #expect(try await rows().contains(["scheduler", "Unhealthy", "not running", ""]))
        cluster.server.runsControllers = true
        #expect(
            try await rows() == [
                ["controller-manager", "Healthy", "ok", ""], ["scheduler", "Healthy", "ok", ""],
                ["etcd-0", "Healthy", "ok", ""],
            ])
        let one = try await cluster.call("GET", path + "/scheduler")
        #expect(one.json["conditions"] == [["type": "Healthy", "status": "True", "message": "ok"]], "\(one.text)")
        #expect(one.headers["Warning"]?.contains("v1 ComponentStatus is deprecated in v1.19+") == true)
        #expect(try await cluster.call("GET", path + "/cat").code == 404)
        #expect(try await cluster.call("DELETE", path + "/scheduler").code == 405)
        let selected = try await cluster.call("GET", path + "?fieldSelector=metadata.name%3Detcd-0")
        #expect(selected.json["kind"] == "ComponentStatusList" && selected.json["items"].elements.count == 1)
    }
}
