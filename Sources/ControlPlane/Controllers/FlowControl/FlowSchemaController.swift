internal import Codecs
package import KubeAPI

/// Says of every flow schema whether its priority level is there. Source: k8s.io/apiserver/pkg/util/flowcontrol.
package struct FlowSchemaController: Controller {
    package let name = "flowcontrol-controller"
    private let client: any KubeClient
    private let clock: any KubeClock

    package init(client: any KubeClient, clock: any KubeClock) { (self.client, self.clock) = (client, clock) }

    package var sources: [WatchSource] {
        [
            WatchSource(FlowControlDefaults.schemas) { schema, kind in kind == .deleted ? [] : [schema.key] },
            // An empty name stands for all of them.
            WatchSource(FlowControlDefaults.levels, needsMetadataOnly: true) { _, kind in
                kind == .modified ? [] : [ObjectKey(name: "")]
            },
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key.name.isEmpty else { return nil }
        return try await client.list(FlowControlDefaults.schemas).decoded().map(\.key)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let schema = try await client.getIfPresent(FlowControlDefaults.schemas, namespace: "", name: key.name)
        else { return nil }
        let level = schema.spec["priorityLevelConfiguration"]["name"].string ?? ""
        let isThere =
            try await client.getIfPresent(FlowControlDefaults.levels, namespace: "", name: level) != nil
        let begin = "This FlowSchema references the PriorityLevelConfiguration object named \(JSON.string(level).text) "
        var next = schema
        next.setCondition(
            "Dangling", status: isThere ? "False" : "True", reason: isThere ? "Found" : "NotFound",
            message: begin + (isThere ? "and it exists" : "but there is no such object"), now: clock.now())
        // Others may have conditions there: what was changed meanwhile is read anew.
        if next.status != schema.status { _ = try await client.updateStatus(FlowControlDefaults.schemas, next) }
        return nil
    }
}
