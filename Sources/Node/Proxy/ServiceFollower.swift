internal import ClusterDNS
internal import Codecs
package import Iptables
internal import KubeAPI
internal import Linux
internal import Logging
internal import Netlink
import Synchronization

/// What takes the cluster's services to the kernel.
package protocol ServiceProxying: Sendable {
    /// All services there are: what else is loaded goes.
    func load(_ ports: [ServicePort]) async throws
    func update(_ changed: [ServicePort], removing removed: Set<String>) async throws
    /// Compares with what was loaded and repairs it; what was found if it was not as it should be.
    func verify() async throws -> String?
}

extension ServiceProxying {
    package func verify() async throws -> String? { nil }
}

/// The nf_tables proxy, off the cooperative pool: netlink calls block.
package struct KernelServiceProxy: ServiceProxying {
    let proxy: ServiceProxy
    let settings: ProxySettings

    package init(proxy: ServiceProxy, settings: ProxySettings) { (self.proxy, self.settings) = (proxy, settings) }

    package func load(_ ports: [ServicePort]) async throws {
        let state = ProxyState(services: ports, settings: settings)
        try await BlockingPool.shared.run { () throws(NetlinkError) in _ = try proxy.sync(state) }
    }
    package func update(_ changed: [ServicePort], removing removed: Set<String>) async throws {
        try await BlockingPool.shared.run { () throws(NetlinkError) in _ = try proxy.update(changed, removing: removed)
        }
    }
    package func verify() async throws -> String? {
        let found = try await BlockingPool.shared.run { () throws(NetlinkError) in try proxy.verify() }
        if case .reloaded(let reason) = found { return reason }
        return nil
    }
}

/// Follows services (also for pods' environment) and endpoint slices, and hands the proxy what has changed: the first
/// change at once, those of the next 20 ms together.
final class ServiceFollower: Sendable {
    private struct State {
        var mapping: ServiceMapping
        var services = false
        var slices = false
        var loaded = false
        var dirty: Set<ObjectKey> = []
        /// Ids that may have to go.
        var ids: Set<String> = []
    }
    private let context: NodeContext
    private let proxy: (any ServiceProxying)?
    private let health: HealthPorts?
    private let state: Mutex<State>
    private let news: AsyncStream<Void>
    private let poke: AsyncStream<Void>.Continuation

    init(context: NodeContext, proxy: (any ServiceProxying)?, health: HealthPorts? = nil) {
        (self.context, self.proxy, self.health) = (context, proxy, health)
        var mapping = ServiceMapping(node: context.configuration.name)
        if let names = context.names { mapping.ownNames[names.address] = names.port }
        state = Mutex(State(mapping: mapping))
        (news, poke) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await self.context.follow(.services, as: self.context.proxyClient) { self.serviceChanged($0) }
            }
            if self.proxy != nil || self.context.names != nil {
                group.addTask {
                    await self.context.follow(.endpointSlices, as: self.context.proxyClient) { self.sliceChanged($0) }
                }
            }
            if self.proxy != nil {
                group.addTask { await self.apply() }
                group.addTask { await self.verify() }
            }
            await group.waitForAll()
        }
    }

    private func serviceChanged(_ change: Follower.Change) {
        switch change {
        case .reset(let items):
            let services = items.compactMap { try? $0.decode() }
            context.services.reset(services)
            context.names?.reset(services)
            context.balancer?.reset(services)
            guard proxy != nil else { return }
            state.withLock { state in
                let present = Set(services.map(\.key))
                for key in state.mapping.keys where !present.contains(key) {
                    state.ids.formUnion(state.mapping.remove(service: key))
                    state.dirty.insert(key)
                }
                for service in services {
                    state.ids.formUnion(state.mapping.set(service))
                    state.dirty.insert(service.key)
                }
                state.services = true
            }
        case .changed(let encoded):
            guard let service = try? encoded.decode() else { return }
            context.services.set(service)
            context.names?.set(service)
            context.balancer?.set(service)
            guard proxy != nil else { return }
            state.withLock { state in
                state.ids.formUnion(state.mapping.set(service))
                state.dirty.insert(service.key)
            }
        case .removed(let encoded):
            guard let service = try? encoded.decode() else { return }
            context.services.remove(service.key)
            context.names?.remove(service.key)
            context.balancer?.remove(service.key)
            guard proxy != nil else { return }
            state.withLock { state in
                state.ids.formUnion(state.mapping.remove(service: service.key))
                state.dirty.insert(service.key)
            }
        }
        poke.yield()
    }

    private func sliceChanged(_ change: Follower.Change) {
        let (isNews, names) = state.withLock { state -> (Bool, [(ObjectKey, [DNSEndpoint])]) in
            var touched: Set<ObjectKey> = []
            switch change {
            case .reset(let items):
                let slices = items.compactMap { try? $0.decode() }
                let present = Set(slices.map(\.key))
                for key in state.mapping.sliceKeys where !present.contains(key) {
                    touched.formUnion(state.mapping.remove(slice: key))
                }
                for slice in slices { touched.formUnion(state.mapping.set(slice: slice)) }
                state.slices = true
            case .changed(let encoded):
                guard let slice = try? encoded.decode() else { return (false, []) }
                touched = state.mapping.set(slice: slice)
            case .removed(let encoded):
                guard let slice = try? encoded.decode() else { return (false, []) }
                touched = state.mapping.remove(slice: slice.key)
            }
            let isNews = if case .reset = change { true } else { !touched.isEmpty }
            if proxy != nil { state.dirty.formUnion(touched) }
            return (isNews, context.names == nil ? [] : touched.map { ($0, state.mapping.names(of: $0)) })
        }
        for (key, endpoints) in names { context.names?.set(endpoints, of: key) }
        if isNews { poke.yield() }
    }

    /// The node's zone, from its labels: endpoints may be meant for some zones only.
    func setZone(_ zone: String?) {
        let changed = state.withLock { state -> Bool in
            guard state.mapping.zone != zone else { return false }
            state.mapping.zone = zone
            state.dirty.formUnion(state.mapping.keys)
            return true
        }
        if changed, proxy != nil { poke.yield() }
    }

    /// Every half minute one look at the kernel's generation counter, which costs microseconds; all is read back only if
    /// somebody changed something.
    private func verify() async {
        while !Task.isCancelled {
            await context.clock.sleep(for: .seconds(30))
            guard let proxy, state.withLock({ $0.loaded }) else { continue }
            do {
                if let reason = try await proxy.verify() {
                    context.logger.warning(
                        "service proxy: the rules were changed by others (\(reason)) and loaded again")
                }
                if try await context.network.verify() {
                    context.logger.warning("pod network: the rules were changed by others and loaded again")
                }
            } catch {
                context.logger.error("service proxy: check: \(error)")
            }
        }
    }

    private enum Work {
        case nothing
        case load([ServicePort])
        case update([ServicePort], Set<String>)
    }

    private func apply() async {
        guard let proxy else { return }
        var delay: Duration = .seconds(1)
        for await _ in news {
            let (work, checks) = state.withLock { state -> (Work, [(ObjectKey, HealthPorts.Check?)]) in
                guard state.services, state.slices else { return (.nothing, []) }
                defer { (state.dirty, state.ids, state.loaded) = ([], [], true) }
                let checks = state.dirty.union(state.loaded ? [] : state.mapping.keys).map { key in
                    (key, state.mapping.healthCheck(of: key).map { HealthPorts.Check(port: $0, localEndpoints: $1) })
                }
                if !state.loaded {
                    return (.load(state.mapping.keys.sorted().flatMap { state.mapping.ports(of: $0) }), checks)
                }
                let ports = state.dirty.sorted().flatMap { state.mapping.ports(of: $0) }
                let removed = state.ids.subtracting(ports.map(\.id))
                return (ports.isEmpty && removed.isEmpty ? .nothing : .update(ports, removed), checks)
            }
            if let health { for (key, check) in checks { await health.set(key, check) } }
            do {
                switch work {
                case .nothing: continue
                case .load(let ports): try await proxy.load(ports)
                case .update(let ports, let removed): try await proxy.update(ports, removing: removed)
                }
                delay = .seconds(1)
                await context.clock.sleep(for: .milliseconds(20))
            } catch {
                // Everything again, so that nothing of what failed is forgotten.
                context.logger.error("service proxy: \(error); again in \(delay)")
                state.withLock { $0.loaded = false }
                await context.clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(30))
                poke.yield()
            }
            if Task.isCancelled { return }
        }
    }
}
