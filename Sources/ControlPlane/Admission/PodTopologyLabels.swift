internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// A pod with a node has the node's zone and region as labels, unless it says something else of itself.
    /// Source: KEP-4742, plugin/pkg/admission/podtopologylabels.
    package static let podTopologyLabels = AdmissionPlugin(
        "PodTopologyLabels", operations: [.create, .update], resources: [.pods],
        mutate: { request, registry throws(APIError) in
            guard request.operation == .create ? request.subresource.isEmpty : request.subresource == "binding",
                let name = request.object.spec["nodeName"].string, !name.isEmpty,
                let entry = registry.store.get(try registry.resource(.nodes).key("", name))
            else { return }
            let labels = try KubeObject(decoding: entry).labels
            for key in ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"] {
                guard let value = labels[key], request.object.labels[key] == nil else { continue }
                request.object.labels[key] = value
            }
        })
}
