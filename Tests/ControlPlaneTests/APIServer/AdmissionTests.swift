import Codecs
import ControlPlane
import KubeAPI
import Testing

@Suite struct AdmissionTests {
    @Test func podsRunAsTheirServiceAccount() async throws {
        let cluster = try await Cluster()
        var account = try await cluster.client.get(.serviceAccounts, namespace: "default", name: "default")
        account.json["imagePullSecrets"] = [["name": "pull"]]
        _ = try await cluster.client.update(.serviceAccounts, account)
        let pod = try await cluster.client.create(.pods, cluster.pod("p"))
        #expect(pod.spec["serviceAccountName"] == "default" && pod.spec["serviceAccount"] == "default")
        #expect(pod.spec["imagePullSecrets"] == [["name": "pull"]])
        let volume = pod.spec["volumes"][0]
        #expect(volume["name"].string?.hasPrefix("kube-api-access-") == true)
        #expect(
            volume["projected"]["sources"][0]["serviceAccountToken"] == ["expirationSeconds": 3607, "path": "token"])
        let mount = pod.spec["containers"][0]["volumeMounts"][0]
        #expect(mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount" && mount["readOnly"] == true)
        #expect(mount["name"] == volume["name"])
    }

    @Test func noTokenWhereNoneIsWanted() async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        pod.json["spec"]["automountServiceAccountToken"] = false
        #expect(try await cluster.client.create(.pods, pod).spec["volumes"].isNull)
        var stranger = cluster.pod("q")
        stranger.json["spec"]["serviceAccountName"] = "nobody"
        let asked = stranger
        let error = await #expect(throws: APIError.self) { try await cluster.client.create(.pods, asked) }
        #expect(error?.code == 403)
        #expect(
            error?.message
                == "pods \"q\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found"
        )
    }

    @Test func podsTolerateABrokenNodeForAWhile() async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        pod.json["spec"]["tolerations"] = [["key": "node.kubernetes.io/not-ready", "operator": "Exists"]]
        let made = try await cluster.client.create(.pods, pod)
        let tolerations = made.spec["tolerations"].elements
        #expect(tolerations.count == 2)
        #expect(
            tolerations[1] == [
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            ])
    }

    @Test func prioritiesComeFromClasses() async throws {
        let cluster = try await Cluster()
        try await cluster.server.bootstrap()
        let plain = try await cluster.client.create(.pods, cluster.pod("p"))
        #expect(plain.spec["priority"] == 0 && plain.spec["preemptionPolicy"] == "PreemptLowerPriority")
        var critical = cluster.pod("c")
        critical.json["spec"]["priorityClassName"] = "system-node-critical"
        #expect(try await cluster.client.create(.pods, critical).spec["priority"] == 2_000_001_000)
        var unknown = cluster.pod("u")
        unknown.json["spec"]["priorityClassName"] = "gold"
        let asked = unknown
        let error = await #expect(throws: APIError.self) { try await cluster.client.create(.pods, asked) }
        #expect(error?.message == "pods \"u\" is forbidden: no PriorityClass with name gold was found")
    }

    @Test func aNamespaceThatGoesTakesNothingNew() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.delete(.namespaces, namespace: "", name: "other", options: DeleteOptions())
        let map = KubeObject(GroupVersionKind(.core, "ConfigMap"), name: "m", namespace: "other")
        let error = await #expect(throws: APIError.self) { try await cluster.client.create(.configMaps, map) }
        #expect(error?.code == 403 && error?.causes.first?.reason == "NamespaceTerminating")
        #expect(
            error?.message
                == "configmaps \"m\" is forbidden: unable to create new content in namespace other because it is being terminated"
        )
    }

    @Test func pluginsRunInTheirOrder() async throws {
        let stamp: @Sendable (String) -> AdmissionPlugin = { name in
            AdmissionPlugin(name, operations: [.create], resources: [.configMaps]) { request, _ throws(APIError) in
                let before = request.object["data"]["order"].string ?? ""
                request.object.json["data"]["order"] = .string(before + name)
            } validate: { request, _ throws(APIError) in
                if request.name == "refused" { throw request.forbidden("by \(name)") }
            }
        }
        let cluster = try await Cluster { $0.admission.plugins += [stamp("a"), stamp("b")] }
        let made = try await cluster.client.create(.configMaps, cluster.configMap("m"))
        #expect(made["data"]["order"] == "ab")
        let refused = cluster.configMap("refused")
        let error = await #expect(throws: APIError.self) { try await cluster.client.create(.configMaps, refused) }
        #expect(error?.message == "configmaps \"refused\" is forbidden: by a")
    }
}
