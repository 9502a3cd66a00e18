internal import Codecs
internal import KubeAPI
internal import Linux

extension KubeletSettings {
    /// Every setting that means something here: the flag's name, the field's, and what it does. "" where there is no flag.
    static let options: [Option] = [
        Option("pod-manifest-path", "staticPodPath") { (node, value) throws(SettingsError) in
            let path = try value.text()
            node.staticPodPath = path.isEmpty ? nil : path
        },
        Option("max-pods", "maxPods") { (node, value) throws(SettingsError) in
            node.maximumPods = try value.number(0...1_000_000)
        },
        Option("pods-per-core", "podsPerCore") { (node, value) throws(SettingsError) in
            node.podsPerCore = try value.number(0...100_000)
        },
        Option("pod-max-pids", "podPidsLimit") { (node, value) throws(SettingsError) in
            node.podPidsLimit = try value.number(-1...4_194_304)
        },
        Option("cpu-cfs-quota", "cpuCFSQuota") { (node, value) throws(SettingsError) in
            node.cpuCFSQuota = try value.flag()
        },
        Option("cgroup-driver", "cgroupDriver") { (node, value) throws(SettingsError) in
            let name = try value.text()
            guard let driver = CgroupDriver(rawValue: name) else {
                throw SettingsError("\"\(name)\" is not cgroupfs or systemd")
            }
            node.cgroupDriver = driver
        },
        Option("eviction-hard", "evictionHard") { (node, value) throws(SettingsError) in
            node.eviction.hard = try value.map(separator: "<")
        },
        Option("eviction-soft", "evictionSoft") { (node, value) throws(SettingsError) in
            node.eviction.soft = try value.map(separator: "<")
        },
        Option("eviction-soft-grace-period", "evictionSoftGracePeriod") { (node, value) throws(SettingsError) in
            node.eviction.softGrace = try value.map()
        },
        Option("eviction-minimum-reclaim", "evictionMinimumReclaim") { (node, value) throws(SettingsError) in
            node.eviction.minimumReclaim = try value.map()
        },
        Option("eviction-pressure-transition-period", "evictionPressureTransitionPeriod") {
            (node, value) throws(SettingsError) in
            node.eviction.transitionPeriod = try value.duration()
        },
        Option("eviction-max-pod-grace-period", "evictionMaxPodGracePeriod") { (node, value) throws(SettingsError) in
            node.eviction.maximumPodGrace = try value.number(0...86_400)
        },
        Option("housekeeping-interval", "") { (node, value) throws(SettingsError) in
            node.eviction.period = max(try value.duration(), .milliseconds(100))
        },
        Option("kube-reserved", "kubeReserved") { (node, value) throws(SettingsError) in
            node.kubeReserved = try value.quantities()
        },
        Option("system-reserved", "systemReserved") { (node, value) throws(SettingsError) in
            node.systemReserved = try value.quantities()
        },
        Option("enforce-node-allocatable", "enforceNodeAllocatable") { (node, value) throws(SettingsError) in
            let list = try value.list().filter { !$0.isEmpty }
            for name in list where !["none", "pods"].contains(name) {
                throw SettingsError("\"\(name)\" is not none or pods: k3s has no cgroups of its own to limit")
            }
            node.enforcesAllocatable = list.contains("pods")
        },
        Option("allowed-unsafe-sysctls", "allowedUnsafeSysctls") { (node, value) throws(SettingsError) in
            node.allowedUnsafeSysctls = try value.list()
        },
        Option("resolv-conf", "resolvConf") { (node, value) throws(SettingsError) in
            node.resolvConf = try value.text()
        },
        Option("cluster-dns", "clusterDNS") { (node, value) throws(SettingsError) in
            node.clusterDNS = try value.list()
        },
        Option("cluster-domain", "clusterDomain") { (node, value) throws(SettingsError) in
            node.clusterDomain = try value.text()
        },
        Option("node-status-update-frequency", "nodeStatusUpdateFrequency") { (node, value) throws(SettingsError) in
            node.leaseRenewal = max(try value.duration(), .seconds(1))
        },
        Option("", "nodeStatusReportFrequency") { (node, value) throws(SettingsError) in
            node.statusReport = max(try value.duration(), .seconds(1))
        },
        Option("", "nodeLeaseDurationSeconds") { (node, value) throws(SettingsError) in
            node.leaseDurationSeconds = try value.number(1...86_400)
        },
        Option("image-gc-high-threshold", "imageGCHighThresholdPercent") { (node, value) throws(SettingsError) in
            node.imageGCHighPercent = try value.number(0...100)
        },
        Option("image-gc-low-threshold", "imageGCLowThresholdPercent") { (node, value) throws(SettingsError) in
            node.imageGCLowPercent = try value.number(0...100)
        },
        Option("minimum-image-ttl-duration", "imageMinimumGCAge") { (node, value) throws(SettingsError) in
            node.imageMinimumAge = try value.duration()
        },
        Option("node-labels", "") { (node, value) throws(SettingsError) in
            for (key, label) in try value.map() { node.labels[key] = label }
        },
        Option("memory-swap-behavior", "memorySwap") { (node, value) throws(SettingsError) in
            let behavior = value.json.object == nil ? value.json.string : value.json["swapBehavior"].string
            switch behavior ?? "" {
            case "", "NoSwap": node.limitsSwap = false
            case "LimitedSwap": node.limitsSwap = true
            default: throw SettingsError("\(value.json.text) is not NoSwap or LimitedSwap")
            }
        },
        Option("", "shutdownGracePeriod") { (node, value) throws(SettingsError) in
            node.shutdown.period = try value.duration()
        },
        Option("", "shutdownGracePeriodCriticalPods") { (node, value) throws(SettingsError) in
            node.shutdown.critical = try value.duration()
        },
        Option("", "shutdownGracePeriodByPodPriority") { (node, value) throws(SettingsError) in
            node.shutdown.byPriority = []
            for group in value.json.elements {
                guard let priority = group["priority"].int, let seconds = group["shutdownGracePeriodSeconds"].int,
                    (0...86_400).contains(seconds)
                else { throw SettingsError("\(group.text): priority and shutdownGracePeriodSeconds are expected") }
                node.shutdown.byPriority.append(ShutdownGroups.Group(priority: priority, seconds: seconds))
            }
        },
        // What is always so, or is so whatever it says.
        Option("fail-swap-on", "failSwapOn") { (_, value) throws(SettingsError) in _ = try value.flag() },
        Option("config-version", "apiVersion") { (_, _) throws(SettingsError) in },
    ]
}
