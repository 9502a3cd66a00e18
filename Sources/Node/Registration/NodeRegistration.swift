internal import Codecs
internal import Containers
internal import KubeAPI
internal import Logging
import Synchronization

/// Registers the node, keeps its status and lease, and follows its own object (pod ranges, labels) and its peers.
package final class NodeRegistration: Sendable {
    private struct State {
        var own: KubeObject?
        /// Without times; to see whether there is news.
        var lastStatus: UInt64?
        var lastReport: Timestamp?
        /// What the log says of the node.
        var saidReady: Bool?
        var podCIDRs: [String] = []
        /// Why the network is not configured; what was logged last.
        var networkProblem = ""
        var isConfiguring = false
        var peers: [String: NetworkPeer] = [:]
        var labelsObserver: (@Sendable ([String: String]) -> Void)?
        var facts = HostFacts()
    }
    private let context: NodeContext
    private let state = Mutex(State())
    private let news: AsyncStream<Void>
    private let poke: AsyncStream<Void>.Continuation

    init(context: NodeContext) {
        self.context = context
        (news, poke) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    private var configuration: NodeConfiguration { context.configuration }
    private var object: NodeObject {
        var object = NodeObject(configuration: configuration, facts: state.withLock { $0.facts })
        object.devices = context.devices.amounts
        object.volumesInUse = context.csi.inUse
        return object
    }

    /// Reads the machine's facts: what admission needs before the first pod comes.
    func prepare() async {
        let facts = HostFacts.read(
            proc: configuration.proc, sys: configuration.sys, etc: configuration.etc, disk: configuration.rootDirectory)
        state.withLock { $0.facts = facts }
        var machine = PodResources.Machine()
        (machine.memory, machine.swap) = (facts.memoryBytes, facts.swapBytes)
        machine.limitsSwap = configuration.limitsSwap
        (machine.cpuCFSQuota, machine.pidsLimit) = (configuration.cpuCFSQuota, configuration.podPidsLimit)
        context.resources.set(capacity: object.capacity, enforced: object.enforced, machine: machine)
        context.resources.set(allocatable: object.allocatable)
        context.resources.set(labels: configuration.labels.merging(object.labels) { mine, _ in mine })
    }

    /// Called with the node's labels whenever its object changes.
    func observeLabels(_ observer: @escaping @Sendable ([String: String]) -> Void) {
        state.withLock { $0.labelsObserver = observer }
    }

    /// Something that the node's status shows may have changed (an image, the network's readiness).
    package func statusChanged() { poke.yield() }

    /// Returns when the status has been written, or could not be.
    func reportNow() async {
        do throws(APIError) { try await report(force: false) } catch {
            context.logger.info("node status not written: \(error.message)")
        }
    }

    /// Plugins offer more or less than before: pods are admitted by it at once.
    func devicesChanged() {
        if let own = state.withLock({ $0.own }) { applyOwn(own) }
        poke.yield()
    }

    func run() async {
        await register()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.renewLease() }
            group.addTask { await self.followNodes() }
            group.addTask { await self.reportForEver() }
            group.addTask { await self.tick() }
            await group.waitForAll()
        }
    }

    // MARK: Registering

    private func register() async {
        var delay: Duration = .milliseconds(200)
        while !Task.isCancelled {
            do throws(APIError) {
                let status = await status(old: .null)
                do throws(APIError) {
                    let created = try await context.client.create(.nodes, object.fresh(status: status))
                    remember(created, status)
                } catch {
                    guard error.isAlreadyExists else { throw error }
                    let there = try await context.client.get(.nodes, namespace: "", name: configuration.name)
                    try await reconcile(there)
                }
                context.events.record(.node(configuration.name), .normal, "Starting", "Starting kubelet.")
                return
            } catch {
                context.logger.info("node \(configuration.name) is not registered yet: \(error.message)")
                await context.clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(7))
            }
        }
    }

    /// An object of an earlier life: its labels and annotations that are ours are brought up to date.
    private func reconcile(_ there: KubeObject) async throws(APIError) {
        var patch: JSON = [:]
        for (key, value) in object.labels where there.labels[key] != value {
            patch["metadata"]["labels"][key] = .string(value)
        }
        for (key, value) in object.annotations where there.annotations[key] != value {
            patch["metadata"]["annotations"][key] = .string(value)
        }
        if (there.spec["providerID"].string ?? "").isEmpty {
            patch["spec"]["providerID"] = .string(configuration.providerID)
        }
        var there = there
        if patch != [:] {
            there = try await context.client.patch(
                .nodes, namespace: "", name: configuration.name, patch, type: .merge, subresource: nil)
        }
        state.withLock { $0.own = there }
        applyOwn(there)
        try await report(force: true)
    }

    private func remember(_ created: KubeObject, _ status: JSON) {
        let now = context.now()
        state.withLock { state in
            state.own = created
            state.lastStatus = Self.fingerprint(status)
            state.lastReport = now
        }
        applyOwn(created)
        sayReadiness(status)
    }

    // MARK: Status

    private func status(old: JSON) async -> JSON {
        let network = await context.network.notReadyReason().map {
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: \($0)"
        }
        let runtime = await context.runtime.notReadyReason()
        let problem = context.pressure.isShuttingDown ? "node is shutting down" : runtime ?? network
        // The 50 largest images, as upstream reports them.
        let images = await context.runtime.images.images().sorted { ($1.sizeBytes, $0.id) < ($0.sizeBytes, $1.id) }
            .prefix(50).map {
                image -> JSON in
                [
                    "names": .strings(Array((image.digests + image.tags).prefix(5))),
                    "sizeBytes": .int(image.sizeBytes),
                ]
            }
        return object.status(
            conditions: NodeObject.conditions(notReady: problem, pressure: context.pressure.conditions),
            images: Array(images),
            now: context.now(), old: old)
    }

    /// Of what is news: everything but the heartbeats.
    private static func fingerprint(_ status: JSON) -> UInt64 {
        var status = status
        status["conditions"] = .array(
            status["conditions"].elements.map { condition in
                var condition = condition
                condition["lastHeartbeatTime"] = .null
                return condition
            })
        return FNV.hash64(status.encode())
    }

    private func report(force: Bool) async throws(APIError) {
        let (own, last, lastReport) = state.withLock { ($0.own, $0.lastStatus, $0.lastReport) }
        let status = await status(old: own?.status ?? .null)
        let fingerprint = Self.fingerprint(status)
        let now = context.now()
        let due = lastReport.map { now.duration(since: $0) >= configuration.statusReport } ?? true
        guard force || due || fingerprint != last else { return }
        // The list's merge key is the type, but there are two InternalIPs in dual stack: it is replaced, as the kubelet does.
        var patch = status
        patch["addresses"].append(["$patch": "replace"])
        let written = try await context.client.patch(
            .nodes, namespace: "", name: configuration.name, ["status": patch], type: .strategic, subresource: "status"
        )
        state.withLock { state in
            state.own = written
            state.lastStatus = fingerprint
            state.lastReport = now
        }
        sayReadiness(status)
    }

    /// In the log, whenever it changes.
    private func sayReadiness(_ status: JSON) {
        let condition = status["conditions"].elements.first { $0["type"].string == "Ready" }
        guard let condition, let ready = condition["status"].string.map({ $0 == "True" }) else { return }
        let changed = state.withLock { state in
            defer { state.saidReady = ready }
            return state.saidReady != ready
        }
        guard changed else { return }
        let why = ready ? "is ready" : "is not ready: " + (condition["message"].string ?? "")
        context.logger.info("Node \(configuration.name) \(why)")
    }

    private func reportForEver() async {
        for await _ in news {
            do throws(APIError) {
                try await report(force: false)
            } catch {
                if error.isNotFound {
                    // Somebody has deleted the node: it comes again.
                    await register()
                } else {
                    context.logger.info("node status not written: \(error.message)")
                }
            }
        }
    }

    /// Looks at what sends no events (disk space, the network while it is not ready): every 10 s, with the lease.
    private func tick() async {
        while !Task.isCancelled {
            let waiting = await context.network.notReadyReason() != nil
            if state.withLock({ !$0.networkProblem.isEmpty }) { await configureNetwork() }
            await context.clock.sleep(for: waiting ? .seconds(1) : configuration.leaseRenewal)
            poke.yield()
        }
    }

    // MARK: Lease

    private func renewLease() async {
        var lease: KubeObject?
        // Said once: the server may be away for days.
        var problem = ""
        while !Task.isCancelled {
            do throws(APIError) {
                lease = try await renewed(lease)
                problem = ""
            } catch {
                lease = nil
                if problem != error.message { context.logger.info("lease not renewed: \(error.message)") }
                problem = error.message
            }
            await context.clock.sleep(for: configuration.leaseRenewal)
        }
    }

    private func renewed(_ lease: KubeObject?) async throws(APIError) -> KubeObject? {
        let now = context.now().rfc3339Micro
        if var lease {
            lease.spec["renewTime"] = .string(now)
            return try await context.client.update(.leases, lease)
        }
        if var there = try await context.client.getIfPresent(
            .leases, namespace: "kube-node-lease", name: configuration.name)
        {
            there.spec["holderIdentity"] = .string(configuration.name)
            there.spec["leaseDurationSeconds"] = .int(configuration.leaseDurationSeconds)
            there.spec["renewTime"] = .string(now)
            return try await context.client.update(.leases, there)
        }
        var fresh = KubeObject(
            GroupVersionKind("coordination.k8s.io", "v1", "Lease"), name: configuration.name,
            namespace: "kube-node-lease")
        if let own = state.withLock({ $0.own }), !own.uid.isEmpty {
            fresh.metadata["ownerReferences"] = [
                ["apiVersion": "v1", "kind": "Node", "name": .string(own.name), "uid": .string(own.uid)]
            ]
        }
        fresh.spec = [
            "holderIdentity": .string(configuration.name),
            "leaseDurationSeconds": .int(configuration.leaseDurationSeconds),
            "renewTime": .string(now),
        ]
        return try await context.client.create(.leases, fresh)
    }

    // MARK: Nodes

    private func followNodes() async {
        await context.follow(.nodes, as: context.clusterClient) { change in
            switch change {
            case .reset(let items):
                let nodes = items.compactMap { try? $0.decode() }
                let before = self.state.withLock { state in
                    defer { state.peers = [:] }
                    return Set(state.peers.keys)
                }
                for name in before.subtracting(nodes.map(\.name)) { self.gone(name) }
                for node in nodes { self.take(node) }
                if !nodes.contains(where: { $0.name == self.configuration.name }) { self.poke.yield() }
                await self.tellPeers()
            case .changed(let encoded):
                guard let node = try? encoded.decode() else { return }
                if self.take(node) { await self.tellPeers() }
            case .removed(let encoded):
                guard let node = try? encoded.decode() else { return }
                self.gone(node.name)
                if node.name == self.configuration.name {
                    self.state.withLock { $0.lastStatus = nil }
                    self.poke.yield()
                } else {
                    self.state.withLock { $0.peers[node.name] = nil }
                    await self.tellPeers()
                }
            }
            await self.configureNetwork()
        }
    }

    private func gone(_ name: String) {
        context.names?.node(name, nil)
        context.balancer?.node(name, nil)
    }

    /// True: a peer has changed in what the network needs.
    @discardableResult
    private func take(_ node: KubeObject) -> Bool {
        context.names?.node(node.name, node)
        context.balancer?.node(node.name, node)
        if node.name == configuration.name {
            state.withLock { $0.own = node }
            applyOwn(node)
            return false
        }
        let peer = NetworkPeer(
            name: node.name,
            internalIPs: node.status["addresses"].elements.filter { $0["type"].string == "InternalIP" }
                .compactMap { $0["address"].string },
            podCIDRs: Self.podCIDRs(node), annotations: node.annotations)
        return state.withLock { state in
            defer { state.peers[node.name] = peer }
            return state.peers[node.name] != peer
        }
    }

    private func applyOwn(_ node: KubeObject) {
        context.resources.set(labels: node.labels)
        state.withLock { $0.labelsObserver }?(node.labels)
        // Extended resources that were patched into the status can be asked for.
        let object = object
        var allocatable = object.allocatable
        for (name, amount) in object.devices { allocatable[name] = Quantity(amount.allocatable) }
        for (name, text) in node.status["allocatable"].stringMap where allocatable[name] == nil {
            allocatable[name] = Quantity(text)
        }
        context.resources.set(allocatable: allocatable)
    }

    private static func podCIDRs(_ node: KubeObject) -> [String] {
        let list = node.spec["podCIDRs"].elements.compactMap(\.string)
        return list.isEmpty ? node.spec["podCIDR"].string.map { [$0] } ?? [] : list
    }

    private func tellPeers() async {
        let peers = state.withLock { $0.peers.values.sorted { $0.name < $1.name } }
        await context.network.peersChanged(peers)
    }

    private func configureNetwork() async {
        guard let own = state.withLock({ $0.own }) else { return }
        let ranges = Self.podCIDRs(own)
        guard !ranges.isEmpty, state.withLock({ !$0.isConfiguring }) else { return }
        state.withLock { $0.isConfiguring = true }
        defer { state.withLock { $0.isConfiguring = false } }
        if ranges != state.withLock({ $0.podCIDRs }) {
            do throws(PodNetworkingError) {
                try await context.network.configure(podCIDRs: ranges, annotations: own.annotations)
                state.withLock { ($0.podCIDRs, $0.networkProblem) = (ranges, "") }
                let gateways = context.network.hasGateways ? ranges : []
                if let names = context.names { Task { await names.networkIsUp(podCIDRs: gateways, self.context) } }
                await tellPeers()
                // Who waits for the network need not wait for a timer.
                for worker in context.pods?.workers ?? [] { await worker.wake() }
            } catch {
                let isNews = state.withLock { state in
                    defer { state.networkProblem = error.message }
                    return state.networkProblem != error.message
                }
                if isNews { context.logger.error("pod network: \(error.message)") }
            }
            poke.yield()
        }
        await announce(own)
    }

    /// Other nodes find this one's pods by annotations of its object; who removes them gets them again.
    private func announce(_ own: KubeObject) async {
        let missing = await context.network.announcements().filter { own.annotations[$0.key] != $0.value }
        guard !missing.isEmpty else { return }
        do throws(APIError) {
            let written = try await context.client.patch(
                .nodes, namespace: "", name: configuration.name, ["metadata": ["annotations": .map(missing)]],
                type: .merge, subresource: nil)
            state.withLock { $0.own = written }
        } catch {
            context.logger.info("the network's annotations are not written: \(error.message)")
        }
    }
}
