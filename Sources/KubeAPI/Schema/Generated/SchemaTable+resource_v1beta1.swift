// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// resource/v1beta1: 50 types.
    static var resource_v1beta1: StaticString {
#"""
AllocatedDeviceStatus driver:s:1:r pool:s:2:r device:s:3:r shareID:s:7:op conditions:[meta/v1.Condition:4:M:k=type data:r:5:op networkData:NetworkDeviceData:6:op
AllocationConfigSource =FromClaim,FromClass
AllocationResult devices:DeviceAllocationResult:1:o nodeSelector:core/v1.NodeSelector:3:opX allocationTimestamp:t:5:op
BasicDevice attributes:{DeviceAttribute:1:o capacity:{DeviceCapacity:2:o consumesCounters:[DeviceCounterConsumption:3:oA nodeName:s:4:op nodeSelector:core/v1.NodeSelector:5:opX allNodes:b:6:op taints:[DeviceTaint:7:oA bindsToNode:b:8:op bindingConditions:[s:9:oA bindingFailureConditions:[s:10:oA allowMultipleAllocations:b:11:op nodeAllocatableResourceMappings:{NodeAllocatableResourceMapping:12:o
CELDeviceSelector expression:s:1:r
CapacityRequestPolicy default:q:1:p validValues:[q:3:oA validRange:CapacityRequestPolicyRange:4:op
CapacityRequestPolicyRange min:q:1:rop max:q:2:op step:q:3:op
CapacityRequirements requests:{q:1:o
Counter value:q:1:r
CounterSet name:s:1:r counters:{Counter:2:ro
Device name:s:1:r basic:BasicDevice:2:op
DeviceAllocationConfiguration source:=AllocationConfigSource:1:r requests:[s:2:oA ^:DeviceConfiguration:3:
DeviceAllocationMode =All,ExactCount
DeviceAllocationResult results:[DeviceRequestAllocationResult:1:oA config:[DeviceAllocationConfiguration:2:oA
DeviceAttribute int:l:2:op bool:b:3:op string:s:4:op version:s:5:op ints:[l:6:oA bools:[b:7:oA strings:[s:8:oA versions:[s:9:oA
DeviceCapacity value:q:1:r requestPolicy:CapacityRequestPolicy:2:op
DeviceClaim requests:[DeviceRequest:1:A constraints:[DeviceConstraint:2:oA config:[DeviceClaimConfiguration:3:oA
DeviceClaimConfiguration requests:[s:1:oA ^:DeviceConfiguration:2:
DeviceClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:DeviceClassSpec:2:r
DeviceClassConfiguration ^:DeviceConfiguration:1:
DeviceClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[DeviceClass:2:r
DeviceClassSpec selectors:[DeviceSelector:1:oA config:[DeviceClassConfiguration:2:oA extendedResourceName:s:4:op
DeviceConfiguration opaque:OpaqueDeviceConfiguration:1:op
DeviceConstraint requests:[s:1:oA matchAttribute:=FullyQualifiedName:2:op distinctAttribute:=FullyQualifiedName:3:op
DeviceCounterConsumption counterSet:s:1:r counters:{Counter:2:ro
DeviceRequest name:s:1:r deviceClassName:s:2: selectors:[DeviceSelector:3:oA allocationMode:=DeviceAllocationMode:4:o count:l:5:o adminAccess:b:6:op firstAvailable:[DeviceSubRequest:7:oA tolerations:[DeviceToleration:8:oA capacity:CapacityRequirements:9:op
DeviceRequestAllocationResult request:s:1:r driver:s:2:r pool:s:3:r device:s:4:r adminAccess:b:5:op tolerations:[DeviceToleration:6:oA bindingConditions:[s:7:oA bindingFailureConditions:[s:8:oA shareID:s:9:op:n=types.UID consumedCapacity:{q:10:o
DeviceSelector cel:CELDeviceSelector:1:op
DeviceSubRequest name:s:1:r deviceClassName:s:2:r selectors:[DeviceSelector:3:oA allocationMode:=DeviceAllocationMode:4:o:d="ExactCount" count:l:5:o tolerations:[DeviceToleration:7:oA capacity:CapacityRequirements:8:op
DeviceTaint key:s:1:r value:s:2:o effect:=DeviceTaintEffect:3:r timeAdded:t:4:op
DeviceTaintEffect =NoExecute,NoSchedule,None
DeviceToleration key:s:1:o operator:=DeviceTolerationOperator:2:o:d="Equal" value:s:3:o effect:=DeviceTaintEffect:4:o tolerationSeconds:l:5:op
DeviceTolerationOperator =Equal,Exists
FullyQualifiedName =
NetworkDeviceData interfaceName:s:1:o ips:[s:2:oA hardwareAddress:s:3:o
NodeAllocatableResourceMapping capacityKey:=QualifiedName:1:op allocationMultiplier:q:2:op
OpaqueDeviceConfiguration driver:s:1:r parameters:r:2:r
QualifiedName =
ResourceClaim ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ResourceClaimSpec:2:r status:ResourceClaimStatus:3:o
ResourceClaimConsumerReference apiGroup:s:1:o resource:s:3:r name:s:4:r uid:s:5:r:n=types.UID
ResourceClaimList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ResourceClaim:2:r
ResourceClaimSpec devices:DeviceClaim:1:
ResourceClaimStatus allocation:AllocationResult:1:op reservedFor:[ResourceClaimConsumerReference:2:oM+:k=uid;g=uid devices:[AllocatedDeviceStatus:4:oM:k=driver,device,pool,shareID
ResourceClaimTemplate ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ResourceClaimTemplateSpec:2:r
ResourceClaimTemplateList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ResourceClaimTemplate:2:r
ResourceClaimTemplateSpec metadata:meta/v1.ObjectMeta:1:o spec:ResourceClaimSpec:2:r
ResourcePool name:s:1:r generation:l:2:r resourceSliceCount:l:3:r
ResourceSlice ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ResourceSliceSpec:2:r
ResourceSliceList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ResourceSlice:2:r
ResourceSliceSpec driver:s:1:r pool:ResourcePool:2:r nodeName:s:3:o nodeSelector:core/v1.NodeSelector:4:opX allNodes:b:5:o devices:[Device:6:oA perDeviceNodeSelection:b:7:op sharedCounters:[CounterSet:8:oA
"""#
    }
}
