import KubeAPI
import Linux

/// What `--kube-apiserver-arg`, `--kube-scheduler-arg` and their likes are given: flags of the original's components.
enum ComponentArgument {
    /// - Parameter argument: `name=value` or a name alone, with or without the dashes that the component itself wants.
    static func parse(_ argument: String) -> (name: String, value: String?) {
        let parts = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts.first ?? ""), parts.count == 2 ? String(parts[1]) : nil)
    }

    /// A file that a flag names; whatever is wrong with it stops the start, and names the flag.
    static func file<T>(_ flag: String, _ path: String, _ parse: ([UInt8]) throws -> T) throws -> T {
        do {
            return try parse(try Files.read(path, limit: 1 << 20))
        } catch let error as APIError {
            throw StartupError("--\(flag): \(error.message)")
        } catch {
            throw StartupError("--\(flag): \(error)")
        }
    }
}
