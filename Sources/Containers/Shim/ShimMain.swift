import Linux

/// Entry of the `k3s shim` process: to be called before anything else of the program is initialised.
package enum ShimMain {
    /// First argument by which the role is recognised.
    package static let role = "shim"

    /// `arguments`: from the role on (["shim", "--directory", ...]). Returns the exit code of the starter's child at
    /// once (the daemon goes on in a process of its own), or, with --foreground, when the shim has ended.
    package static func run(arguments: [String]) -> Int32 {
        var argv = arguments.map { strdup($0) } + [nil]
        return k3s_shim_main(Int32(arguments.count), &argv)
    }
}
