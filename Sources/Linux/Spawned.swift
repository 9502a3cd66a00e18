/// A child process started by program and arguments, without copying the parent's page tables (clone with CLONE_VM and
/// CLONE_VFORK), waited for by pidfd: nobody else's children are touched.
package struct Spawned: ~Copyable, Sendable {
    package enum Exit: Sendable, Equatable {
        case exited(Int32)
        case signalled(Int32)
        /// As shells and Kubernetes count: 128 + signal.
        package var code: Int32 {
            switch self {
            case .exited(let code): code
            case .signalled(let signal): 128 + signal
            }
        }
    }

    package let pid: Int32
    private let pidfd: FileDescriptor

    /// `arguments[0]` is the program's path. stdio nil: /dev/null. `environment` nil: the parent's.
    /// `readOnlyProgram`: executed through a read-only mount, so that /proc/PID/exe cannot be written to.
    package static func start(
        _ arguments: [String], environment: [String]? = nil,
        stdio: (input: Int32?, output: Int32?, error: Int32?) = (nil, nil, nil), newSession: Bool = false,
        readOnlyProgram: Bool = false
    ) throws(SysError) -> Spawned {
        guard let program = arguments.first else { throw SysError(EINVAL, "exec") }
        let argv = CStringArray(arguments)
        let envp = environment.map { CStringArray($0) }
        let descriptors: [Int32] = [stdio.input ?? -1, stdio.output ?? -1, stdio.error ?? -1]
        var pidfd: Int32 = -1
        // Without the mount API (old kernel, no privilege) the plain path has to do.
        let opened = readOnlyProgram ? k3s_open_program(program) : -1
        defer { if opened >= 0 { close(opened) } }
        let pid = try checked("exec", program) {
            k3s_spawn(argv.pointer, envp?.pointer ?? environ, descriptors, newSession ? 1 : 0, max(opened, -1), &pidfd)
        }
        return Spawned(pid: pid, pidfd: FileDescriptor(owning: pidfd))
    }

    package func signal(_ number: Int32) throws(SysError) {
        let raw = pidfd.raw
        try checked("kill") { k3s_pidfd_send_signal(raw, number) }
    }

    /// nil: still running. Reaps the child when it is gone; call no more after that.
    package mutating func poll() throws(SysError) -> Exit? {
        var status: Int32 = 0
        let raw = pidfd.raw
        guard try checked("waitid", nil, { k3s_pidfd_reap(raw, &status, nil) }) == 1 else { return nil }
        return k3s_wifexited(status) != 0 ? .exited(k3s_wexitstatus(status)) : .signalled(k3s_wtermsig(status))
    }

    package mutating func wait() async throws(SysError) -> Exit {
        let readiness = try AsyncFD(pidfd.duplicate())
        while true {
            if let exit = try poll() { return exit }
            try await readiness.readable()
        }
    }
}

/// A NULL-terminated char*[] that owns its strings.
package final class CStringArray {
    package let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    package init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { pointer[index] = strdup(string) }
        pointer[count] = nil
    }

    deinit {
        for index in 0..<count { free(pointer[index]) }
        pointer.deallocate()
    }
}
