import Linux

extension Mount {
    /// One mount: source and mount point are known.
    static func mount(_ plan: Plan, _ call: ToolCall) throws(MountFailure) -> Int32 {
        var options = MountOptions()
        for text in plan.options { options.add(text) }
        options.propagation += plan.propagations
        let given = plan.prefix + (plan.target ?? "")
        if let wish = plan.makesTarget ?? options.value("X-mount.mkdir").map({ .some($0) }) {
            try make(given, mode: wish ?? "")
        }
        let target = Tags.canonical(given)
        let isBare = options.isPropagationOnly && plan.source == nil
        if options.has("nofail"), let source = plan.source, source.hasPrefix("/"), !Files.exists(source) { return 0 }
        var source = try resolve(plan.source, target: plan.target ?? "", options: options)
        let types = plan.types.map { $0.split(separator: ",").map(String.init) } ?? []
        if let path = source, !options.isBind, !options.isMove, !options.isRemount, !isBare,
            wantsLoop(path, options, types)
        {
            if !plan.isFake { source = try loop(path, options, target: given) }
        }
        if !plan.isInternal, !options.isBind, !options.isMove, !isBare, types.count == 1,
            let code = helper(types[0], source ?? "none", target, options, plan)
        {
            return code
        }
        if !plan.isFake, !isBare { try attach(source, target, types, &options) }
        if !plan.isFake { try propagate(options, target, isBare: isBare) }
        if plan.isVerbose { call.line(success(source, target, options, isBare: isBare)) }
        return 0
    }

    private static func success(_ source: String?, _ target: String, _ options: MountOptions, isBare: Bool) -> String {
        if isBare { return "mount: \(target) propagation flags changed." }
        let name = source ?? "none"
        if options.isMove { return "mount: \(name) moved to \(target)." }
        return "mount: \(name) \(options.isBind ? "bound" : "mounted") on \(target)."
    }

    private static func make(_ path: String, mode: String) throws(MountFailure) {
        let bits = mode.isEmpty ? 0o755 : UInt32(mode, radix: 8)
        guard let bits else {
            throw MountFailure(subject: path, text: "failed to parse mkdir mode: \(mode)", code: MountFailure.usage)
        }
        if Files.isDirectory(path) { return }
        do throws(SysError) { try Directories.make(path, mode: bits) } catch {
            throw MountFailure(
                subject: path, text: "failed to create target directory: \(errorText(error.code))",
                code: MountFailure.failed)
        }
    }

    private static func resolve(
        _ source: String?, target: String, options: MountOptions
    ) throws(MountFailure) -> String? {
        guard let source else { return nil }
        guard let device = Tags.device(source) else {
            throw MountFailure(subject: target, text: "can't find \(source)", code: MountFailure.usage)
        }
        return options.isBind || options.isMove || device.utf8.contains(UInt8(ascii: "/"))
            ? Tags.canonical(device) : device
    }

    /// A regular file has to become a block device: when asked for, or for what lies on block devices only.
    private static func wantsLoop(_ source: String, _ options: MountOptions, _ types: [String]) -> Bool {
        if options.has("loop") || options.has("offset") || options.has("sizelimit") { return true }
        guard let status = try? Files.status(source), status.st_mode & S_IFMT == S_IFREG, status.st_size > 1024 else {
            return false
        }
        return types.isEmpty || types == ["auto"] || knownTypes().contains { types.contains($0) }
    }

    private static func loop(
        _ file: String, _ options: MountOptions, target: String
    ) throws(MountFailure) -> String {
        var name = [CChar](repeating: 0, count: 64)
        let offset = number(options.value("offset"))
        let limit = number(options.value("sizelimit"))
        guard let offset, let limit else {
            let all = (["rw"] + options.own + options.data).joined(separator: ",")
            throw MountFailure(
                subject: target, text: "failed to parse mount options '\(all)': \(errorText(EINVAL))",
                code: MountFailure.usage)
        }
        let isReadOnly = options.flags & UInt(MS_RDONLY) != 0
        let code = name.withUnsafeMutableBufferPointer {
            k3s_tool_loop(file, offset, limit, isReadOnly ? 1 : 0, $0.baseAddress, $0.count)
        }
        guard code >= 0 else {
            throw MountFailure(
                subject: target, text: "failed to setup loop device for \(file)",
                code: MountFailure.failed)
        }
        // The descriptor stays open until the mount holds the device; the process ends soon.
        return name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    private static func number(_ text: String?) -> UInt64? {
        guard let text, !text.isEmpty else { return 0 }
        return (try? BlockSize.number(text[...], isSigned: false)).map { UInt64($0.value) }
    }

    /// `mount.nfs` and its like do what the kernel cannot do alone. Does not come back when there is one.
    private static func helper(
        _ type: String, _ source: String, _ target: String, _ options: MountOptions, _ plan: Plan
    ) -> Int32? {
        let base = type.split(separator: ".").first.map(String.init) ?? type
        for folder in ["/sbin", "/usr/sbin"] {
            let program = "\(folder)/mount.\(base)"
            guard access(program, X_OK) == 0 else { continue }
            var list = options.data
            list.insert(options.flags & UInt(MS_RDONLY) != 0 ? "ro" : "rw", at: 0)
            for text in plan.options.flatMap({ MountOptions.split($0) })
            where !list.contains(text) && text != "ro" && text != "rw" && text != "defaults" { list.append(text) }
            var arguments = [program, source, target]
            if plan.isFake { arguments.append("-f") }
            if plan.isVerbose { arguments.append("-v") }
            arguments += ["-o", list.joined(separator: ",")]
            if base != type { arguments += ["-t", type] }
            let child = k3s_tool_fork()
            if child == 0 {
                _ = Execution.become(arguments)
                _exit(127)
            }
            var status: Int32 = 0
            guard child > 0, k3s_tool_wait(child, &status, 0) == child else { return MountFailure.system }
            return k3s_wifexited(status) != 0 ? k3s_wexitstatus(status) : MountFailure.system
        }
        return nil
    }

    private static func attach(
        _ source: String?, _ target: String, _ types: [String], _ options: inout MountOptions
    ) throws(MountFailure) {
        let data = options.data.joined(separator: ",")
        if options.isBind || options.isMove || options.isRemount {
            let kind = options.flags & UInt(MS_BIND | MS_MOVE | MS_REMOUNT | MS_REC)
            let isNewBind = options.isBind && !options.isRemount
            let flags = isNewBind || options.isMove ? kind | (options.flags & UInt(MS_SILENT)) : options.flags
            try one(source, target, types.first, flags, data, options)
            // The flags of a bind mount need a call of their own.
            let others = options.flags & ~(kind | UInt(MS_SILENT))
            if isNewBind, others != 0 {
                try one(
                    nil, target, nil, others | UInt(MS_BIND | MS_REMOUNT), "", options)
            }
            return
        }
        // "noext3,xfs": all but these.
        let isNegative = types.first?.hasPrefix("no") ?? false
        if types.count == 1, types[0] != "auto", !isNegative {
            try one(source, target, types[0], options.flags, data, options)
            return
        }
        // Nobody has said what it is: what the kernel knows is tried, one after the other.
        let source = source ?? "none"
        let isAny = types.isEmpty || types == ["auto"]
        if isAny {
            guard let status = try? Files.status(source) else {
                throw MountFailure.mount(
                    ENOENT, source: source, target: target, type: nil, options: options)
            }
            if status.st_mode & S_IFMT != S_IFBLK {
                throw MountFailure.mount(ENOTBLK, source: source, target: target, type: nil, options: options)
            }
        }
        var last = MountFailure.mount(EINVAL, source: source, target: target, type: nil, options: options)
        let filter = isNegative ? TypeFilter(types.joined(separator: ",")) : nil
        for type in isAny || isNegative ? knownTypes() : types where filter?.matches(type) ?? true {
            do throws(MountFailure) {
                try one(source, target, type, options.flags | UInt(MS_SILENT), data, options)
                return
            } catch {
                if error.text.hasPrefix("wrong fs type") || error.text.hasPrefix("unknown filesystem type") { continue }
                last = error
                break
            }
        }
        throw last
    }

    /// File systems that live on block devices.
    private static func knownTypes() -> [String] {
        guard let text = try? Files.readString("/proc/filesystems") else { return [] }
        return text.split(separator: "\n").compactMap { line in
            line.hasPrefix("nodev") ? nil : String(line.drop { $0 == "\t" || $0 == " " })
        }
    }

    private static func one(
        _ source: String?, _ target: String, _ type: String?, _ flags: UInt, _ data: String, _ options: MountOptions
    ) throws(MountFailure) {
        if Glibc.mount(source ?? "none", target, type ?? "none", flags, data) == 0 { return }
        let code = errno
        // A device that cannot be written to is mounted read-only, unless it has to be writable.
        let special = UInt(MS_BIND | MS_MOVE | MS_REMOUNT | MS_RDONLY)
        if code == EROFS || code == EACCES, flags & special == 0, !options.explicitlyWritable,
            Glibc.mount(source ?? "none", target, type ?? "none", flags | UInt(MS_RDONLY), data) == 0
        {
            ToolCall.warn(
                "mount: \(target): WARNING: source write-protected, mounted read-only.")
            return
        }
        throw MountFailure.mount(code, source: source, target: target, type: type, options: options)
    }

    private static func propagate(_ options: MountOptions, _ target: String, isBare: Bool) throws(MountFailure) {
        for flag in options.propagation where Glibc.mount("none", target, nil, flag, nil) != 0 {
            let code = errno
            throw MountFailure.mount(code, source: nil, target: target, type: nil, options: options)
        }
    }
}

extension ToolCall {
    /// A warning from where no call is at hand.
    static func warn(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
