import Codecs
import Containers
import GRPC
import Testing

@testable import Node

@Suite struct CRIMessagesTests {
    @Test func everyMethodHasItsMessages() throws {
        let table = try ProtobufTable(CRIMessages.table)
        let methods = CRIServer.runtimeMethods.union(CRIServer.imageMethods).union(CRIServer.streamMethods.keys)
        for method in methods {
            #expect(table.has(method + "Request"), "\(method)")
            #expect(table.has(method + "Response"), "\(method)")
        }
        #expect(table.has("GetEventsRequest") && table.has("ContainerEventResponse"))
    }

    @Test func descriptorsCanBeWritten() throws {
        let table = try ProtobufTable(CRIMessages.table)
        let bytes = try table.encode("ListMetricDescriptorsResponse", CRIServer.metricDescriptors)
        let names = try table.decode("ListMetricDescriptorsResponse", bytes)["descriptors"].elements.map {
            $0["name"].string
        }
        #expect(names.contains("container_memory_working_set_bytes") && Set(names).count == names.count)
    }

    @Test func signalsAreThoseOfTheEnumeration() {
        #expect(CRIValues.signalName(1) == "SIGABRT" && CRIValues.signalName(34) == "SIGXFSZ")
        #expect(CRIValues.signalName(23) == "SIGTERM" && CRIValues.signalName(0) == "")
        #expect(CRIValues.signalName(36) == "SIGRTMIN+1" && CRIValues.signalName(51) == "SIGRTMAX-14")
        #expect(CRIValues.signalName(64) == "SIGRTMAX-1" && CRIValues.signalNumber("SIGKILL") == 13)
        for number in Int64(1)...65 where ![5, 12, 15].contains(number) {
            #expect(CRIValues.signalNumber(CRIValues.signalName(number)) == number)
        }
    }

    @Test func aKubeletsCgroupParentNamesThePod() {
        let metadata: JSON = ["uid": "abc", "name": "p", "namespace": "n"]
        let config = CRIValues.sandbox([
            "metadata": metadata, "linux": ["cgroup_parent": "/kubepods/burstable/podabc"],
        ])
        #expect(config.cgroupParent == "kubepods/burstable" && config.pid == .pod && config.hostname == "p")
        #expect(CRIValues.sandbox(["metadata": metadata]).cgroupParent == "k8s.io")
        #expect(CRIValues.sandbox(["metadata": metadata, "linux": ["cgroup_parent": "/../x"]]).cgroupParent == "x")
    }

    @Test func zeroLeavesALimitAsItIs() {
        var old = ContainerResources()
        (old.cpuShares, old.memoryLimitBytes) = (512, 1 << 20)
        let new = CRIValues.resources(
            ["memory_limit_in_bytes": 2_097_152, "memory_swap_limit_in_bytes": 3_145_728], over: old)
        #expect(new.cpuShares == 512 && new.memoryLimitBytes == 2 << 20 && new.swapLimitBytes == 1 << 20)
    }

    @Test func aGroupNeedsAUser() throws {
        let group: JSON = ["linux": ["security_context": ["run_as_group": ["value": 5]]]]
        #expect(throws: GRPCStatus.self) { _ = try CRIValues.container(group) }
        let both: JSON = [
            "linux": ["security_context": ["run_as_group": ["value": 5], "run_as_user": [:], "seccomp": [:]]]
        ]
        let security = try CRIValues.container(both).security
        #expect(security.runAsUser == 0 && security.runAsGroup == 5 && security.seccomp == .runtimeDefault)
    }
}
