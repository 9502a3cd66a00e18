// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// policy/v1: 6 types.
    static var policy_v1: StaticString {
#"""
Eviction ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o deleteOptions:meta/v1.DeleteOptions:2:op
PodDisruptionBudget ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PodDisruptionBudgetSpec:2:o status:PodDisruptionBudgetStatus:3:o
PodDisruptionBudgetList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PodDisruptionBudget:2:r
PodDisruptionBudgetSpec minAvailable:x:1:op selector:meta/v1.LabelSelector:2:opX! maxUnavailable:x:3:op unhealthyPodEvictionPolicy:=UnhealthyPodEvictionPolicyType:4:op
PodDisruptionBudgetStatus observedGeneration:l:1:o disruptedPods:{t:2:o disruptionsAllowed:i:3: currentHealthy:i:4: desiredHealthy:i:5: expectedPods:i:6: conditions:[meta/v1.Condition:7:oM+:k=type;g=type
UnhealthyPodEvictionPolicyType =AlwaysAllow,IfHealthyBudget
"""#
    }
}
