internal import KubeAPI

/// Which kinds are served, each with its strategy. A kind that is not here is in the schema but not in the API: it comes
/// when what makes it work (its controller, its admission) is there.
enum Catalog {
    static func resources(_ schema: Schema, reviews: Bool, tokens: Bool) -> [ServedResource] {
        var served: [ServedResource] = []
        for var info in schema.resources {
            guard let strategy = strategy(info.gvr, reviews: reviews) else {
                if info.isServed {
                    info.isServed = false
                    schema.addResource(info)
                }
                continue
            }
            let known = info.subresources.count
            info.subresources.removeAll { subresource in
                switch subresource.name {
                case "token": !tokens
                default: false
                }
            }
            let verbs = info.verbs
            // Clients that want to know whether a kind is a custom one ask for the list; there is no more to it yet.
            if info.gvr == GroupVersionResource("apiextensions.k8s.io", "v1", "customresourcedefinitions") {
                (info.verbs, info.subresources) = ([.get, .list, .watch], [])
            }
            if info.subresources.count != known || info.verbs != verbs || !info.isServed {
                info.isServed = true
                schema.addResource(info)
            }
            served.append(ServedResource(info, strategy: strategy, view: view(info.gvr.groupVersion.description)))
        }
        return served
    }

    /// Group versions that show what is stored in another one.
    private static func view(_ groupVersion: String) -> ResourceView? {
        switch groupVersion {
        case "events.k8s.io/v1": EventStrategy.view
        case "autoscaling/v1": AutoscalerStrategy.view
        default: nil
        }
    }

    private static func strategy(_ gvr: GroupVersionResource, reviews: Bool) -> (any ResourceStrategy)? {
        switch (gvr.groupVersion.description, gvr.resource) {
        case ("v1", let resource): core(resource)
        case ("apps/v1", "deployments"): WorkloadStrategy(kind: .deployment)
        case ("apps/v1", "replicasets"): WorkloadStrategy(kind: .replicaSet)
        case ("autoscaling/v1", "horizontalpodautoscalers"), ("autoscaling/v2", "horizontalpodautoscalers"):
            AutoscalerStrategy()
        case ("certificates.k8s.io/v1", "certificatesigningrequests"): CertificateStrategy()
        case ("admissionregistration.k8s.io/v1", let resource): admission(resource)
        case ("apiregistration.k8s.io/v1", "apiservices"): APIServiceStrategy()
        case ("networking.k8s.io/v1", "ingresses"): IngressStrategy()
        case ("networking.k8s.io/v1", "networkpolicies"): NetworkPolicyStrategy()
        case ("networking.k8s.io/v1", "ipaddresses"): IPAddressStrategy()
        case ("networking.k8s.io/v1", "servicecidrs"): ServiceCIDRStrategy()
        case ("apps/v1", "controllerrevisions"): ControllerRevisionStrategy()
        case ("apps/v1", "daemonsets"): DaemonSetStrategy()
        case ("apps/v1", "statefulsets"): StatefulSetStrategy()
        case ("batch/v1", "jobs"): JobStrategy()
        case ("batch/v1", "cronjobs"): CronJobStrategy()
        case ("policy/v1", "poddisruptionbudgets"): PodDisruptionBudgetStrategy()
        case ("autoscaling/v2", "horizontalpodautoscalers"): PlainStrategy(tracksGeneration: true)
        case ("coordination.k8s.io/v1", "leases"): LeaseStrategy()
        case ("discovery.k8s.io/v1", "endpointslices"): EndpointSliceStrategy()
        case ("events.k8s.io/v1", "events"): EventStrategy(isStrict: true)
        case ("scheduling.k8s.io/v1", "priorityclasses"): PriorityClassStrategy()
        case ("rbac.authorization.k8s.io/v1", "roles"): RoleStrategy(namespaced: true)
        case ("rbac.authorization.k8s.io/v1", "clusterroles"): RoleStrategy(namespaced: false)
        case ("rbac.authorization.k8s.io/v1", "rolebindings"): RoleBindingStrategy(namespaced: true)
        case ("rbac.authorization.k8s.io/v1", "clusterrolebindings"): RoleBindingStrategy(namespaced: false)
        case ("apiextensions.k8s.io/v1", "customresourcedefinitions"): PlainStrategy()
        case ("k3s.cattle.io/v1", "addons"): PlainStrategy(tracksGeneration: true)
        case ("authentication.k8s.io/v1", "tokenreviews"), ("authentication.k8s.io/v1", "selfsubjectreviews"),
            ("authorization.k8s.io/v1", "subjectaccessreviews"),
            ("authorization.k8s.io/v1", "selfsubjectaccessreviews"),
            ("authorization.k8s.io/v1", "localsubjectaccessreviews"),
            ("authorization.k8s.io/v1", "selfsubjectrulesreviews"):
            reviews ? PlainStrategy() : nil
        default: gvr.version == "v1" ? SimpleKinds.strategy(gvr) : nil
        }
    }

    private static func admission(_ resource: String) -> (any ResourceStrategy)? {
        let mutates = resource.hasPrefix("mutating")
        if resource.hasSuffix("webhookconfigurations") { return WebhookConfigurationStrategy(mutates: mutates) }
        if resource.hasSuffix("policies") { return AdmissionPolicyStrategy(mutates: mutates) }
        return AdmissionBindingStrategy(mutates: mutates)
    }

    private static func core(_ resource: String) -> (any ResourceStrategy)? {
        switch resource {
        case "pods": PodStrategy()
        case "namespaces": NamespaceStrategy()
        case "nodes": NodeStrategy()
        case "services": ServiceStrategy()
        case "endpoints": EndpointsStrategy()
        case "configmaps": ConfigMapStrategy()
        case "secrets": SecretStrategy()
        case "serviceaccounts": ServiceAccountStrategy()
        case "events": EventStrategy()
        case "podtemplates": PodTemplateStrategy()
        case "replicationcontrollers": WorkloadStrategy(kind: .replicationController)
        case "persistentvolumes": PersistentVolumeStrategy()
        case "persistentvolumeclaims": PersistentVolumeClaimStrategy()
        case "resourcequotas": ResourceQuotaStrategy()
        case "limitranges": LimitRangeStrategy()
        case "bindings", "componentstatuses": PlainStrategy()
        default: nil
        }
    }
}
