internal import Codecs
internal import KubeAPI

/// Which audiences a node may have tokens for: those that the pod's volumes name, those of the CSI drivers behind them, and
/// those that it is authorized for. Source: KEP-4412, plugin/pkg/admission/noderestriction.
extension NodeRestriction {
    static func audience(
        _ request: AdmissionRequest, _ registry: Registry, _ authorizer: (any Authorizer)?
    ) async throws(APIError) {
        guard request.subresource == "token", request.operation == .create else { return }
        let asked = request.object.spec["audiences"].elements.compactMap(\.string)
        if asked.count > 1 { throw request.forbidden("node may only request 0 or 1 audiences") }
        let audience = asked.first ?? ""
        let name = request.object.spec["boundObjectRef"]["name"].string ?? ""
        let pod = try registry.get(try registry.resource(.pods), namespace: request.namespace, name: name).decode()
        var unknown: APIError?
        do throws(APIError) {
            if try names(pod, audience, registry) { return }
        } catch {
            unknown = error
        }
        let user = request.scope.user
        let decision = await authorizer?.authorize(
            AuthorizationAttributes(
                user: user, verb: "request-serviceaccounts-token-audience", group: "", version: "v1",
                resource: audience, namespace: request.namespace, name: request.name))
        if decision?.isAllowed ?? false { return }
        let quoted = JSON.string(audience).text
        if let unknown { throw request.forbidden("error validating audience \(quoted): \(unknown.message)") }
        throw request.forbidden(
            "audience \(quoted) not found in pod spec volume, \(user.name) is not authorized to request tokens for this "
                + "audience")
    }

    private static func names(_ pod: KubeObject, _ audience: String, _ registry: Registry) throws(APIError) -> Bool {
        var drivers: Set<String> = []
        for volume in pod.spec["volumes"].elements {
            let tokens = volume["projected"]["sources"].elements.map { $0["serviceAccountToken"] }
            if tokens.contains(where: { !$0.isNull && $0["audience"].string ?? "" == audience }) { return true }
            if let driver = volume["csi"]["driver"].string { drivers.insert(driver) }
            guard let claim = pod.claimName(of: volume) else { continue }
            let bound = try registry.get(
                try registry.resource(.persistentVolumeClaims), namespace: pod.namespace, name: claim
            ).decode().spec["volumeName"].string
            let disk = try registry.get(
                try registry.resource(.persistentVolumes), namespace: "", name: bound ?? ""
            ).decode()
            if let driver = disk.spec["csi"]["driver"].string { drivers.insert(driver) }
        }
        let row = try registry.resource(GroupVersionResource("storage.k8s.io", "v1", "csidrivers"))
        for driver in drivers {
            let tokens = try registry.get(row, namespace: "", name: driver).decode().spec["tokenRequests"].elements
            if tokens.contains(where: { $0["audience"].string ?? "" == audience }) { return true }
        }
        return false
    }
}
