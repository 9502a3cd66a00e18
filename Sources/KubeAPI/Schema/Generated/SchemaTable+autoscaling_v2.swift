// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// autoscaling/v2: 29 types.
    static var autoscaling_v2: StaticString {
#"""
ContainerResourceMetricSource name:=core/v1.ResourceName:1:r target:MetricTarget:2:r container:s:3:r
ContainerResourceMetricStatus name:=core/v1.ResourceName:1:r current:MetricValueStatus:2:r container:s:3:r
CrossVersionObjectReference kind:s:1:r name:s:2:r apiVersion:s:3:o
ExternalMetricSource metric:MetricIdentifier:1:r target:MetricTarget:2:r
ExternalMetricStatus metric:MetricIdentifier:1:r current:MetricValueStatus:2:r
HPAScalingPolicy type:=HPAScalingPolicyType:1:r value:i:2:r periodSeconds:i:3:r
HPAScalingPolicyType =
HPAScalingRules stabilizationWindowSeconds:i:3:op selectPolicy:=ScalingPolicySelect:1:op policies:[HPAScalingPolicy:2:oA tolerance:q:4:op
HorizontalPodAutoscaler ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:HorizontalPodAutoscalerSpec:2:ro status:HorizontalPodAutoscalerStatus:3:o
HorizontalPodAutoscalerBehavior scaleUp:HPAScalingRules:1:op scaleDown:HPAScalingRules:2:op
HorizontalPodAutoscalerCondition type:=HorizontalPodAutoscalerConditionType:1:r status:=core/v1.ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
HorizontalPodAutoscalerConditionType =
HorizontalPodAutoscalerList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[HorizontalPodAutoscaler:2:r
HorizontalPodAutoscalerSpec scaleTargetRef:CrossVersionObjectReference:1:r minReplicas:i:2:op:d=1 maxReplicas:i:3:r metrics:[MetricSpec:4:oA behavior:HorizontalPodAutoscalerBehavior:5:op
HorizontalPodAutoscalerStatus observedGeneration:l:1:op lastScaleTime:t:2:op currentReplicas:i:3:o desiredReplicas:i:4:r currentMetrics:[MetricStatus:5:A conditions:[HorizontalPodAutoscalerCondition:6:oM+:k=type;g=type
MetricIdentifier name:s:1:r selector:meta/v1.LabelSelector:2:opX
MetricSourceType =
MetricSpec type:=MetricSourceType:1:r object:ObjectMetricSource:2:op pods:PodsMetricSource:3:op resource:ResourceMetricSource:4:op containerResource:ContainerResourceMetricSource:7:op external:ExternalMetricSource:5:op
MetricStatus type:=MetricSourceType:1:r object:ObjectMetricStatus:2:op pods:PodsMetricStatus:3:op resource:ResourceMetricStatus:4:op containerResource:ContainerResourceMetricStatus:7:op external:ExternalMetricStatus:5:op
MetricTarget type:=MetricTargetType:1:r value:q:2:op averageValue:q:3:op averageUtilization:i:4:op
MetricTargetType =
MetricValueStatus value:q:1:op averageValue:q:2:op averageUtilization:i:3:op
ObjectMetricSource describedObject:CrossVersionObjectReference:1:r target:MetricTarget:2:r metric:MetricIdentifier:3:r
ObjectMetricStatus metric:MetricIdentifier:1:r current:MetricValueStatus:2:r describedObject:CrossVersionObjectReference:3:r
PodsMetricSource metric:MetricIdentifier:1:r target:MetricTarget:2:r
PodsMetricStatus metric:MetricIdentifier:1:r current:MetricValueStatus:2:r
ResourceMetricSource name:=core/v1.ResourceName:1:r target:MetricTarget:2:r
ResourceMetricStatus name:=core/v1.ResourceName:1:r current:MetricValueStatus:2:r
ScalingPolicySelect =
"""#
    }
}
