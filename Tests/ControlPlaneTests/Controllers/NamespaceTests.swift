import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NamespaceTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            let all = client.registry.resources.all.filter {
                $0.namespaced && $0.isStored && $0.info.verbs.contains(.list)
            }
            return [
                NamespaceController(client: client, clock: clock, resources: { all.map(\.gvr) }),
                ServiceAccountController(client: client, rootCA: "CA"),
            ]
        }
    }

    func put(_ bench: ControllerBench, _ resource: GroupVersionResource, _ json: JSON) async throws {
        var json = json
        json["metadata"]["namespace"] = "other"
        try await bench.create(resource, json)
    }

    @Test func everythingGoesAndThenTheNamespace() async throws {
        let bench = try await bench()
        try await put(bench, .configMaps, ["metadata": ["name": "a"]])
        try await put(bench, .secrets, ["metadata": ["name": "b"]])
        try await put(bench, .pods, Sample.pod("c"))
        try await put(bench, .deployments, Sample.workload("d", replicas: 0))
        try await put(bench, .leases, ["metadata": ["name": "e"], "spec": [:]])
        try await bench.create(.configMaps, ["metadata": ["name": "stays"]])
        try await bench.settle()
        try await bench.delete(.namespaces, "other")
        try await bench.settle()
        #expect(try await bench.find(.namespaces, "other") == nil)
        for resource in [GroupVersionResource.configMaps, .secrets, .pods, .deployments, .leases, .serviceAccounts] {
            #expect(try await bench.list(resource).allSatisfy { $0.namespace != "other" })
        }
        #expect(try await bench.find(.configMaps, "stays") != nil)
    }

    @Test func podsGoFirstAndWhatRemainsIsSaid() async throws {
        let bench = try await bench()
        try await put(bench, .configMaps, ["metadata": ["name": "a"]])
        var pod = Sample.pod("held")
        pod["metadata"]["finalizers"] = ["example.com/hold"]
        try await put(bench, .pods, pod)
        try await bench.delete(.namespaces, "other")
        try await bench.settle()
        let namespace = try await bench.get(.namespaces, "other")
        #expect(try await bench.find(.configMaps, "a", "other") != nil, "what the pod uses outlives it")
        #expect(
            namespace.condition("NamespaceContentRemaining")["message"]
                == "Some resources are remaining: pods. has 1 resource instances")
        #expect(
            namespace.condition("NamespaceFinalizersRemaining")["message"]
                == "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances")
        #expect(namespace.condition("NamespaceDeletionDiscoveryFailure")["status"] == "False")
        var held = try await bench.get(.pods, "held", "other")
        held.finalizers = []
        _ = try await bench.client.update(.pods, held)
        try await bench.advance(.seconds(2))
        #expect(try await bench.find(.namespaces, "other") == nil)
    }

    @Test func resourcesOfGroupsAreNamedWithThem() async throws {
        let bench = try await bench()
        var deployment = Sample.workload("d", replicas: 0)
        deployment["metadata"]["finalizers"] = ["example.com/hold"]
        try await put(bench, .deployments, deployment)
        try await bench.delete(.namespaces, "other")
        try await bench.settle()
        #expect(
            try await bench.get(.namespaces, "other").condition("NamespaceContentRemaining")["message"]
                == "Some resources are remaining: deployments.apps has 1 resource instances")
    }

    @Test func anotherFinalizerOfTheNamespaceHoldsIt() async throws {
        let bench = try await bench()
        var namespace = try await bench.get(.namespaces, "other")
        namespace.spec["finalizers"] = ["kubernetes", "example.com/mine"]
        _ = try await bench.client.update(.namespaces, namespace, subresource: "finalize")
        try await bench.delete(.namespaces, "other")
        try await bench.settle()
        #expect(try await bench.get(.namespaces, "other").spec["finalizers"] == ["example.com/mine"])
    }
}

@Suite struct ServiceAccountTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, _ in [ServiceAccountController(client: client, rootCA: "CA")] }
    }

    @Test func everyNamespaceHasItsAccountAndItsCA() async throws {
        let bench = try await bench()
        try await bench.create(.namespaces, ["metadata": ["name": "new"]])
        try await bench.settle()
        #expect(try await bench.find(.serviceAccounts, "default", "new") != nil)
        for namespace in ["default", "new"] {
            #expect(try await bench.get(.configMaps, "kube-root-ca.crt", namespace)["data"]["ca.crt"] == "CA")
        }
    }

    @Test func bothComeBack() async throws {
        let bench = try await bench()
        try await bench.settle()
        let uid = try await bench.get(.serviceAccounts, "default").uid
        try await bench.delete(.serviceAccounts, "default")
        try await bench.patch(.configMaps, "kube-root-ca.crt", ["data": ["ca.crt": "forged"]])
        try await bench.settle()
        #expect(try await bench.get(.serviceAccounts, "default").uid != uid)
        #expect(try await bench.get(.configMaps, "kube-root-ca.crt")["data"]["ca.crt"] == "CA")
        try await bench.delete(.configMaps, "kube-root-ca.crt")
        try await bench.settle()
        #expect(try await bench.find(.configMaps, "kube-root-ca.crt") != nil)
    }

    @Test func aNamespaceThatIsGoingGetsNothing() async throws {
        let bench = try await bench()
        try await bench.create(.namespaces, ["metadata": ["name": "new"]])
        try await bench.delete(.namespaces, "new")
        try await bench.settle()
        #expect(try await bench.find(.serviceAccounts, "default", "new") == nil)
        #expect(bench.errors.isEmpty)
    }
}
