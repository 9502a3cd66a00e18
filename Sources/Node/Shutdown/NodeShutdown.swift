internal import Codecs
internal import KubeAPI
internal import Linux
internal import Logging

/// Ends pods in order before the machine goes down. systemd-logind tells of it and waits as long as a descriptor is held
/// (a "delay inhibitor"). Without logind nothing is done. Source: KEP-2000, pkg/kubelet/nodeshutdown.
final class NodeShutdown: Sendable {
    private static let (service, path) = ("org.freedesktop.login1", "/org/freedesktop/login1")
    private static let manager = "org.freedesktop.login1.Manager"
    private let context: NodeContext

    init(_ context: NodeContext) { self.context = context }

    private var groups: ShutdownGroups { context.configuration.shutdown }

    /// Until the task is cancelled.
    func run() async {
        guard groups.total > 0 else { return }
        var said = ""
        while !Task.isCancelled {
            do throws(DBusError) {
                let bus = try await DBusConnection(path: context.configuration.systemBus)
                let result = await withTaskCancellationHandler {
                    await self.outcome(bus)
                } onCancel: {
                    bus.close()
                }
                try result.get()
            } catch {
                if Task.isCancelled { return }
                // logind is started again, or is not there.
                if said != error.description {
                    context.logger.warning("graceful node shutdown does not work: \(error.description)")
                }
                said = error.description
            }
            await context.clock.sleep(for: .seconds(10))
        }
    }

    private func outcome(_ bus: DBusConnection) async -> Result<Void, DBusError> {
        do throws(DBusError) {
            try await follow(bus)
            return .success(())
        } catch {
            return .failure(error)
        }
    }

    private func follow(_ bus: DBusConnection) async throws(DBusError) {
        try await bus.join()
        let rule = "type='signal',interface='\(Self.manager)',member='PrepareForShutdown',path='\(Self.path)'"
        let ownName = "org.freedesktop.DBus"
        _ = try await bus.call(
            .call("AddMatch", on: "/org/freedesktop/DBus", ownName, at: ownName, [.string(rule)]))
        try await makeRoom(bus)
        while !Task.isCancelled {
            let inhibitor = try await inhibit(bus)
            context.logger.info("graceful node shutdown: logind waits up to \(groups.total) s for pods")
            try await waitFor(bus, shutdown: true)
            await endPods()
            try? inhibitor.close()
            // Somebody may change his mind; the machine is gone otherwise.
            try await waitFor(bus, shutdown: false)
            context.pressure.isShuttingDown = false
        }
    }

    private func waitFor(_ bus: DBusConnection, shutdown: Bool) async throws(DBusError) {
        while try await bus.signal("PrepareForShutdown").body.first != .bool(shutdown) {}
    }

    private func inhibit(_ bus: DBusConnection) async throws(DBusError) -> FileDescriptor {
        _ = try await bus.call(
            .call(
                "Inhibit", on: Self.path, Self.manager, at: Self.service,
                [
                    .string("shutdown"), .string("kubelet"),
                    .string("Kubelet needs time to handle node shutdown"), .string("delay"),
                ]))
        guard let descriptor = await bus.takeDescriptor() else {
            throw DBusError("Inhibit: logind gives no descriptor")
        }
        return descriptor
    }

    // MARK: logind's own limit

    /// logind waits no longer than its InhibitDelayMaxSec, whatever is asked for.
    private func makeRoom(_ bus: DBusConnection) async throws(DBusError) {
        var limit = try await delayLimit(bus)
        guard limit < groups.total else { return }
        let file = context.configuration.etc + "/systemd/logind.conf.d/99-kubelet.conf"
        let text = "# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=\(groups.total)\n"
        do throws(SysError) {
            try Directories.make(Path.parent(file), mode: 0o755)
            try Files.writeAtomically(file, Array(text.utf8), mode: 0o644)
        } catch {
            throw DBusError("InhibitDelayMaxSec of logind is \(limit) s, and \(error.description)")
        }
        _ = try await bus.call(
            .call(
                "KillUnit", on: "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                at: "org.freedesktop.systemd1",
                [.string("systemd-logind.service"), .string("all"), .int32(SIGHUP)]))
        for _ in 0..<10 where limit < groups.total {
            await context.clock.sleep(for: .milliseconds(200))
            limit = try await delayLimit(bus)
        }
        if limit < groups.total {
            context.logger.warning(
                "graceful node shutdown: logind waits \(limit) s only, \(groups.total) s are set")
        }
    }

    private func delayLimit(_ bus: DBusConnection) async throws(DBusError) -> Int64 {
        let answer = try await bus.call(
            .call(
                "Get", on: Self.path, "org.freedesktop.DBus.Properties", at: Self.service,
                [.string(Self.manager), .string("InhibitDelayMaxUSec")]))
        guard case .variant(.uint64(let microseconds))? = answer.body.first else {
            throw DBusError("InhibitDelayMaxUSec: expected a number")
        }
        return Int64(clamping: microseconds / 1_000_000)
    }

    // MARK: Pods

    private func endPods() async {
        context.logger.warning("the machine is going down: pods are ended")
        context.pressure.isShuttingDown = true
        context.events.record(
            .node(context.configuration.name), .normal, "Shutdown", "Shutdown manager detected shutdown event")
        var members: [Int: [PodWorker]] = [:]
        for worker in context.pods?.workers ?? [] {
            if let priority = await worker.shutdownPriority() {
                members[groups.index(priority: priority), default: []].append(worker)
            }
        }
        for (index, group) in groups.groups.enumerated() {
            let workers = members[index] ?? []
            for worker in workers { await worker.endForShutdown(grace: group.seconds) }
            let limit = context.now().advanced(by: .seconds(max(group.seconds, 1)))
            var left = workers
            while !left.isEmpty, context.now() < limit, !Task.isCancelled {
                var ending: [PodWorker] = []
                for worker in left where await worker.isEnding { ending.append(worker) }
                left = ending
                if !left.isEmpty { await context.clock.sleep(for: .milliseconds(100)) }
            }
            for worker in left { context.logger.warning("pod \(worker.key) has not ended in \(group.seconds) s") }
        }
    }
}

extension PodWorker {
    /// nil: there is nothing to end.
    func shutdownPriority() -> Int64? {
        guard stage == .setup || stage == .running, let pod = decode() else { return nil }
        return max(pod.spec["priority"].int ?? 0, pod.isCritical ? 2_000_000_000 : .min)
    }

    func endForShutdown(grace: Int64) {
        guard stage == .setup || stage == .running else { return }
        end(
            PodStatusBuilder.Verdict(
                "Terminated", "Pod was terminated in response to imminent node shutdown."), grace: grace)
    }
}
