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
