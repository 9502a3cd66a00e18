// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// admission/v1: 5 types.
    static var admission_v1: StaticString {
#"""
AdmissionRequest uid:s:1::n=types.UID kind:meta/v1.GroupVersionKind:2: resource:meta/v1.GroupVersionResource:3: subResource:s:4:o requestKind:meta/v1.GroupVersionKind:13:op requestResource:meta/v1.GroupVersionResource:14:op requestSubResource:s:15:o name:s:5:o namespace:s:6:o operation:=Operation:7: userInfo:authentication/v1.UserInfo:8: object:r:9:o oldObject:r:10:o dryRun:b:11:op options:r:12:o
AdmissionResponse uid:s:1::n=types.UID allowed:b:2: status:meta/v1.Status:3:op patch:y:4:o patchType:=PatchType:5:op auditAnnotations:{s:6:o warnings:[s:7:oA
AdmissionReview ^:meta/v1.TypeMeta:0: request:AdmissionRequest:1:op response:AdmissionResponse:2:op
Operation =
PatchType =
"""#
    }
}
