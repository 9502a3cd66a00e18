/// The user or group ids that this process's user namespace has (user_namespaces(7)). Outside of any they are all there.
package struct IDMap: Sendable, Equatable {
    private var ranges: [ClosedRange<UInt32>]
    /// Outside of every user namespace but the first one.
    package let isInitial: Bool

    /// A file such as /proc/self/uid_map: lines "inside outside count". What cannot be read is no namespace.
    package init(_ text: String) {
        ranges = []
        var initial = false
        for line in text.split(separator: "\n") {
            let fields = line.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
            guard fields.count == 3, fields[2] > 0 else { continue }
            let (last, overflow) = fields[0].addingReportingOverflow(fields[2] - 1)
            ranges.append(fields[0]...(overflow ? .max : last))
            if fields[0] == 0, fields[1] == 0, fields[2] == .max { initial = true }
        }
        isInitial = initial || ranges.isEmpty
    }

    package func contains(_ id: UInt32) -> Bool { isInitial || ranges.contains { $0.contains(id) } }

    package static let all = IDMap("")
    package static let users = IDMap((try? Files.readString("/proc/self/uid_map")) ?? "")
    package static let groups = IDMap((try? Files.readString("/proc/self/gid_map")) ?? "")
    /// Not where the kernel has to keep processes from leaving groups that take rights away.
    package static let canSetGroups =
        (try? Files.readString("/proc/self/setgroups")).map { !$0.hasPrefix("deny") } ?? true
}
