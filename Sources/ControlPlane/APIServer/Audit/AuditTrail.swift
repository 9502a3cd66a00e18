internal import Codecs
internal import KubeAPI
internal import Transport

/// A request on its way through the audit log. Source: audit.k8s.io/v1 Event; k8s.io/apiserver/pkg/endpoints/filters/audit.go.
struct AuditTrail: Sendable {
    private static let bodyLimit = 1 << 20

    let log: AuditLog
    let decision: AuditPolicy.Decision
    let request: HTTPRequest
    let info: RequestInfo
    let clock: any KubeClock
    /// What admission has to say.
    let notes = AuditNotes()
    private let base: JSON

    /// nil: the request is not written.
    /// - Parameter impersonated: whom `user` acts for.
    init?(
        _ log: AuditLog?, _ request: HTTPRequest, _ info: RequestInfo, _ id: String, _ user: UserInfo,
        impersonated: UserInfo? = nil, _ clock: any KubeClock
    ) {
        guard let log else { return nil }
        decision = log.policy.decide(info, user)
        guard decision.level != .none else { return nil }
        (self.log, self.request, self.info, self.clock) = (log, request, info, clock)
        var event: JSON = [
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": .string(decision.level.rawValue),
            "auditID": .string(id), "stage": "",
            "requestURI": .string(request.rawPath + (request.rawQuery.isEmpty ? "" : "?" + request.rawQuery)),
            "verb": .string(info.verb), "user": user.json, "sourceIPs": [.string(request.remoteAddress)],
        ]
        if let impersonated { event["impersonatedUser"] = impersonated.json }
        if let agent = request.headers["User-Agent"] { event["userAgent"] = .string(agent) }
        if info.isResource {
            var reference: JSON = ["resource": .string(info.resource)]
            for (key, value) in [
                ("namespace", info.namespace), ("name", info.name), ("apiGroup", info.group),
                ("apiVersion", info.version), ("subresource", info.subresource),
            ] where !value.isEmpty { reference[key] = .string(value) }
            event["objectRef"] = reference
        }
        base = event
        event["requestReceivedTimestamp"] = .string(clock.now().rfc3339Micro)
        received = event["requestReceivedTimestamp"]
        write(.requestReceived, response: nil, nil)
    }

    private let received: JSON

    /// The answer is there; a stream is complete when it ends.
    func answered(_ response: HTTPResponse, _ verdict: AuthorizationDecision?, isLongRunning: Bool) -> HTTPResponse {
        guard isLongRunning, case .stream(let length, let run) = response.body else {
            write(.responseComplete, response: response, verdict)
            return response
        }
        write(.responseStarted, response: response, verdict)
        var response = response
        let (trail, head) = (self, HTTPResponse(status: response.status, headers: response.headers))
        response.body = .stream(length: length) { writer in
            defer { trail.write(.responseComplete, response: head, verdict) }
            try await run(writer)
        }
        return response
    }

    private func write(_ stage: AuditPolicy.Stage, response: HTTPResponse?, _ verdict: AuthorizationDecision?) {
        guard !decision.omitted.contains(stage) else { return }
        var event = base
        event["stage"] = .string(stage.rawValue)
        var isCut = false
        if let response {
            event["responseStatus"] = status(response)
            if decision.level.hasRequest, !request.body.isEmpty {
                event["requestObject"] = object(request.body, &isCut)
            }
            if decision.level == .requestResponse, stage == .responseComplete {
                if case .stream = response.body {
                } else if let bytes = try? response.wholeBody(limit: Self.bodyLimit) {
                    event["responseObject"] = object(bytes, &isCut)
                } else {
                    isCut = true
                }
            }
        }
        event["requestReceivedTimestamp"] = received
        event["stageTimestamp"] = .string(clock.now().rfc3339Micro)
        var notes: JSON = .null
        if response != nil, let verdict {
            notes["authorization.k8s.io/decision"] = verdict.isAllowed ? "allow" : "forbid"
            notes["authorization.k8s.io/reason"] = .string(verdict.reason)
        }
        if response != nil { for (key, value) in self.notes.all { notes[key] = .string(value) } }
        if isCut { notes["audit.k8s.io/truncated"] = "true" }
        if !notes.isNull { event["annotations"] = notes }
        log.write(event)
    }

    private func status(_ response: HTTPResponse) -> JSON {
        var status: JSON = ["metadata": [:]]
        if response.status >= 400, case .bytes(let bytes) = response.body, let json = try? JSON.parse(bytes),
            json["kind"].string == "Status"
        {
            for key in ["status", "message", "reason", "details"] where !json[key].isNull { status[key] = json[key] }
        }
        status["code"] = .int(Int64(response.status))
        return status
    }

    /// What was sent, as JSON; nothing for what is too large or something else.
    private func object(_ bytes: [UInt8], _ isCut: inout Bool) -> JSON {
        guard bytes.count <= Self.bodyLimit else {
            isCut = true
            return .null
        }
        var json: JSON
        if bytes.starts(with: Schema.magic) {
            guard
                let decoded = try? Schema.shared.decodeProtobuf(
                    bytes, expecting: GroupVersionKind(info.group, info.version, ""))
            else { return .null }
            json = decoded
        } else {
            guard let parsed = (try? JSON.parse(bytes)) ?? (try? YAML.parse(bytes)) else { return .null }
            json = parsed
        }
        if decision.omitsManagedFields, case .object = json {
            if !json["metadata"]["managedFields"].isNull { json["metadata"]["managedFields"] = .null }
            if case .array(let items) = json["items"] {
                json["items"] = .array(
                    items.map { item in
                        var item = item
                        if !item["metadata"]["managedFields"].isNull { item["metadata"]["managedFields"] = .null }
                        return item
                    })
            }
        }
        return json
    }
}
