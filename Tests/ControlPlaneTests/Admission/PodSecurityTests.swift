import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

/// The Pod Security Standards, by the labels of a namespace.
@Suite struct PodSecurityTests {
    private static let target = "/api/v1/namespaces/safe/pods"

    private func cluster(_ labels: [String: String]) async throws -> Cluster {
        let cluster = try await Cluster()
        var namespace = KubeObject(GroupVersionKind(.core, "Namespace"), name: "safe")
        namespace.labels = Dictionary(
            uniqueKeysWithValues: labels.map { ("pod-security.kubernetes.io/" + $0.key, $0.value) })
        _ = try await cluster.client.create(.namespaces, namespace)
        _ = try await cluster.client.create(
            .serviceAccounts, KubeObject(GroupVersionKind(.core, "ServiceAccount"), name: "default", namespace: "safe"))
        return cluster
    }

    private func create(_ cluster: Cluster, _ container: JSON, _ spec: JSON = [:]) async throws -> Cluster.Answer {
        var pod = cluster.pod("p", namespace: "safe")
        for (key, value) in container.object ?? JSONObject() { pod.json["spec"]["containers"][0][key] = value }
        for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
        return try await cluster.call("POST", Self.target + "?dryRun=All", pod.json)
    }

    /// A container, more of the spec, and what the baseline says; "": nothing.
    static let baseline: [(JSON, JSON, String)] = [
        ([:], [:], ""),
        (
            ["securityContext": ["privileged": true]], [:],
            "privileged (container \"main\" must not set securityContext.privileged=true)"
        ),
        ([:], ["hostNetwork": true, "hostPID": true], "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            ["securityContext": ["capabilities": ["add": ["CHOWN", "NET_ADMIN"]]]], [:],
            "non-default capabilities (container \"main\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)"
        ),
        (
            [:], ["volumes": [["name": "h", "hostPath": ["path": "/"]], ["name": "i", "hostPath": ["path": "/"]]]],
            "hostPath volumes (volumes \"h\", \"i\")"
        ),
        (
            ["ports": [["containerPort": 80, "hostPort": 80], ["containerPort": 81, "hostPort": 81]]], [:],
            "hostPort (container \"main\" uses hostPorts 80, 81)"
        ),
        (
            ["securityContext": ["procMount": "Unmasked"]], ["hostUsers": false],
            "procMount (container \"main\" must not set securityContext.procMount to \"Unmasked\")"
        ),
        (
            ["securityContext": ["seccompProfile": ["type": "Unconfined"]]], [:],
            "seccompProfile (container \"main\" must not set securityContext.seccompProfile.type to \"Unconfined\")"
        ),
        (
            [:], ["securityContext": ["sysctls": [["name": "kernel.msgmax", "value": "1"]]]],
            "forbidden sysctls (kernel.msgmax)"
        ),
        (
            [:], ["securityContext": ["seLinuxOptions": ["type": "spc_t", "user": "u"]]],
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)"
        ),
        (
            ["livenessProbe": ["httpGet": ["port": 80, "host": "1.2.3.4"]]], [:],
            "probe or lifecycle host (container \"main\" uses probe or lifecycle host \"1.2.3.4\")"
        ),
    ]

    @Test(arguments: baseline)
    func theBaselineKeepsPodsOffTheHost(_ container: JSON, _ spec: JSON, _ broken: String) async throws {
        let cluster = try await cluster(["enforce": "baseline"])
        let answer = try await create(cluster, container, spec)
        if broken.isEmpty {
            #expect(answer.code == 201, "\(answer.text)")
        } else {
            #expect(answer.code == 403)
            #expect(answer.message == "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": \(broken)")
        }
    }

    @Test func restrictedWantsItSaid() async throws {
        let cluster = try await cluster(["enforce": "restricted", "enforce-version": "v1.30"])
        let plain = try await create(cluster, [:])
        #expect(
            plain.message
                == "pods \"p\" is forbidden: violates PodSecurity \"restricted:v1.30\": allowPrivilegeEscalation != false (container \"main\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"main\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"main\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"main\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        )
        let good: JSON = [
            "securityContext": ["allowPrivilegeEscalation": false, "capabilities": ["drop": ["ALL"]]]
        ]
        let said: JSON = [
            "securityContext": ["runAsNonRoot": true, "seccompProfile": ["type": "RuntimeDefault"]]
        ]
        #expect(try await create(cluster, good, said).code == 201)
        var volume = said
        volume["volumes"] = [["name": "h", "hostPath": ["path": "/"]]]
        let refused = try await create(cluster, good, volume)
        #expect(
            refused.message.hasSuffix(
                "restricted volume types (volume \"h\" uses restricted volume type \"hostPath\")"), "\(refused.text)")
        var root = said
        root["securityContext"]["runAsUser"] = 0
        #expect(try await create(cluster, good, root).message.hasSuffix("runAsUser=0 (pod must not set runAsUser=0)"))
    }

    @Test func otherNamespacesAreFree() async throws {
        let cluster = try await cluster([:])
        #expect(try await create(cluster, ["securityContext": ["privileged": true]], ["hostNetwork": true]).code == 201)
    }

    @Test func warningsAreForWorkloadsToo() async throws {
        let cluster = try await cluster(["warn": "baseline"])
        let pod = try await create(cluster, ["securityContext": ["privileged": true]])
        let text =
            "would violate PodSecurity \\\"baseline:latest\\\": privileged (container \\\"%\\\" must not set securityContext.privileged=true)"
        func warning(_ name: String) -> String {
            "299 - \"" + text.split(separator: "%").joined(separator: name) + "\""
        }
        #expect(pod.code == 201 && pod.headers["Warning"] == warning("main"), "\(pod.headers)")
        let deployment = try await cluster.call(
            "POST", "/apis/apps/v1/namespaces/safe/deployments",
            [
                "metadata": ["name": "d"],
                "spec": [
                    "selector": ["matchLabels": ["a": "b"]],
                    "template": [
                        "metadata": ["labels": ["a": "b"]],
                        "spec": [
                            "containers": [["name": "c", "image": "i", "securityContext": ["privileged": true]]]
                        ],
                    ],
                ],
            ])
        #expect(deployment.code == 201 && deployment.headers["Warning"] == warning("c"), "\(deployment.headers)")
    }

    @Test func aStricterNamespaceTellsOfItsPods() async throws {
        let cluster = try await cluster([:])
        for name in ["a", "b"] {
            var pod = cluster.pod(name, namespace: "safe")
            pod.json["spec"]["hostPID"] = true
            _ = try await cluster.client.create(.pods, pod)
        }
        let answer = try await cluster.call(
            "PATCH", "/api/v1/namespaces/safe",
            ["metadata": ["labels": ["pod-security.kubernetes.io/enforce": "baseline"]]],
            type: "application/merge-patch+json")
        #expect(
            answer.headers.values("Warning") == [
                "299 - \"existing pods in namespace \\\"safe\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
                "299 - \"a (and 1 other pod): host namespaces\"",
            ], "\(answer.headers)")
    }

    @Test func levelsAreThree() async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.call(
            "POST", "/api/v1/namespaces",
            [
                "metadata": [
                    "name": "n",
                    "labels": [
                        "pod-security.kubernetes.io/enforce": "strict",
                        "pod-security.kubernetes.io/warn-version": "1.30",
                    ],
                ]
            ])
        #expect(answer.code == 422)
        #expect(answer.message.contains("\"strict\": must be one of privileged, baseline, restricted"))
        #expect(answer.message.contains("\"1.30\": must be \"latest\" or \"v1.x\""))
    }
}

/// Pod security by a configuration file.
@Suite struct PodSecurityConfigurationTests {
    private static let file = """
        apiVersion: apiserver.config.k8s.io/v1
        kind: AdmissionConfiguration
        plugins:
        - name: PodSecurity
          configuration:
            apiVersion: pod-security.admission.config.k8s.io/v1
            kind: PodSecurityConfiguration
            defaults: {enforce: baseline, enforce-version: v1.26, audit: restricted, warn: restricted}
            exemptions: {usernames: [admin], runtimeClasses: [], namespaces: [other]}
        """

    private func cluster(user: String = "jane") async throws -> Cluster {
        let configuration = try #require(
            try PodSecurityConfiguration.read(Array(Self.file.utf8), path: "/x/a.yaml") { _ in [] })
        return try await Cluster {
            $0.authenticator = FixedUser(UserInfo(user))
            $0.admission.setPodSecurity(configuration)
        }
    }

    private func create(_ cluster: Cluster, _ spec: JSON, namespace: String = "default") async throws -> Cluster.Answer
    {
        var pod = cluster.pod("p", namespace: namespace)
        for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
        return try await cluster.call("POST", "/api/v1/namespaces/\(namespace)/pods?dryRun=All", pod.json)
    }

    @Test func defaultsHoldWhereThereAreNoLabels() async throws {
        let cluster = try await cluster()
        let notes = AuditNotes()
        let host = try await AuditNotes.$current.withValue(notes) { try await create(cluster, ["hostNetwork": true]) }
        #expect(host.code == 403 && host.message.contains("violates PodSecurity \"baseline:v1.26\": host namespaces"))
        #expect(notes.all["pod-security.kubernetes.io/enforce-policy"] == "baseline:v1.26")
        #expect(
            notes.all["pod-security.kubernetes.io/audit-violations"]?.hasPrefix(
                "would violate PodSecurity \"restricted:latest\": host namespaces") == true)
        let plain = try await create(cluster, [:])
        #expect(plain.code == 201)
        #expect(plain.headers["Warning"]?.contains("would violate PodSecurity \\\"restricted:latest\\\"") == true)
    }

    @Test func aVersionIsJudgedAsItWas() async throws {
        let cluster = try await cluster()
        func sysctl(_ name: String) -> JSON {
            ["securityContext": ["sysctls": [["name": .string(name), "value": "1"]]]]
        }
        #expect(try await create(cluster, sysctl("net.ipv4.ip_local_reserved_ports")).code == 403)
        #expect(try await create(cluster, sysctl("net.ipv4.tcp_syncookies")).code == 201)
        _ = try await cluster.call(
            "PATCH", "/api/v1/namespaces/default",
            ["metadata": ["labels": ["pod-security.kubernetes.io/enforce-version": "v1.27"]]],
            type: "application/merge-patch+json")
        #expect(try await create(cluster, sysctl("net.ipv4.ip_local_reserved_ports")).code == 201)
    }

    @Test func whoIsExemptIsNotLookedAt() async throws {
        let cluster = try await cluster()
        #expect(try await create(cluster, ["hostNetwork": true], namespace: "other").code == 201)
        let admin = try await self.cluster(user: "admin")
        let notes = AuditNotes()
        let made = try await AuditNotes.$current.withValue(notes) { try await create(admin, ["hostPID": true]) }
        #expect(made.code == 201 && made.headers["Warning"] == nil)
        #expect(notes.all == ["pod-security.kubernetes.io/exempt": "user"])
    }

    @Test func onlyAnUpdateThatMattersIsJudgedAgain() async throws {
        let cluster = try await cluster()
        let merge = "application/merge-patch+json"
        func set(_ level: String) async throws {
            let labels: JSON = ["pod-security.kubernetes.io/enforce": .string(level)]
            let answer = try await cluster.call(
                "PATCH", "/api/v1/namespaces/default", ["metadata": ["labels": labels]], type: merge)
            #expect(answer.code == 200, "\(answer.text)")
        }
        try await set("privileged")
        var pod = cluster.pod("p")
        pod.json["spec"]["hostNetwork"] = true
        let target = "/api/v1/namespaces/default/pods"
        #expect(try await cluster.call("POST", target, pod.json).code == 201)
        try await set("restricted")
        let deadline: JSON = ["spec": ["activeDeadlineSeconds": 100]]
        let sooner = try await cluster.call("PATCH", target + "/p", deadline, type: merge)
        #expect(sooner.code == 200, "\(sooner.text)")
        let image: JSON = ["spec": ["containers": [["name": "main", "image": "other"]]]]
        let other = try await cluster.call(
            "PATCH", target + "/p", image, type: "application/strategic-merge-patch+json")
        #expect(
            other.code == 403 && other.message.contains("violates PodSecurity \"restricted:v1.26\""), "\(other.text)")
    }

    static let broken = [
        ("kind: Pod", "kind AdmissionConfiguration of apiserver.config.k8s.io/v1 is expected"),
        (file.replacing("baseline", with: "loose"), "defaults.enforce: \"loose\": must be one of"),
        (file.replacing("v1.26", with: "1.26"), "defaults.enforce-version: \"1.26\""),
        (file.replacing("- name: PodSecurity", with: "- name: EventRateLimit"), "EventRateLimit"),
        (file.replacing("PodSecurityConfiguration", with: "Other"), "kind PodSecurityConfiguration"),
        ("a: [", "/x/a.yaml: "),
    ]

    @Test(arguments: broken) func brokenFilesSayWhatIsWrong(_ text: String, _ why: String) throws {
        do {
            _ = try PodSecurityConfiguration.read(Array(text.utf8), path: "/x/a.yaml") { _ in [] }
            Issue.record("was taken")
        } catch {
            #expect("\(error)".contains(why), "\(error)")
        }
    }

    @Test func theConfigurationMayBeInAFileOfItsOwn() throws {
        let outer =
            "{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: PodSecurity, path: pod.yaml}]}"
        let inner =
            "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: restricted}}"
        var asked: [String] = []
        let found = try PodSecurityConfiguration.read(Array(outer.utf8), path: "/x/a.yaml") { path in
            asked.append(path)
            return Array(inner.utf8)
        }
        #expect(found != nil && asked == ["/x/pod.yaml"])
    }
}
