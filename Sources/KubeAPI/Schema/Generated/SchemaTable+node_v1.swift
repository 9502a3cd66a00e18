// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// node/v1: 4 types.
    static var node_v1: StaticString {
#"""
Overhead podFixed:{q:1:o:n=core/v1.ResourceList
RuntimeClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o handler:s:2:r overhead:Overhead:3:op scheduling:Scheduling:4:op
RuntimeClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[RuntimeClass:2:r
Scheduling nodeSelector:{s:1:oX tolerations:[core/v1.Toleration:2:oA
"""#
    }
}
