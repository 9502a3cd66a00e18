import Linux

/// What a new process does between clone and exec, as a value: compiled from a container's configuration, tested as
/// text, encoded for the interpreter in CShims (k3s_plan.h), which runs it in the shim's child.
package struct LaunchPlan: Sendable, Equatable {
    package enum Propagation: Sendable, Equatable { case unchanged, privateMount, slave, shared }

    package struct MountAttributes: OptionSet, Sendable, Equatable {
        package var rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readOnly = Self(rawValue: UInt32(K3S_MOUNT_ATTR_RDONLY))
        package static let noSuid = Self(rawValue: UInt32(K3S_MOUNT_ATTR_NOSUID))
        package static let noDev = Self(rawValue: UInt32(K3S_MOUNT_ATTR_NODEV))
        package static let noExec = Self(rawValue: UInt32(K3S_MOUNT_ATTR_NOEXEC))
        // Not the kernel's: how a bind is made.
        /// The others hold for what is mounted below, too.
        package static let recursive = Self(rawValue: 1 << 30)
        /// Owners are shifted into the container's user namespace.
        package static let mapped = Self(rawValue: 1 << 29)
        var kernelBits: UInt32 { rawValue & 0xffff }
    }

    package enum Op: Sendable, Equatable {
        case joinCgroup(file: String)
        case enterNamespace(NamespaceKind, path: String)
        /// Namespaces of the process that the start request names as parent.
        case enterTarget([NamespaceKind])
        case unshare([NamespaceKind])
        /// The user namespace into which mounts are shifted and which the process enters at last.
        case openUsers(path: String)
        case enterUsers
        /// The process's whole mount tree receives mounts of the host but gives none back.
        case slaveMounts
        /// `lower`: topmost layer first.
        case overlay(lower: [String], upper: String, work: String, at: String)
        case mount(type: String, target: String, options: String, MountAttributes)
        /// Takes hold of a host path before `slaveMounts`, so that it keeps its peer group.
        case openTree(source: String, slot: Int)
        case bind(source: String, target: String, MountAttributes, Propagation, slot: Int?)
        case makeDirectory(String, mode: UInt32)
        case symbolicLink(content: String, at: String)
        case device(DeviceNode)
        case mask(String)
        case readOnly(String)
        case readOnlyRoot
        case terminal(console: Bool)
        case pivot
        case write(file: String, String)
        case limit(resource: UInt32, UInt64)
        case bounding(CapabilitySet)
        case identity(uid: UInt32, gid: UInt32, groups: [UInt32])
        case capabilities(CapabilitySet, ambient: CapabilitySet = [])
        case noNewPrivileges
        /// struct sock_filter[], 8 bytes each.
        case seccomp([UInt8])
        case changeDirectory(String)
        case execute([String], environment: [String])
        case pause
    }

    package struct Step: Sendable, Equatable {
        package var op: Op
        /// Failure is ignored.
        package var optional = false
    }

    package var steps: [Step] = []
    package var namespaces: [NamespaceKind] = []
    /// v2: the child is born in this cgroup.
    package var cgroupDirectory: String?
    package var logPath: String?
    package var exitPath: String?
    package var oomPath: String?
    package var killPath: String?
    /// Host id of the container's root; 0: without a user namespace.
    package var idBase: UInt32 = 0
    package var logMaxBytes: UInt32 = 10 << 20
    package var logMaxFiles: UInt32 = 5

    package init() {}

    package mutating func add(_ op: Op, optional: Bool = false) { steps.append(Step(op: op, optional: optional)) }
}

/// A node below /dev.
package struct DeviceNode: Sendable, Equatable {
    package var path: String
    /// S_IFCHR or S_IFBLK with permission bits.
    package var mode: UInt32
    package var major: UInt32
    package var minor: UInt32
    package var gid: UInt32 = 0
    /// The host's node.
    package var source: String
    package init(path: String, mode: UInt32, major: UInt32, minor: UInt32, gid: UInt32 = 0) {
        (self.path, self.mode, self.major, self.minor, self.gid) = (path, mode, major, minor, gid)
        source = path
    }
}

extension LaunchPlan: CustomStringConvertible {
    /// One line per step: what golden tests compare.
    package var description: String {
        var lines: [String] = []
        lines.append("clone \(namespaces.map(\.rawValue).joined(separator: " "))")
        if let cgroupDirectory { lines.append("into-cgroup \(cgroupDirectory)") }
        if idBase != 0 { lines.append("root-is \(idBase)") }
        lines += steps.map { $0.op.description + ($0.optional ? " ?" : "") }
        return lines.joined(separator: "\n")
    }
}

extension LaunchPlan.Op: CustomStringConvertible {
    package var description: String {
        switch self {
        case .joinCgroup(let file): "join-cgroup \(file)"
        case .enterNamespace(let kind, let path): "enter \(kind.rawValue) \(path)"
        case .enterTarget(let kinds): "enter-target \(kinds.map(\.rawValue).joined(separator: " "))"
        case .unshare(let kinds): "unshare \(kinds.map(\.rawValue).joined(separator: " "))"
        case .openUsers(let path): "open-users \(path)"
        case .enterUsers: "enter-users"
        case .slaveMounts: "slave /"
        case .overlay(let lower, let upper, let work, let at):
            "overlay \(lower.joined(separator: ":")) upper=\(upper) work=\(work) at \(at)"
        case .mount(let type, let target, let options, let attributes):
            "mount \(type) \(target)" + (options.isEmpty ? "" : " \(options)") + attributes.suffix
        case .openTree(let source, let slot): "open-tree \(source) #\(slot)"
        case .bind(let source, let target, let attributes, let propagation, let slot):
            "bind \(source)\(slot.map { "#\($0)" } ?? "") \(target)\(attributes.suffix)\(propagation.suffix)"
        case .makeDirectory(let path, let mode): "mkdir \(path) \(String(mode, radix: 8))"
        case .symbolicLink(let content, let path): "symlink \(path) -> \(content)"
        case .device(let node):
            "device \(node.path) \(node.mode & S_IFMT == S_IFBLK ? "b" : "c") \(node.major):\(node.minor) "
                + String(node.mode & 0o7777, radix: 8) + (node.gid == 0 ? "" : " gid=\(node.gid)")
        case .mask(let path): "mask \(path)"
        case .readOnly(let path): "readonly \(path)"
        case .readOnlyRoot: "readonly-root"
        case .terminal(let console): console ? "terminal console" : "terminal"
        case .pivot: "pivot"
        case .write(let file, let text): "write \(file) \(text)"
        case .limit(let resource, let value): "limit \(resource) \(value)"
        case .bounding(let set): "bounding \(set)"
        case .identity(let uid, let gid, let groups):
            "identity \(uid):\(gid) [\(groups.map(String.init).joined(separator: " "))]"
        case .capabilities(let set, let ambient):
            "capabilities \(set)" + (ambient.isEmpty ? "" : " ambient \(ambient)")
        case .noNewPrivileges: "no-new-privileges"
        case .seccomp(let program): "seccomp \(program.count / 8) instructions"
        case .changeDirectory(let path): "cd \(path)"
        case .execute(let arguments, let environment):
            "exec \(arguments.joined(separator: " ")) env \(environment.joined(separator: " "))"
        case .pause: "pause"
        }
    }
}

extension LaunchPlan.MountAttributes {
    var suffix: String {
        let names = [
            (Self.readOnly, "ro"), (.noSuid, "nosuid"), (.noDev, "nodev"), (.noExec, "noexec"),
            (.recursive, "recursive"), (.mapped, "mapped"),
        ]
        let words = names.filter { contains($0.0) }.map(\.1)
        return words.isEmpty ? "" : " " + words.joined(separator: ",")
    }
}

extension LaunchPlan.Propagation {
    var suffix: String {
        switch self {
        case .unchanged: ""
        case .privateMount: " private"
        case .slave: " slave"
        case .shared: " shared"
        }
    }
}
