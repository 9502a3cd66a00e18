// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// flowcontrol/v1: 30 types.
    static var flowcontrol_v1: StaticString {
#"""
ConditionStatus =
ExemptPriorityLevelConfiguration nominalConcurrencyShares:i:1:op:d=0 lendablePercent:i:2:op:d=0
FlowDistinguisherMethod type:=FlowDistinguisherMethodType:1:r
FlowDistinguisherMethodType =
FlowSchema ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:FlowSchemaSpec:2:o status:FlowSchemaStatus:3:o
FlowSchemaCondition type:=FlowSchemaConditionType:1:o status:=ConditionStatus:2:o lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
FlowSchemaConditionType =
FlowSchemaList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[FlowSchema:2:r
FlowSchemaSpec priorityLevelConfiguration:PriorityLevelConfigurationReference:1:r matchingPrecedence:i:2::d=1000 distinguisherMethod:FlowDistinguisherMethod:3:op rules:[PolicyRulesWithSubjects:4:oA
FlowSchemaStatus conditions:[FlowSchemaCondition:1:oM+:k=type;g=type
GroupSubject name:s:1:r
LimitResponse type:=LimitResponseType:1:r queuing:QueuingConfiguration:2:op
LimitResponseType =
LimitedPriorityLevelConfiguration nominalConcurrencyShares:i:1:p:d=30 limitResponse:LimitResponse:2:o lendablePercent:i:3:op:d=0 borrowingLimitPercent:i:4:op
NonResourcePolicyRule verbs:[s:1:rS nonResourceURLs:[s:6:rS
PolicyRulesWithSubjects subjects:[Subject:1:rA resourceRules:[ResourcePolicyRule:2:oA nonResourceRules:[NonResourcePolicyRule:3:oA
PriorityLevelConfiguration ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PriorityLevelConfigurationSpec:2:o status:PriorityLevelConfigurationStatus:3:o
PriorityLevelConfigurationCondition type:=PriorityLevelConfigurationConditionType:1:o status:=ConditionStatus:2:o lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
PriorityLevelConfigurationConditionType =
PriorityLevelConfigurationList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PriorityLevelConfiguration:2:r
PriorityLevelConfigurationReference name:s:1:r
PriorityLevelConfigurationSpec type:=PriorityLevelEnablement:1:r limited:LimitedPriorityLevelConfiguration:2:op exempt:ExemptPriorityLevelConfiguration:3:op
PriorityLevelConfigurationStatus conditions:[PriorityLevelConfigurationCondition:1:oM+:k=type;g=type
PriorityLevelEnablement =
QueuingConfiguration queues:i:1::d=64 handSize:i:2::d=8 queueLengthLimit:i:3::d=50
ResourcePolicyRule verbs:[s:1:rS apiGroups:[s:2:rS resources:[s:3:rS clusterScope:b:4:o namespaces:[s:5:S
ServiceAccountSubject namespace:s:1:r name:s:2:r
Subject kind:=SubjectKind:1:r user:UserSubject:2:op group:GroupSubject:3:op serviceAccount:ServiceAccountSubject:4:op
SubjectKind =
UserSubject name:s:1:r
"""#
    }
}
