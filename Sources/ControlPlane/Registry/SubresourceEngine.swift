internal import Codecs
internal import KubeAPI
internal import Store

/// Subresources that are more than a view of the object itself: binding, eviction, tokens, scale.
package final class SubresourceEngine: Sendable {
    let registry: Registry
    let tokens: (any TokenIssuer)?
    let reviews: (any ReviewHandler)?

    init(registry: Registry, tokens: (any TokenIssuer)?, reviews: (any ReviewHandler)?) {
        (self.registry, self.tokens, self.reviews) = (registry, tokens, reviews)
    }

    // MARK: - Creation

    func create(
        _ resource: ServedResource, _ subresource: String, namespace: String, name: String, _ object: KubeObject,
        _ scope: RequestScope
    ) async throws(APIError) -> KubeObject {
        switch (resource.gvr, subresource) {
        case (.pods, "binding"): return try await bind(namespace: namespace, pod: name, object, scope)
        case (.pods, "eviction"): return try await evict(resource, namespace: namespace, pod: name, object, scope)
        case (.serviceAccounts, "token"):
            return try await token(resource, namespace: namespace, name: name, object, scope)
        default: throw .pathNotFound()
        }
    }

    /// The answer to a question (TokenReview and the like) or the effect of `bindings`; nil for a kind that is stored.
    func review(
        _ resource: ServedResource, namespace: String, _ object: KubeObject, _ scope: RequestScope
    ) async throws(APIError) -> KubeObject? {
        if resource.gvr == GroupVersionResource("", "v1", "bindings") {
            return try await bind(namespace: namespace, pod: object.name, object, scope)
        }
        guard resource.gvr.group == "authentication.k8s.io" || resource.gvr.group == "authorization.k8s.io" else {
            return nil
        }
        guard let reviews else { throw .pathNotFound() }
        return try await reviews.review(resource.gvr, namespace: namespace, object, user: scope.user)
    }

    /// `POST .../bindings`, the older form of `pods/binding`.
    func bind(namespace: String, pod name: String, _ binding: KubeObject, _ scope: RequestScope) async throws(APIError)
        -> KubeObject
    {
        let pods = try registry.resource(.pods)
        let target = binding["target"]
        let kind = target["kind"].string ?? ""
        let gvk = GroupVersionKind(.core, "Binding")
        var check = Validation()
        if !kind.isEmpty, kind != "Node" {
            check.add(.notSupported("target.kind", .string(kind), ["Node", "<empty>"]))
        }
        let node = target["name"].string ?? ""
        if node.isEmpty { check.add(.required("target.name")) }
        if !check.errors.isEmpty { throw .invalid(gvk, name, check.errors) }
        if !binding.name.isEmpty, binding.name != name {
            throw .badRequest("name in URL does not match name in Binding object")
        }
        let bindings = GroupVersionResource("", "v1", "pods/binding")
        _ = try await registry.update(pods, namespace: namespace, name: name, subresource: "binding", scope, retries: 5)
        {
            pod throws(APIError) in
            var pod = pod
            if pod.isBeingDeleted {
                throw .conflict(bindings, name, "pod \(name) is being deleted, cannot be assigned to a host")
            }
            if let current = pod.spec["nodeName"].string, !current.isEmpty {
                throw .conflict(bindings, name, "pod \(name) is already assigned to node \"\(current)\"")
            }
            if !pod.spec["schedulingGates"].elements.isEmpty {
                throw .conflict(bindings, name, "pod \(name) has non-empty .spec.schedulingGates")
            }
            if !binding.uid.isEmpty, binding.uid != pod.uid {
                throw .conflict(
                    bindings, name,
                    "Precondition failed: UID in precondition: \(binding.uid), UID in object meta: \(pod.uid)")
            }
            pod.json["spec"]["nodeName"] = .string(node)
            if !binding.annotations.isEmpty {
                pod.annotations = pod.annotations.merging(binding.annotations) { _, new in new }
            }
            pod.setCondition("PodScheduled", status: "True", now: scope.now)
            // The scheduler's binding counts on the pod it saw only by uid.
            pod.resourceVersion = binding.resourceVersion == 0 ? pod.resourceVersion : binding.resourceVersion
            return pod
        }
        return Self.success(code: 201)
    }

    private func token(
        _ accounts: ServedResource, namespace: String, name: String, _ request: KubeObject, _ scope: RequestScope
    ) async throws(APIError) -> KubeObject {
        guard let tokens else { throw .pathNotFound() }
        let account = try registry.get(accounts, namespace: namespace, name: name).decode()
        let gvk = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
        let seconds = request.spec["expirationSeconds"].int ?? 3600
        var check = Validation()
        if seconds < 600 {
            check.add(
                .invalid("spec.expirationSeconds", .int(seconds), "may not specify a duration less than 10 minutes"))
        }
        if seconds > 1 << 32 {
            check.add(
                .invalid("spec.expirationSeconds", .int(seconds), "may not specify a duration larger than 2^32 seconds")
            )
        }
        if !check.errors.isEmpty { throw .invalid(gvk, request.name, check.errors) }
        var parameters = TokenRequestParameters(
            namespace: namespace, serviceAccount: name, serviceAccountUID: account.uid,
            audiences: request.spec["audiences"].elements.compactMap(\.string), expirationSeconds: seconds)
        parameters.bound = try boundObject(request.spec["boundObjectRef"], namespace: namespace, account: name)
        let admission = AdmissionRequest(
            .create, accounts.gvr, gvk, subresource: "token", namespace: namespace, name: name, object: request,
            scope: scope)
        try await registry.admission.validate(admission, registry)
        let issued = try await tokens.issue(parameters)
        var answer = request
        answer.json["apiVersion"] = "authentication.k8s.io/v1"
        answer.json["kind"] = "TokenRequest"
        answer.metadata["name"] = .string(name)
        answer.metadata["namespace"] = .string(namespace)
        answer.metadata["creationTimestamp"] = .string(scope.now.rfc3339)
        answer.json["spec"]["audiences"] = .strings(issued.audiences)
        answer.json["spec"]["expirationSeconds"] = .int(issued.expirationSeconds)
        answer.json["status"] = [
            "token": .string(issued.token), "expirationTimestamp": .string(issued.expirationTimestamp),
        ]
        return answer
    }

    private func boundObject(
        _ reference: JSON, namespace: String, account: String
    ) throws(APIError) -> TokenRequestParameters.BoundObject? {
        guard !reference.isNull else { return nil }
        let kind = reference["kind"].string ?? ""
        let version = reference["apiVersion"].string ?? "v1"
        let name = reference["name"].string ?? ""
        let gvr: GroupVersionResource
        switch (version, kind) {
        case ("v1", "Pod"): gvr = .pods
        case ("v1", "Secret"): gvr = .secrets
        case ("v1", "Node"): gvr = .nodes
        default: throw .badRequest("cannot bind token to object of type \(version), Kind=\(kind)")
        }
        let object = try registry.get(try registry.resource(gvr), namespace: namespace, name: name).decode()
        if let uid = reference["uid"].string, !uid.isEmpty, uid != object.uid {
            throw .conflict(
                gvr, name,
                "the UID in the bound object reference (\(uid)) does not match the UID in record. The object might have "
                    + "been deleted and then recreated")
        }
        var bound = TokenRequestParameters.BoundObject(kind: kind, apiVersion: version, name: name, uid: object.uid)
        if gvr == .pods {
            let owner = object.spec["serviceAccountName"].string ?? ""
            if owner != account {
                throw .badRequest(
                    "cannot bind token for serviceaccount \"\(account)\" to pod running with different serviceaccount name."
                )
            }
            if let nodeName = object.spec["nodeName"].string, !nodeName.isEmpty {
                let node = registry.store.get(try registry.resource(.nodes).key("", nodeName))
                bound.node = (nodeName, node.flatMap { RawJSON.text(of: ["metadata", "uid"], in: $0.value) } ?? "")
            }
        }
        return bound
    }

    static func success(code: Int) -> KubeObject {
        KubeObject(
            ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "code": .int(Int64(code))])
    }

    // MARK: - Update

    /// nil: the subresource is a view of the object itself, which the registry updates.
    func update(
        _ resource: ServedResource, _ subresource: String, namespace: String, name: String, _ scope: RequestScope,
        retries: Int? = nil, change: Registry.Change
    ) async throws(APIError) -> KubeObject? {
        guard subresource == "scale" else { return nil }
        let result = try await registry.update(
            resource, namespace: namespace, name: name, subresource: "scale", scope, retries: retries
        ) { object throws(APIError) in
            let scale = try await change(Self.scale(of: object))
            let wanted = scale.spec["replicas"].int ?? 0
            if wanted < 0 {
                throw .invalid(
                    GroupVersionKind("autoscaling", "v1", "Scale"), name,
                    [.invalid("spec.replicas", .int(wanted), "must be greater than or equal to 0")])
            }
            if scale.name != name { throw .badRequest("name in URL does not match name in Scale object") }
            if !scale.uid.isEmpty, scale.uid != object.uid {
                throw .conflict(
                    resource.gvr, name,
                    "Precondition failed: UID in precondition: \(scale.uid), UID in object meta: \(object.uid)")
            }
            var object = object
            object.json["spec"]["replicas"] = .int(wanted)
            object.resourceVersion = scale.resourceVersion
            return object
        }
        return Self.scale(of: result.object)
    }

    /// autoscaling/v1 Scale of a workload.
    static func scale(of object: KubeObject) -> KubeObject {
        var metadata: JSON = [:]
        for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[key] = object.metadata[key]
        }
        var status: JSON = ["replicas": .int(object.status["replicas"].int ?? 0)]
        let selector: LabelSelector? =
            object.apiVersion == "v1"
            ? LabelSelector.equal(object.spec["selector"].stringMap) : try? LabelSelector(json: object.spec["selector"])
        if let selector, !selector.isEverything { status["selector"] = .string(selector.text) }
        var spec: JSON = [:]
        if let replicas = object.spec["replicas"].int, replicas != 0 { spec["replicas"] = .int(replicas) }
        return KubeObject([
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status,
        ])
    }
}

extension KubeObject {
    /// Sets a condition; its transition time moves only when the status does.
    mutating func setCondition(
        _ type: String, status value: String, reason: String = "", message: String = "", now: Timestamp
    ) {
        var condition: JSON = ["type": .string(type), "status": .string(value)]
        if !reason.isEmpty { condition["reason"] = .string(reason) }
        if !message.isEmpty { condition["message"] = .string(message) }
        var conditions = status["conditions"].elements
        let index = conditions.firstIndex { $0["type"].string == type }
        if let index, conditions[index]["status"].string == value {
            condition["lastTransitionTime"] = conditions[index]["lastTransitionTime"]
        } else {
            condition["lastTransitionTime"] = .string(now.rfc3339)
        }
        if let index { conditions[index] = condition } else { conditions.append(condition) }
        json["status"]["conditions"] = .array(conditions)
    }
}

extension DeleteOptions {
    /// meta/v1 DeleteOptions; `.null` gives the defaults.
    init(json: JSON) throws(APIError) {
        self.init()
        gracePeriodSeconds = json["gracePeriodSeconds"].int
        uid = json["preconditions"]["uid"].string
        if let version = json["preconditions"]["resourceVersion"].string {
            guard let revision = Int64(version) else {
                throw .badRequest("preconditions.resourceVersion: Invalid value: \(JSON.string(version).text)")
            }
            resourceVersion = revision
        }
        if let orphan = json["orphanDependents"].bool { propagation = orphan ? .orphan : .background }
        if let policy = json["propagationPolicy"].string {
            guard json["orphanDependents"].isNull, let known = Propagation(rawValue: policy) else {
                var error = APIError(
                    code: 422, reason: "Invalid",
                    message: "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: "
                        + "\(JSON.string(policy).text): supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                )
                (error.group, error.kind) = ("meta.k8s.io", "DeleteOptions")
                throw error
            }
            propagation = known
        }
    }
}
