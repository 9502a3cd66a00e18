import Synchronization

/// Version 2 where systemd is the one who makes cgroups: pods are slices, containers scopes whose insides are ours.
///
/// Paths are the same as without it; `SystemdUnit` says which unit stands for one. Limits are properties, so that
/// systemd keeps them when it writes its files again (`systemctl daemon-reload`), and are written directly as well, for
/// what no property says. Everything else is done in the unit's directory.
package final class SystemdCgroups: Cgroups {
    private let tree: CgroupsV2
    private let addresses: [SystemdBus.Address]
    /// What keeps scopes alive that have no process of their own yet, by path.
    private let held = Mutex<[String: Placeholder]>([:])

    /// - Parameter addresses: where systemd listens.
    package init(_ tree: CgroupsV2, addresses: [SystemdBus.Address] = SystemdBus.Address.usual) {
        (self.tree, self.addresses) = (tree, addresses)
    }

    /// A process in a scope, without which systemd would not make it and would remove it again. It ends with this value,
    /// or with this process.
    private final class Placeholder: Sendable {
        let pid: pid_t
        private let release: Int32
        init() throws(SysError) {
            var release: Int32 = -1
            pid = try checked("fork") { k3s_placeholder(&release) }
            self.release = release
        }
        deinit {
            Glibc.close(release)
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        }
    }

    package var version: Int { 2 }
    package var isSystemd: Bool { true }
    package var problems: [String] { tree.problems }
    package var containerMounts: [CgroupMount] { tree.containerMounts }

    /// The cgroup's directory below the root. A pod that was made by a k3s without systemd stays where it is.
    package func place(_ path: String) -> String {
        let components = path.split(separator: "/")
        if let pod = components.firstIndex(where: { $0.hasPrefix("pod") }),
            tree.exists(components[...pod].joined(separator: "/"))
        {
            return path
        }
        return SystemdUnit(path: path).directory
    }

    // MARK: Units

    private func talk<R>(_ what: String, _ body: (SystemdBus) throws(DBusError) -> R) throws(SysError) -> R {
        do throws(DBusError) {
            return try body(try SystemdBus(addresses))
        } catch { throw SysError(EIO, call: "\(what) (\(error.description))") }
    }

    package func create(_ path: String) throws(SysError) {
        let (unit, place) = (SystemdUnit(path: path), place(path))
        guard place == unit.directory else { return try tree.create(path) }
        if tree.exists(place) { return }
        let placeholder = unit.kind == .scope ? try Placeholder() : nil
        let properties = SystemdProperties(of: unit, process: placeholder.map { UInt32($0.pid) })
        let body: [DBusMessage.Value] = [
            .string(unit.name), .string("replace"), properties.value, .array("(sa(sv))", []),
        ]
        try talk("start \(unit.name)") { (bus) throws(DBusError) in
            do throws(DBusError) { try bus.job("StartTransientUnit", body) } catch {
                guard error.name == "org.freedesktop.systemd1.UnitExists" else { throw error }
                // A slice is there for another pod of its class, or since a moment. A scope is left from something.
                if unit.kind == .slice { return }
                do throws(DBusError) { try bus.job("StopUnit", [.string(unit.name), .string("replace")]) } catch {
                    _ = try bus.call("ResetFailedUnit", [.string(unit.name)])
                }
                try bus.job("StartTransientUnit", body)
            }
        }
        if let placeholder { held.withLock { $0[path] = placeholder } }
        // The controllers that systemd does not know.
        try tree.create(place)
    }

    package func settled(_ path: String) {
        // The process is waited for outside of the lock.
        let placeholder = held.withLock { $0.removeValue(forKey: path) }
        withExtendedLifetime(placeholder) {}
    }

    package func apply(_ limits: CgroupLimits, to path: String) throws(SysError) {
        let (unit, place) = (SystemdUnit(path: path), place(path))
        let properties = SystemdProperties(limits)
        if place == unit.directory, !properties.list.isEmpty {
            _ = try talk("limits of \(unit.name)") { (bus) throws(DBusError) in
                try bus.call("SetUnitProperties", [.string(unit.name), .bool(true), properties.value])
            }
        }
        try tree.apply(limits, to: place)
    }

    package func remove(_ path: String) throws(SysError) {
        settled(path)
        let (unit, place) = (SystemdUnit(path: path), place(path))
        if place == unit.directory {
            // What is below would keep a slice's directory.
            for child in try tree.children(place) where child.hasSuffix(".scope") || child.hasSuffix(".slice") {
                try stop(child)
            }
            try stop(unit.name)
        }
        try tree.remove(place)
    }

    /// One that has ended is forgotten: it is not there.
    private func stop(_ unit: String) throws(SysError) {
        try talk("stop \(unit)") { (bus) throws(DBusError) in
            do throws(DBusError) { try bus.job("StopUnit", [.string(unit), .string("replace")]) } catch {
                if error.name != "org.freedesktop.systemd1.NoSuchUnit" { throw error }
            }
        }
    }

    package func createRefuge(_ path: String) throws(SysError) -> [String] {
        try create(path)
        return joinFiles(path)
    }

    // MARK: In the unit's directory

    package func restrictDevices(_ rules: [DeviceRule], of path: String) throws(SysError) {
        try tree.restrictDevices(rules, of: place(path))
    }
    package func killTogether(_ path: String) throws(SysError) { try tree.killTogether(place(path)) }
    package func processes(_ path: String) throws(SysError) -> [Int32] { try tree.processes(place(path)) }
    package func stats(_ path: String) throws(SysError) -> CgroupStats { try tree.stats(place(path)) }
    package func freeze(_ path: String, _ frozen: Bool) throws(SysError) { try tree.freeze(place(path), frozen) }
    package func kill(_ path: String) throws(SysError) {
        settled(path)
        do throws(SysError) { try tree.kill(place(path)) } catch {
            // systemd removes what is empty, perhaps while we look.
            if error.code != ENOENT && error.code != ENODEV { throw error }
        }
    }
    package func exists(_ path: String) -> Bool { tree.exists(place(path)) }
    package func children(_ path: String) throws(SysError) -> [String] { try tree.children(place(path)) }
    package func joinFiles(_ path: String) -> [String] { tree.joinFiles(place(path)) }
    package func cloneDirectory(_ path: String) -> String? { tree.cloneDirectory(place(path)) }
    package func oomFile(_ path: String) -> String { tree.oomFile(place(path)) }
    package func killFile(_ path: String) -> String { tree.killFile(place(path)) }
}

/// Who makes cgroups.
package enum CgroupDriver: String, Sendable {
    case cgroupfs, systemd

    /// k3s's rule: systemd where it started this process and CPUs can be given out.
    package static func usual(environment: [String: String], cgroups: any Cgroups) -> CgroupDriver {
        let isService = !(environment["INVOCATION_ID"] ?? "").isEmpty
        return isService && !cgroups.problems.contains { $0.hasPrefix("failed to find cpuset") } ? .systemd : .cgroupfs
    }
}

extension CgroupDetection {
    /// The machine's cgroups as `driver` makes them. systemd's need version 2 and a systemd that answers: `problem` says
    /// what is missing, and cgroups are made without it.
    package static func detect(
        driver: CgroupDriver?, environment: [String: String],
        addresses: [SystemdBus.Address] = SystemdBus.Address.usual
    ) throws(SysError) -> (cgroups: any Cgroups, problem: String?) {
        let plain = try detect()
        guard (driver ?? CgroupDriver.usual(environment: environment, cgroups: plain)) == .systemd else {
            return (plain, nil)
        }
        // Without a word where nobody has asked for it.
        guard let tree = plain as? CgroupsV2 else {
            return (plain, driver == nil ? nil : "cgroup driver systemd: the machine has cgroups of version 1")
        }
        do throws(DBusError) {
            _ = try SystemdBus(addresses, limit: .seconds(20)).property("Version")
        } catch { return (plain, "cgroup driver systemd: \(error.description)") }
        return (SystemdCgroups(tree, addresses: addresses), nil)
    }
}
