import Codecs
import Linux

/// A filter of system calls: the runtime's default, or a file of the node in the form of the OCI runtime specification
/// (config-linux.md, seccomp).
package struct SeccompProfile: Sendable, Equatable {
    package enum Action: Sendable, Equatable {
        case allow, log, killThread, killProcess, trap
        case errno(UInt16)
        case trace(UInt16)
    }

    package enum Comparison: String, Sendable {
        case notEqual = "SCMP_CMP_NE", less = "SCMP_CMP_LT", lessOrEqual = "SCMP_CMP_LE", equal = "SCMP_CMP_EQ"
        case greaterOrEqual = "SCMP_CMP_GE", greater = "SCMP_CMP_GT", maskedEqual = "SCMP_CMP_MASKED_EQ"
    }

    package struct Argument: Sendable, Equatable {
        package var index: UInt32
        package var comparison: Comparison
        /// For maskedEqual the mask.
        package var value: UInt64
        package var second: UInt64 = 0
        package init(index: UInt32, comparison: Comparison, value: UInt64, second: UInt64 = 0) {
            (self.index, self.comparison, self.value, self.second) = (index, comparison, value, second)
        }
    }

    package struct Rule: Sendable, Equatable {
        package var names: [String]
        package var action: Action
        package var arguments: [Argument] = []
    }

    package var defaultAction: Action
    /// "SCMP_ARCH_X86_64"; empty: the native one.
    package var architectures: [String] = []
    package var rules: [Rule] = []
}

extension SeccompProfile {
    /// Reads a profile; the error names the field and what was expected.
    package static func parse(_ bytes: [UInt8], path: String) throws(RuntimeError) -> SeccompProfile {
        let document: JSON
        do throws(JSONError) { document = try JSON.parse(bytes) } catch {
            throw RuntimeError(.createFailed, "seccomp profile \(path): \(error.message)")
        }
        var reader = ProfileReader(path: path, defaultErrno: 1)
        if let number = document["defaultErrnoRet"].int { reader.defaultErrno = UInt16(clamping: number) }
        var profile = SeccompProfile(
            defaultAction: try reader.action(document["defaultAction"], "defaultAction", errno: reader.defaultErrno))
        profile.architectures = document["architectures"].elements.compactMap(\.string)
        for (index, entry) in document["syscalls"].elements.enumerated() {
            profile.rules.append(try reader.rule(entry, "syscalls[\(index)]"))
        }
        return profile
    }
}

private struct ProfileReader {
    var path: String
    var defaultErrno: UInt16

    func failure(_ field: String, _ expected: String) -> RuntimeError {
        RuntimeError(.createFailed, "seccomp profile \(path): \(field): expected \(expected)")
    }

    func action(_ value: JSON, _ field: String, errno: UInt16) throws(RuntimeError) -> SeccompProfile.Action {
        switch value.string {
        case "SCMP_ACT_ALLOW": return .allow
        case "SCMP_ACT_LOG": return .log
        case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD": return .killThread
        case "SCMP_ACT_KILL_PROCESS": return .killProcess
        case "SCMP_ACT_TRAP": return .trap
        case "SCMP_ACT_ERRNO": return .errno(errno)
        case "SCMP_ACT_TRACE": return .trace(errno)
        default: throw failure(field, "an action such as SCMP_ACT_ALLOW, got \(value.text)")
        }
    }

    func rule(_ entry: JSON, _ field: String) throws(RuntimeError) -> SeccompProfile.Rule {
        let names = entry["names"].elements.compactMap(\.string)
        guard !names.isEmpty else { throw failure(field + ".names", "a list of system call names") }
        let errno = entry["errnoRet"].int.map { UInt16(clamping: $0) } ?? 1
        var rule = SeccompProfile.Rule(
            names: names, action: try action(entry["action"], field + ".action", errno: errno))
        for (index, argument) in entry["args"].elements.enumerated() {
            let name = "\(field).args[\(index)]"
            guard let position = argument["index"].int, (0..<6).contains(position) else {
                throw failure(name + ".index", "a number from 0 to 5")
            }
            guard let comparison = argument["op"].string.flatMap(SeccompProfile.Comparison.init(rawValue:)) else {
                throw failure(name + ".op", "a comparison such as SCMP_CMP_EQ, got \(argument["op"].text)")
            }
            rule.arguments.append(
                .init(
                    index: UInt32(position), comparison: comparison,
                    value: try number(argument["value"], name + ".value"),
                    second: argument["valueTwo"].isNull ? 0 : try number(argument["valueTwo"], name + ".valueTwo")))
        }
        return rule
    }

    private func number(_ value: JSON, _ field: String) throws(RuntimeError) -> UInt64 {
        if let int = value.int { return UInt64(bitPattern: int) }
        // Unsigned values above Int64.max arrive as doubles.
        if let double = value.double, double >= 0, double < 18446744073709551616.0 { return UInt64(double) }
        throw failure(field, "an unsigned number, got \(value.text)")
    }
}
