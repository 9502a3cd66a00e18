// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// coordination/v1: 4 types.
    static var coordination_v1: StaticString {
#"""
CoordinatedLeaseStrategy =
Lease ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:LeaseSpec:2:o
LeaseList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Lease:2:r
LeaseSpec holderIdentity:s:1:op leaseDurationSeconds:i:2:op acquireTime:m:3:op renewTime:m:4:op leaseTransitions:i:5:op strategy:=CoordinatedLeaseStrategy:6:op preferredHolder:s:7:op
"""#
    }
}
