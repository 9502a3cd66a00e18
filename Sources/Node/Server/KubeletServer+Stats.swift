internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
internal import Transport

extension PodWorker {
    struct StatsTarget: Sendable {
        var uid: String
        var key: ObjectKey
        var sandbox: String?
        var startedAt: Int64
        /// Running containers.
        var containers: [(name: String, id: String, startedAt: Int64)]
    }
    func statsTarget() -> StatsTarget {
        StatsTarget(
            uid: uid, key: key, sandbox: sandboxID, startedAt: state.sandbox?.createdAt ?? 0,
            containers: state.running.map { ($0.name, $0.id, $0.startedAt) })
    }
}

extension KubeletServer {
    struct Sample {
        var target: PodWorker.StatsTarget
        var containers: [(name: String, startedAt: Int64, stats: ContainerStats, disk: ContainerDiskUsage)]
        /// Of the pod's cgroup: more than its running containers have used.
        var total = ContainerStats()
        var interfaces: [InterfaceStats] = []
    }

    /// `wide`: with the network's counters and what is on disk, which take a thread and a walk.
    func samples(wide: Bool) async -> [Sample] {
        var samples: [Sample] = []
        for worker in agent.pods.workers.sorted(by: { $0.key < $1.key }) {
            let target = await worker.statsTarget()
            guard !target.containers.isEmpty else { continue }
            var sample = Sample(target: target, containers: [])
            for container in target.containers {
                if let stats = try? await context.runtime.stats(container.id) {
                    let disk = wide ? try? await context.runtime.diskUsage(container.id) : nil
                    sample.containers.append((container.name, container.startedAt, stats, disk ?? ContainerDiskUsage()))
                }
            }
            if wide, let sandbox = target.sandbox {
                sample.interfaces = (try? await context.runtime.networkStats(sandbox: sandbox)) ?? []
            }
            if let sandbox = target.sandbox, let total = try? await context.runtime.sandboxStats(sandbox) {
                sample.total = total
            }
            samples.append(sample)
        }
        return samples
    }

    /// CPU time of the machine in nanoseconds and its memory in use, from /proc.
    private func machine() -> (cpuNanoseconds: UInt64, workingSet: Int64, available: Int64, boot: Int64) {
        let proc = context.configuration.proc
        var busy: UInt64 = 0
        var boot: Int64 = 0
        for line in (Files.text(proc + "/stat", limit: 4 << 20) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.first == "cpu" {
                // user nice system idle iowait irq softirq steal, in ticks of 10 ms
                let ticks = words.dropFirst().prefix(8).compactMap { UInt64($0) }
                for (index, value) in ticks.enumerated() where index != 3 && index != 4 { busy += value }
            } else if words.first == "btime", words.count > 1 {
                boot = Int64(words[1]) ?? 0
            }
        }
        let total = context.resources.machine.memory
        let available = HostFacts.availableMemory(proc: proc) ?? 0
        return (busy * 10_000_000, max(total - available, 0), available, boot)
    }

    func statsSummary() async -> HTTPResponse {
        let now = context.now().rfc3339
        let machine = machine()
        let disk = HostFacts.diskSpace(context.configuration.rootDirectory)
        var pods: [JSON] = []
        for sample in await samples(wide: true) {
            var containers: [JSON] = []
            var (ephemeralBytes, ephemeralFiles): (Int64, Int64) = (0, 0)
            for container in sample.containers {
                ephemeralBytes += container.disk.layerBytes + container.disk.logBytes
                ephemeralFiles += container.disk.layerFiles + container.disk.logFiles
                containers.append([
                    "name": .string(container.name),
                    "startTime": .string(Timestamp(nanoseconds: container.startedAt).rfc3339),
                    "cpu": [
                        "time": .string(now),
                        "usageCoreNanoSeconds": .int(Int64(clamping: container.stats.cpuNanoseconds)),
                    ],
                    "memory": [
                        "time": .string(now), "usageBytes": .int(Int64(clamping: container.stats.memoryUsageBytes)),
                        "workingSetBytes": .int(Int64(clamping: container.stats.memoryWorkingSetBytes)),
                        "rssBytes": .int(Int64(clamping: container.stats.memoryRSSBytes)),
                        "pageFaults": .int(Int64(clamping: container.stats.pageFaults)),
                        "majorPageFaults": .int(Int64(clamping: container.stats.majorPageFaults)),
                    ],
                    "rootfs": fileSystem(now, disk, used: container.disk.layerBytes, files: container.disk.layerFiles),
                    "logs": fileSystem(now, disk, used: container.disk.logBytes, files: container.disk.logFiles),
                    "swap": [
                        "time": .string(now), "swapUsageBytes": .int(Int64(clamping: container.stats.memorySwapBytes)),
                    ],
                ])
            }
            // Volumes of the pod on the node's own disk.
            let volumes = context.volumes.podDirectory(sample.target.uid) + "/volumes"
            let walks = context.walks
            let mine = try? await BlockingPool.shared.run { () throws(SysError) in try walks.measure(volumes) }
            ephemeralBytes += mine?.bytes ?? 0
            ephemeralFiles += mine?.files ?? 0
            var pod: JSON = [
                "podRef": [
                    "name": .string(sample.target.key.name), "namespace": .string(sample.target.key.namespace),
                    "uid": .string(sample.target.uid),
                ],
                "startTime": .string(Timestamp(nanoseconds: sample.target.startedAt).rfc3339),
                "containers": .array(containers),
                "cpu": [
                    "time": .string(now), "usageCoreNanoSeconds": .int(Int64(clamping: sample.total.cpuNanoseconds)),
                ],
                "memory": [
                    "time": .string(now), "workingSetBytes": .int(Int64(clamping: sample.total.memoryWorkingSetBytes)),
                ],
                "ephemeral-storage": fileSystem(now, disk, used: ephemeralBytes, files: ephemeralFiles),
                "process_stats": ["process_count": .int(Int64(clamping: sample.total.processes))],
            ]
            if let network = Self.network(now, sample.interfaces) { pod["network"] = network }
            let driven = await agent.pods.worker(uid: sample.target.uid)?.driverVolumeStats() ?? []
            if !driven.isEmpty { pod["volume"] = .array(driven) }
            pods.append(pod)
        }
        var node: JSON = [
            "nodeName": .string(context.configuration.name),
            "startTime": .string(Timestamp(seconds: machine.boot).rfc3339),
            "cpu": ["time": .string(now), "usageCoreNanoSeconds": .int(Int64(clamping: machine.cpuNanoseconds))],
            "memory": [
                "time": .string(now), "availableBytes": .int(machine.available),
                "workingSetBytes": .int(machine.workingSet),
            ],
        ]
        if let disk {
            node["fs"] = [
                "time": .string(now), "availableBytes": .int(disk.free), "capacityBytes": .int(disk.total),
                "usedBytes": .int(disk.total - disk.free),
            ]
        }
        let summary: JSON = ["node": node, "pods": .array(pods)]
        return .json(summary.encode())
    }

    private func fileSystem(_ now: String, _ disk: (total: Int64, free: Int64)?, used: Int64, files: Int64) -> JSON {
        var json: JSON = ["time": .string(now), "usedBytes": .int(used), "inodesUsed": .int(files)]
        if let disk { (json["availableBytes"], json["capacityBytes"]) = (.int(disk.free), .int(disk.total)) }
        return json
    }

    /// eth0 stands for the pod, as upstream has it; nil in the node's network.
    private static func network(_ now: String, _ interfaces: [InterfaceStats]) -> JSON? {
        guard let main = interfaces.first(where: { $0.name == "eth0" }) ?? interfaces.first else { return nil }
        func json(_ stats: InterfaceStats) -> JSON {
            [
                "name": .string(stats.name), "rxBytes": .int(Int64(clamping: stats.receivedBytes)),
                "rxErrors": .int(Int64(clamping: stats.receiveErrors)),
                "txBytes": .int(Int64(clamping: stats.sentBytes)),
                "txErrors": .int(Int64(clamping: stats.sendErrors)),
            ]
        }
        var network = json(main)
        network["time"] = .string(now)
        network["interfaces"] = .array(interfaces.map(json))
        return network
    }

    /// What metrics-server reads (stable since Kubernetes 1.29).
    func resourceMetrics() async -> String {
        let stamp = context.now().nanoseconds / 1_000_000
        let machine = machine()
        let samples = await samples(wide: false)
        var text = ""
        func family(_ name: String, _ help: String, _ type: String, _ lines: [String]) {
            text += "# HELP \(name) [STABLE] \(help)\n# TYPE \(name) \(type)\n"
            for line in lines { text += "\(name)\(line)\n" }
        }
        func seconds(_ nanoseconds: UInt64) -> String { "\(Double(nanoseconds) / 1e9)" }
        let containers = samples.flatMap { sample in
            sample.containers.map { container in
                (
                    labels:
                        "{container=\"\(container.name)\",namespace=\"\(sample.target.key.namespace)\",pod=\"\(sample.target.key.name)\"}",
                    container: container
                )
            }
        }
        let pods = samples.map { sample in
            (
                labels: "{namespace=\"\(sample.target.key.namespace)\",pod=\"\(sample.target.key.name)\"}",
                cpu: sample.total.cpuNanoseconds, memory: sample.total.memoryWorkingSetBytes
            )
        }
        family(
            "container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds",
            "counter",
            containers.map { "\($0.labels) \(seconds($0.container.stats.cpuNanoseconds)) \(stamp)" })
        family(
            "container_memory_working_set_bytes", "Current working set of the container in bytes", "gauge",
            containers.map { "\($0.labels) \($0.container.stats.memoryWorkingSetBytes) \(stamp)" })
        family(
            "container_start_time_seconds", "Start time of the container since unix epoch in seconds", "gauge",
            containers.map { "\($0.labels) \(seconds(UInt64(max($0.container.startedAt, 0))))" })
        family(
            "node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", "counter",
            [" \(seconds(machine.cpuNanoseconds)) \(stamp)"])
        family(
            "node_memory_working_set_bytes", "Current working set of the node in bytes", "gauge",
            [" \(machine.workingSet) \(stamp)"])
        family(
            "pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", "counter",
            pods.map { "\($0.labels) \(seconds($0.cpu)) \(stamp)" })
        family(
            "pod_memory_working_set_bytes", "Current working set of the pod in bytes", "gauge",
            pods.map { "\($0.labels) \($0.memory) \(stamp)" })
        family(
            "resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", "gauge",
            [" 0"])
        return text
    }

    func metrics() async -> String {
        var running = 0
        var containers = 0
        let workers = agent.pods.workers
        for worker in workers {
            let target = await worker.statsTarget()
            if !target.containers.isEmpty { running += 1 }
            containers += target.containers.count
        }
        return """
            # HELP kubelet_node_name [ALPHA] The node's name. The count is always 1.
            # TYPE kubelet_node_name gauge
            kubelet_node_name{node="\(context.configuration.name)"} 1
            # HELP kubelet_running_containers [ALPHA] Number of containers currently running
            # TYPE kubelet_running_containers gauge
            kubelet_running_containers{container_state="running"} \(containers)
            # HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox
            # TYPE kubelet_running_pods gauge
            kubelet_running_pods \(running)
            # HELP kubelet_desired_pods [ALPHA] The number of pods the kubelet is being instructed to run.
            # TYPE kubelet_desired_pods gauge
            kubelet_desired_pods{static=""} \(workers.count)

            """
    }
}
