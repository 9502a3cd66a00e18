internal import Codecs
package import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// Devices that others use are for administrators: the namespace's label says who is one. Upstream asks this in the
    /// kinds' strategies. Source: pkg/registry/resource/resourceclaim, AuthorizedForAdmin.
    package static let deviceAdminAccess = AdmissionPlugin(
        "DeviceAdminAccess", operations: [.create], resources: [.resourceClaims, .resourceClaimTemplates],
        validate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty else { return }
            let isTemplate = request.resource == .resourceClaimTemplates
            let spec = isTemplate ? request.object.spec["spec"] : request.object.spec
            let asking = spec["devices"]["requests"].elements.enumerated().filter {
                $0.element["exactly"]["adminAccess"].bool == true
            }
            if asking.isEmpty { return }
            let namespace = try registry.get(try registry.resource(.namespaces), namespace: "", name: request.namespace)
                .decode()
            if namespace.labels[adminAccess] == "true" { return }
            let path = isTemplate ? "spec.spec" : "spec"
            throw .invalid(
                GroupVersionKind(
                    "resource.k8s.io", "v1", isTemplate ? "ResourceClaimTemplate" : "ResourceClaim"),
                request.object.name,
                asking.map { i, _ in
                    .forbidden(
                        "\(path).devices.requests[\(i)].adminAccess",
                        "admin access to devices requires the `\(adminAccess): true` label on the containing namespace")
                })
        })

    private static let adminAccess = "resource.kubernetes.io/admin-access"
}
