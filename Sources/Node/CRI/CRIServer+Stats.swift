internal import Codecs
internal import Containers
internal import GRPC
internal import Linux
import Synchronization

extension CRIServer {
    private static func value(_ number: UInt64) -> JSON { ["value": .int(Int64(clamping: number))] }

    /// Since the last question about it; nil with the first.
    private func nanoCores(_ id: String, _ now: Int64, _ cpu: UInt64) -> UInt64? {
        state.withLock { state in
            defer { if state.isUsed { state.samples[id] = (now, cpu) } }
            guard let old = state.samples[id], now > old.at, cpu >= old.cpu else { return nil }
            return UInt64(Double(cpu - old.cpu) / Double(now - old.at) * 1e9)
        }
    }

    private func cpu(_ id: String, _ now: Int64, _ stats: ContainerStats) -> JSON {
        var json: JSON = ["timestamp": .int(now), "usage_core_nano_seconds": Self.value(stats.cpuNanoseconds)]
        if let cores = nanoCores(id, now, stats.cpuNanoseconds) { json["usage_nano_cores"] = Self.value(cores) }
        return json
    }

    private static func memory(_ now: Int64, _ stats: ContainerStats, limit: Int64?) -> JSON {
        var json: JSON = [
            "timestamp": .int(now), "working_set_bytes": value(stats.memoryWorkingSetBytes),
            "usage_bytes": value(stats.memoryUsageBytes), "rss_bytes": value(stats.memoryRSSBytes),
            "page_faults": value(stats.pageFaults), "major_page_faults": value(stats.majorPageFaults),
        ]
        if let limit, limit > 0 {
            let limit = UInt64(limit)
            json["available_bytes"] = value(
                limit > stats.memoryWorkingSetBytes ? limit - stats.memoryWorkingSetBytes : 0)
        }
        return json
    }

    private func stats(_ container: ContainerStatus) async throws(GRPCStatus) -> JSON {
        let now = WallClock.now()
        let attributes: JSON = [
            "id": .string(container.id),
            "metadata": ["name": .string(container.name), "attempt": .int(Int64(container.attempt))],
            "labels": .map(container.labels), "annotations": .map(container.annotations),
        ]
        var json: JSON = ["attributes": attributes]
        let disk = try await step("failed to decode container metrics") { () throws(RuntimeError) in
            try await runtime.diskUsage(container.id)
        }
        json["writable_layer"] = [
            "timestamp": .int(now), "fs_id": ["mountpoint": .string(runtime.configuration.root + "/containers")],
            "used_bytes": ["value": .int(disk.layerBytes)], "inodes_used": ["value": .int(disk.layerFiles)],
        ]
        guard container.state == .running, let stats = try? await runtime.stats(container.id) else { return json }
        let limit = (try? runtime.containerRecord(container.id))?.config.resources.memoryLimitBytes
        json["cpu"] = cpu(container.id, now, stats)
        json["memory"] = Self.memory(now, stats, limit: limit)
        json["swap"] = ["timestamp": .int(now), "swap_usage_bytes": Self.value(stats.memorySwapBytes)]
        return json
    }

    func containerStats(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await container(request["container_id"].string)
        return ["stats": try await stats(container)]
    }

    func listContainerStats(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let filter = request["filter"]
        let (id, pod) = (filter["id"].string ?? "", filter["pod_sandbox_id"].string ?? "")
        var list: [JSON] = []
        for container in await runtime.containers() where container.state == .running {
            guard container.id.hasPrefix(id), container.sandbox.hasPrefix(pod),
                Self.has(container.labels, filter["label_selector"]), let stats = try? await stats(container)
            else { continue }
            list.append(stats)
        }
        return ["stats": .array(list)]
    }

    // MARK: - Sandboxes

    private func stats(_ sandbox: SandboxStatus) async throws(GRPCStatus) -> JSON {
        let now = WallClock.now()
        let total = try await step("failed to decode sandbox container metrics") { () throws(RuntimeError) in
            try await runtime.sandboxStats(sandbox.id)
        }
        var containers: [JSON] = []
        for container in await runtime.containers() where container.sandbox == sandbox.id && container.state == .running
        {
            if let stats = try? await stats(container) { containers.append(stats) }
        }
        var linux: JSON = [
            "cpu": cpu(sandbox.id, now, total),
            "memory": Self.memory(now, total, limit: sandbox.config.resources.memoryLimitBytes),
            "process": ["timestamp": .int(now), "process_count": Self.value(total.processes)],
            "containers": .array(containers),
        ]
        if sandbox.config.network != .node, let found = try? await runtime.networkStats(sandbox: sandbox.id) {
            let interfaces = found.map { stats -> JSON in
                [
                    "name": .string(stats.name), "rx_bytes": Self.value(stats.receivedBytes),
                    "rx_errors": Self.value(stats.receiveErrors), "tx_bytes": Self.value(stats.sentBytes),
                    "tx_errors": Self.value(stats.sendErrors),
                ]
            }
            let main = interfaces.firstIndex { $0["name"] == "eth0" } ?? interfaces.indices.first
            var usage: JSON = ["timestamp": .int(now)]
            if let main {
                usage["default_interface"] = interfaces[main]
                usage["interfaces"] = .array(interfaces.indices.filter { $0 != main }.map { interfaces[$0] })
            }
            linux["network"] = usage
        }
        let attributes: JSON = [
            "id": .string(sandbox.id), "metadata": CRIValues.metadata(sandbox.config),
            "labels": .map(sandbox.config.labels), "annotations": .map(sandbox.config.annotations),
        ]
        return ["attributes": attributes, "linux": linux]
    }

    func podSandboxStats(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let sandbox = try await sandbox(request["pod_sandbox_id"].string)
        return ["stats": try await stats(sandbox)]
    }

    func listPodSandboxStats(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let filter = request["filter"]
        var list: [JSON] = []
        for sandbox in await runtime.sandboxes() where sandbox.state == .ready {
            guard sandbox.id.hasPrefix(filter["id"].string ?? ""),
                Self.has(sandbox.config.labels, filter["label_selector"]), let stats = try? await stats(sandbox)
            else { continue }
            list.append(stats)
        }
        return ["stats": .array(list)]
    }

    // MARK: - Metrics

    private struct Measure: Sendable {
        var name: String
        var help: String
        var isGauge: Bool
        var value: @Sendable (ContainerStats) -> UInt64
    }

    /// Of containers, under cadvisor's names. CRI's metrics are whole numbers.
    private static let measures: [Measure] = [
        Measure(
            name: "container_cpu_usage_seconds_total", help: "Cumulative cpu time consumed in seconds.", isGauge: false
        ) { $0.cpuNanoseconds / 1_000_000_000 },
        Measure(
            name: "container_cpu_user_seconds_total", help: "Cumulative user cpu time consumed in seconds.",
            isGauge: false
        ) { $0.cpuUserNanoseconds / 1_000_000_000 },
        Measure(
            name: "container_cpu_system_seconds_total", help: "Cumulative system cpu time consumed in seconds.",
            isGauge: false
        ) { $0.cpuSystemNanoseconds / 1_000_000_000 },
        Measure(
            name: "container_cpu_cfs_periods_total", help: "Number of elapsed enforcement period intervals.",
            isGauge: false
        ) { $0.cpuPeriods },
        Measure(
            name: "container_cpu_cfs_throttled_periods_total", help: "Number of throttled period intervals.",
            isGauge: false
        ) { $0.cpuThrottledPeriods },
        Measure(
            name: "container_cpu_cfs_throttled_seconds_total",
            help: "Total time duration the container has been throttled.", isGauge: false
        ) { $0.cpuThrottledNanoseconds / 1_000_000_000 },
        Measure(
            name: "container_memory_usage_bytes",
            help: "Current memory usage in bytes, including all memory regardless of when it was accessed",
            isGauge: true
        ) { $0.memoryUsageBytes },
        Measure(name: "container_memory_working_set_bytes", help: "Current working set in bytes.", isGauge: true) {
            $0.memoryWorkingSetBytes
        },
        Measure(name: "container_memory_rss", help: "Size of RSS in bytes.", isGauge: true) { $0.memoryRSSBytes },
        Measure(name: "container_memory_cache", help: "Number of bytes of page cache memory.", isGauge: true) {
            $0.memoryCacheBytes
        },
        Measure(name: "container_memory_mapped_file", help: "Size of memory mapped files in bytes.", isGauge: true) {
            $0.memoryMappedFileBytes
        },
        Measure(name: "container_memory_swap", help: "Container swap usage in bytes.", isGauge: true) {
            $0.memorySwapBytes
        },
        Measure(
            name: "container_oom_events_total", help: "Count of out of memory events observed for the container",
            isGauge: false
        ) { $0.oomKills },
        Measure(name: "container_processes", help: "Number of processes running inside the container.", isGauge: true) {
            $0.processes
        },
        Measure(name: "container_fs_reads_bytes_total", help: "Cumulative count of bytes read", isGauge: false) {
            $0.readBytes
        },
        Measure(name: "container_fs_writes_bytes_total", help: "Cumulative count of bytes written", isGauge: false) {
            $0.writtenBytes
        },
        Measure(name: "container_fs_reads_total", help: "Cumulative count of reads completed", isGauge: false) {
            $0.reads
        },
        Measure(name: "container_fs_writes_total", help: "Cumulative count of writes completed", isGauge: false) {
            $0.writes
        },
    ]

    private static let networkMeasures: [(name: String, help: String, value: @Sendable (InterfaceStats) -> UInt64)] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", { $0.receivedBytes }),
        ("container_network_receive_packets_total", "Cumulative count of packets received", { $0.receivedPackets }),
        (
            "container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
            { $0.receiveErrors }
        ),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", { $0.sentBytes }),
        ("container_network_transmit_packets_total", "Cumulative count of packets transmitted", { $0.sentPackets }),
        (
            "container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
            { $0.sendErrors }
        ),
    ]

    private static let labelKeys = ["id", "image", "name"]

    static var metricDescriptors: JSON {
        let containers = measures.map { measure -> JSON in
            ["name": .string(measure.name), "help": .string(measure.help), "label_keys": .strings(labelKeys)]
        }
        let networks = networkMeasures.map { measure -> JSON in
            [
                "name": .string(measure.name), "help": .string(measure.help),
                "label_keys": .strings(labelKeys + ["interface"]),
            ]
        }
        return ["descriptors": .array(containers + networks)]
    }

    func listPodSandboxMetrics() async -> JSON {
        let now = WallClock.now()
        func metric(_ name: String, isGauge: Bool, _ labels: [String], _ number: UInt64) -> JSON {
            [
                "name": .string(name), "timestamp": .int(now), "metric_type": isGauge ? 1 : 0,
                "label_values": .strings(labels), "value": Self.value(number),
            ]
        }
        let all = await runtime.containers()
        var pods: [JSON] = []
        for sandbox in await runtime.sandboxes() where sandbox.state == .ready {
            var containers: [JSON] = []
            for container in all where container.sandbox == sandbox.id && container.state == .running {
                guard let stats = try? await runtime.stats(container.id) else { continue }
                let labels = [container.id, container.image, container.name]
                let metrics = Self.measures.map { metric($0.name, isGauge: $0.isGauge, labels, $0.value(stats)) }
                containers.append(["container_id": .string(container.id), "metrics": .array(metrics)])
            }
            var networks: [JSON] = []
            if sandbox.config.network != .node, let found = try? await runtime.networkStats(sandbox: sandbox.id) {
                for stats in found {
                    let labels = [sandbox.id, "", "POD", stats.name]
                    networks += Self.networkMeasures.map {
                        metric($0.name, isGauge: false, labels, $0.value(stats))
                    }
                }
            }
            pods.append([
                "pod_sandbox_id": .string(sandbox.id), "metrics": .array(networks),
                "container_metrics": .array(containers),
            ])
        }
        return ["pod_metrics": .array(pods)]
    }
}
