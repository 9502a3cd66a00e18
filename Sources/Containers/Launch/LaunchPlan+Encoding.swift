import Linux

extension LaunchPlan {
    /// The flat form of k3s_plan.h. E2BIG when it does not fit the interpreter's bounds.
    package func encode() throws(SysError) -> [UInt8] {
        var writer = PlanWriter(opCount: steps.count)
        writer.mapped = idBase != 0
        for (index, step) in steps.enumerated() { writer.put(step, at: index) }
        var header = k3s_plan()
        header.magic = UInt32(K3S_PLAN_MAGIC)
        header.version = UInt32(K3S_PLAN_VERSION)
        header.op_count = UInt32(steps.count)
        header.clone_flags = namespaces.reduce(0) { $0 | $1.cloneFlag }
        header.ops = UInt32(MemoryLayout<k3s_plan>.size)
        header.cgroup = writer.string(cgroupDirectory)
        header.log_path = writer.string(logPath)
        header.exit_path = writer.string(exitPath)
        header.oom_path = writer.string(oomPath)
        header.procs_path = writer.string(killPath)
        header.id_base = idBase
        header.log_max_bytes = logMaxBytes
        header.log_max_files = logMaxFiles
        guard steps.count <= Int(K3S_PLAN_MAX_OPS), writer.bytes.count < Int(K3S_PLAN_MAX_BYTES) else {
            throw SysError(E2BIG, "launch plan")
        }
        return writer.finish(header)
    }
}

/// Appends strings and tables behind the header and the ops.
private struct PlanWriter {
    private(set) var bytes: [UInt8]
    /// The container's root file system is shifted into a user namespace.
    var mapped = false
    private let ops = MemoryLayout<k3s_plan>.size

    init(opCount: Int) {
        bytes = [UInt8](repeating: 0, count: MemoryLayout<k3s_plan>.size + opCount * MemoryLayout<k3s_op>.size)
    }

    /// NUL bytes cannot occur in what the kernel takes as a string: what follows one would be lost silently.
    mutating func string(_ text: String?) -> UInt32 {
        guard let text else { return 0 }
        let offset = UInt32(bytes.count)
        bytes.append(contentsOf: text.utf8.map { $0 == 0 ? UInt8(ascii: "?") : $0 })
        bytes.append(0)
        return offset
    }

    private mutating func align() {
        while bytes.count % 8 != 0 { bytes.append(0) }
    }

    mutating func table<T: FixedWidthInteger>(_ values: [T]) -> UInt32 {
        align()
        let offset = UInt32(bytes.count)
        for value in values { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
        return offset
    }

    mutating func blob(_ data: [UInt8]) -> UInt32 {
        align()
        let offset = UInt32(bytes.count)
        bytes.append(contentsOf: data)
        return offset
    }

    mutating func strings(_ list: [String]) -> UInt32 {
        let offsets = list.map { UInt64(string($0)) }
        return table(offsets + [0])
    }

    mutating func put(_ step: LaunchPlan.Step, at index: Int) {
        var op = k3s_op()
        if step.optional { op.flags = UInt32(K3S_FLAG_OPTIONAL.rawValue) }
        fill(&op, step.op)
        let offset = ops + index * MemoryLayout<k3s_op>.size
        withUnsafeBytes(of: op) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }

    private func code(_ code: k3s_op_code) -> UInt32 { UInt32(code.rawValue) }

    private mutating func fill(_ op: inout k3s_op, _ value: LaunchPlan.Op) {
        switch value {
        case .joinCgroup(let file):
            op.code = code(K3S_OP_JOIN_CGROUP)
            op.s1 = string(file)
        case .enterNamespace(let kind, let path):
            op.code = code(K3S_OP_SETNS)
            op.arg = kind.cloneFlag
            op.s1 = string(path)
        case .enterTarget(let kinds):
            op.code = code(K3S_OP_SETNS_TARGET)
            op.arg = kinds.reduce(0) { $0 | $1.cloneFlag }
        case .unshare(let kinds):
            op.code = code(K3S_OP_UNSHARE)
            op.arg = kinds.reduce(0) { $0 | $1.cloneFlag }
        case .openUsers(let path):
            op.code = code(K3S_OP_OPEN_USERNS)
            op.s1 = string(path)
        case .enterUsers: op.code = code(K3S_OP_ENTER_USERNS)
        case .slaveMounts:
            op.code = code(K3S_OP_PROPAGATION)
            op.s1 = string("/")
            op.arg = UInt64(MS_SLAVE | MS_REC)
        case .overlay(let lower, let upper, let work, let at):
            op.code = code(K3S_OP_OVERLAY)
            if mapped { op.flags |= UInt32(K3S_FLAG_IDMAP.rawValue) }
            op.arg = UInt64(lower.count)
            op.s1 = lower.reduce(0) { first, path in
                let offset = string(path)
                return first == 0 ? offset : first
            }
            (op.s2, op.s3, op.extra) = (string(upper), string(work), string(at))
        case .mount(let type, let target, let options, let attributes):
            op.code = code(K3S_OP_MOUNT)
            op.arg = UInt64(attributes.kernelBits)
            (op.s1, op.s2, op.s3) = (string(type), string(target), options.isEmpty ? 0 : string(options))
        case .openTree(let source, let slot):
            op.code = code(K3S_OP_OPEN_TREE)
            op.flags |= UInt32(K3S_FLAG_RECURSIVE.rawValue)
            op.arg = UInt64(slot)
            op.s1 = string(source)
        case .bind(let source, let target, let attributes, let propagation, let slot):
            op.code = code(K3S_OP_BIND)
            op.flags |= UInt32(K3S_FLAG_RECURSIVE.rawValue)
            if attributes.contains(.recursive) { op.flags |= UInt32(K3S_FLAG_READONLY_TREE.rawValue) }
            if attributes.contains(.mapped) { op.flags |= UInt32(K3S_FLAG_IDMAP.rawValue) }
            op.arg = UInt64(attributes.kernelBits)
            if let slot {
                op.flags |= UInt32(K3S_FLAG_SLOT.rawValue)
                op.arg |= UInt64(slot) << 32
            }
            (op.s1, op.s2) = (string(source), string(target))
            switch propagation {
            case .unchanged: op.extra = 0
            case .privateMount: op.extra = UInt32(MS_PRIVATE)
            case .slave: op.extra = UInt32(MS_SLAVE)
            case .shared: op.extra = UInt32(MS_SHARED)
            }
        case .makeDirectory(let path, let mode):
            op.code = code(K3S_OP_MKDIR)
            op.arg = UInt64(mode)
            op.s1 = string(path)
        case .symbolicLink(let content, let path):
            op.code = code(K3S_OP_SYMLINK)
            (op.s1, op.s2) = (string(content), string(path))
        case .device(let node):
            op.code = code(K3S_OP_MKNOD)
            op.flags |= node.gid << 16
            op.arg = k3s_makedev(node.major, node.minor)
            op.extra = node.mode
            (op.s1, op.s2) = (string(node.path), string(node.source))
        default: fillProcess(&op, value)
        }
    }

    private mutating func fillProcess(_ op: inout k3s_op, _ value: LaunchPlan.Op) {
        switch value {
        case .mask(let path):
            op.code = code(K3S_OP_MASK)
            op.s1 = string(path)
        case .readOnly(let path):
            op.code = code(K3S_OP_READONLY)
            op.s1 = string(path)
        case .readOnlyRoot: op.code = code(K3S_OP_ROOT_READONLY)
        case .terminal(let console):
            op.code = code(K3S_OP_PTY)
            if console { op.flags |= UInt32(K3S_FLAG_CONSOLE.rawValue) }
            op.arg = 80 << 16 | 24
        case .pivot: op.code = code(K3S_OP_PIVOT)
        case .write(let file, let text):
            op.code = code(K3S_OP_WRITE)
            (op.s1, op.s2) = (string(file), string(text))
        case .limit(let resource, let value):
            op.code = code(K3S_OP_RLIMIT)
            (op.extra, op.arg) = (resource, value)
        case .bounding(let set):
            op.code = code(K3S_OP_BOUNDING)
            op.arg = set.rawValue
        case .identity(let uid, let gid, let groups):
            op.code = code(K3S_OP_IDS)
            op.s1 = table([uid, gid, UInt32(groups.count)] + groups)
        case .capabilities(let set, let ambient):
            op.code = code(K3S_OP_CAPABILITIES)
            op.arg = set.rawValue
            // Inheritable only what is to be ambient (CVE-2022-24769).
            op.s1 = table([ambient.rawValue, ambient.rawValue])
        case .noNewPrivileges: op.code = code(K3S_OP_NO_NEW_PRIVILEGES)
        case .seccomp(let program):
            op.code = code(K3S_OP_SECCOMP)
            op.arg = UInt64(program.count / 8)
            op.s1 = blob(program)
        case .changeDirectory(let path):
            op.code = code(K3S_OP_CHDIR)
            op.s1 = string(path)
        case .execute(let arguments, let environment):
            op.code = code(K3S_OP_EXEC)
            op.arg = UInt64(arguments.count)
            op.extra = UInt32(environment.count)
            op.s1 = strings(arguments)
            op.s2 = strings(environment)
            let path = environment.last { $0.hasPrefix("PATH=") }
            op.s3 = string(path.map { String($0.dropFirst(5)) } ?? "")
        case .pause: op.code = code(K3S_OP_PAUSE)
        default: preconditionFailure("\(value) is encoded by fill")
        }
    }

    mutating func finish(_ header: k3s_plan) -> [UInt8] {
        bytes.append(0)
        var header = header
        header.size = UInt32(bytes.count)
        withUnsafeBytes(of: header) { bytes.replaceSubrange(0..<$0.count, with: $0) }
        return bytes
    }
}
