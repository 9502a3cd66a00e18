/// The names by which the API's kinds and resources are known.
/// Source: k8s.io/apimachinery/pkg/runtime/schema and the API conventions.

package struct GroupVersion: Sendable, Hashable, CustomStringConvertible {
    /// "" for the core group.
    package var group: String
    package var version: String

    package init(_ group: String, _ version: String) { (self.group, self.version) = (group, version) }

    /// "v1" or "apps/v1"; nil for anything else.
    package init?(_ apiVersion: String) {
        let parts = apiVersion.split(separator: "/", omittingEmptySubsequences: false)
        switch parts.count {
        case 1 where !parts[0].isEmpty: self.init("", String(parts[0]))
        case 2 where !parts[1].isEmpty: self.init(String(parts[0]), String(parts[1]))
        default: return nil
        }
    }

    package var description: String { group.isEmpty ? version : group + "/" + version }
    package static let core = GroupVersion("", "v1")
    package static let apps = GroupVersion("apps", "v1")
}

package struct GroupVersionKind: Sendable, Hashable, CustomStringConvertible {
    package var group: String
    package var version: String
    package var kind: String

    package init(_ group: String, _ version: String, _ kind: String) {
        (self.group, self.version, self.kind) = (group, version, kind)
    }
    package init(_ gv: GroupVersion, _ kind: String) { self.init(gv.group, gv.version, kind) }
    package var groupVersion: GroupVersion { GroupVersion(group, version) }
    /// As Go prints it: "apps/v1, Kind=Deployment"
    package var description: String { "\(groupVersion), Kind=\(kind)" }
}

package struct GroupVersionResource: Sendable, Hashable, CustomStringConvertible {
    package var group: String
    package var version: String
    /// Plural, lower case: "deployments".
    package var resource: String

    package init(_ group: String, _ version: String, _ resource: String) {
        (self.group, self.version, self.resource) = (group, version, resource)
    }
    package var groupVersion: GroupVersion { GroupVersion(group, version) }
    /// "deployments.apps", "pods": as error messages name a resource.
    package var groupResource: String { group.isEmpty ? resource : resource + "." + group }
    package var description: String { "\(groupVersion)/\(resource)" }
}

extension GroupVersionResource {
    package static let namespaces = Self("", "v1", "namespaces")
    package static let nodes = Self("", "v1", "nodes")
    package static let pods = Self("", "v1", "pods")
    package static let services = Self("", "v1", "services")
    package static let endpoints = Self("", "v1", "endpoints")
    package static let configMaps = Self("", "v1", "configmaps")
    package static let secrets = Self("", "v1", "secrets")
    package static let serviceAccounts = Self("", "v1", "serviceaccounts")
    package static let events = Self("", "v1", "events")
    package static let addons = Self("k3s.cattle.io", "v1", "addons")
    package static let endpointSlices = Self("discovery.k8s.io", "v1", "endpointslices")
    package static let networkPolicies = Self("networking.k8s.io", "v1", "networkpolicies")
    package static let leases = Self("coordination.k8s.io", "v1", "leases")
    package static let persistentVolumeClaims = Self("", "v1", "persistentvolumeclaims")
    package static let persistentVolumes = Self("", "v1", "persistentvolumes")
    package static let storageClasses = Self("storage.k8s.io", "v1", "storageclasses")
    package static let csiNodes = Self("storage.k8s.io", "v1", "csinodes")
    package static let csiDrivers = Self("storage.k8s.io", "v1", "csidrivers")
    package static let csiStorageCapacities = Self("storage.k8s.io", "v1", "csistoragecapacities")
    package static let volumeAttachments = Self("storage.k8s.io", "v1", "volumeattachments")
    package static let resourceClaims = Self("resource.k8s.io", "v1", "resourceclaims")
    package static let resourceClaimTemplates = Self("resource.k8s.io", "v1", "resourceclaimtemplates")
    package static let resourceSlices = Self("resource.k8s.io", "v1", "resourceslices")
    package static let deviceClasses = Self("resource.k8s.io", "v1", "deviceclasses")
    package static let deployments = Self("apps", "v1", "deployments")
    package static let replicaSets = Self("apps", "v1", "replicasets")
    package static let roles = Self("rbac.authorization.k8s.io", "v1", "roles")
    package static let roleBindings = Self("rbac.authorization.k8s.io", "v1", "rolebindings")
    package static let clusterRoles = Self("rbac.authorization.k8s.io", "v1", "clusterroles")
    package static let clusterRoleBindings = Self("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
}
