import Linux

/// Becoming another program, and being a child's stand-in.
enum Execution {
    /// execvp(3): only comes back when it failed, with errno.
    static func become(_ arguments: [String]) -> Int32 {
        guard let program = arguments.first else { return EINVAL }
        let argv = CStringArray(arguments)
        execvp(program, argv.pointer)
        return errno
    }

    /// Runs on in a child and waits in the parent, which ends as the child ends: with its exit code, or by its signal; it
    /// stops when the child stops. Returns in the child only.
    static func continueInChild() throws(SysError) {
        let child = try checked("fork") { k3s_tool_fork() }
        if child == 0 { return }
        var status: Int32 = 0
        while true {
            try checked("waitpid") { k3s_tool_wait(child, &status, WUNTRACED) }
            if status & 0xff == 0x7f {
                kill(getpid(), SIGSTOP)
                // Somebody has told us to go on.
                kill(child, SIGCONT)
                continue
            }
            if k3s_wifexited(status) != 0 { _exit(k3s_wexitstatus(status)) }
            let signal = k3s_wtermsig(status)
            k3s_default_signal(signal)
            kill(getpid(), signal)
            _exit(1)
        }
    }
}
