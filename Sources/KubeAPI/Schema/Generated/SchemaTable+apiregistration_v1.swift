// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// apiregistration/v1: 8 types.
    static var apiregistration_v1: StaticString {
#"""
APIService ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:APIServiceSpec:2:o status:APIServiceStatus:3:o
APIServiceCondition type:=APIServiceConditionType:1:r status:=ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
APIServiceConditionType =
APIServiceList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[APIService:2:r
APIServiceSpec service:ServiceReference:1:op group:s:2:o version:s:3:o insecureSkipTLSVerify:b:4:o caBundle:y:5:oA groupPriorityMinimum:i:7:r versionPriority:i:8:r
APIServiceStatus conditions:[APIServiceCondition:1:oM+:k=type;g=type
ConditionStatus =
ServiceReference namespace:s:1:o name:s:2:o port:i:3:op:d=443
"""#
    }
}
