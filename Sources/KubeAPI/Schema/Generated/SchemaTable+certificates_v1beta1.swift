// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// certificates/v1beta1: 14 types.
    static var certificates_v1beta1: StaticString {
#"""
CertificateSigningRequest ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CertificateSigningRequestSpec:2:r status:CertificateSigningRequestStatus:3:o
CertificateSigningRequestCondition type:=RequestConditionType:1:r status:=core/v1.ConditionStatus:6: reason:s:2:o message:s:3:o lastUpdateTime:t:4:o lastTransitionTime:t:5:o
CertificateSigningRequestList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CertificateSigningRequest:2:r
CertificateSigningRequestSpec request:y:1:r signerName:s:7:op expirationSeconds:i:8:op usages:[=KeyUsage:5:oA username:s:2:o uid:s:3:o groups:[s:4:oA extra:{[s:6:o
CertificateSigningRequestStatus conditions:[CertificateSigningRequestCondition:1:oM:k=type certificate:y:2:o
ClusterTrustBundle ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ClusterTrustBundleSpec:2:r
ClusterTrustBundleList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ClusterTrustBundle:2:r
ClusterTrustBundleSpec signerName:s:1:o trustBundle:s:2:r
KeyUsage =
PodCertificateRequest ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PodCertificateRequestSpec:2:r status:PodCertificateRequestStatus:3:o
PodCertificateRequestList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PodCertificateRequest:2:r
PodCertificateRequestSpec signerName:s:1:r podName:s:2:r podUID:s:3:r:n=types.UID serviceAccountName:s:4:r serviceAccountUID:s:5:r:n=types.UID nodeName:s:6:r:n=types.NodeName nodeUID:s:7:r:n=types.UID maxExpirationSeconds:i:8:op:d=86400 pkixPublicKey:y:9: proofOfPossession:y:10: stubPKCS10Request:y:12:r unverifiedUserAnnotations:{s:11:o
PodCertificateRequestStatus conditions:[meta/v1.Condition:1:oM+:k=type;g=type certificateChain:s:2:o notBefore:t:4:op beginRefreshAt:t:5:op notAfter:t:6:op
RequestConditionType =
"""#
    }
}
