// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// meta/v1: 53 types.
    static var meta_v1: StaticString {
#"""
APIGroup ^:TypeMeta:0: name:s:1:r versions:[GroupVersionForDiscovery:2:rA preferredVersion:GroupVersionForDiscovery:3:o serverAddressByClientCIDRs:[ServerAddressByClientCIDR:4:oA
APIGroupList ^:TypeMeta:0: groups:[APIGroup:1:rA
APIResource name:s:1:r singularName:s:6:r namespaced:b:2:r group:s:8:o version:s:9:o kind:s:3:r verbs:[s:4:r:n=Verbs shortNames:[s:5:oA categories:[s:7:oA storageVersionHash:s:10:o
APIResourceList ^:TypeMeta:0: groupVersion:s:1:r resources:[APIResource:2:rA
APIVersions ^:TypeMeta:0: versions:[s:1:rA serverAddressByClientCIDRs:[ServerAddressByClientCIDR:2:rA
ApplyOptions ^:TypeMeta:0: dryRun:[s:1:oA force:b:2:r fieldManager:s:3:r
CauseType =
Condition type:s:1:r status:=ConditionStatus:2:r observedGeneration:l:3:o lastTransitionTime:t:4:r reason:s:5:r message:s:6:r
ConditionStatus =
CreateOptions ^:TypeMeta:0: dryRun:[s:1:oA fieldManager:s:3:o fieldValidation:s:4:o
DeleteOptions ^:TypeMeta:0: gracePeriodSeconds:l:1:op preconditions:Preconditions:2:op orphanDependents:b:3:op propagationPolicy:=DeletionPropagation:4:op dryRun:[s:5:oA ignoreStoreReadErrorWithClusterBreakingPotential:b:6:op
DeletionPropagation =
FieldSelectorOperator =
FieldSelectorRequirement key:s:1:r operator:=FieldSelectorOperator:2:r values:[s:3:oA
GetOptions ^:TypeMeta:0: resourceVersion:s:1:o
GroupKind group:s:1:r kind:s:2:r
GroupResource group:s:1:r resource:s:2:r
GroupVersion group:s:1:r version:s:2:r
GroupVersionForDiscovery groupVersion:s:1:r version:s:2:r
GroupVersionKind group:s:1:r version:s:2:r kind:s:3:r
GroupVersionResource group:s:1:r version:s:2:r resource:s:3:r
IncludeObjectPolicy =
LabelSelector matchLabels:{s:1:o matchExpressions:[LabelSelectorRequirement:2:oA
LabelSelectorOperator =
LabelSelectorRequirement key:s:1:r operator:=LabelSelectorOperator:2:r values:[s:3:oA
List ^:TypeMeta:0: metadata:ListMeta:1:o items:[r:2:r
ListMeta selfLink:s:1:o resourceVersion:s:2:o continue:s:3:o remainingItemCount:l:4:op shardInfo:ShardInfo:5:op
ListOptions ^:TypeMeta:0: labelSelector:s:1:o fieldSelector:s:2:o watch:b:3:o allowWatchBookmarks:b:9:o resourceVersion:s:4:o resourceVersionMatch:=ResourceVersionMatch:10:o timeoutSeconds:l:5:op limit:l:7:o continue:s:8:o sendInitialEvents:b:11:op shardSelector:s:15:o
ManagedFieldsEntry manager:s:1:o operation:=ManagedFieldsOperationType:2:o apiVersion:s:3:o time:t:4:op fieldsType:s:6:o fieldsV1:v:7:op subresource:s:8:o
ManagedFieldsOperationType =
ObjectMeta name:s:1:o generateName:s:2:o namespace:s:3:o selfLink:s:4:o uid:s:5:o:n=types.UID resourceVersion:s:6:o generation:l:7:o creationTimestamp:t:8:oz deletionTimestamp:t:9:op deletionGracePeriodSeconds:l:10:op labels:{s:11:o annotations:{s:12:o ownerReferences:[OwnerReference:13:oM+:k=uid;g=uid finalizers:[s:14:oS+ managedFields:[ManagedFieldsEntry:17:oA
OwnerReference apiVersion:s:5:r kind:s:1:r name:s:3:r uid:s:4:r:n=types.UID controller:b:6:op blockOwnerDeletion:b:7:op
PartialObjectMetadata ^:TypeMeta:0: metadata:ObjectMeta:1:o
PartialObjectMetadataList ^:TypeMeta:0: metadata:ListMeta:1:o items:[PartialObjectMetadata:2:r
PatchOptions ^:TypeMeta:0: dryRun:[s:1:oA force:b:2:op fieldManager:s:3:o fieldValidation:s:4:o
Preconditions uid:s:1:op:n=types.UID resourceVersion:s:2:op
ResourceVersionMatch =
RootPaths paths:[s:1:rA
RowConditionType =
ServerAddressByClientCIDR clientCIDR:s:1:r serverAddress:s:2:r
ShardInfo selector:s:1:r
Status ^:TypeMeta:0: metadata:ListMeta:1:o status:s:2:o message:s:3:o reason:=StatusReason:4:o details:StatusDetails:5:op code:i:6:o
StatusCause reason:=CauseType:1:o message:s:2:o field:s:3:o
StatusDetails name:s:1:o group:s:2:o kind:s:3:o uid:s:6:o:n=types.UID causes:[StatusCause:4:oA retryAfterSeconds:i:5:o
StatusReason =
Table ^:TypeMeta:0: metadata:ListMeta:0:o columnDefinitions:[TableColumnDefinition:0:rA rows:[TableRow:0:rA
TableColumnDefinition name:s:0:r type:s:0:r format:s:0:r description:s:0:r priority:i:0:r
TableOptions ^:TypeMeta:0: includeObject:=IncludeObjectPolicy:1:o
TableRow cells:[j:0:rA conditions:[TableRowCondition:0:oA object:r:0:o
TableRowCondition type:=RowConditionType:0:r status:=ConditionStatus:0:r reason:s:0:o message:s:0:o
TypeMeta kind:s:1:o apiVersion:s:2:o
UpdateOptions ^:TypeMeta:0: dryRun:[s:1:oA fieldManager:s:2:o fieldValidation:s:3:o
WatchEvent type:s:1:r object:r:2:r
"""#
    }
}
