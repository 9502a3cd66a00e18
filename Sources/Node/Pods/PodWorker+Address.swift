internal import Codecs
internal import KubeAPI
package import Netlink

extension NodeAgent {
    /// Whether an address and a TCP port are those of a pod of this node: any port of a pod's own address, and of the
    /// node's addresses the ports that pods on the host's network declare. Source: k3s's pkg/agent/tunnel, mode `pod`.
    package func hasPod(at address: IPAddress, port: UInt16) async -> Bool {
        for worker in pods.workers where await worker.isAt(address, port) { return true }
        return false
    }
}

extension PodWorker {
    func isAt(_ address: IPAddress, _ port: UInt16) -> Bool {
        guard stage == .setup || stage == .running, let pod = decode(), !pod.object.isBeingDeleted else { return false }
        let addresses = pod.hostNetwork ? context.configuration.internalIPs : state.sandbox?.addresses ?? []
        guard addresses.contains(where: { IPAddress($0) == address }) else { return false }
        guard pod.hostNetwork else { return true }
        return pod.containers.contains { container in
            container.json["ports"].elements.contains {
                ($0["protocol"].string ?? "TCP") == "TCP" && $0["containerPort"].int == Int64(port)
            }
        }
    }
}
