// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// metrics/v1beta1: 5 types.
    static var metrics_v1beta1: StaticString {
#"""
ContainerMetrics name:s:1:r usage:{q:2:r:n=core/v1.ResourceList
NodeMetrics ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o timestamp:t:2:r window:d:3:r usage:{q:4:r:n=core/v1.ResourceList
NodeMetricsList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[NodeMetrics:2:r
PodMetrics ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o timestamp:t:2:r window:d:3:r containers:[ContainerMetrics:4:rA
PodMetricsList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PodMetrics:2:r
"""#
    }
}
