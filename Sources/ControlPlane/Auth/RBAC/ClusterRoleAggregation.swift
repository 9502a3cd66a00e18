internal import Codecs
package import KubeAPI

/// Fills the rules of ClusterRoles that are made of others, chosen by label.
/// Source: k8s.io/kubernetes/pkg/controller/clusterroleaggregation.
package struct ClusterRoleAggregationController: Controller {
    package let name = "clusterrole-aggregation-controller"
    private let client: any KubeClient

    package init(client: any KubeClient) { self.client = client }

    /// Any change may concern any aggregate; there are a handful.
    package var sources: [WatchSource] { [WatchSource(.clusterRoles) { _, _ in [ObjectKey(name: "all")] }] }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let roles = try await client.list(.clusterRoles).decoded().sorted { $0.name < $1.name }
        for role in roles {
            let selectors = role["aggregationRule"]["clusterRoleSelectors"].elements
            guard !selectors.isEmpty else { continue }
            var rules: [JSON] = []
            for selector in selectors {
                let selector = try LabelSelector(json: selector)
                for part in roles where part.name != role.name && selector.matches(part.labels) {
                    rules += part["rules"].elements.filter { !rules.contains($0) }
                }
            }
            guard JSON.array(rules) != role["rules"], !(rules.isEmpty && role["rules"].isNull) else { continue }
            var updated = role
            updated["rules"] = .array(rules)
            _ = try await client.update(.clusterRoles, updated)
        }
        return nil
    }
}
