internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
package import Transport

/// The node's HTTP interface: logs, exec, attach, port forwarding, pods, statistics. The API server of the same process
/// calls `handler` directly; on port 10250 it stands behind TLS and a check of the client's certificate.
package struct KubeletServer: Sendable {
    let agent: NodeAgent
    var context: NodeContext { agent.context }

    package init(_ agent: NodeAgent) { self.agent = agent }

    package var handler: HTTPHandler { { request in await self.respond(to: request) } }

    package func respond(to request: HTTPRequest) async -> HTTPResponse {
        let parts = request.path.split(separator: "/").map(String.init)
        guard let first = parts.first else { return .text("404 page not found\n", status: 404) }
        let isRead = request.method == "GET" || request.method == "HEAD"
        switch (first, parts.count) {
        case ("healthz", _), ("livez", _), ("readyz", _):
            return isRead ? .text("ok") : Self.methodNotAllowed
        case ("pods", 1), ("runningpods", 1): return isRead ? await pods() : Self.methodNotAllowed
        case ("stats", 2) where parts[1] == "summary": return await statsSummary()
        case ("metrics", 1): return .text(await metrics())
        case ("metrics", 2) where parts[1] == "resource": return .text(await resourceMetrics())
        case ("metrics", 2) where parts[1] == "cadvisor": return .text(await containerMetrics())
        case ("metrics", 2) where parts[1] == "probes": return .text("")
        case ("containerLogs", 4): return await logs(request, parts[1], parts[2], parts[3])
        case ("exec", 4): return await exec(request, parts[1], parts[2], parts[3])
        case ("exec", 5): return await exec(request, parts[1], parts[2], parts[4])
        case ("attach", 4): return await attach(request, parts[1], parts[2], parts[3])
        case ("attach", 5): return await attach(request, parts[1], parts[2], parts[4])
        case ("portForward", 3), ("portForward", 4): return await portForward(request, parts[1], parts[2])
        case ("run", 4): return await run(request, parts[1], parts[2], parts[3])
        case ("run", 5): return await run(request, parts[1], parts[2], parts[4])
        default: return .text("404 page not found\n", status: 404)
        }
    }

    static let methodNotAllowed = HTTPResponse.text("405: Method Not Allowed\n", status: 405)

    func worker(_ namespace: String, _ pod: String) -> PodWorker? {
        agent.pods.worker(namespace: namespace, name: pod)
    }

    /// What upstream answers where there is no such pod on the node.
    static func noPod(_ name: String) -> HTTPResponse { .text("pod \"\(name)\" does not exist\n", status: 404) }

    private func pods() async -> HTTPResponse {
        var items: [JSON] = []
        for worker in agent.pods.workers.sorted(by: { $0.key < $1.key }) {
            if let object = await worker.currentObject() { items.append(object.json) }
        }
        let list: JSON = ["kind": "PodList", "apiVersion": "v1", "metadata": [:], "items": .array(items)]
        return .json(list.encode())
    }
}
