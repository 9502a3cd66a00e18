// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// autoscaling/v1: 23 types.
    static var autoscaling_v1: StaticString {
#"""
ContainerResourceMetricSource name:=core/v1.ResourceName:1:r targetAverageUtilization:i:2:op targetAverageValue:q:3:op container:s:5:r
ContainerResourceMetricStatus name:=core/v1.ResourceName:1:r currentAverageUtilization:i:2:op currentAverageValue:q:3:r container:s:4:r
CrossVersionObjectReference kind:s:1:r name:s:2:r apiVersion:s:3:o
ExternalMetricSource metricName:s:1:r metricSelector:meta/v1.LabelSelector:2:opX targetValue:q:3:op targetAverageValue:q:4:op
ExternalMetricStatus metricName:s:1:r metricSelector:meta/v1.LabelSelector:2:opX currentValue:q:3:r currentAverageValue:q:4:op
HorizontalPodAutoscaler ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:HorizontalPodAutoscalerSpec:2:ro status:HorizontalPodAutoscalerStatus:3:o
HorizontalPodAutoscalerCondition type:=HorizontalPodAutoscalerConditionType:1:r status:=core/v1.ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
HorizontalPodAutoscalerConditionType =
HorizontalPodAutoscalerList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[HorizontalPodAutoscaler:2:r
HorizontalPodAutoscalerSpec scaleTargetRef:CrossVersionObjectReference:1:rX minReplicas:i:2:op:d=1 maxReplicas:i:3:r targetCPUUtilizationPercentage:i:4:op
HorizontalPodAutoscalerStatus observedGeneration:l:1:op lastScaleTime:t:2:op currentReplicas:i:3:r desiredReplicas:i:4:r currentCPUUtilizationPercentage:i:5:op
MetricSourceType =ContainerResource,External,Object,Pods,Resource
MetricSpec type:=MetricSourceType:1:r object:ObjectMetricSource:2:op pods:PodsMetricSource:3:op resource:ResourceMetricSource:4:op containerResource:ContainerResourceMetricSource:7:op external:ExternalMetricSource:5:op
MetricStatus type:=MetricSourceType:1:r object:ObjectMetricStatus:2:op pods:PodsMetricStatus:3:op resource:ResourceMetricStatus:4:op containerResource:ContainerResourceMetricStatus:7:op external:ExternalMetricStatus:5:op
ObjectMetricSource target:CrossVersionObjectReference:1:rX metricName:s:2:r targetValue:q:3:r selector:meta/v1.LabelSelector:4:opX averageValue:q:5:op
ObjectMetricStatus target:CrossVersionObjectReference:1:rX metricName:s:2:r currentValue:q:3:r selector:meta/v1.LabelSelector:4:opX averageValue:q:5:op
PodsMetricSource metricName:s:1:r targetAverageValue:q:2:r selector:meta/v1.LabelSelector:3:opX
PodsMetricStatus metricName:s:1:r currentAverageValue:q:2:r selector:meta/v1.LabelSelector:3:opX
ResourceMetricSource name:=core/v1.ResourceName:1:r targetAverageUtilization:i:2:op targetAverageValue:q:3:op
ResourceMetricStatus name:=core/v1.ResourceName:1:r currentAverageUtilization:i:2:op currentAverageValue:q:3:r
Scale ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ScaleSpec:2:o status:ScaleStatus:3:o
ScaleSpec replicas:i:1:o:d=0
ScaleStatus replicas:i:1:r selector:s:2:o
"""#
    }
}
