internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux

extension KubeletServer {
    /// /metrics/cadvisor: the names that dashboards of Kubernetes ask for, with cAdvisor's labels.
    func containerMetrics() async -> String {
        let stamp = context.now().nanoseconds / 1_000_000
        let samples = await samples(wide: true)
        var rows: [(labels: String, stats: ContainerStats, disk: ContainerDiskUsage?, startedAt: Int64)] = []
        for sample in samples {
            let pod = "namespace=\"\(sample.target.key.namespace)\",pod=\"\(sample.target.key.name)\""
            rows.append(("container=\"\",\(pod)", sample.total, nil, sample.target.startedAt))
            for container in sample.containers {
                rows.append(
                    ("container=\"\(container.name)\",\(pod)", container.stats, container.disk, container.startedAt))
            }
        }
        var text = ""
        func family(_ name: String, _ help: String, _ type: String, _ lines: [String]) {
            guard !lines.isEmpty else { return }
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
            for line in lines { text += "\(name){\(line) \(stamp)\n" }
        }
        func counters(
            _ name: String, _ help: String, _ type: String = "counter", extra: String = "",
            _ value: (ContainerStats) -> String
        ) {
            family(name, help, type, rows.map { "\($0.labels)\(extra)} \(value($0.stats))" })
        }
        func seconds(_ nanoseconds: UInt64) -> String { "\(Double(nanoseconds) / 1e9)" }
        counters(
            "container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", extra: ",cpu=\"total\""
        ) {
            seconds($0.cpuNanoseconds)
        }
        counters("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.") {
            seconds($0.cpuUserNanoseconds)
        }
        counters("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.") {
            seconds($0.cpuSystemNanoseconds)
        }
        counters("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.") {
            "\($0.cpuPeriods)"
        }
        counters("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.") {
            "\($0.cpuThrottledPeriods)"
        }
        counters("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.") {
            seconds($0.cpuThrottledNanoseconds)
        }
        let gauges: [(String, String, (ContainerStats) -> UInt64)] = [
            ("usage_bytes", "Current memory usage in bytes, including all memory.", { $0.memoryUsageBytes }),
            ("working_set_bytes", "Current working set in bytes.", { $0.memoryWorkingSetBytes }),
            ("rss", "Size of RSS in bytes.", { $0.memoryRSSBytes }),
            ("cache", "Number of bytes of page cache memory.", { $0.memoryCacheBytes }),
            ("mapped_file", "Size of memory mapped files in bytes.", { $0.memoryMappedFileBytes }),
            ("swap", "Container swap usage in bytes.", { $0.memorySwapBytes }),
        ]
        for (name, help, value) in gauges {
            counters("container_memory_" + name, help, "gauge") { "\(value($0))" }
        }
        family(
            "container_memory_failures_total", "Cumulative count of memory allocation failures.", "counter",
            rows.flatMap { row in
                [("pgfault", row.stats.pageFaults), ("pgmajfault", row.stats.majorPageFaults)].map {
                    "\(row.labels),failure_type=\"\($0.0)\",scope=\"hierarchy\"} \($0.1)"
                }
            })
        counters("container_oom_events_total", "Count of out of memory events observed for the container.") {
            "\($0.oomKills)"
        }
        counters("container_processes", "Number of processes running inside the container.", "gauge") {
            "\($0.processes)"
        }
        counters("container_fs_reads_bytes_total", "Cumulative count of bytes read.") { "\($0.readBytes)" }
        counters("container_fs_writes_bytes_total", "Cumulative count of bytes written.") { "\($0.writtenBytes)" }
        counters("container_fs_reads_total", "Cumulative count of reads completed.") { "\($0.reads)" }
        counters("container_fs_writes_total", "Cumulative count of writes completed.") { "\($0.writes)" }
        family(
            "container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
            "gauge",
            rows.compactMap { row in row.disk.map { "\(row.labels)} \($0.layerBytes + $0.logBytes)" } })
        family(
            "container_start_time_seconds", "Start time of the container since unix epoch in seconds.", "gauge",
            rows.map { "\($0.labels)} \(seconds(UInt64(max($0.startedAt, 0))))" })
        let columns: [(String, String, (InterfaceStats) -> UInt64)] = [
            ("receive_bytes", "bytes received", { $0.receivedBytes }),
            ("receive_packets", "packets received", { $0.receivedPackets }),
            ("receive_errors", "errors encountered while receiving", { $0.receiveErrors }),
            ("receive_packets_dropped", "packets dropped while receiving", { $0.receiveDrops }),
            ("transmit_bytes", "bytes transmitted", { $0.sentBytes }),
            ("transmit_packets", "packets transmitted", { $0.sentPackets }),
            ("transmit_errors", "errors encountered while transmitting", { $0.sendErrors }),
            ("transmit_packets_dropped", "packets dropped while transmitting", { $0.sendDrops }),
        ]
        for (name, what, value) in columns {
            family(
                "container_network_\(name)_total", "Cumulative count of \(what).", "counter",
                samples.flatMap { sample in
                    sample.interfaces.map {
                        "interface=\"\($0.name)\",namespace=\"\(sample.target.key.namespace)\",pod=\"\(sample.target.key.name)\"} \(value($0))"
                    }
                })
        }
        text += "# HELP machine_cpu_cores Number of logical CPU cores.\n# TYPE machine_cpu_cores gauge\n"
        text += "machine_cpu_cores \(context.resources.capacity["cpu"]?.value ?? 0)\n"
        text +=
            "# HELP machine_memory_bytes Amount of memory installed on the machine.\n# TYPE machine_memory_bytes gauge\n"
        text += "machine_memory_bytes \(context.resources.machine.memory)\n"
        return text
    }
}
