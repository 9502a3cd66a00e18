// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// scheduling/v1: 2 types.
    static var scheduling_v1: StaticString {
#"""
PriorityClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o value:i:2: globalDefault:b:3:o description:s:4:o preemptionPolicy:=core/v1.PreemptionPolicy:5:op:d="PreemptLowerPriority"
PriorityClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PriorityClass:2:r
"""#
    }
}
