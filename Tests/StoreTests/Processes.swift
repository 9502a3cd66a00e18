import Glibc

@testable import Store

/// Starts a program, with its standard output on `output` if that is given.
func spawn(_ arguments: [String], output: Int32? = nil) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
    var argv = arguments.map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, arguments[0], &actions, nil, &argv, environ)
    guard code == 0 else { throw StoreError.unavailable("cannot start \(arguments[0]): errno \(code)") }
    return child
}

/// The exit status of a program; nil if a signal ended it.
func wait(for child: pid_t) -> Int32? {
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : nil
}

func run(_ arguments: [String]) throws -> Int32? { wait(for: try spawn(arguments)) }
