import Codecs
import KubeAPI
import Store
import Testing

@testable import ControlPlane

/// Default roles and bindings, as they are brought back at every start.
@Suite struct BootstrapPolicyTests {
    private func change(
        _ cluster: Cluster, _ resource: GroupVersionResource, _ name: String, _ change: (inout KubeObject) -> Void
    ) async throws {
        var object = try await cluster.client.get(resource, namespace: "", name: name)
        change(&object)
        _ = try await cluster.client.update(resource, object)
    }

    @Test func whatWasTakenComesBackAndWhatWasAddedStays() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        try await BootstrapPolicy.reconcile(client)
        let revision = cluster.server.registry.store.revision
        try await BootstrapPolicy.reconcile(client)
        #expect(cluster.server.registry.store.revision == revision, "nothing to do, nothing written")

        let own: JSON = ["verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]]
        let before = try await client.get(.clusterRoles, namespace: "", name: "system:node-proxier")
        try await change(cluster, .clusterRoles, "system:node-proxier") {
            $0["rules"] = [own]
            $0.labels = [:]
            $0.annotations = [:]
        }
        let mine: JSON = ["kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"]
        try await change(cluster, .clusterRoleBindings, "cluster-admin") { $0["subjects"] = [mine] }
        _ = try await client.delete(
            .clusterRoles, namespace: "", name: "system:basic-user", options: DeleteOptions())
        try await BootstrapPolicy.reconcile(client)

        let role = try await client.get(.clusterRoles, namespace: "", name: "system:node-proxier")
        #expect(role["rules"].elements == [own] + before["rules"].elements)
        #expect(role.labels == before.labels && role.annotations == before.annotations)
        let binding = try await client.get(.clusterRoleBindings, namespace: "", name: "cluster-admin")
        #expect(binding["subjects"].elements.map { $0["name"] } == ["jane", "system:masters"])
        #expect(try await client.getIfPresent(.clusterRoles, namespace: "", name: "system:basic-user") != nil)
    }

    @Test func autoupdateFalseKeepsAll() async throws {
        let cluster = try await Cluster()
        try await BootstrapPolicy.reconcile(cluster.client)
        try await change(cluster, .clusterRoles, "system:node-proxier") {
            $0["rules"] = []
            $0.annotations["rbac.authorization.kubernetes.io/autoupdate"] = "false"
        }
        try await BootstrapPolicy.reconcile(cluster.client)
        let role = try await cluster.client.get(.clusterRoles, namespace: "", name: "system:node-proxier")
        #expect(role["rules"].elements.isEmpty)
    }

    @Test func aBindingOfAnotherRoleIsReplaced() async throws {
        let cluster = try await Cluster()
        let client = cluster.client
        try await BootstrapPolicy.reconcile(client)
        let first = try await client.get(.clusterRoleBindings, namespace: "", name: "system:basic-user")
        _ = try await client.delete(
            .clusterRoleBindings, namespace: "", name: "system:basic-user", options: DeleteOptions())
        var other = KubeObject(
            GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"), name: "system:basic-user")
        other["roleRef"] = first["roleRef"]
        other["roleRef"]["name"] = "cluster-admin"
        other["subjects"] = first["subjects"]
        _ = try await client.create(.clusterRoleBindings, other)
        try await BootstrapPolicy.reconcile(client)
        let now = try await client.get(.clusterRoleBindings, namespace: "", name: "system:basic-user")
        #expect(now["roleRef"] == first["roleRef"] && now["subjects"] == first["subjects"])
    }
}
