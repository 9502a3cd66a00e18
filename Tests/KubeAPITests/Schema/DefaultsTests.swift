import Codecs
import Testing

@testable import KubeAPI

@Suite struct DefaultsTests {
    private func defaulted(_ text: String, _ group: String, _ version: String, _ kind: String) throws -> JSON {
        try Schema.shared.decode(try JSON.parse(text), as: .init(group, version, kind), defaults: true).json
    }

    @Test func podGolden() throws {
        let pod = try defaulted(
            """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"hostNetwork":true,"containers":[{"name":"a","image":"nginx",
            "ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"100m"}},
            "livenessProbe":{"httpGet":{"port":80}},"env":[{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]},
            {"name":"b","image":"nginx:1.2"}],"initContainers":[{"name":"i","image":"x@sha256:00"}],
            "volumes":[{"name":"s","secret":{"secretName":"k"}},{"name":"e"},{"name":"h","hostPath":{"path":"/x"}},
            {"name":"p","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}]}}
            """, "", "v1", "Pod")
        #expect(
            pod.text
                == #"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"},"spec":{"volumes":[{"name":"s","secret":{"secretName":"k","defaultMode":420}},{"name":"e","emptyDir":{}},{"name":"h","hostPath":{"path":"/x","type":""}},{"name":"p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3600,"path":"t"}}],"defaultMode":420}}],"initContainers":[{"name":"i","image":"x@sha256:00","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"containers":[{"name":"a","image":"nginx","ports":[{"hostPort":80,"containerPort":80,"protocol":"TCP"}],"env":[{"name":"IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],"resources":{"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"100m","memory":"64Mi"}},"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"},{"name":"b","image":"nginx:1.2","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","hostNetwork":true,"securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true},"status":{}}"#
        )
    }

    @Test func deploymentGolden() throws {
        let deployment = try defaulted(
            """
            {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"a":"b"}},
            "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"nginx:latest",
            "resources":{"limits":{"cpu":"1"}}}]}}}}
            """, "apps", "v1", "Deployment")
        #expect(
            deployment.text
                == #"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"nginx:latest","resources":{"limits":{"cpu":"1"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}"#
        )
    }

    @Test func serviceGolden() throws {
        let service = try defaulted(
            #"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"selector":{"a":"b"},"ports":[{"port":80},{"port":443,"name":"x","targetPort":"tls"}]}}"#,
            "", "v1", "Service")
        #expect(
            service.text
                == #"{"kind":"Service","apiVersion":"v1","metadata":{"name":"s"},"spec":{"ports":[{"protocol":"TCP","port":80,"targetPort":80},{"name":"x","protocol":"TCP","port":443,"targetPort":"tls"}],"selector":{"a":"b"},"type":"ClusterIP","sessionAffinity":"None","internalTrafficPolicy":"Cluster"},"status":{"loadBalancer":{}}}"#
        )
        let balanced = try defaulted(
            #"{"spec":{"type":"LoadBalancer","sessionAffinity":"ClientIP","ports":[{"port":1}]},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}"#,
            "", "v1", "Service")
        #expect(balanced["spec"]["externalTrafficPolicy"] == "Cluster")
        #expect(balanced["spec"]["allocateLoadBalancerNodePorts"] == true)
        #expect(balanced["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 10800)
        #expect(balanced["status"]["loadBalancer"]["ingress"][0].text == #"{"ip":"1.2.3.4","ipMode":"VIP"}"#)
        let external = try defaulted(#"{"spec":{"type":"ExternalName","externalName":"x"}}"#, "", "v1", "Service")
        #expect(external["spec"]["internalTrafficPolicy"].isNull)
    }

    @Test func givenValuesStay() throws {
        let json = try defaulted(
            #"{"spec":{"replicas":0,"strategy":{"type":"Recreate"},"revisionHistoryLimit":0,"template":{"spec":{"terminationGracePeriodSeconds":0,"containers":[{"imagePullPolicy":"Never"}]}}}}"#,
            "apps", "v1", "Deployment")
        #expect(json["spec"]["replicas"] == 0)
        #expect(json["spec"]["revisionHistoryLimit"] == 0)
        #expect(json["spec"]["strategy"] == ["type": "Recreate"])
        #expect(json["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 0)
        #expect(json["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Never")
    }

    @Test(arguments: [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1", "IfNotPresent"), ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"), ("nginx@sha256:ab", "IfNotPresent"),
        ("nginx:latest@sha256:ab", "Always"), ("", "IfNotPresent"),
    ])
    func pullPolicyFollowsTheTag(_ image: String, _ policy: String) throws {
        let pod = try defaulted(#"{"spec":{"containers":[{"name":"a","image":"\#(image)"}]}}"#, "", "v1", "Pod")
        #expect(pod["spec"]["containers"][0]["imagePullPolicy"] == .string(policy))
    }

    /// (group, version, kind, document, path, value at it)
    @Test(arguments: [
        (
            "apps", "v1", "DaemonSet", "{}", "spec.updateStrategy",
            #"{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1,"maxSurge":0}}"#
        ),
        ("apps", "v1", "DaemonSet", "{}", "spec.revisionHistoryLimit", "10"),
        (
            "apps", "v1", "StatefulSet", "{}", "spec.updateStrategy",
            #"{"type":"RollingUpdate","rollingUpdate":{"partition":0}}"#
        ),
        (
            "apps", "v1", "StatefulSet", #"{"spec":{"updateStrategy":{"type":"RollingUpdate"}}}"#,
            "spec.updateStrategy", #"{"type":"RollingUpdate"}"#
        ),
        (
            "apps", "v1", "StatefulSet", "{}", "spec.persistentVolumeClaimRetentionPolicy",
            #"{"whenDeleted":"Retain","whenScaled":"Retain"}"#
        ),
        (
            "apps", "v1", "StatefulSet", #"{"spec":{"volumeClaimTemplates":[{"metadata":{"name":"d"}}]}}"#,
            "spec.volumeClaimTemplates",
            #"[{"metadata":{"name":"d"},"spec":{"resources":{},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}]"#
        ),
        ("apps", "v1", "ReplicaSet", "{}", "spec.replicas", "1"),
        ("batch", "v1", "Job", "{}", "spec.completions", "1"),
        ("batch", "v1", "Job", "{}", "spec.manualSelector", "false"),
        ("batch", "v1", "Job", #"{"spec":{"parallelism":3}}"#, "spec.completions", "null"),
        ("batch", "v1", "Job", #"{"spec":{"completions":3}}"#, "spec.parallelism", "1"),
        ("batch", "v1", "Job", #"{"spec":{"backoffLimitPerIndex":1}}"#, "spec.backoffLimit", "2147483647"),
        (
            "batch", "v1", "Job", #"{"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}"#, "metadata",
            #"{"labels":{"a":"b"}}"#
        ),
        (
            "batch", "v1", "Job",
            #"{"spec":{"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"type":"x"}]}]}}}"#,
            "spec.podReplacementPolicy", #""Failed""#
        ),
        ("batch", "v1", "CronJob", #"{"spec":{"schedule":"* * * * *"}}"#, "spec.concurrencyPolicy", #""Allow""#),
        ("batch", "v1", "CronJob", #"{"spec":{"schedule":"* * * * *"}}"#, "spec.jobTemplate.spec.backoffLimit", "null"),
        (
            "batch", "v1", "CronJob", #"{"spec":{"schedule":"* * * * *"}}"#,
            "spec.jobTemplate.spec.template.spec.schedulerName", #""default-scheduler""#
        ),
        (
            "", "v1", "Namespace", #"{"metadata":{"name":"n","labels":{"x":"y"}}}"#, "metadata.labels",
            #"{"kubernetes.io/metadata.name":"n","x":"y"}"#
        ),
        ("", "v1", "Namespace", #"{"metadata":{"name":"n"}}"#, "status", #"{"phase":"Active"}"#),
        ("", "v1", "Secret", "{}", "type", #""Opaque""#),
        (
            "", "v1", "PersistentVolume", "{}", "spec",
            #"{"persistentVolumeReclaimPolicy":"Retain","volumeMode":"Filesystem"}"#
        ),
        ("", "v1", "PersistentVolumeClaim", "{}", "status", #"{"phase":"Pending"}"#),
        ("", "v1", "Node", #"{"status":{"capacity":{"cpu":"2"}}}"#, "status.allocatable", #"{"cpu":"2"}"#),
        (
            "", "v1", "Endpoints", #"{"subsets":[{"ports":[{"port":1}]}]}"#, "subsets",
            #"[{"ports":[{"port":1,"protocol":"TCP"}]}]"#
        ),
        (
            "", "v1", "ReplicationController", #"{"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}"#,
            "spec.selector", #"{"a":"b"}"#
        ),
        (
            "", "v1", "LimitRange",
            #"{"spec":{"limits":[{"type":"Container","max":{"cpu":"2"},"min":{"memory":"1Mi"}}]}}"#, "spec.limits",
            #"[{"type":"Container","max":{"cpu":"2"},"min":{"memory":"1Mi"},"default":{"cpu":"2"},"defaultRequest":{"cpu":"2","memory":"1Mi"}}]"#
        ),
        (
            "", "v1", "Pod", #"{"spec":{"containers":[{"resources":{"requests":{"cpu":"1500n"}}}]}}"#,
            "spec.containers.0.resources.requests", #"{"cpu":"1m"}"#
        ),
        (
            "", "v1", "Pod",
            #"{"spec":{"resources":{"limits":{"cpu":"2","memory":"1Gi"}},"containers":[{"resources":{"requests":{"cpu":"100m"}}},{"resources":{"requests":{"cpu":"200m"}}}],"initContainers":[{"resources":{"requests":{"cpu":"250m"}}}]}}"#,
            "spec.resources.requests", #"{"cpu":"300m","memory":"1Gi"}"#
        ),
        (
            "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration",
            #"{"webhooks":[{"name":"x","clientConfig":{"service":{"name":"s","namespace":"n"}},"rules":[{"operations":["*"]}]}]}"#,
            "webhooks",
            #"[{"name":"x","clientConfig":{"service":{"namespace":"n","name":"s","port":443}},"rules":[{"operations":["*"],"scope":"*"}],"failurePolicy":"Fail","matchPolicy":"Equivalent","namespaceSelector":{},"objectSelector":{},"sideEffects":null,"timeoutSeconds":10,"admissionReviewVersions":null}]"#
        ),
        ("storage.k8s.io", "v1", "StorageClass", #"{"provisioner":"x"}"#, "reclaimPolicy", #""Delete""#),
        ("storage.k8s.io", "v1", "CSIDriver", "{}", "spec.volumeLifecycleModes", #"["Persistent"]"#),
        (
            "networking.k8s.io", "v1", "NetworkPolicy", #"{"spec":{"podSelector":{},"egress":[{}]}}"#,
            "spec.policyTypes", #"["Ingress","Egress"]"#
        ),
        (
            "networking.k8s.io", "v1", "NetworkPolicy",
            #"{"spec":{"podSelector":{},"ingress":[{"ports":[{"port":80}]}]}}"#, "spec.ingress",
            #"[{"ports":[{"protocol":"TCP","port":80}]}]"#
        ),
        (
            "networking.k8s.io", "v1", "IngressClass", #"{"spec":{"parameters":{"kind":"K","name":"n"}}}"#,
            "spec.parameters.scope", #""Cluster""#
        ),
        (
            "rbac.authorization.k8s.io", "v1", "RoleBinding",
            #"{"subjects":[{"kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s","namespace":"n"}],"roleRef":{"kind":"Role","name":"r"}}"#,
            "subjects",
            #"[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"u"},{"kind":"ServiceAccount","name":"s","namespace":"n"}]"#
        ),
        (
            "rbac.authorization.k8s.io", "v1", "RoleBinding", #"{"roleRef":{"kind":"Role","name":"r"}}"#,
            "roleRef.apiGroup", #""rbac.authorization.k8s.io""#
        ),
        (
            "autoscaling", "v2", "HorizontalPodAutoscaler", #"{"spec":{"maxReplicas":3}}"#, "spec.metrics",
            #"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]"#
        ),
        (
            "autoscaling", "v2", "HorizontalPodAutoscaler",
            #"{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":5}}}}"#, "spec.behavior",
            #"{"scaleUp":{"stabilizationWindowSeconds":0,"selectPolicy":"Max","policies":[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]},"scaleDown":{"stabilizationWindowSeconds":5,"selectPolicy":"Max","policies":[{"type":"Percent","value":100,"periodSeconds":15}]}}"#
        ),
        (
            "discovery.k8s.io", "v1", "EndpointSlice", #"{"addressType":"IPv4","endpoints":[],"ports":[{"port":1}]}"#,
            "ports", #"[{"name":"","protocol":"TCP","port":1}]"#
        ),
        ("scheduling.k8s.io", "v1", "PriorityClass", #"{"value":1}"#, "preemptionPolicy", #""PreemptLowerPriority""#),
        (
            "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration",
            #"{"spec":{"type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{}}}}}"#, "spec.limited",
            #"{"nominalConcurrencyShares":30,"limitResponse":{"type":"Queue","queuing":{"queues":64,"handSize":8,"queueLengthLimit":50}},"lendablePercent":0}"#
        ),
        (
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition",
            #"{"spec":{"group":"g","names":{"plural":"ks","kind":"K"},"scope":"Cluster","versions":[{"name":"v1","served":true,"storage":true}]}}"#,
            "spec.names", #"{"plural":"ks","singular":"k","kind":"K","listKind":"KList"}"#
        ),
        (
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition",
            #"{"spec":{"group":"g","names":{"plural":"ks","kind":"K"},"scope":"Cluster","versions":[{"name":"v1","served":true,"storage":true}]}}"#,
            "status.storedVersions", #"["v1"]"#
        ),
        (
            "apiregistration.k8s.io", "v1", "APIService", #"{"spec":{"service":{"name":"n","namespace":"s"}}}"#,
            "spec.service.port", "443"
        ),
        (
            "resource.k8s.io", "v1", "ResourceClaim",
            #"{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}}}"#,
            "spec.devices.requests.0.exactly", #"{"deviceClassName":"c","allocationMode":"ExactCount","count":1}"#
        ),
        ("authentication.k8s.io", "v1", "TokenRequest", "{}", "spec.expirationSeconds", "3600"),
    ])
    func everyKindHasItsDefaults(
        _ group: String, _ version: String, _ kind: String, _ text: String, _ path: String, _ expected: String
    ) throws {
        var value = try defaulted(text, group, version, kind)
        for step in path.split(separator: ".") { value = Int(step).map { value[$0] } ?? value[String(step)] }
        #expect(value.text == expected, "\(kind) \(path)")
    }

    /// (pod's resources, container's resources, what the pod's become)
    @Test(arguments: [
        // Without a limit of the pod nothing is derived.
        (#"{"requests":{"cpu":"1"}}"#, #"{"requests":{"memory":"1Gi"}}"#, #"{"requests":{"cpu":"1"}}"#),
        ("{}", #"{"requests":{"memory":"1Gi"}}"#, "{}"),
        (
            #"{"limits":{"cpu":"2"}}"#, #"{"requests":{"memory":"1Gi"}}"#,
            #"{"limits":{"cpu":"2"},"requests":{"cpu":"2","memory":"1Gi"}}"#
        ),
        (
            #"{"limits":{"cpu":"2"}}"#, #"{"limits":{"hugepages-2Mi":"4Mi"},"requests":{"cpu":"1"}}"#,
            #"{"limits":{"cpu":"2","hugepages-2Mi":"4Mi"},"requests":{"cpu":"1","hugepages-2Mi":"4Mi"}}"#
        ),
        // A huge page request of the pod keeps its limit from being derived.
        (
            #"{"requests":{"hugepages-2Mi":"2Mi"}}"#, #"{"limits":{"hugepages-2Mi":"4Mi"}}"#,
            #"{"requests":{"hugepages-2Mi":"2Mi"}}"#
        ),
        (
            #"{"limits":{"example.com/gpu":"1"}}"#, #"{"requests":{"example.com/gpu":"1"}}"#,
            #"{"limits":{"example.com/gpu":"1"}}"#
        ),
    ])
    func podLevelResourcesFollowTheirContainers(_ pod: String, _ container: String, _ expected: String) throws {
        let json = try defaulted(
            #"{"spec":{"resources":\#(pod),"containers":[{"name":"a","resources":\#(container)}]}}"#, "", "v1", "Pod")
        #expect(json["spec"]["resources"].text == expected)
    }

    @Test func timesAddedComeFromTheClock() throws {
        let clock = VirtualClock()
        let slice = try Schema.shared.decode(
            try JSON.parse(
                #"{"spec":{"driver":"d","pool":{"name":"p"},"devices":[{"name":"x","taints":[{"key":"k","effect":"NoSchedule"}]}]}}"#
            ),
            as: .init("resource.k8s.io", "v1", "ResourceSlice"), defaults: true, clock: clock
        ).json
        #expect(slice["spec"]["devices"][0]["taints"][0]["timeAdded"] == .string(clock.now().rfc3339))
    }

    @Test func listsHaveDefaultsInTheirItems() throws {
        let list = try defaulted(#"{"items":[{"spec":{"containers":[{"name":"a"}]}}]}"#, "", "v1", "PodList")
        #expect(list["items"][0]["spec"]["enableServiceLinks"] == true)
    }
}
