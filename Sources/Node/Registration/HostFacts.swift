internal import Codecs
internal import KubeAPI
internal import Linux

/// What the machine says about itself, for the Node object.
package struct HostFacts: Sendable, Equatable {
    package var cpus: Int64 = 1
    package var memoryBytes: Int64 = 0
    package var swapBytes: Int64 = 0
    package var diskBytes: Int64 = 0
    package var maximumProcesses: Int64 = 32_768
    package var hugePages: [String: Int64] = [:]
    package var machineID = ""
    package var systemUUID = ""
    package var bootID = ""
    package var kernelVersion = ""
    package var osImage = "Linux"
    package var architecture = "amd64"

    package init() {}

    /// `disk`: a directory on the file system that pods use.
    package static func read(proc: String, sys: String, etc: String, disk: String) -> HostFacts {
        var facts = HostFacts()
        facts.cpus = Int64(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1))
        for line in (Files.text(proc + "/meminfo") ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2, let amount = Int64(words[1]) else { continue }
            if words[0] == "MemTotal:" { facts.memoryBytes = amount * 1024 }
            if words[0] == "SwapTotal:" { facts.swapBytes = amount * 1024 }
        }
        facts.diskBytes = diskSpace(disk)?.total ?? 0
        if let limit = Files.line(proc + "/sys/kernel/pid_max").flatMap({ Int64($0) }) {
            facts.maximumProcesses = limit
        }
        for name in Directories.names(sys + "/kernel/mm/hugepages") where name.hasPrefix("hugepages-") {
            guard let kilobytes = Int64(name.dropFirst(10).dropLast(2)),
                let count = Files.line("\(sys)/kernel/mm/hugepages/\(name)/nr_hugepages").flatMap({ Int64($0) })
            else { continue }
            facts.hugePages["hugepages-" + Quantity(kilobytes * 1024, format: .binarySI).description] =
                count * kilobytes * 1024
        }
        facts.machineID = Files.line(etc + "/machine-id") ?? Files.line("/var/lib/dbus/machine-id") ?? ""
        facts.systemUUID = Files.line(sys + "/class/dmi/id/product_uuid") ?? facts.machineID
        facts.bootID = Files.line(proc + "/sys/kernel/random/boot_id") ?? ""
        facts.kernelVersion = Files.line(proc + "/sys/kernel/osrelease") ?? ""
        for line in (Files.text(etc + "/os-release") ?? "").split(separator: "\n") where line.hasPrefix("PRETTY_NAME=")
        {
            let value = line.dropFirst("PRETTY_NAME=".count)
            facts.osImage = value.hasPrefix("\"") ? String(value.dropFirst().dropLast()) : String(value)
        }
        #if arch(arm64)
            facts.architecture = "arm64"
        #elseif arch(arm)
            facts.architecture = "arm"
        #elseif arch(x86_64)
            facts.architecture = "amd64"
        #endif
        return facts
    }

    /// Bytes of the file system behind `path` (or the nearest parent that exists), in all and free.
    package static func diskSpace(_ path: String) -> (total: Int64, free: Int64)? {
        fileSystem(path).map { ($0.bytes.capacity, $0.bytes.available) }
    }

    package static func availableMemory(proc: String) -> Int64? {
        for line in (Files.text(proc + "/meminfo") ?? "").split(separator: "\n") where line.hasPrefix("MemAvailable:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Int64($0) }.map { $0 * 1024 }
        }
        return nil
    }

    func capacity(pods: Int64) -> [String: Quantity] {
        var capacity = [
            "cpu": Quantity(cpus), "memory": Quantity(memoryBytes / 1024 * 1024, format: .binarySI),
            "ephemeral-storage": Quantity(diskBytes / 1024 * 1024, format: .binarySI), "pods": Quantity(pods),
        ]
        for (name, bytes) in hugePages { capacity[name] = Quantity(bytes, format: .binarySI) }
        return capacity
    }
}
