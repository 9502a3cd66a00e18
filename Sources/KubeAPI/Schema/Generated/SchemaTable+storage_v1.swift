// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// storage/v1: 24 types.
    static var storage_v1: StaticString {
#"""
CSIDriver ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CSIDriverSpec:2:r
CSIDriverList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CSIDriver:2:r
CSIDriverSpec attachRequired:b:1:op:d=true podInfoOnMount:b:2:op:d=false volumeLifecycleModes:[=VolumeLifecycleMode:3:oS:d=["Persistent"] storageCapacity:b:4:op:d=false fsGroupPolicy:=FSGroupPolicy:5:op:d="ReadWriteOnceWithFSType" tokenRequests:[TokenRequest:6:oA requiresRepublish:b:7:op:d=false seLinuxMount:b:8:op:d=false nodeAllocatableUpdatePeriodSeconds:l:9:op serviceAccountTokenInSecrets:b:10:op preventPodSchedulingIfMissing:b:11:op
CSINode ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CSINodeSpec:2:r
CSINodeDriver name:s:1:r nodeID:s:2:r topologyKeys:[s:3:A allocatable:VolumeNodeResources:4:op
CSINodeList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CSINode:2:r
CSINodeSpec drivers:[CSINodeDriver:1:rM+:k=name;g=name
CSIStorageCapacity ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o nodeTopology:meta/v1.LabelSelector:2:opX storageClassName:s:3:r capacity:q:4:op maximumVolumeSize:q:5:op
CSIStorageCapacityList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CSIStorageCapacity:2:r
FSGroupPolicy =
StorageClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o provisioner:s:2:r parameters:{s:3:o reclaimPolicy:=core/v1.PersistentVolumeReclaimPolicy:4:op:d="Delete" mountOptions:[s:5:oA allowVolumeExpansion:b:6:op volumeBindingMode:=VolumeBindingMode:7:op:d="Immediate" allowedTopologies:[core/v1.TopologySelectorTerm:8:oA
StorageClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[StorageClass:2:r
TokenRequest audience:s:1:r expirationSeconds:l:2:op
VolumeAttachment ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:VolumeAttachmentSpec:2:r status:VolumeAttachmentStatus:3:o
VolumeAttachmentList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[VolumeAttachment:2:r
VolumeAttachmentSource persistentVolumeName:s:1:op inlineVolumeSpec:core/v1.PersistentVolumeSpec:2:op
VolumeAttachmentSpec attacher:s:1:r source:VolumeAttachmentSource:2:r nodeName:s:3:r
VolumeAttachmentStatus attached:b:1:r attachmentMetadata:{s:2:o attachError:VolumeError:3:op detachError:VolumeError:4:op
VolumeAttributesClass ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o driverName:s:2:r parameters:{s:3:o
VolumeAttributesClassList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[VolumeAttributesClass:2:r
VolumeBindingMode =Immediate,WaitForFirstConsumer
VolumeError time:t:1:o message:s:2:o errorCode:i:3:op
VolumeLifecycleMode =
VolumeNodeResources count:i:1:op
"""#
    }
}
