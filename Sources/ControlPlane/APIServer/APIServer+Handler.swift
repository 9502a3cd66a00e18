internal import Codecs
package import KubeAPI
import Synchronization
package import Transport

extension APIServer {
    /// Upstream's limit of a request body.
    static let bodyLimit: Int64 = 3 << 20

    package var handler: HTTPHandler { { request in await self.handle(request) } }

    /// What the HTTP server answers before a request gets here, as Status objects.
    package static var hooks: HTTPServerHooks {
        var hooks = HTTPServerHooks()
        hooks.bodyTooLarge = { .status(.tooLarge(limit: $0)) }
        hooks.badRequest = { status, message in
            .status(APIError(code: status, reason: status == 400 ? "BadRequest" : "", message: message))
        }
        return hooks
    }

    package func handle(_ request: HTTPRequest) async -> HTTPResponse {
        let watches = Self.isTrue(request.query["watch"])
        let info = RequestInfo(method: request.method, path: request.path, watches: watches)
        let isLong =
            info.isResource && RequestLimiter.isLongRunning(info, follows: Self.isTrue(request.query["follow"]))
        let given = request.headers["Audit-Id"] ?? ""
        let auditID = given.isEmpty || given.utf8.count > 64 ? Identifiers.uid() : given
        var trail: AuditTrail?
        var response: HTTPResponse
        var verdict: AuthorizationDecision?
        var flow: FlowSchemaMatcher.Match?
        do throws(APIError) {
            if Int64(request.body.count) > Self.bodyLimit { throw .tooLarge(limit: Self.bodyLimit) }
            if !isLong { try checkTimeout(request) }
            let (user, impersonator) = try await authenticate(request, info, auditID, &trail)
            trail = AuditTrail(
                configuration.audit, request, info, auditID, impersonator ?? user,
                impersonated: impersonator == nil ? nil : user, configuration.clock)
            // What holds a connection and no seat belongs to no flow, but for watches.
            if !isLong || info.verb == "watch" { flow = flows.match(info, user, registry) }
            let decision = await authorize(info, request, user)
            verdict = decision
            guard decision.isAllowed else { throw Self.forbidden(info, user, decision.reason) }
            let served = await AuditNotes.$current.withValue(trail?.notes ?? AuditNotes.current) {
                () async -> Result<HTTPResponse, APIError> in
                do throws(APIError) {
                    return .success(try await serve(info, request, user, isLong: isLong))
                } catch {
                    return .failure(error)
                }
            }
            response = try served.get()
        } catch {
            response = .status(error, for: request)
        }
        if response.status != 101 {
            response.headers.add("Audit-Id", auditID)
            if !response.headers.contains("Cache-Control") {
                response.headers.add("Cache-Control", "no-cache, private")
            }
        }
        if let flow {
            response.headers.add(FlowSchemaMatcher.schemaHeader, flow.schema)
            response.headers.add(FlowSchemaMatcher.levelHeader, flow.level)
        }
        return trail?.answered(response, verdict, isLongRunning: isLong) ?? response
    }

    private func serve(
        _ info: RequestInfo, _ request: HTTPRequest, _ user: UserInfo, isLong: Bool
    ) async throws(APIError) -> HTTPResponse {
        guard info.isResource else { return try await answer(path: info, request, user) }
        if isLong {
            let response = await answer(resource: info, request, user)
            count(info, response, since: nil)
            return response
        }
        let start = configuration.clock.now()
        guard let seat = limiter.enter(user, verb: info.verb) else {
            let response = HTTPResponse.status(RequestLimiter.refusal, for: request)
            count(info, response, since: nil)
            return response
        }
        defer { limiter.leave(seat) }
        let response = await answer(resource: info, request, user)
        count(info, response, since: start)
        return response
    }

    private func count(_ info: RequestInfo, _ response: HTTPResponse, since start: Timestamp?) {
        guard registry.resources[info.gvr] != nil else { return }
        requests.add(info, code: response.status, took: start.map { configuration.clock.now().duration(since: $0) })
    }

    private func answer(resource info: RequestInfo, _ request: HTTPRequest, _ user: UserInfo) async -> HTTPResponse {
        if registry.resources[info.gvr] == nil, !info.group.isEmpty, !knows(group: info.group) { return .pageNotFound }
        var response: HTTPResponse
        do throws(APIError) {
            response = try await ResourceRequest(server: self, request: request, info: info, user: user).answer()
        } catch {
            response = .status(error, for: request)
        }
        if info.group.isEmpty, let text = Self.deprecations[info.resource] {
            response.headers.add("Warning", ResourceRequest.warning(text))
        }
        return response
    }

    /// How long the client will wait has to be a duration; the server's own limit is shorter than most.
    private func checkTimeout(_ request: HTTPRequest) throws(APIError) {
        guard let text = request.query["timeout"], !text.isEmpty, GoDuration.parse(text) == nil else { return }
        let isNumber = text.utf8.allSatisfy { (48...57).contains($0) }
        throw .badRequest(
            "invalid timeout specified in the request URL - time: \(isNumber ? "missing unit in" : "invalid") duration "
                + JSON.string(text).text)
    }

    func knows(group: String) -> Bool { registry.resources.all.contains { $0.gvr.group == group } }

    /// Kinds that have successors; whoever asks for them is told.
    private static let deprecations = [
        "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
        "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ]

    static func isTrue(_ value: String?) -> Bool {
        guard let value else { return false }
        return value != "false" && value != "0"
    }

    private func authenticate(
        _ request: HTTPRequest, _ info: RequestInfo, _ auditID: String, _ trail: inout AuditTrail?
    ) async throws(APIError) -> (user: UserInfo, impersonator: UserInfo?) {
        let refusal: APIError
        switch await configuration.authenticator.authenticate(request) {
        case .authenticated(let user):
            attempts.withLock { $0.good += 1 }
            return (user, nil)
        case .impersonated(let user, by: let impersonator):
            attempts.withLock { $0.good += 1 }
            return (user, impersonator)
        case .refused: refusal = .unauthorized()
        case .failed(let error): refusal = error
        }
        attempts.withLock { $0.bad += 1 }
        // Attempts are written too; who it was is not known.
        trail = AuditTrail(configuration.audit, request, info, auditID, UserInfo(""), configuration.clock)
        throw refusal
    }

    private func authorize(
        _ info: RequestInfo, _ request: HTTPRequest, _ user: UserInfo
    ) async -> AuthorizationDecision {
        var attributes = info.attributes(of: user)
        if info.isResource, info.name.isEmpty, let text = request.query["fieldSelector"], !text.isEmpty {
            // Who may read one object by name may list and watch that one; a node the pods that are its own.
            attributes.fieldSelector = try? FieldSelector(parsing: text)
            let terms = attributes.fieldSelector?.terms ?? []
            attributes.name = terms.first { $0.field == "metadata.name" && !$0.negated }?.value ?? ""
        }
        return await configuration.authorizer.authorize(attributes)
    }

    /// `pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"`
    static func forbidden(_ info: RequestInfo, _ user: UserInfo, _ reason: String) -> APIError {
        var why = "User \"\(user.name)\" cannot "
        if info.isResource {
            let resource = info.subresource.isEmpty ? info.resource : info.resource + "/" + info.subresource
            why += "\(info.verb) resource \"\(resource)\" in API group \"\(info.group)\" "
            why += info.namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(info.namespace)\""
        } else {
            why += "\(info.verb) path \"\(info.path)\""
        }
        if !reason.isEmpty { why += ": " + reason }
        if info.isResource { return .forbidden(info.gvr, info.name, why) }
        return APIError(code: 403, reason: "Forbidden", message: "forbidden: " + why)
    }
}
