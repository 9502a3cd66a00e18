internal import KubeAPI

/// Which kinds are served, each with its strategy. A kind that is not here is in the schema but not in the API.
enum Catalog {
    static func resources(_ schema: Schema) -> [ServedResource] {
        var served: [ServedResource] = []
        for info in schema.resources {
            guard let strategy = strategy(info.gvr) else { continue }
            served.append(ServedResource(info, strategy: strategy, view: view(info.gvr)))
        }
        return served
    }

    private static func view(_ gvr: GroupVersionResource) -> ResourceView? { nil }

    private static func strategy(_ gvr: GroupVersionResource) -> (any ResourceStrategy)? {
        switch gvr {
        case .pods: PodStrategy()
        case .namespaces: NamespaceStrategy()
        case .leases: PlainStrategy()
        case .deployments, .replicaSets: PlainStrategy(tracksGeneration: true)
        case .nodes, .services, .endpoints, .configMaps, .secrets, .serviceAccounts, .events, .endpointSlices:
            PlainStrategy()
        case .roles, .roleBindings, .clusterRoles, .clusterRoleBindings: PlainStrategy(nameRule: .pathSegment)
        default: nil
        }
    }
}
