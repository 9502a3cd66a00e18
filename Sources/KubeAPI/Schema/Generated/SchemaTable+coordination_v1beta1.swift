// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// coordination/v1beta1: 6 types.
    static var coordination_v1beta1: StaticString {
#"""
Lease ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:LeaseSpec:2:o
LeaseCandidate ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:LeaseCandidateSpec:2:ro
LeaseCandidateList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[LeaseCandidate:2:r
LeaseCandidateSpec leaseName:s:1:r pingTime:m:2:op renewTime:m:3:op binaryVersion:s:4:r emulationVersion:s:5:o strategy:=coordination/v1.CoordinatedLeaseStrategy:6:ro
LeaseList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Lease:2:r
LeaseSpec holderIdentity:s:1:op leaseDurationSeconds:i:2:op acquireTime:m:3:op renewTime:m:4:op leaseTransitions:i:5:op strategy:=coordination/v1.CoordinatedLeaseStrategy:6:op preferredHolder:s:7:op
"""#
    }
}
