// `network-exerciser [dns|proxy|packet|policy|pods]`: the network's figures for `make bench`, all or those named. How many
// queries a second are answered over UDP: the clients share the machine with the server, so the figure per core is of the
// CPU time of the server's own thread. The proxy's are of real nf_tables in a network namespace of its own (root).

import Iptables
import Linux
import Netlink

/// CPU time of this process's thread of that name, in nanoseconds (the kernel counts in ticks of 10 ms).
func cpuTime(_ name: String) -> Int64 {
    guard let tasks = try? Directories.list("/proc/self/task") else { return 0 }
    for task in tasks {
        guard let bytes = try? Files.read("/proc/self/task/\(task.name)/stat", limit: 4096) else { continue }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"),
            text[text.index(after: open)..<close] == name
        else { continue }
        // utime and stime: the 14th and 15th field of the line.
        let fields = text[text.index(after: close)...].split(separator: " ")
        return ((Int64(fields[11]) ?? 0) + (Int64(fields[12]) ?? 0)) * 10_000_000
    }
    return 0
}

func residentKiB() -> Int {
    guard let bytes = try? Files.read("/proc/self/statm", limit: 4096) else { return 0 }
    let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4 : 0
}

let parts = Set(CommandLine.arguments.dropFirst())
func isWanted(_ part: String) -> Bool { parts.isEmpty || parts.contains(part) }

if isWanted("dns") { try NameServerFigures.run() }
if getuid() == 0 {
    if isWanted("proxy") {
        for count in [10_000, 30_000] {
            let namespace = try NetworkNamespace.make()
            let backend = try MeasuredRuleset(in: namespace)
            let busy = MeasuredRuleset.cpuTime()
            let figures = try ProxyBenchmark.run(services: count, in: namespace, backend) {
                print(
                    "service proxy: \(count) services loaded with \(MeasuredRuleset.cpuTime() - busy) of CPU, of that in the "
                        + "kernel \(backend.takeCommitTime())")
            }
            print("service proxy: \(figures)")
        }
    }
    if isWanted("packet") { for count in [100, 30_000] { try FirstPacket.run(services: count) } }
    if isWanted("policy") { try PolicyFigures.run() }
    if isWanted("pods") { try await PodNetworkBench.run() }
}
