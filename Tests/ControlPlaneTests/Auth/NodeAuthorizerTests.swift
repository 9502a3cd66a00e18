import Codecs
import KubeAPI
import Testing
import Transport

@testable import ControlPlane

@Suite struct NodeAuthorizerTests {
    private static func node(_ name: String) -> UserInfo {
        UserInfo("system:node:" + name, groups: ["system:nodes", "system:authenticated"])
    }

    private func may(
        _ bench: SupervisorBench, _ node: String, _ verb: String, _ resource: String, group: String = "",
        sub: String = "", namespace: String = "default", name: String = "", fields: FieldSelector? = nil
    ) async -> Bool {
        var attributes = AuthorizationAttributes(
            user: Self.node(node), verb: verb, group: group, version: "v1", resource: resource, subresource: sub,
            namespace: namespace, name: name)
        attributes.fieldSelector = fields
        return await bench.kubelets.authorize(attributes).isAllowed
    }

    @Test func aNodeReadsTheSecretsOfItsPodsVolumes() async throws {
        let bench = try await SupervisorBench()
        let spec: JSON = ["volumes": [["name": "d", "persistentVolumeClaim": ["claimName": "claim"]]]]
        _ = try await bench.client.create(.pods, bench.pod("one", on: "a", spec))
        var volume = KubeObject(GroupVersionKind("", "v1", "PersistentVolume"), name: "pv")
        volume.spec = [
            "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"],
            "claimRef": ["namespace": "default", "name": "claim"],
            "csi": [
                "driver": "disk.csi.test", "volumeHandle": "h",
                "nodeStageSecretRef": ["namespace": "vault", "name": "key"],
                "controllerPublishSecretRef": ["namespace": "vault", "name": "root"],
            ],
        ]
        _ = try await bench.client.create(.persistentVolumes, volume)
        #expect(await may(bench, "a", "get", "secrets", namespace: "vault", name: "key"))
        #expect(await !may(bench, "b", "get", "secrets", namespace: "vault", name: "key"))
        #expect(await !may(bench, "a", "get", "secrets", namespace: "vault", name: "root"))
        #expect(await !may(bench, "a", "get", "secrets", namespace: "default", name: "key"))
    }

    @Test func aNodeReadsTheResourceClaimsOfItsPodsAndItsOwnSlices() async throws {
        let bench = try await SupervisorBench()
        let claims: JSON = [
            ["name": "x", "resourceClaimName": "shared"], ["name": "y", "resourceClaimTemplateName": "t"],
        ]
        _ = try await bench.client.create(.pods, bench.pod("one", on: "a", ["resourceClaims": claims]))
        let group = "resource.k8s.io"
        #expect(await may(bench, "a", "get", "resourceclaims", group: group, name: "shared"))
        #expect(await !may(bench, "b", "get", "resourceclaims", group: group, name: "shared"))
        #expect(await !may(bench, "a", "get", "resourceclaims", group: group, name: "made"))
        #expect(await !may(bench, "a", "update", "resourceclaims", group: group, sub: "status", name: "shared"))
        var pod = try await bench.client.get(.pods, namespace: "default", name: "one")
        pod.status["resourceClaimStatuses"] = [["name": "y", "resourceClaimName": "made"]]
        _ = try await bench.client.updateStatus(.pods, pod)
        #expect(await may(bench, "a", "get", "resourceclaims", group: group, name: "made"))
        let own = FieldSelector.equal("spec.nodeName", "a")
        #expect(await may(bench, "a", "list", "resourceslices", group: group, namespace: "", fields: own))
        #expect(await !may(bench, "b", "list", "resourceslices", group: group, namespace: "", fields: own))
        #expect(await !may(bench, "a", "watch", "resourceslices", group: group, namespace: ""))
        #expect(await may(bench, "a", "delete", "resourceslices", group: group, namespace: "", name: "s"))
    }

    @Test func aNodeReadsWhatItsPodsReferTo() async throws {
        let bench = try await SupervisorBench()
        let spec: JSON = [
            "serviceAccountName": "default", "imagePullSecrets": [["name": "pull"]],
            "containers": [
                [
                    "name": "c", "image": "x",
                    "envFrom": [["secretRef": ["name": "from"]], ["configMapRef": ["name": "cfrom"]]],
                    "env": [
                        ["name": "A", "valueFrom": ["secretKeyRef": ["name": "env", "key": "k"]]],
                        ["name": "B", "valueFrom": ["configMapKeyRef": ["name": "cenv", "key": "k"]]],
                    ],
                ]
            ],
            "initContainers": [
                ["name": "i", "image": "x", "envFrom": [["secretRef": ["name": "init"]]]]
            ],
            "volumes": [
                ["name": "s", "secret": ["secretName": "vol"]], ["name": "m", "configMap": ["name": "cvol"]],
                ["name": "p", "persistentVolumeClaim": ["claimName": "claim"]],
                [
                    "name": "j",
                    "projected": ["sources": [["secret": ["name": "proj"]], ["configMap": ["name": "cproj"]]]],
                ],
            ],
        ]
        _ = try await bench.client.create(.pods, bench.pod("one", on: "a", spec))
        _ = try await bench.client.create(.pods, bench.pod("two", on: "b"))
        for name in ["pull", "from", "env", "init", "vol", "proj"] {
            for verb in ["get", "list", "watch"] {
                #expect(await may(bench, "a", verb, "secrets", name: name), "\(verb) \(name)")
            }
            #expect(await !may(bench, "b", "get", "secrets", name: name))
            #expect(await !may(bench, "a", "get", "secrets", namespace: "other", name: name))
            #expect(await !may(bench, "a", "update", "secrets", name: name))
            #expect(await !may(bench, "a", "get", "configmaps", name: name))
        }
        for name in ["cfrom", "cenv", "cvol", "cproj"] {
            #expect(await may(bench, "a", "get", "configmaps", name: name) == true, "\(name)")
        }
        #expect(await may(bench, "a", "get", "persistentvolumeclaims", name: "claim"))
        #expect(await !may(bench, "a", "list", "persistentvolumeclaims", name: "claim"))
        #expect(await !may(bench, "b", "get", "persistentvolumeclaims", name: "claim"))
        #expect(await !may(bench, "a", "list", "secrets"))
        #expect(await !may(bench, "a", "list", "secrets", namespace: ""))
        #expect(await may(bench, "a", "create", "serviceaccounts", sub: "token", name: "default"))
        #expect(await !may(bench, "a", "create", "serviceaccounts", sub: "token", name: "other"))
        #expect(await !may(bench, "c", "create", "serviceaccounts", sub: "token", name: "default"))
        // What was read is kept by revision: a pod that is gone gives nothing any more.
        try await bench.client.delete(
            .pods, namespace: "default", name: "one", options: DeleteOptions(gracePeriodSeconds: 0))
        #expect(await !may(bench, "a", "get", "secrets", name: "vol"))
    }

    @Test func aNodeSeesItsOwnPodsAndItself() async throws {
        let bench = try await SupervisorBench()
        _ = try await bench.client.create(.pods, bench.pod("one", on: "a"))
        #expect(await may(bench, "a", "get", "pods", name: "one"))
        #expect(await !may(bench, "b", "get", "pods", name: "one"))
        #expect(await may(bench, "a", "watch", "pods", namespace: "", fields: .equal("spec.nodeName", "a")))
        #expect(await !may(bench, "a", "watch", "pods", namespace: "", fields: .equal("spec.nodeName", "b")))
        #expect(await !may(bench, "a", "list", "pods", namespace: ""))
        #expect(await may(bench, "a", "patch", "pods", sub: "status", name: "one"))
        #expect(await !may(bench, "a", "update", "pods", name: "one"))
        #expect(await !may(bench, "a", "create", "pods", sub: "exec", name: "one"))
        #expect(await may(bench, "a", "get", "nodes", namespace: "", name: "a"))
        #expect(await may(bench, "a", "watch", "nodes", namespace: "", name: "a"))
        #expect(await may(bench, "a", "create", "nodes", namespace: ""))
        #expect(await may(bench, "a", "patch", "nodes", sub: "status", namespace: "", name: "a"))
        #expect(await !may(bench, "a", "patch", "nodes", sub: "status", namespace: "", name: "b"))
        #expect(await !may(bench, "a", "get", "nodes", namespace: "", name: "b"))
        #expect(await !may(bench, "a", "delete", "nodes", namespace: "", name: "a"))
        #expect(await !may(bench, "a", "list", "nodes", namespace: ""))
    }

    @Test func leasesAndOtherThings() async throws {
        let bench = try await SupervisorBench()
        let coordination = "coordination.k8s.io"
        for verb in ["get", "update", "patch", "create", "delete"] {
            #expect(
                await may(bench, "a", verb, "leases", group: coordination, namespace: "kube-node-lease", name: "a"))
        }
        #expect(await !may(bench, "a", "get", "leases", group: coordination, namespace: "kube-node-lease", name: "b"))
        #expect(await !may(bench, "a", "get", "leases", group: coordination, namespace: "kube-system", name: "a"))
        #expect(await !may(bench, "a", "list", "leases", group: coordination, namespace: "kube-node-lease"))
        #expect(await may(bench, "a", "create", "events"))
        #expect(await may(bench, "a", "watch", "services", namespace: ""))
        #expect(await may(bench, "a", "create", "subjectaccessreviews", group: "authorization.k8s.io", namespace: ""))
        #expect(await !may(bench, "a", "list", "namespaces", namespace: ""))
        // Not a node by name alone.
        let false_ = AuthorizationAttributes(
            user: UserInfo("system:node:a"), verb: "create", group: "", resource: "nodes")
        #expect(await !bench.kubelets.authorize(false_).isAllowed)
    }

    @Test func theChainTakesTheFirstThatAllows() async throws {
        let bench = try await SupervisorBench()
        let chain = AuthorizerChain([bench.kubelets, RBACAuthorizer()])
        let own = AuthorizationAttributes(
            user: Self.node("a"), verb: "get", group: "", resource: "nodes", name: "a")
        #expect(await chain.authorize(own).isAllowed)
        let other = AuthorizationAttributes(
            user: Self.node("a"), verb: "get", group: "", resource: "secrets", namespace: "default", name: "x")
        #expect(
            await chain.authorize(other)
                == .deny(reason: "no relationship found between node 'a' and this object"))
        let admin = AuthorizationAttributes(
            user: UserInfo("root", groups: ["system:masters"]), verb: "get", group: "", resource: "secrets")
        #expect(await chain.authorize(admin).isAllowed)
    }
}

@Suite struct NodeComponentRoleTests {
    private func may(
        _ rbac: RBACAuthorizer, _ user: String, _ verb: String, _ resource: String, _ group: String = "",
        namespace: String = "", name: String = ""
    ) async -> Bool {
        await rbac.authorize(
            AuthorizationAttributes(
                user: UserInfo(user, groups: ["system:authenticated"]), verb: verb, group: group, resource: resource,
                namespace: namespace, name: name)
        ).isAllowed
    }

    @Test func theOtherCertificatesOfANodeDoTheirPart() async throws {
        let rbac = RBACAuthorizer()
        for role in BootstrapPolicy.defaultClusterRoles() { rbac.observe(.clusterRoles, role, deleted: false) }
        for binding in BootstrapPolicy.defaultClusterRoleBindings() {
            rbac.observe(.clusterRoleBindings, binding, deleted: false)
        }
        let proxy = "system:kube-proxy"
        for resource in ["services", "nodes"] { #expect(await may(rbac, proxy, "watch", resource)) }
        #expect(await may(rbac, proxy, "list", "endpointslices", "discovery.k8s.io"))
        #expect(await !may(rbac, proxy, "list", "pods"))
        let own = "system:k3s-controller"
        for resource in ["nodes", "pods", "namespaces", "services"] { #expect(await may(rbac, own, "watch", resource)) }
        #expect(await may(rbac, own, "watch", "networkpolicies", "networking.k8s.io"))
        #expect(await may(rbac, own, "patch", "nodes", name: "any"))
        #expect(await may(rbac, own, "watch", "configmaps", namespace: "kube-system", name: "coredns-custom"))
        for resource in ["secrets", "configmaps"] {
            #expect(await !may(rbac, own, "list", resource, namespace: "kube-system"))
        }
        #expect(await !may(rbac, own, "delete", "nodes", name: "any"))
        #expect(await !may(rbac, "system:node:a", "get", "nodes", name: "a"))
    }
}

@Suite struct NodeRestrictionTests {
    private func client(_ bench: SupervisorBench, _ node: String) -> LocalClient {
        bench.api.client(as: UserInfo("system:node:" + node, groups: ["system:nodes"]))
    }

    private func refused(_ text: String, _ body: () async throws(APIError) -> Void) async {
        do throws(APIError) {
            try await body()
            Issue.record("it was allowed: \(text)")
        } catch {
            #expect(error.isForbidden && error.message.contains(text), "\(error.message)")
        }
    }

    @Test func aNodeRegistersItselfOnly() async throws {
        let bench = try await SupervisorBench()
        let a = client(bench, "a")
        await refused("is not allowed to modify node \"b\"") { () throws(APIError) in
            _ = try await a.create(.nodes, KubeObject(GroupVersionKind(.core, "Node"), name: "b"))
        }
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: "a")
        node.labels = ["node-role.kubernetes.io/control-plane": "true"]
        let bad = node
        await refused("not allowed to set the following labels") { () throws(APIError) in
            _ = try await a.create(.nodes, bad)
        }
        node.labels = [
            "kubernetes.io/hostname": "a", "node.kubernetes.io/instance-type": "k3s", "mine": "x",
            "egress.k3s.io/cluster": "true",
        ]
        node.json["spec"] = ["taints": [["key": "k", "effect": "NoSchedule"]]]
        var made = try await a.create(.nodes, node)
        made.json["status"]["phase"] = "Running"
        made = try await a.update(.nodes, made, subresource: "status")
        made.annotations = ["note": "y"]
        made = try await a.update(.nodes, made)
        var untainted = made
        untainted.json["spec"]["taints"] = .null
        let free = untainted
        await refused("modify taints") { () throws(APIError) in _ = try await a.update(.nodes, free) }
        var relabelled = made
        relabelled.labels["node-restriction.kubernetes.io/zone"] = "secure"
        let zone = relabelled
        await refused("node-restriction.kubernetes.io/zone") { () throws(APIError) in
            _ = try await a.update(.nodes, zone)
        }
        let current = made
        await refused("is not allowed to modify node \"a\"") { () throws(APIError) in
            _ = try await client(bench, "b").update(.nodes, current)
        }
        await refused("delete nodes") { () throws(APIError) in
            try await a.delete(.nodes, namespace: "", name: "a", options: DeleteOptions())
        }
    }

    @Test func aNodeChangesItsOwnPodsOnly() async throws {
        let bench = try await SupervisorBench()
        let pod = try await bench.client.create(.pods, bench.pod("p", on: "a"))
        var status = pod
        status.json["status"]["phase"] = "Running"
        let changed = status
        await refused("only update pod status") { () throws(APIError) in
            _ = try await client(bench, "b").update(.pods, changed, subresource: "status")
        }
        _ = try await client(bench, "a").update(.pods, changed, subresource: "status")
        await refused("only delete pods") { () throws(APIError) in
            try await client(bench, "b").delete(
                .pods, namespace: "default", name: "p", options: DeleteOptions())
        }
        await refused("config.mirror") { () throws(APIError) in
            _ = try await client(bench, "a").create(.pods, bench.pod("q", on: "a"))
        }
        let node = try await bench.addNode("a")
        func mirror(_ name: String, _ spec: JSON = [:]) -> KubeObject {
            var pod = bench.pod(name, on: "a", spec)
            pod.annotations = ["kubernetes.io/config.mirror": "hash"]
            pod.metadata["ownerReferences"] = [
                [
                    "apiVersion": "v1", "kind": "Node", "name": "a", "uid": .string(node.uid), "controller": true,
                ]
            ]
            return pod
        }
        _ = try await client(bench, "a").create(.pods, mirror("m"))
        let begin = "node \"a\" can only create pods with "
        let owners: [(JSON, String)] = [
            (.null, begin + "an owner reference set to itself"),
            (["name": "b"], begin + "an owner reference set to itself"),
            (["controller": false], begin + "a controller owner reference set to itself"),
            (["blockOwnerDeletion": true], "node \"a\" must not set blockOwnerDeletion on an owner reference"),
            (["uid": "x"], "node a UID mismatch: expected x got \(node.uid)"),
        ]
        for (change, text) in owners {
            var pod = mirror("o")
            for (key, value) in change.object ?? JSONObject() { pod.metadata["ownerReferences"][0][key] = value }
            if change.isNull { pod.metadata["ownerReferences"] = .null }
            let bad = pod
            await refused(text) { () throws(APIError) in _ = try await client(bench, "a").create(.pods, bad) }
        }
        let specs: [(JSON, String)] = [
            (
                [
                    "volumes": [
                        [
                            "name": "v",
                            "projected": ["sources": [["clusterTrustBundle": ["name": "t", "path": "p"]]]],
                        ]
                    ]
                ], "clustertrustbundles"
            ),
            (["volumes": [["name": "v", "persistentVolumeClaim": ["claimName": "c"]]]], "persistentvolumeclaims"),
            (["volumes": [["name": "v", "configMap": ["name": "c"]]]], "configmaps"),
            (["resourceClaims": [["name": "c", "resourceClaimName": "x"]]], "resourceclaims"),
        ]
        for (spec, kind) in specs {
            let bad = mirror("n", spec)
            await refused("node \"a\" can not create pods that reference \(kind)") { () throws(APIError) in
                _ = try await client(bench, "a").create(.pods, bad)
            }
        }
        let secret = mirror("n", ["volumes": [["name": "v", "secret": ["secretName": "s"]]]])
        await refused("reference secrets") { () throws(APIError) in
            _ = try await client(bench, "a").create(.pods, secret)
        }
        // And a mirror pod opens no secrets either.
        #expect(
            PodReferences(secret).secrets.isEmpty
                && !PodReferences(bench.pod("n", on: "a", secret.spec)).secrets.isEmpty)
        try await client(bench, "a").delete(
            .pods, namespace: "default", name: "p", options: DeleteOptions(gracePeriodSeconds: 0))
    }

    @Test func leasesAreTheNodesOwn() async throws {
        let bench = try await SupervisorBench()
        func lease(_ name: String, _ namespace: String) -> KubeObject {
            KubeObject(GroupVersionKind("coordination.k8s.io", "v1", "Lease"), name: name, namespace: namespace)
        }
        let a = client(bench, "a")
        _ = try await a.create(.leases, lease("a", "kube-node-lease"))
        await refused("node lease with the same name") { () throws(APIError) in
            _ = try await a.create(.leases, lease("b", "kube-node-lease"))
        }
        await refused("kube-node-lease") { () throws(APIError) in
            _ = try await a.create(.leases, lease("a", "default"))
        }
    }

    /// KEP-4412: what its pods name, what the drivers of their volumes need, and what it is authorized for.
    @Test func tokensAreForAudiencesOfItsPods() async throws {
        let bench = try await SupervisorBench()
        let csi = GroupVersionResource("storage.k8s.io", "v1", "csidrivers")
        var driver = KubeObject(GroupVersionKind("storage.k8s.io", "v1", "CSIDriver"), name: "disk.test")
        driver.json["spec"] = ["tokenRequests": [["audience": "disk"]]]
        _ = try await bench.client.create(csi, driver)
        let spec: JSON = [
            "volumes": [
                [
                    "name": "t",
                    "projected": ["sources": [["serviceAccountToken": ["path": "t", "audience": "vault"]]]],
                ], ["name": "d", "csi": ["driver": "disk.test"]],
            ]
        ]
        let pod = try await bench.client.create(.pods, bench.pod("p", on: "a", spec))
        let user = UserInfo("system:node:a", groups: ["system:nodes"])
        func ask(_ audiences: [String], _ authorizer: (any Authorizer)? = nil) async throws(APIError) {
            let kind = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
            var request = KubeObject(kind, name: "default")
            request.json["spec"] = [
                "audiences": .strings(audiences),
                "boundObjectRef": [
                    "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": .string(pod.uid),
                ],
            ]
            let admission = AdmissionRequest(
                .create, .serviceAccounts, kind, subresource: "token", namespace: "default", name: "default",
                object: request, scope: RequestScope(user: user, now: bench.clock.now()))
            try await AdmissionPlugin.nodeRestriction(authorizer: authorizer).validate?(
                admission, bench.api.registry)
        }
        try await ask(["vault"])
        try await ask(["disk"])
        await refused("node may only request 0 or 1 audiences") { () throws(APIError) in
            try await ask(["vault", "disk"])
        }
        await refused(
            "audience \"other\" not found in pod spec volume, system:node:a is not authorized to request tokens for this audience"
        ) { () throws(APIError) in try await ask(["other"]) }
        let rbac = RBACAuthorizer()
        RBACAuthorizerTests.observe(
            rbac,
            [
                RBACAuthorizerTests.role(
                    "r",
                    [["verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["other"]]]),
                RBACAuthorizerTests.binding(
                    "b", to: "r",
                    [["kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"]]),
            ])
        try await ask(["other"], rbac)
    }

    @Test func slicesAndClaimsAreItsOwnBusinessOnly() async throws {
        let bench = try await SupervisorBench()
        let slices = GroupVersionResource("resource.k8s.io", "v1", "resourceslices")
        func slice(_ node: String) -> KubeObject {
            var slice = KubeObject(GroupVersionKind("resource.k8s.io", "v1", "ResourceSlice"), name: "s-" + node)
            slice.json["spec"] = [
                "driver": "gpu.test", "nodeName": .string(node), "pool": ["name": "p", "resourceSliceCount": 1],
            ]
            return slice
        }
        _ = try await client(bench, "a").create(slices, slice("a"))
        await refused("can only create ResourceSlice with the same NodeName as the requesting node") {
            () throws(APIError) in _ = try await client(bench, "a").create(slices, slice("b"))
        }
        await refused("can only delete ResourceSlice with the same NodeName as the requesting node") {
            () throws(APIError) in
            try await client(bench, "b").delete(slices, namespace: "", name: "s-a", options: DeleteOptions())
        }
        let claims = GroupVersionResource("", "v1", "persistentvolumeclaims")
        var claim = KubeObject(GroupVersionKind(.core, "PersistentVolumeClaim"), name: "c", namespace: "default")
        claim.json["spec"] = ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]]
        let made = try await bench.client.create(claims, claim)
        await refused("may only update PVC status") { () throws(APIError) in
            _ = try await client(bench, "a").update(claims, made)
        }
        var grown = made
        grown.json["status"]["capacity"] = ["storage": "1Gi"]
        let bound = try await client(bench, "a").update(claims, grown, subresource: "status")
        var stolen = bound
        stolen.labels = ["mine": "yes"]
        let labelled = stolen
        await refused(
            "node \"a\" is not allowed to update fields other than status.quantity and status.conditions"
        ) { () throws(APIError) in _ = try await client(bench, "a").update(claims, labelled, subresource: "status") }
    }
}
