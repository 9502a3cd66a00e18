internal import Codecs
package import KubeAPI
internal import Transport

/// Approves what kubelets ask for their client certificates, where they have been given the right to.
/// Source: pkg/controller/certificates/approver.
package struct CertificateApprover: Controller {
    package let name = "csrapproving-controller"
    private let client: any KubeClient
    private let authorizer: any Authorizer

    package init(client: any KubeClient, authorizer: any Authorizer) {
        (self.client, self.authorizer) = (client, authorizer)
    }

    package var sources: [WatchSource] {
        [
            WatchSource(SigningRequest.resource) { object, kind in
                kind == .deleted || !object.status["conditions"].elements.isEmpty ? [] : [object.key]
            }
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let object = try await client.getIfPresent(SigningRequest.resource, namespace: "", name: key.name)
        else { return nil }
        let csr = SigningRequest(object)
        guard !csr.isIssued, !csr.has("Approved"), !csr.has("Denied"),
            csr.signer == SigningRequest.Signer.kubeletClient.rawValue,
            csr.problem(.kubeletClient) == nil
        else { return nil }
        let isOwn = object.spec["username"].string == csr.request?.subject.commonName
        var candidates = [("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")]
        if isOwn {
            candidates.insert(
                ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."), at: 0)
        }
        for (subresource, message) in candidates {
            let attributes = AuthorizationAttributes(
                user: Self.requestor(object), verb: "create", group: SigningRequest.resource.group,
                resource: SigningRequest.resource.resource, subresource: subresource)
            guard await authorizer.authorize(attributes).isAllowed else { continue }
            var approved = object
            approved.json["status"]["conditions"] = .array(
                object.status["conditions"].elements + [
                    [
                        "type": "Approved", "status": "True", "reason": "AutoApproved", "message": .string(message),
                    ]
                ])
            _ = try await client.update(SigningRequest.resource, approved, subresource: "approval")
            return nil
        }
        // Nobody tells when a right is granted: the request is looked at again for as long as it is kept.
        return .seconds(60)
    }

    static func requestor(_ object: KubeObject) -> UserInfo {
        var extra: [String: [String]] = [:]
        for (key, value) in object.spec["extra"].object ?? JSONObject() {
            extra[key] = value.elements.compactMap(\.string)
        }
        return UserInfo(
            object.spec["username"].string ?? "", uid: object.spec["uid"].string ?? "",
            groups: object.spec["groups"].elements.compactMap(\.string), extra: extra)
    }
}

/// Removes requests that were answered an hour ago, that nobody has answered for a day, and those whose certificate
/// has run out. Source: pkg/controller/certificates/cleaner.
package struct CertificateCleaner: Controller {
    package let name = "csrcleaner-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private static let answered: Duration = .seconds(3600)
    private static let pending: Duration = .seconds(24 * 3600)

    package init(client: any KubeClient, clock: any KubeClock) { (self.client, self.clock) = (client, clock) }

    package var sources: [WatchSource] {
        [WatchSource(SigningRequest.resource) { object, kind in kind == .deleted ? [] : [object.key] }]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let object = try await client.getIfPresent(SigningRequest.resource, namespace: "", name: key.name)
        else { return nil }
        let now = clock.now()
        guard let due = Self.due(object) else { return nil }
        if due > now { return due.duration(since: now) }
        try await client.deleteIfPresent(SigningRequest.resource, object)
        return nil
    }

    private static func due(_ object: KubeObject) -> Timestamp? {
        var times: [Timestamp] = []
        let csr = SigningRequest(object)
        for type in ["Denied", "Failed", "Approved"] {
            guard let time = object.condition(type)["lastUpdateTime"].string.flatMap({ Timestamp($0) }) else {
                continue
            }
            times.append(time.advanced(by: answered))
        }
        if times.isEmpty, !csr.isIssued, let made = object.creationTimestamp {
            times.append(made.advanced(by: pending))
        }
        if csr.isIssued, let bytes = Base64.decode(object.status["certificate"].string ?? ""),
            let end = (try? Certificate.chain(pem: bytes, what: "certificate"))?.first?.notAfter
        {
            times.append(Timestamp(seconds: end))
        }
        return times.min()
    }
}
