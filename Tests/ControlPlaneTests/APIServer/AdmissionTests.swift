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

    /// Somebody replaces a pod by the manifest that he once sent.
    @Test func replacingAPodKeepsWhatWasAddedToIt() async throws {
        let cluster = try await Cluster()
        var manifest = cluster.pod("p")
        manifest.json["spec"]["automountServiceAccountToken"] = false
        let made = try await cluster.client.create(.pods, manifest)
        manifest.json["spec"]["serviceAccountName"] = "default"
        manifest.json["spec"]["containers"][0]["image"] = "busybox:latest"
        let replaced = try await cluster.client.update(.pods, manifest)
        #expect(replaced.spec["containers"][0]["image"] == "busybox:latest")
        for key in ["priority", "preemptionPolicy", "tolerations"] {
            #expect(!replaced.spec[key].isNull && replaced.spec[key] == made.spec[key], "\(key)")
        }
    }

    @Test func prioritiesAreNotForPodsToChoose() async throws {
        let cluster = try await Cluster()
        let table: [(JSON, String)] = [
            (
                ["priority": 5],
                "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"
            ),
            (
                ["preemptionPolicy": "Never"],
                "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name"
            ),
        ]
        for (spec, message) in table {
            var pod = cluster.pod("p")
            for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
            let asked = pod
            let error = await #expect(throws: APIError.self) { try await cluster.client.create(.pods, asked) }
            #expect(error?.message == "pods \"p\" is forbidden: " + message)
        }
    }

    @Test func onlyOnePriorityClassIsTheDefault() async throws {
        let cluster = try await Cluster()
        let path = "/apis/scheduling.k8s.io/v1/priorityclasses"
        func make(_ name: String) async throws -> Cluster.Answer {
            try await cluster.call(
                "POST", path,
                [
                    "metadata": ["name": .string(name)], "value": 7, "globalDefault": true,
                    "preemptionPolicy": "Never",
                ])
        }
        #expect(try await make("a").code == 201)
        #expect(
            try await make("b").message
                == "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only one default can exist"
        )
        let pod = try await cluster.client.create(.pods, cluster.pod("p"))
        #expect(pod.spec["priority"] == 7 && pod.spec["priorityClassName"] == "a")
        #expect(pod.spec["preemptionPolicy"] == "Never")
    }

    static let secretUses: [(JSON, String)] = [
        (
            ["volumes": [["name": "v", "secret": ["secretName": "s"]]]],
            "volume with secret.secretName=\"s\" is not allowed because service account default does not reference that secret"
        ),
        (
            ["containers": [["name": "c", "image": "i", "envFrom": [["secretRef": ["name": "s"]]]]]],
            "container c with envFrom referencing secret.secretName=\"s\" is not allowed because service account default does not reference that secret"
        ),
        (
            [
                "initContainers": [
                    [
                        "name": "c", "image": "i",
                        "env": [["name": "E", "valueFrom": ["secretKeyRef": ["name": "s", "key": "k"]]]],
                    ]
                ]
            ],
            "init container c with envVar E referencing secret.secretName=\"s\" is not allowed because service account default does not reference that secret"
        ),
        (
            ["imagePullSecrets": [["name": "s"]]],
            "imagePullSecrets[0].name=\"s\" is not allowed because service account default does not reference that imagePullSecret"
        ),
    ]

    @Test(arguments: secretUses)
    func anAccountMayKeepItsPodsToItsSecrets(_ spec: JSON, _ message: String) async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
        let asked = pod
        var account = try await cluster.client.get(.serviceAccounts, namespace: "default", name: "default")
        account.annotations = ["kubernetes.io/enforce-mountable-secrets": "true"]
        account = try await cluster.client.update(.serviceAccounts, account)
        let error = await #expect(throws: APIError.self) { try await cluster.client.create(.pods, asked) }
        #expect(error?.message == "pods \"p\" is forbidden: " + message)
        account.json["secrets"] = [["name": "s"]]
        account.json["imagePullSecrets"] = [["name": "s"]]
        _ = try await cluster.client.update(.serviceAccounts, account)
        _ = try await cluster.client.create(.pods, asked)
    }

    @Test func aPodKnowsWhereItsNodeIs() async throws {
        let cluster = try await Cluster()
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: "n")
        node.labels = ["topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"]
        _ = try await cluster.client.create(.nodes, node)
        var pod = cluster.pod("p")
        pod.labels = ["topology.kubernetes.io/region": "mine"]
        _ = try await cluster.client.create(.pods, pod)
        let answer = try await cluster.call(
            "POST", "/api/v1/namespaces/default/pods/p/binding",
            ["metadata": ["name": "p"], "target": ["kind": "Node", "name": "n"]])
        #expect(answer.code == 201, "\(answer.text)")
        let bound = try await cluster.client.get(.pods, namespace: "default", name: "p")
        #expect(bound.labels == ["topology.kubernetes.io/region": "mine", "topology.kubernetes.io/zone": "z"])
        var direct = cluster.pod("d")
        direct.json["spec"]["nodeName"] = "n"
        let made = try await cluster.client.create(.pods, direct)
        #expect(made.labels == ["topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"])
    }

    /// Somebody sends very many tolerations: they are not compared each with each.
    @Test func veryManyTolerationsAreComparedQuickly() async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        pod.json["spec"]["tolerations"] = .array(
            (0..<30_000).map { ["key": .string("k\($0)"), "operator": "Exists"] })
        var made = try await cluster.client.create(.pods, pod)
        made.json["spec"]["tolerations"].append(["key": "more", "operator": "Exists"])
        made = try await cluster.client.update(.pods, made)
        #expect(made.spec["tolerations"].elements.count == 30_003)
        made.json["spec"]["tolerations"][5]["key"] = "other"
        let asked = made
        let error = await #expect(throws: APIError.self) { try await cluster.client.update(.pods, asked) }
        #expect(
            error?.message.contains("existing toleration can not be modified except its tolerationSeconds") ?? false)
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
