// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// Sorted by name.
    static let packages: [Package] = [
        Package(name: "admission/v1", group: "admission.k8s.io", version: "v1", model: "io.k8s.api.admission.v1", text: admission_v1),
        Package(name: "admissionregistration/v1", group: "admissionregistration.k8s.io", version: "v1", model: "io.k8s.api.admissionregistration.v1", text: admissionregistration_v1),
        Package(name: "admissionregistration/v1beta1", group: "admissionregistration.k8s.io", version: "v1beta1", model: "io.k8s.api.admissionregistration.v1beta1", text: admissionregistration_v1beta1),
        Package(name: "apidiscovery/v2", group: "apidiscovery.k8s.io", version: "v2", model: "io.k8s.api.apidiscovery.v2", text: apidiscovery_v2),
        Package(name: "apiextensions/v1", group: "apiextensions.k8s.io", version: "v1", model: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", text: apiextensions_v1),
        Package(name: "apiregistration/v1", group: "apiregistration.k8s.io", version: "v1", model: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", text: apiregistration_v1),
        Package(name: "apps/v1", group: "apps", version: "v1", model: "io.k8s.api.apps.v1", text: apps_v1),
        Package(name: "authentication/v1", group: "authentication.k8s.io", version: "v1", model: "io.k8s.api.authentication.v1", text: authentication_v1),
        Package(name: "authorization/v1", group: "authorization.k8s.io", version: "v1", model: "io.k8s.api.authorization.v1", text: authorization_v1),
        Package(name: "autoscaling/v1", group: "autoscaling", version: "v1", model: "io.k8s.api.autoscaling.v1", text: autoscaling_v1),
        Package(name: "autoscaling/v2", group: "autoscaling", version: "v2", model: "io.k8s.api.autoscaling.v2", text: autoscaling_v2),
        Package(name: "batch/v1", group: "batch", version: "v1", model: "io.k8s.api.batch.v1", text: batch_v1),
        Package(name: "certificates/v1", group: "certificates.k8s.io", version: "v1", model: "io.k8s.api.certificates.v1", text: certificates_v1),
        Package(name: "certificates/v1beta1", group: "certificates.k8s.io", version: "v1beta1", model: "io.k8s.api.certificates.v1beta1", text: certificates_v1beta1),
        Package(name: "coordination/v1", group: "coordination.k8s.io", version: "v1", model: "io.k8s.api.coordination.v1", text: coordination_v1),
        Package(name: "coordination/v1beta1", group: "coordination.k8s.io", version: "v1beta1", model: "io.k8s.api.coordination.v1beta1", text: coordination_v1beta1),
        Package(name: "core/v1", group: "", version: "v1", model: "io.k8s.api.core.v1", text: core_v1),
        Package(name: "discovery/v1", group: "discovery.k8s.io", version: "v1", model: "io.k8s.api.discovery.v1", text: discovery_v1),
        Package(name: "events/v1", group: "events.k8s.io", version: "v1", model: "io.k8s.api.events.v1", text: events_v1),
        Package(name: "flowcontrol/v1", group: "flowcontrol.apiserver.k8s.io", version: "v1", model: "io.k8s.api.flowcontrol.v1", text: flowcontrol_v1),
        Package(name: "k3s/v1", group: "k3s.cattle.io", version: "v1", model: "io.cattle.k3s.v1", text: k3s_v1),
        Package(name: "meta/v1", group: "", version: "v1", model: "io.k8s.apimachinery.pkg.apis.meta.v1", text: meta_v1),
        Package(name: "metrics/v1beta1", group: "metrics.k8s.io", version: "v1beta1", model: "io.k8s.metrics.pkg.apis.metrics.v1beta1", text: metrics_v1beta1),
        Package(name: "networking/v1", group: "networking.k8s.io", version: "v1", model: "io.k8s.api.networking.v1", text: networking_v1),
        Package(name: "networking/v1beta1", group: "networking.k8s.io", version: "v1beta1", model: "io.k8s.api.networking.v1beta1", text: networking_v1beta1),
        Package(name: "node/v1", group: "node.k8s.io", version: "v1", model: "io.k8s.api.node.v1", text: node_v1),
        Package(name: "policy/v1", group: "policy", version: "v1", model: "io.k8s.api.policy.v1", text: policy_v1),
        Package(name: "rbac/v1", group: "rbac.authorization.k8s.io", version: "v1", model: "io.k8s.api.rbac.v1", text: rbac_v1),
        Package(name: "resource/v1", group: "resource.k8s.io", version: "v1", model: "io.k8s.api.resource.v1", text: resource_v1),
        Package(name: "resource/v1beta1", group: "resource.k8s.io", version: "v1beta1", model: "io.k8s.api.resource.v1beta1", text: resource_v1beta1),
        Package(name: "resource/v1beta2", group: "resource.k8s.io", version: "v1beta2", model: "io.k8s.api.resource.v1beta2", text: resource_v1beta2),
        Package(name: "scheduling/v1", group: "scheduling.k8s.io", version: "v1", model: "io.k8s.api.scheduling.v1", text: scheduling_v1),
        Package(name: "storage/v1", group: "storage.k8s.io", version: "v1", model: "io.k8s.api.storage.v1", text: storage_v1),
        Package(name: "storage/v1beta1", group: "storage.k8s.io", version: "v1beta1", model: "io.k8s.api.storage.v1beta1", text: storage_v1beta1),
        Package(name: "storagemigration/v1beta1", group: "storagemigration.k8s.io", version: "v1beta1", model: "io.k8s.api.storagemigration.v1beta1", text: storagemigration_v1beta1),
    ]
}
