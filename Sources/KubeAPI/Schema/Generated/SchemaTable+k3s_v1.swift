// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// k3s/v1: 3 types.
    static var k3s_v1: StaticString {
#"""
Addon ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:AddonSpec:2:o
AddonList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Addon:2:r
AddonSpec source:s:1:o checksum:s:2:o
"""#
    }
}
