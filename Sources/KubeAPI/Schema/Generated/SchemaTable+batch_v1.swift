// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// batch/v1: 23 types.
    static var batch_v1: StaticString {
#"""
CompletionMode =Indexed,NonIndexed
ConcurrencyPolicy =Allow,Forbid,Replace
CronJob ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CronJobSpec:2:ro status:CronJobStatus:3:o
CronJobList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CronJob:2:r
CronJobSpec schedule:s:1:r timeZone:s:8:op startingDeadlineSeconds:l:2:op concurrencyPolicy:=ConcurrencyPolicy:3:o:d="Allow" suspend:b:4:op:d=false jobTemplate:JobTemplateSpec:5:r successfulJobsHistoryLimit:i:6:op:d=3 failedJobsHistoryLimit:i:7:op:d=1
CronJobStatus active:[core/v1.ObjectReference:1:oA lastScheduleTime:t:4:op lastSuccessfulTime:t:5:op
Job ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:JobSpec:2:o status:JobStatus:3:o
JobCondition type:=JobConditionType:1:r status:=core/v1.ConditionStatus:2:r lastProbeTime:t:3:o lastTransitionTime:t:4:o reason:s:5:o message:s:6:o
JobConditionType =
JobList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Job:2:r
JobSpec parallelism:i:1:op completions:i:2:op activeDeadlineSeconds:l:3:op podFailurePolicy:PodFailurePolicy:11:op successPolicy:SuccessPolicy:16:op backoffLimit:i:7:op backoffLimitPerIndex:i:12:op maxFailedIndexes:i:13:op selector:meta/v1.LabelSelector:4:opX manualSelector:b:5:op template:core/v1.PodTemplateSpec:6:r ttlSecondsAfterFinished:i:8:op completionMode:=CompletionMode:9:op suspend:b:10:op podReplacementPolicy:=PodReplacementPolicy:14:op managedBy:s:15:op
JobStatus conditions:[JobCondition:1:oA+:g=type startTime:t:2:op completionTime:t:3:op active:i:4:o succeeded:i:5:o failed:i:6:o terminating:i:11:op completedIndexes:s:7:o failedIndexes:s:10:op uncountedTerminatedPods:UncountedTerminatedPods:8:op ready:i:9:op
JobTemplateSpec metadata:meta/v1.ObjectMeta:1:o spec:JobSpec:2:o
PodFailurePolicy rules:[PodFailurePolicyRule:1:rA
PodFailurePolicyAction =Count,FailIndex,FailJob,Ignore
PodFailurePolicyOnExitCodesOperator =In,NotIn
PodFailurePolicyOnExitCodesRequirement containerName:s:1:op operator:=PodFailurePolicyOnExitCodesOperator:2:r values:[i:3:rS
PodFailurePolicyOnPodConditionsPattern type:=core/v1.PodConditionType:1:r status:=core/v1.ConditionStatus:2::d="True"
PodFailurePolicyRule action:=PodFailurePolicyAction:1:r onExitCodes:PodFailurePolicyOnExitCodesRequirement:2:op onPodConditions:[PodFailurePolicyOnPodConditionsPattern:3:oA
PodReplacementPolicy =Failed,TerminatingOrFailed
SuccessPolicy rules:[SuccessPolicyRule:1:rA
SuccessPolicyRule succeededIndexes:s:1:op succeededCount:i:2:op
UncountedTerminatedPods succeeded:[s:1:oS failed:[s:2:oS
"""#
    }
}
