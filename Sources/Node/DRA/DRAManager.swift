internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// Has drivers prepare the ResourceClaims of pods before these start, and undo it after the last one has ended. What was
/// prepared is in a file, so that a restart neither prepares twice nor forgets.
///
/// A driver says of itself in `plugins_registry`; several instances may be there during an update, the last one counts.
/// Source: pkg/kubelet/cm/dra, KEP-4381.
final class DRAManager: Sendable {
    struct Driver: Sendable {
        var endpoint: String
        var service: String
        var client: PluginClient
    }

    private struct State {
        /// By name; the last one is in use.
        var drivers: [String: [Driver]] = [:]
        var claims: [ObjectKey: PreparedClaim] = [:]
        /// A driver is being asked about them.
        var busy: Set<ObjectKey> = []
        var wipes: [String: TimerQueue.ID] = [:]
    }

    /// How long a driver that went may take to come again before what it published is taken away.
    static let wipingDelay = Duration.seconds(30)
    static let timeout = Duration.seconds(45)

    private let path: String
    private let node: String
    private let client: any KubeClient
    private let clock: any KubeClock
    private let timers: TimerQueue
    private let logger: Logger
    private let state = Mutex(State())
    private let written = Mutex<[UInt8]>([])

    init(
        root: String, node: String, client: any KubeClient, clock: any KubeClock, timers: TimerQueue, logger: Logger
    ) {
        path = root + "/" + DRACheckpoint.fileName
        (self.node, self.client, self.clock, self.timers, self.logger) = (node, client, clock, timers, logger)
        restore()
    }

    private func restore() {
        guard let bytes = try? Files.readIfPresent(path, limit: 16 << 20), !bytes.isEmpty else { return }
        do throws(DeviceError) {
            let claims = try DRACheckpoint.decode(bytes)
            state.withLock { state in for claim in claims { state.claims[claim.key] = claim } }
        } catch { logger.warning("\(path) is not read: \(error.message)") }
    }

    private func save() throws(DeviceError) {
        try written.withLock { written throws(DeviceError) in
            let claims = state.withLock { Array($0.claims.values) }
            let bytes = DRACheckpoint.encode(claims)
            guard bytes != written else { return }
            do throws(SysError) {
                try Files.writeAtomically(path, bytes, mode: 0o600)
                written = bytes
            } catch { throw DeviceError("checkpoint ResourceClaim state: \(error.description)") }
        }
    }

    private func driver(_ name: String) throws(DeviceError) -> Driver {
        guard let driver = state.withLock({ $0.drivers[name]?.last }) else {
            throw DeviceError("DRA driver \(name) is not registered")
        }
        return driver
    }

    /// Questions about one claim come one after another: pods that share it do not have it prepared twice.
    private func enter(_ key: ObjectKey) async throws(DeviceError) {
        while state.withLock({ !$0.busy.insert(key).inserted }) {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { throw DeviceError("cancelled") }
        }
    }
    private func leave(_ key: ObjectKey) { state.withLock { _ = $0.busy.remove(key) } }

    // MARK: - Preparing

    /// Whether drivers know of claims because of the pod.
    func serves(_ uid: String) -> Bool { state.withLock { $0.claims.values.contains { $0.pods.contains(uid) } } }

    func prepare(_ pod: Pod) async throws(DeviceError) {
        let entries = pod.spec["resourceClaims"].elements
        guard !entries.isEmpty else { return }
        do throws(DeviceError) {
            // Everything is looked at before anything is noted: what fails here leaves nothing to be undone.
            var claims: [PreparedClaim] = []
            for entry in entries {
                guard let claim = try await look(entry, pod.object) else { continue }
                for name in claim.drivers.keys.sorted() { _ = try driver(name) }
                claims.append(claim)
            }
            for claim in claims {
                try await enter(claim.key)
                defer { leave(claim.key) }
                try await prepare(claim, for: pod.uid)
            }
        } catch { throw DeviceError("prepare dynamic resources: \(error.message)") }
    }

    private func look(_ entry: JSON, _ pod: KubeObject) async throws(DeviceError) -> PreparedClaim? {
        let (name, isGenerated): (String, Bool)
        switch pod.resourceClaim(of: entry) {
        case .none: return nil
        case .missing: throw DeviceError("pod \"\(pod.namespace)/\(pod.name)\": ResourceClaim not created yet")
        case .named(let claim, let made): (name, isGenerated) = (claim, made)
        }
        let claim: KubeObject
        do throws(APIError) {
            claim = try await client.get(.resourceClaims, namespace: pod.namespace, name: name)
        } catch { throw DeviceError("fetch ResourceClaim \(name): \(error.message)") }
        if isGenerated, let problem = pod.ownershipProblem(of: claim) { throw DeviceError(problem) }
        guard claim.isReserved(for: pod) else {
            throw DeviceError(
                "pod \(pod.name) (\(pod.uid)) is not allowed to use ResourceClaim \(name) (\(claim.uid))")
        }
        guard !claim.status["allocation"].isNull else {
            throw DeviceError("ResourceClaim \(name): not allocated")
        }
        return PreparedClaim(claim)
    }

    private func prepare(_ claim: PreparedClaim, for pod: String) async throws(DeviceError) {
        let (key, uid) = (claim.key, claim.uid)
        let known = try state.withLock { state throws(DeviceError) -> PreparedClaim in
            var known = state.claims[key] ?? claim
            guard known.uid == uid else {
                throw DeviceError(
                    "old ResourceClaim with same name \(key.name) and different UID \(known.uid) still exists "
                        + "(previous pod force-deleted?!)")
            }
            known.pods.insert(pod)
            state.claims[key] = known
            return known
        }
        // Before a driver hears of it: whatever happens now, it will be undone.
        try save()
        if known.isPrepared { return }
        for name in claim.drivers.keys.sorted() {
            let answer = try await ask(name, "NodePrepareResources", claim, "PrepareResponse")
            let devices = answer["devices"].elements.map { device in
                PreparedClaim.Device(
                    pool: device["pool_name"].string ?? "", name: device["device_name"].string ?? "",
                    requests: device["request_names"].elements.compactMap(\.string),
                    cdi: device["cdi_device_ids"].elements.compactMap(\.string))
            }
            state.withLock { $0.claims[key]?.drivers[name] = devices }
        }
        state.withLock { $0.claims[key]?.isPrepared = true }
        try save()
    }

    /// Asks a driver about one claim; the answer is the one about it.
    private func ask(
        _ name: String, _ method: String, _ claim: PreparedClaim, _ message: String
    ) async throws(DeviceError) -> JSON {
        let driver = try driver(name)
        let request: JSON = [
            "claims": [
                ["namespace": .string(claim.key.namespace), "uid": .string(claim.uid), "name": .string(claim.key.name)]
            ]
        ]
        let answers: [JSON]
        do throws(GRPCStatus) {
            answers = try await driver.client.call(
                driver.service + "/" + method, "PrepareRequest", request, message, timeout: Self.timeout
            )["claims"].elements
        } catch { throw DeviceError("\(method): \(error.description)") }
        for answer in answers where answer["key"].string != claim.uid {
            throw DeviceError("\(method) returned result for unknown claim UID \(answer["key"].string ?? "")")
        }
        guard let answer = answers.first else { throw DeviceError("\(method) skipped 1 ResourceClaims") }
        if let problem = answer["value"]["error"].string, !problem.isEmpty {
            throw DeviceError("\(method) failed for ResourceClaim \(claim.key.name): \(problem)")
        }
        return answer["value"]
    }

    /// What a container gets, by names of the Container Device Interface.
    func devices(_ pod: Pod, _ container: ContainerSpec) throws(DeviceError) -> [String] {
        var names: [String] = []
        for wanted in container.json["resources"]["claims"].elements {
            guard
                let entry = pod.spec["resourceClaims"].elements.first(where: {
                    $0["name"].string == wanted["name"].string
                })
            else { continue }
            let name: String
            switch pod.object.resourceClaim(of: entry) {
            case .none: continue
            case .missing: throw DeviceError("pod \"\(pod.namespace)/\(pod.name)\": ResourceClaim not created yet")
            case .named(let claim, _): name = claim
            }
            guard let claim = state.withLock({ $0.claims[ObjectKey(namespace: pod.namespace, name: name)] }) else {
                throw DeviceError(
                    "internal error: unable to get claim info for ResourceClaim \(name) in namespace \(pod.namespace)")
            }
            for device in claim.devices(for: wanted["request"].string ?? "") where !names.contains(device) {
                names.append(device)
            }
        }
        return names
    }

    // MARK: - Undoing

    /// The pod's containers do not run any more.
    func unprepare(_ uid: String) async throws(DeviceError) {
        let keys = state.withLock { state in
            state.claims.values.filter { $0.pods.contains(uid) }.map(\.key).sorted()
        }
        for key in keys {
            try await enter(key)
            defer { leave(key) }
            do throws(DeviceError) { try await unprepare(key, for: uid) } catch {
                throw DeviceError("unprepare dynamic resources: \(error.message)")
            }
        }
    }

    private func unprepare(_ key: ObjectKey, for uid: String) async throws(DeviceError) {
        guard let claim = state.withLock({ $0.claims[key] }), claim.pods.contains(uid) else { return }
        if claim.pods.count > 1 {
            state.withLock { _ = $0.claims[key]?.pods.remove(uid) }
            return try save()
        }
        for name in claim.drivers.keys.sorted() {
            _ = try await ask(name, "NodeUnprepareResources", claim, "UnprepareResponse")
        }
        state.withLock { $0.claims[key] = nil }
        try save()
    }

    /// Pods that are no more use nothing.
    func keep(_ uids: Set<String>) {
        let gone = state.withLock { state in
            Set(state.claims.values.flatMap(\.pods)).subtracting(uids)
        }
        for uid in gone { forget(uid) }
    }

    /// Its driver may come later: until then it is tried once a minute.
    private func forget(_ uid: String) {
        Task {
            do throws(DeviceError) { try await unprepare(uid) } catch {
                logger.info("claims of a pod that is no more: \(error.message)")
                _ = timers.schedule(after: .seconds(60)) { [weak self] in self?.forget(uid) }
            }
        }
    }

    // MARK: - Drivers' slices

    /// At the start no driver is there yet, and none may come: nothing may be given out that nobody can prepare.
    func run() async {
        var delay = Duration.seconds(1)
        while !Task.isCancelled, await !wipe(nil) {
            await clock.sleep(for: delay)
            delay = min(delay * 2, .seconds(60))
        }
    }

    private func scheduleWipe(_ name: String) {
        let token = timers.schedule(after: Self.wipingDelay) { [weak self] in
            guard let self, state.withLock({ $0.drivers[name] == nil }) else { return }
            Task { _ = await self.wipe(name) }
        }
        state.withLock { $0.wipes[name] = token }
    }

    /// Deletes this node's slices of a driver, or of all that are not registered. False: the API could not be asked.
    private func wipe(_ name: String?) async -> Bool {
        var terms = [FieldSelector.Term("spec.nodeName", node)]
        if let name { terms.append(FieldSelector.Term("spec.driver", name)) }
        do throws(APIError) {
            let list = try await client.list(
                .resourceSlices, namespace: nil, options: ListOptions(fields: FieldSelector(terms)))
            for slice in try list.decoded() {
                let driver = slice.spec["driver"].string ?? ""
                if state.withLock({ $0.drivers[driver] != nil }) { continue }
                try await client.deleteIfPresent(.resourceSlices, slice)
            }
            return true
        } catch {
            logger.info("ResourceSlices of drivers that are not there: \(error.message)")
            return false
        }
    }
}

extension DRAManager: PluginHandler {
    func register(_ plugin: PluginInfo) async throws(PluginError) {
        guard let (_, service) = DRAMessages.services.first(where: { plugin.versions.contains($0.0) }) else {
            throw PluginError(
                "version check of plugin \(plugin.name) failed: none of the gRPC services \(plugin.versions) is one of "
                    + "\(DRAMessages.services.map(\.0))")
        }
        let driver: Driver
        do throws(GRPCStatus) {
            driver = Driver(
                endpoint: plugin.endpoint, service: service,
                client: try PluginClient(socket: plugin.endpoint, messages: DRAMessages.table))
        } catch { throw PluginError(error.description) }
        let (old, token) = state.withLock { state -> (Driver?, TimerQueue.ID?) in
            var list = state.drivers[plugin.name] ?? []
            let old = list.firstIndex { $0.endpoint == plugin.endpoint }.map { list.remove(at: $0) }
            list.append(driver)
            state.drivers[plugin.name] = list
            return (old, state.wipes.removeValue(forKey: plugin.name))
        }
        old?.client.connection.close()
        if let token { timers.cancel(token) }
        logger.info("DRA driver \(plugin.name) has registered at \(plugin.endpoint)")
    }

    func deregister(_ plugin: PluginInfo) async {
        let (driver, isLast) = state.withLock { state -> (Driver?, Bool) in
            guard var list = state.drivers[plugin.name],
                let at = list.firstIndex(where: { $0.endpoint == plugin.endpoint })
            else { return (nil, false) }
            let driver = list.remove(at: at)
            state.drivers[plugin.name] = list.isEmpty ? nil : list
            return (driver, list.isEmpty)
        }
        driver?.client.connection.close()
        if isLast { scheduleWipe(plugin.name) }
    }
}
