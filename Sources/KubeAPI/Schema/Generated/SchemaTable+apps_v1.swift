// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// apps/v1: 39 types.
    static var apps_v1: StaticString {
#"""
ControllerRevision ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o data:r:2:o revision:l:3:r
ControllerRevisionList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ControllerRevision:2:r
DaemonSet ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:DaemonSetSpec:2:o status:DaemonSetStatus:3:o
DaemonSetCondition type:=DaemonSetConditionType:1:r status:=core/v1.ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
DaemonSetConditionType =
DaemonSetList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[DaemonSet:2:r
DaemonSetSpec selector:meta/v1.LabelSelector:1:rpX template:core/v1.PodTemplateSpec:2:r updateStrategy:DaemonSetUpdateStrategy:3:o minReadySeconds:i:4:o revisionHistoryLimit:i:6:op:d=10
DaemonSetStatus currentNumberScheduled:i:1:r numberMisscheduled:i:2:r desiredNumberScheduled:i:3:r numberReady:i:4:r observedGeneration:l:5:o updatedNumberScheduled:i:6:o numberAvailable:i:7:o numberUnavailable:i:8:o collisionCount:i:9:op conditions:[DaemonSetCondition:10:oM+:k=type;g=type
DaemonSetUpdateStrategy type:=DaemonSetUpdateStrategyType:1:o rollingUpdate:RollingUpdateDaemonSet:2:op
DaemonSetUpdateStrategyType =OnDelete,RollingUpdate
Deployment ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:DeploymentSpec:2:o status:DeploymentStatus:3:o
DeploymentCondition type:=DeploymentConditionType:1:r status:=core/v1.ConditionStatus:2:r lastUpdateTime:t:6:o lastTransitionTime:t:7:o reason:s:4:o message:s:5:o
DeploymentConditionType =
DeploymentList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Deployment:2:r
DeploymentSpec replicas:i:1:op:d=1 selector:meta/v1.LabelSelector:2:rpX template:core/v1.PodTemplateSpec:3:r strategy:DeploymentStrategy:4:oR minReadySeconds:i:5:o revisionHistoryLimit:i:6:op:d=10 paused:b:7:o progressDeadlineSeconds:i:9:op:d=600
DeploymentStatus observedGeneration:l:1:o replicas:i:2:o updatedReplicas:i:3:o readyReplicas:i:7:o availableReplicas:i:4:o unavailableReplicas:i:5:o terminatingReplicas:i:9:op conditions:[DeploymentCondition:6:oM+:k=type;g=type collisionCount:i:8:op
DeploymentStrategy type:=DeploymentStrategyType:1:o rollingUpdate:RollingUpdateDeployment:2:op
DeploymentStrategyType =Recreate,RollingUpdate
PersistentVolumeClaimRetentionPolicyType =
PodManagementPolicyType =OrderedReady,Parallel
ReplicaSet ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ReplicaSetSpec:2:o status:ReplicaSetStatus:3:o
ReplicaSetCondition type:=ReplicaSetConditionType:1:r status:=core/v1.ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
ReplicaSetConditionType =
ReplicaSetList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ReplicaSet:2:r
ReplicaSetSpec replicas:i:1:op:d=1 minReadySeconds:i:4:o selector:meta/v1.LabelSelector:2:rpX template:core/v1.PodTemplateSpec:3:o
ReplicaSetStatus replicas:i:1:r fullyLabeledReplicas:i:2:o readyReplicas:i:4:o availableReplicas:i:5:o terminatingReplicas:i:7:op observedGeneration:l:3:o conditions:[ReplicaSetCondition:6:oM+:k=type;g=type
RollingUpdateDaemonSet maxUnavailable:x:1:op maxSurge:x:2:op
RollingUpdateDeployment maxUnavailable:x:1:op maxSurge:x:2:op
RollingUpdateStatefulSetStrategy partition:i:1:op maxUnavailable:x:2:op
StatefulSet ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:StatefulSetSpec:2:o status:StatefulSetStatus:3:o
StatefulSetCondition type:=StatefulSetConditionType:1:r status:=core/v1.ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
StatefulSetConditionType =
StatefulSetList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[StatefulSet:2:r
StatefulSetOrdinals start:i:1:
StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted:=PersistentVolumeClaimRetentionPolicyType:1:o:d="Retain" whenScaled:=PersistentVolumeClaimRetentionPolicyType:2:o:d="Retain"
StatefulSetSpec replicas:i:1:op:d=1 selector:meta/v1.LabelSelector:2:rpX template:core/v1.PodTemplateSpec:3:r volumeClaimTemplates:[core/v1.PersistentVolumeClaim:4:oA serviceName:s:5: podManagementPolicy:=PodManagementPolicyType:6:o:d="OrderedReady" updateStrategy:StatefulSetUpdateStrategy:7:o revisionHistoryLimit:i:8:op:d=10 minReadySeconds:i:9:o persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy:10:op ordinals:StatefulSetOrdinals:11:op
StatefulSetStatus observedGeneration:l:1:o replicas:i:2:r readyReplicas:i:3:o currentReplicas:i:4:o updatedReplicas:i:5:o currentRevision:s:6:o updateRevision:s:7:o collisionCount:i:9:op conditions:[StatefulSetCondition:10:oM+:k=type;g=type availableReplicas:i:11:
StatefulSetUpdateStrategy type:=StatefulSetUpdateStrategyType:1:o rollingUpdate:RollingUpdateStatefulSetStrategy:2:op
StatefulSetUpdateStrategyType =OnDelete,RollingUpdate
"""#
    }
}
