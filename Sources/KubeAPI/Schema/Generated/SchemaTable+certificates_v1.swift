// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// certificates/v1: 7 types.
    static var certificates_v1: StaticString {
#"""
CertificateSigningRequest ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CertificateSigningRequestSpec:2:r status:CertificateSigningRequestStatus:3:o
CertificateSigningRequestCondition type:=RequestConditionType:1:r status:=core/v1.ConditionStatus:6:r reason:s:2:o message:s:3:o lastUpdateTime:t:4:o lastTransitionTime:t:5:o
CertificateSigningRequestList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CertificateSigningRequest:2:r
CertificateSigningRequestSpec request:y:1:r signerName:s:7:r expirationSeconds:i:8:op usages:[=KeyUsage:5:oA username:s:2:o uid:s:3:o groups:[s:4:oA extra:{[s:6:o
CertificateSigningRequestStatus conditions:[CertificateSigningRequestCondition:1:oM:k=type certificate:y:2:o
KeyUsage =any,cert sign,client auth,code signing,content commitment,crl sign,data encipherment,decipher only,digital signature,email protection,encipher only,ipsec end system,ipsec tunnel,ipsec user,key agreement,key encipherment,microsoft sgc,netscape sgc,ocsp signing,s/mime,server auth,signing,timestamping
RequestConditionType =
"""#
    }
}
