import Codecs
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Kubelet settings") struct KubeletSettingsTests {
    private func apply(_ arguments: String...) throws(SettingsError) -> (NodeConfiguration, [String]) {
        var node = NodeConfiguration(name: "n", internalIPs: ["192.0.2.1"])
        let notes = try KubeletSettings.apply(arguments, to: &node)
        return (node, notes)
    }

    @Test func flagsAreTaken() throws {
        let (node, notes) = try apply(
            "max-pods=42", "--eviction-hard=memory.available<100Mi,nodefs.available<10%", "pod-manifest-path=/m",
            "kube-reserved=cpu=200m,memory=64Mi", "eviction-pressure-transition-period=30s", "cpu-cfs-quota=false",
            "allowed-unsafe-sysctls=kernel.msg*,net.core.somaxconn", "v=4", "streaming-connection-idle-timeout=5m")
        #expect(node.maximumPods == 42)
        #expect(node.eviction.hard == ["memory.available": "100Mi", "nodefs.available": "10%"])
        #expect(node.staticPodPath == "/m")
        #expect(node.kubeReserved == ["cpu": Quantity(milli: 200), "memory": Quantity(64 << 20)])
        #expect(node.eviction.transitionPeriod == .seconds(30))
        #expect(!node.cpuCFSQuota)
        #expect(node.allowedUnsafeSysctls == ["kernel.msg*", "net.core.somaxconn"])
        #expect(notes == ["--kubelet-arg: streaming-connection-idle-timeout has no effect"])
    }

    @Test func theCgroupDriverIsOneOfTwo() throws {
        #expect(try apply().0.cgroupDriver == nil)
        #expect(try apply("cgroup-driver=systemd").0.cgroupDriver == .systemd)
        #expect(try apply("--cgroup-driver=cgroupfs").0.cgroupDriver == .cgroupfs)
        #expect(throws: SettingsError("cgroup-driver: \"runc\" is not cgroupfs or systemd")) {
            try apply("cgroup-driver=runc")
        }
    }

    @Test func filesComeBeforeDropInsAndFlagsLast() throws {
        let directory = "/tmp/k3s-kubelet-settings-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Directories.make(directory + "/drop")
        defer { try? Directories.removeTree(directory) }
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        func write(_ name: String, _ text: String) throws {
            try Files.write(directory + "/" + name, Array((head + text).utf8))
        }
        try write("main", "maxPods: 1\npodsPerCore: 7\nevictionHard: {pid.available: '10'}\nzones: []\n")
        try write("drop/20-b.conf", "maxPods: 3\n")
        try write("drop/10-a.conf", "maxPods: 2\nsystemReserved: {cpu: 100m}\n")
        try write("drop/ignored.yaml", "maxPods: 9\n")
        let (node, notes) = try apply("config=\(directory)/main", "config-dir=\(directory)/drop")
        #expect(node.maximumPods == 3)
        #expect(node.podsPerCore == 7)
        #expect(node.eviction.hard == ["pid.available": "10"])
        #expect(node.systemReserved == ["cpu": Quantity(milli: 100)])
        #expect(notes == ["\(directory)/main: zones has no effect"])
        #expect(try apply("config=\(directory)/main", "max-pods=5").0.maximumPods == 5)
    }

    @Test(arguments: [
        ("max-pods=many", "max-pods: \"many\" is not a number"), ("cpu-cfs-quota=perhaps", "is not true or false"),
        ("eviction-hard=memory.available=5", "is not of the form name<value"),
        ("eviction-hard=memory<5", "is not one of memory.available"),
        ("kube-reserved=gpu=1", "is not cpu, memory, ephemeral-storage or pid"),
        ("config=/does/not/exist", "/does/not/exist"), ("image-gc-high-threshold=101", "is not a number from 0 to 100"),
    ])
    func nonsenseIsRefusedWithItsName(_ argument: String, _ reason: String) {
        do throws(SettingsError) {
            _ = try apply(argument)
            Issue.record("taken: \(argument)")
        } catch {
            #expect(error.message.contains(reason), "\(error.message)")
        }
    }

    @Test func whatIsReservedIsNotAllocatable() throws {
        var (node, _) = try apply(
            "kube-reserved=cpu=500m,memory=100Mi", "system-reserved=memory=28Mi,ephemeral-storage=1Gi",
            "eviction-hard=memory.available<128Mi,nodefs.available<10%", "pods-per-core=10")
        var facts = HostFacts()
        (facts.cpus, facts.memoryBytes, facts.diskBytes) = (4, 1 << 30, 100 << 30)
        let object = NodeObject(configuration: node, facts: facts)
        #expect(object.capacity["pods"]?.value == 40)
        #expect(object.allocatable["cpu"]?.description == "3500m")
        #expect(object.allocatable["memory"]?.description == "768Mi")
        #expect(object.allocatable["ephemeral-storage"]?.value == 89 << 30)
        node.kubeReserved["cpu"] = Quantity(64)
        #expect(NodeObject(configuration: node, facts: facts).allocatable["cpu"] == .zero)
    }
}
