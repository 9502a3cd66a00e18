import CSeccomp
import Linux
import Synchronization

/// Profiles to BPF programs, by libseccomp. Programs are kept: containers of one kind share one, and it takes a few
/// milliseconds to make.
package final class SeccompCompiler: Sendable {
    private struct Key: Hashable {
        var capabilities: CapabilitySet
    }

    private let defaults = Mutex<[Key: [UInt8]]>([:])

    package init() {}

    /// struct sock_filter[], 8 bytes each; nil: unconfined.
    package func program(
        _ seccomp: ContainerSecurity.Seccomp, capabilities: CapabilitySet, profileRoot: String
    ) throws(RuntimeError) -> [UInt8]? {
        switch seccomp {
        case .unconfined: return nil
        case .runtimeDefault:
            let key = Key(capabilities: capabilities)
            if let known = defaults.withLock({ $0[key] }) { return known }
            let program = try Self.compile(.runtimeDefault(capabilities: capabilities))
            defaults.withLock { cache in
                // Every combination of added capabilities makes one: bounded all the same.
                if cache.count >= 16 { cache.removeAll() }
                cache[key] = program
            }
            return program
        case .localhost(let path):
            let file = path.hasPrefix("/") ? path : Path.join(profileRoot, path)
            let bytes: [UInt8]
            do throws(SysError) { bytes = try Files.read(file, limit: 1 << 20) } catch {
                throw RuntimeError(.createFailed, "failed to load seccomp profile: \(error)")
            }
            return try Self.compile(SeccompProfile.parse(bytes, path: file))
        }
    }

    package static func compile(_ profile: SeccompProfile) throws(RuntimeError) -> [UInt8] {
        guard let context = seccomp_init(action(profile.defaultAction)) else {
            throw RuntimeError(.createFailed, "seccomp: the default action is not supported")
        }
        defer { seccomp_release(context) }
        for name in profile.architectures {
            let token = architecture(name)
            // Names of machines that this one does not run are part of every portable profile.
            if token == 0 || seccomp_arch_exist(context, token) == 0 { continue }
            let result = seccomp_arch_add(context, token)
            if result != 0 && result != -EEXIST && result != -EDOM {
                throw RuntimeError(.createFailed, "seccomp: architecture \(name): \(SysError.text(-result))")
            }
        }
        // A binary tree instead of a chain: a system call costs a handful of comparisons, not hundreds.
        _ = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)
        // no_new_privs is the launch plan's business.
        _ = seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0)
        var unknownAllowed: [UInt32] = []
        for rule in profile.rules {
            if rule.action == profile.defaultAction { continue }
            for name in rule.names {
                let number = seccomp_syscall_resolve_name(name)
                // __NR_SCMP_ERROR: newer than the library.
                if number == -1 {
                    if rule.action == .allow, rule.arguments.isEmpty, let recent = recent[name] {
                        unknownAllowed.append(recent)
                    }
                    continue
                }
                try add(rule, number, name, to: context)
            }
        }
        return preface(allowed: unknownAllowed) + (try export(context))
    }

    private static func add(
        _ rule: SeccompProfile.Rule, _ number: Int32, _ name: String, to context: scmp_filter_ctx
    ) throws(RuntimeError) {
        // The library takes one comparison per argument and rule; several on one argument are alternatives.
        let indices = rule.arguments.map(\.index)
        let groups = Set(indices).count == indices.count ? [rule.arguments] : rule.arguments.map { [$0] }
        for group in groups {
            let comparisons = group.map {
                scmp_arg_cmp(
                    arg: $0.index, op: operation($0.comparison), datum_a: $0.value, datum_b: $0.second)
            }
            let result = seccomp_rule_add_array(
                context, action(rule.action), number, UInt32(comparisons.count), comparisons)
            // A call that another architecture does not have, or a rule that is there already.
            if result != 0 && result != -EDOM && result != -EEXIST && result != -EFAULT {
                throw RuntimeError(.createFailed, "seccomp: rule for \(name): \(SysError.text(-result))")
            }
        }
    }

    private static func export(_ context: scmp_filter_ctx) throws(RuntimeError) -> [UInt8] {
        do throws(SysError) {
            let file = FileDescriptor(owning: try checked("memfd_create") { k3s_memfd_create("seccomp", 0) })
            let raw = file.raw
            try checked("seccomp_export_bpf") { seccomp_export_bpf(context, raw) }
            try syscall("lseek") { lseek(raw, 0, SEEK_SET) }
            return try Files.read(file)
        } catch {
            throw RuntimeError(.createFailed, "seccomp: \(error)")
        }
    }

    /// Instructions before the library's program, for the native architecture: calls that the library does not know by
    /// name yet are allowed by number, and calls newer than this table answer ENOSYS instead of EPERM, so that programs
    /// fall back to older ones as they do on an older kernel.
    static func preface(allowed: [UInt32]) -> [UInt8] {
        guard let newest = recent.values.max() else { return [] }
        // Classic BPF jumps count from the next instruction; everything here jumps forward.
        let tests = allowed.count
        let allow = 6 + tests
        let end = tests > 0 ? allow + 1 : allow
        func distance(from index: Int, to target: Int) -> UInt8 { UInt8(target - index - 1) }
        var program: [(code: UInt16, yes: UInt8, no: UInt8, constant: UInt32)] = [
            (loadWord, 0, 0, 4),  // the architecture
            (jumpEqual, 0, distance(from: 1, to: end), seccomp_arch_native()),
            (loadWord, 0, 0, 0),  // the number
        ]
        for (index, number) in allowed.enumerated() {
            program.append((jumpEqual, distance(from: 3 + index, to: allow), 0, number))
        }
        // x32 numbers start here and are the library's business.
        program.append((jumpGreaterOrEqual, distance(from: 3 + tests, to: end), 0, 0x4000_0000))
        program.append((jumpGreater, 0, distance(from: 4 + tests, to: end), newest))
        program.append((answer, 0, 0, action(.errno(UInt16(ENOSYS)))))
        if tests > 0 { program.append((answer, 0, 0, action(.allow))) }
        var bytes: [UInt8] = []
        for instruction in program {
            withUnsafeBytes(of: instruction.code) { bytes.append(contentsOf: $0) }
            bytes.append(instruction.yes)
            bytes.append(instruction.no)
            withUnsafeBytes(of: instruction.constant) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    // Opcodes of linux/filter.h.
    private static let loadWord: UInt16 = 0x20  // BPF_LD | BPF_W | BPF_ABS
    private static let jumpEqual: UInt16 = 0x15
    private static let jumpGreater: UInt16 = 0x25
    private static let jumpGreaterOrEqual: UInt16 = 0x35
    private static let answer: UInt16 = 0x06  // BPF_RET | BPF_K

    /// System calls since Linux 5.19; they have one number on all architectures.
    private static let recent: [String: UInt32] = [
        "set_mempolicy_home_node": 450, "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454,
        "futex_wait": 455, "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
        "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464,
        "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
    ]

    private static func action(_ action: SeccompProfile.Action) -> UInt32 {
        switch action {
        case .allow: 0x7fff_0000
        case .log: 0x7ffc_0000
        case .killThread: 0x0000_0000
        case .killProcess: 0x8000_0000
        case .trap: 0x0003_0000
        case .errno(let code): 0x0005_0000 | UInt32(code)
        case .trace(let code): 0x7ff0_0000 | UInt32(code)
        }
    }

    private static func operation(_ comparison: SeccompProfile.Comparison) -> scmp_compare {
        switch comparison {
        case .notEqual: SCMP_CMP_NE
        case .less: SCMP_CMP_LT
        case .lessOrEqual: SCMP_CMP_LE
        case .equal: SCMP_CMP_EQ
        case .greaterOrEqual: SCMP_CMP_GE
        case .greater: SCMP_CMP_GT
        case .maskedEqual: SCMP_CMP_MASKED_EQ
        }
    }

    private static func architecture(_ name: String) -> UInt32 {
        let prefix = "SCMP_ARCH_"
        guard name.hasPrefix(prefix) else { return 0 }
        return seccomp_arch_resolve_name(name.dropFirst(prefix.count).lowercased())
    }
}
