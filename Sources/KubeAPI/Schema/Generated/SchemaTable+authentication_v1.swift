// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// authentication/v1: 10 types.
    static var authentication_v1: StaticString {
#"""
BoundObjectReference kind:s:1:o apiVersion:s:2:o name:s:3:o uid:s:4:o:n=types.UID
SelfSubjectReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o status:SelfSubjectReviewStatus:2:o
SelfSubjectReviewStatus userInfo:UserInfo:1:o
TokenRequest ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:TokenRequestSpec:2: status:TokenRequestStatus:3:o
TokenRequestSpec audiences:[s:1:A expirationSeconds:l:4:p:d=3600 boundObjectRef:BoundObjectReference:3:p
TokenRequestStatus token:s:1: expirationTimestamp:t:2:
TokenReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:TokenReviewSpec:2:r status:TokenReviewStatus:3:o
TokenReviewSpec token:s:1:ro audiences:[s:2:oA
TokenReviewStatus authenticated:b:1:o user:UserInfo:2:o audiences:[s:4:oA error:s:3:o
UserInfo username:s:1:o uid:s:2:o groups:[s:3:oA extra:{[s:4:o
"""#
    }
}
