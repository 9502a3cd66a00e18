import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

/// What holds for every kind: it can be made, shown as a row, changed, watched, and removed.
@Suite struct EveryKindTests {
    static let pod = #"{"containers":[{"name":"c","image":"i"}]}"#
    static let claim = #"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}"#
    static let selected =
        #""selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":\#(pod)}"#

    static let rule = #"{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]}"#
    static let hook =
        #"{"name":"a.b.test","clientConfig":{"url":"https://a.test/x"},"sideEffects":"None","admissionReviewVersions":["v1"],"rules":[\#(rule)]}"#

    /// Kinds whose names are not free.
    static let names = ["apiservices": "v1beta1.metrics.test", "ipaddresses": "10.43.7.7"]

    /// Where, and what it needs beside a name, and its row without its name; "*" for what depends on more.
    static let kinds: [(String, String, [JSON])] = [
        ("api/v1/configmaps", #""data":{"a":"b"}"#, [1, "0s"]),
        ("api/v1/endpoints", "", ["<none>", "0s"]),
        ("api/v1/limitranges", #""spec":{"limits":[]}"#, ["2026-01-01T00:00:00Z"]),
        (
            "api/v1/persistentvolumeclaims", #""spec":\#(claim)"#,
            ["Pending", "", "", "", "", "<unset>", "0s", "Filesystem"]
        ),
        (
            "api/v1/persistentvolumes",
            #""spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteMany"],"nfs":{"server":"s","path":"/"},"claimRef":{"namespace":"n","name":"c"}}"#,
            ["1Gi", "RWX", "Retain", "Pending", "n/c", "", "<unset>", "", "0s", "Filesystem"]
        ),
        ("api/v1/podtemplates", #""template":{"metadata":{"labels":{"a":"b"}},"spec":\#(pod)}"#, ["c", "i", "a=b"]),
        (
            "api/v1/replicationcontrollers", #""spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":\#(pod)}}"#,
            [1, 0, 0, "0s", "c", "i", "a=b"]
        ),
        ("api/v1/resourcequotas", #""spec":{"hard":{"pods":"1"}}"#, ["", "", "0s"]),
        ("api/v1/secrets", #""stringData":{"a":"b"}"#, ["Opaque", 1, "0s"]),
        ("api/v1/serviceaccounts", "", [0, "0s"]),
        ("apis/apps/v1/controllerrevisions", #""data":{},"revision":3"#, ["<none>", 3, "0s"]),
        ("apis/apps/v1/daemonsets", #""spec":{\#(selected)}"#, [0, 0, 0, 0, 0, "<none>", "0s", "c", "i", "a=b"]),
        ("apis/apps/v1/deployments", #""spec":{\#(selected)}"#, ["0/1", 0, 0, "0s", "c", "i", "a=b"]),
        ("apis/apps/v1/replicasets", #""spec":{\#(selected)}"#, [1, 0, 0, "0s", "c", "i", "a=b"]),
        ("apis/apps/v1/statefulsets", #""spec":{"serviceName":"s",\#(selected)}"#, ["0/1", "0s", "c", "i"]),
        (
            "apis/batch/v1/cronjobs",
            #""spec":{"schedule":"@daily","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}"#,
            ["@daily", "<none>", "False", 0, "<none>", "0s", "c", "i", "<none>"]
        ),
        (
            "apis/batch/v1/jobs",
            #""spec":{"parallelism":2,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}"#,
            ["Running", "0/1 of 2", "", "0s", "c", "i", "*"]
        ),
        ("apis/policy/v1/poddisruptionbudgets", #""spec":{"minAvailable":"50%"}"#, ["50%", "N/A", 0, "0s"]),
        ("apis/coordination.k8s.io/v1/leases", #""spec":{"holderIdentity":"me"}"#, ["me", "0s"]),
        (
            "apis/discovery.k8s.io/v1/endpointslices",
            #""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]"#,
            ["IPv4", "80", "10.0.0.1", "0s"]
        ),
        ("apis/scheduling.k8s.io/v1/priorityclasses", #""value":7"#, [7, false, "0s", "PreemptLowerPriority"]),
        (
            "apis/networking.k8s.io/v1/ingresses",
            #""spec":{"ingressClassName":"web","tls":[{"hosts":["a.test"]}],"rules":[{"host":"a.test"},{"http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}"#,
            ["web", "a.test,*", "", "80, 443", "0s"]
        ),
        (
            "apis/networking.k8s.io/v1/ingressclasses",
            #""spec":{"controller":"acme.io/web","parameters":{"apiGroup":"acme.io","kind":"Web","name":"p"}}"#,
            ["acme.io/web", "Web.acme.io/p", "0s"]
        ),
        (
            "apis/networking.k8s.io/v1/networkpolicies", #""spec":{"podSelector":{"matchLabels":{"a":"b"}}}"#,
            ["a=b", "0s"]
        ),
        ("apis/networking.k8s.io/v1/servicecidrs", #""spec":{"cidrs":["10.9.0.0/16"]}"#, ["10.9.0.0/16", "0s"]),
        ("apis/node.k8s.io/v1/runtimeclasses", #""handler":"runc""#, ["runc", "0s"]),
        (
            "apis/storage.k8s.io/v1/csidrivers", #""spec":{}"#,
            [true, false, false, "<unset>", false, "Persistent", "0s"]
        ),
        ("apis/storage.k8s.io/v1/csinodes", #""spec":{"drivers":[{"name":"d","nodeID":"n"}]}"#, [1, "0s"]),
        (
            "apis/storage.k8s.io/v1/csistoragecapacities", #""storageClassName":"fast","capacity":"5Gi""#,
            ["fast", "5Gi"]
        ),
        (
            "apis/storage.k8s.io/v1/storageclasses", #""provisioner":"acme.io/disk","allowVolumeExpansion":true"#,
            ["acme.io/disk", "Delete", "Immediate", true, "0s"]
        ),
        (
            "apis/storage.k8s.io/v1/volumeattachments",
            #""spec":{"attacher":"a","nodeName":"n","source":{"persistentVolumeName":"v"}}"#,
            ["a", "v", "n", false, "0s"]
        ),
        (
            "apis/storage.k8s.io/v1/volumeattributesclasses", #""driverName":"d","parameters":{"a":"b"}"#, ["d", "0s"]
        ),
        (
            "apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", #""spec":{"priorityLevelConfiguration":{"name":"p"}}"#,
            ["p", "1000", "<none>", "0s", "?"]
        ),
        (
            "apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            #""spec":{"type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{}}}}"#,
            ["Limited", "30", "64", "8", "50", "0s"]
        ),
        ("apis/resource.k8s.io/v1/deviceclasses", #""spec":{}"#, ["0s"]),
        ("apis/resource.k8s.io/v1/resourceclaims", #""spec":{}"#, ["pending", "0s"]),
        ("apis/resource.k8s.io/v1/resourceclaimtemplates", #""spec":{"spec":{}}"#, ["0s"]),
        (
            "apis/resource.k8s.io/v1/resourceslices",
            #""spec":{"driver":"d.test","nodeName":"n","pool":{"name":"p","generation":1,"resourceSliceCount":1}}"#,
            ["n", "d.test", "p", "0s"]
        ),
        ("apis/rbac.authorization.k8s.io/v1/roles", #""rules":[]"#, ["2026-01-01T00:00:00Z"]),
        ("apis/rbac.authorization.k8s.io/v1/clusterroles", #""rules":[]"#, ["2026-01-01T00:00:00Z"]),
        (
            "apis/rbac.authorization.k8s.io/v1/rolebindings",
            #""roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"}]"#,
            ["Role/r", "0s", "u", "", ""]
        ),
        (
            "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            #""roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"a","namespace":"n"}]"#,
            ["ClusterRole/r", "0s", "", "", "n/a"]
        ),
        ("api/v1/pods", #""spec":\#(pod)"#, ["0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"]),
        (
            "api/v1/services", #""spec":{"ports":[{"port":80}]}"#,
            ["ClusterIP", "*", "<none>", "80/TCP", "0s", "<none>"]
        ),
        (
            "api/v1/nodes", "",
            ["Unknown", "<none>", "0s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]
        ),
        (
            "api/v1/events",
            #""involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"type":"Normal","reason":"R","message":"m""#,
            ["*", "Normal", "R", "pod/p", "*", "*", "m", "*", "*", "x"]
        ),
        (
            "apis/events.k8s.io/v1/events",
            #""regarding":{"kind":"Pod","name":"p","namespace":"default"},"type":"Normal","reason":"R","action":"A","note":"m","eventTime":"2026-01-01T00:00:00.000000Z","reportingController":"c.test/x","reportingInstance":"i""#,
            ["*", "Normal", "R", "pod/p", "*", "*", "m", "*", "*", "x"]
        ),
        (
            "apis/autoscaling/v2/horizontalpodautoscalers",
            #""spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"maxReplicas":3}"#,
            ["Deployment/d", "cpu: <unknown>/80%", "1", 3, 0, "0s"]
        ),
        (
            "apis/autoscaling/v1/horizontalpodautoscalers",
            #""spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"maxReplicas":3,"targetCPUUtilizationPercentage":50}"#,
            ["Deployment/d", "cpu: <unknown>/50%", "1", 3, 0, "0s"]
        ),
        (
            "apis/networking.k8s.io/v1/ipaddresses",
            #""spec":{"parentRef":{"resource":"services","namespace":"n","name":"s"}}"#, ["services/n/s"]
        ),
        (
            "apis/apiregistration.k8s.io/v1/apiservices",
            #""spec":{"group":"metrics.test","version":"v1beta1","groupPriorityMinimum":100,"versionPriority":100,"service":{"name":"s","namespace":"n"},"insecureSkipTLSVerify":true}"#,
            ["n/s", "False (NotSupported)", "0s"]
        ),
        (
            "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", #""webhooks":[\#(hook)]"#,
            [1, "0s"]
        ),
        ("apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", #""webhooks":[\#(hook)]"#, [1, "0s"]),
        (
            "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            #""spec":{"matchConstraints":{"resourceRules":[\#(rule)]},"validations":[{"expression":"true"}],"paramKind":{"apiVersion":"v1","kind":"ConfigMap"}}"#,
            [1, "v1/ConfigMap", "0s"]
        ),
        (
            "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            #""spec":{"policyName":"p","validationActions":["Deny"]}"#, ["p", "<unset>", "0s"]
        ),
        (
            "apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
            #""spec":{"reinvocationPolicy":"Never","matchConstraints":{"resourceRules":[\#(rule)]},"mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"[]"}}]}"#,
            [1, "<unset>", "0s"]
        ),
        (
            "apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
            #""spec":{"policyName":"p","paramRef":{"name":"c","parameterNotFoundAction":"Deny"}}"#, ["p", "*/c", "0s"]
        ),
    ]

    @Test func noKindIsForgotten() {
        // Namespaces go in two steps, signing requests need a key, definitions of custom resources can be read only.
        let elsewhere: Set<String> = [
            "api/v1/namespaces", "apis/certificates.k8s.io/v1/certificatesigningrequests",
            "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        ]
        let wanted = DiscoveryTests.rows.filter { $0.verbs.contains("create") && $0.verbs.contains("list") }
            .map { $0.path.dropFirst() + "/" + $0.resource }
        #expect(wanted.count > 50)
        let missing: Set<String> = Set(wanted.map { String($0) }).subtracting(Self.kinds.map { $0.0 })
        #expect(missing == elsewhere)
    }

    private static func collection(_ path: String, namespaced: Bool) -> String {
        guard namespaced else { return "/" + path }
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return "/" + path[..<slash] + "/namespaces/default" + path[slash...]
    }

    @Test(arguments: kinds)
    func kindsAreServed(_ path: String, _ body: String, _ cells: [JSON]) async throws {
        let cluster = try await Cluster()
        let parts = path.split(separator: "/").map(String.init)
        let group = parts[0] == "api" ? "" : parts[1]
        let row = try #require(
            cluster.server.registry.resources[
                GroupVersionResource(group, parts[parts.count - 2], parts[parts.count - 1])])
        let collection = Self.collection(path, namespaced: row.namespaced)
        let name = Self.names[row.gvr.resource] ?? "x"
        let text = #"{"metadata":{"name":"\#(name)","labels":{"l":"1"}}"# + (body.isEmpty ? "" : "," + body) + "}"
        let watch = try await cluster.watch(collection + "?watch=1&fieldSelector=metadata.name%3D\(name)")
        let made = try await cluster.send("POST", collection + "?fieldValidation=Strict", Array(text.utf8))
        #expect(made.code == 201, "\(made.text)")
        #expect(made.json["kind"].string == row.gvk.kind)

        let shown = try await cluster.call(
            "GET", collection + "?labelSelector=l%3D1", headers: ["Accept": TableTests.accept])
        #expect(
            shown.json["columnDefinitions"].elements.count == shown.json["rows"][0]["cells"].elements.count,
            "\(shown.text)")
        for (cell, expected) in zip(
            shown.json["rows"][0]["cells"].elements, row.gvr.resource == "events" ? cells : [.string(name)] + cells)
        where expected != "*" {
            #expect(cell == expected, "\(shown.json["rows"][0]["cells"].text)")
        }
        let plain = try await cluster.call("GET", collection + "?labelSelector=l%3D2")
        #expect(plain.json["kind"].string == row.gvk.kind + "List" && plain.json["items"].elements.isEmpty)

        let patch: JSON = ["metadata": ["labels": ["l": "3"]]]
        let changed = try await cluster.call(
            "PATCH", collection + "/\(name)", patch, type: "application/strategic-merge-patch+json")
        #expect(changed.code == 200 && changed.json["metadata"]["labels"]["l"] == "3", "\(changed.text)")
        #expect(
            row.gvr.resource == "endpointslices"
                || changed.json["metadata"]["generation"] == made.json["metadata"]["generation"],
            "labels are not the spec")
        let put = try await cluster.call("PUT", collection + "/\(name)", changed.json)
        #expect(put.code == 200 && put.json == changed.json, "what is read can be written: \(put.text)")
        let second = try await cluster.send("POST", collection, Array(text.utf8))
        #expect(second.code == 409 && second.reason == "AlreadyExists")

        let gone = try await cluster.call("DELETE", collection + "/\(name)?propagationPolicy=Background")
        #expect(gone.code == 200, "\(gone.text)")
        let keepers = gone.json["metadata"]["finalizers"]
        if !keepers.isNull {
            // What keeps it is a controller's to take away.
            #expect(keepers.elements.count == 1 && keepers[0].string?.hasSuffix("-protection") == true, "\(gone.text)")
            _ = try await cluster.call(
                "PATCH", collection + "/\(name)", ["metadata": ["finalizers": .null]],
                type: "application/merge-patch+json")
        }
        #expect(try await cluster.call("GET", collection + "/\(name)").code == 404)
        let types: [JSON] = ["ADDED", "MODIFIED"] + (keepers.isNull ? [] : ["MODIFIED"]) + ["DELETED"]
        #expect(await watch.events(types.count).map { $0["type"] } == types)
        watch.cancel()
    }
}
