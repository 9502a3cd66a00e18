internal import Codecs
internal import Containers
internal import KubeAPI
internal import Logging

extension PodWorker {
    /// Reports what is known, if that is news. Writing goes on beside the worker; only the newest state is written.
    func publish(_ pod: Pod) {
        guard !isGone else { return }
        let pod = seen(pod)
        var builder = PodStatusBuilder(pod: pod, state: state, now: context.now())
        builder.runtimeName = context.configuration.runtimeName
        builder.health = health()
        builder.waiting = waiting
        builder.verdict = verdict
        builder.isTerminated = stage == .terminated || (stage == .terminating && state.running.isEmpty)
        builder.hostIPs = context.configuration.internalIPs
        builder.startTime = startTime ?? pod.status["startTime"].string.flatMap { Timestamp($0) }
        builder.resize = resize.map {
            PodStatusBuilder.ResizeCondition(type: $0.type, reason: $0.reason, message: $0.message)
        }
        if resize != nil
            || pod.status["conditions"].elements.contains(where: { Self.resizeTypes.contains($0["type"].string ?? "") })
        {
            showsResize = true
        }
        let status = builder.build()
        if isStatic, mirror == nil {
            conditionsSeen = status["conditions"]
            return
        }
        let hash = FNV.hash64(status.encode())
        guard hash != lastStatusHash else { return }
        if lastStatusHash == nil, Self.covers(pod.status, status) {
            lastStatusHash = hash
            conditionsSeen = status["conditions"]
            return
        }
        lastStatusHash = hash
        conditionsSeen = status["conditions"]
        pendingStatus = status
        if statusLoop == nil { statusLoop = Task { await self.writeStatus() } }
    }

    /// The API's picture of a static pod is there, is another, has changed, or is gone (nil).
    func set(mirror new: KubeObject?) {
        let old = mirror
        mirror = new
        guard let new else { return }
        // Of an earlier life of this process.
        if let known = new.status["startTime"].string.flatMap({ Timestamp($0) }), startTime.map({ known < $0 }) ?? true
        {
            startTime = known
        }
        if new.uid == old?.uid, new.status == old?.status || conditionsSeen == new.status["conditions"] { return }
        if new.uid != old?.uid { lastStatusHash = nil }
        wake()
    }

    /// The pod with the conditions of this worker's last report: what comes back from the API may be older.
    private func seen(_ pod: Pod) -> Pod {
        guard !conditionsSeen.isNull else { return pod }
        var object = pod.object
        let mine = conditionsSeen.elements
        let others = pod.status["conditions"].elements.filter { theirs in
            !mine.contains { $0["type"].string == theirs["type"].string }
        }
        object.status["conditions"] = .array(mine + others)
        return Pod(object)
    }

    /// Whether the API's status says all that the new one does.
    private static func covers(_ old: JSON, _ new: JSON) -> Bool {
        for (key, value) in new.object?.members ?? [] {
            if key == "conditions" {
                let known = old["conditions"].elements
                for condition in value.elements {
                    guard let same = known.first(where: { $0["type"].string == condition["type"].string }),
                        same["status"] == condition["status"], same["reason"] == condition["reason"],
                        same["message"] == condition["message"],
                        same["observedGeneration"] == condition["observedGeneration"]
                    else { return false }
                }
            } else if old[key] != value {
                return false
            }
        }
        return true
    }

    private static let resizeTypes = ["PodResizePending", "PodResizeInProgress"]

    /// Until what is pending is written or has become pointless.
    func flushStatus() async {
        while let loop = statusLoop, !Task.isCancelled { await loop.value }
    }

    private func writeStatus() async {
        var delay: Duration = .seconds(1)
        while let status = pendingStatus, !Task.isCancelled, !isGone {
            pendingStatus = nil
            do throws(APIError) {
                _ = try await context.client.patch(
                    .pods, namespace: key.namespace, name: key.name,
                    Self.patch(uid: mirror?.uid ?? uid, status, resize: showsResize), type: .strategic,
                    subresource: "status")
                delay = .seconds(1)
            } catch {
                if Task.isCancelled || error.isNotFound { break }
                // Another pod of that name: this one is gone, and the watch will say so.
                if error.isConflict, error.message.contains("uid") { break }
                context.logger.info("pod \(key): status not written: \(error.message)")
                if error.isInvalid { break }
                if pendingStatus == nil { pendingStatus = status }
                await context.clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(10))
            }
        }
        statusLoop = nil
    }

    /// A strategic merge: conditions of others stay; what this node no longer says is removed.
    private static func patch(uid: String, _ status: JSON, resize: Bool) -> JSON {
        var status = status
        status.withObject { members in
            for key in ["reason", "message", "podIP", "podIPs"] where members[key] == nil { members.append(key, .null) }
        }
        // Conditions are merged member by member: what is not said would stay.
        status["conditions"] = .array(
            status["conditions"].elements.map { condition in
                var condition = condition
                condition.withObject { members in
                    for key in ["reason", "message"] where members[key] == nil { members.append(key, .null) }
                }
                return condition
            })
        if resize {
            for type in resizeTypes where !status["conditions"].elements.contains(where: { $0["type"].string == type })
            {
                status["conditions"].append(["type": .string(type), "$patch": "delete"])
            }
        }
        return ["metadata": ["uid": .string(uid)], "status": status]
    }

    /// The status as of now (the kubelet's /pods).
    func currentObject() -> KubeObject? {
        guard let pod = decode().map(given) else { return nil }
        var builder = PodStatusBuilder(pod: seen(pod), state: state, now: context.now())
        builder.runtimeName = context.configuration.runtimeName
        builder.health = health()
        builder.waiting = waiting
        builder.verdict = verdict
        builder.isTerminated = stage == .terminated
        builder.hostIPs = context.configuration.internalIPs
        builder.startTime = startTime
        var object = pod.object
        object.status = builder.build()
        return object
    }
}
