// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// core/v1: 307 types.
    static var core_v1: StaticString {
#"""
AWSElasticBlockStoreVolumeSource volumeID:s:1:r fsType:s:2:o partition:i:3:o readOnly:b:4:o
Affinity nodeAffinity:NodeAffinity:1:op podAffinity:PodAffinity:2:op podAntiAffinity:PodAntiAffinity:3:op
AppArmorProfile type:=AppArmorProfileType:1:r localhostProfile:s:2:op
AppArmorProfileType =Localhost,RuntimeDefault,Unconfined
AttachedVolume name:=UniqueVolumeName:1:r devicePath:s:2:r
AvoidPods preferAvoidPods:[PreferAvoidPodsEntry:1:oA
AzureDataDiskCachingMode =None,ReadOnly,ReadWrite
AzureDataDiskKind =Dedicated,Managed,Shared
AzureDiskVolumeSource diskName:s:1:r diskURI:s:2:r cachingMode:=AzureDataDiskCachingMode:3:op fsType:s:4:op:d="ext4" readOnly:b:5:op:d=false kind:=AzureDataDiskKind:6:op
AzureFilePersistentVolumeSource secretName:s:1:r shareName:s:2:r readOnly:b:3:o secretNamespace:s:4:p
AzureFileVolumeSource secretName:s:1:r shareName:s:2:r readOnly:b:3:o
Binding ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o target:ObjectReference:2:rX
CSIPersistentVolumeSource driver:s:1:r volumeHandle:s:2:r readOnly:b:3:o fsType:s:4:o volumeAttributes:{s:5:o controllerPublishSecretRef:SecretReference:6:opX nodeStageSecretRef:SecretReference:7:opX nodePublishSecretRef:SecretReference:8:opX controllerExpandSecretRef:SecretReference:9:opX nodeExpandSecretRef:SecretReference:10:opX
CSIVolumeSource driver:s:1:r readOnly:b:2:op fsType:s:3:op volumeAttributes:{s:4:o nodePublishSecretRef:LocalObjectReference:5:opX
Capabilities add:[=Capability:1:oA drop:[=Capability:2:oA
Capability =
CephFSPersistentVolumeSource monitors:[s:1:rA path:s:2:o user:s:3:o secretFile:s:4:o secretRef:SecretReference:5:opX readOnly:b:6:o
CephFSVolumeSource monitors:[s:1:rA path:s:2:o user:s:3:o secretFile:s:4:o secretRef:LocalObjectReference:5:opX readOnly:b:6:o
CinderPersistentVolumeSource volumeID:s:1:r fsType:s:2:o readOnly:b:3:o secretRef:SecretReference:4:opX
CinderVolumeSource volumeID:s:1:r fsType:s:2:o readOnly:b:3:o secretRef:LocalObjectReference:4:opX
ClaimResourceStatus =ControllerResizeInProgress,ControllerResizeInfeasible,NodeResizeInProgress,NodeResizeInfeasible,NodeResizePending
ClientIPConfig timeoutSeconds:i:1:op
ClusterTrustBundleProjection name:s:1:op signerName:s:2:op labelSelector:meta/v1.LabelSelector:3:opX optional:b:5:op path:s:4:r
ComponentCondition type:=ComponentConditionType:1:r status:=ConditionStatus:2:r message:s:3:o error:s:4:o
ComponentConditionType =
ComponentStatus ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o conditions:[ComponentCondition:2:oM+:k=type;g=type
ComponentStatusList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ComponentStatus:2:r
ConditionStatus =
ConfigMap ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o immutable:b:4:op data:{s:2:o binaryData:{y:3:o
ConfigMapEnvSource ^:LocalObjectReference:1: optional:b:2:op
ConfigMapKeySelector ^:LocalObjectReference:1: key:s:2:r optional:b:3:op
ConfigMapList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ConfigMap:2:r
ConfigMapNodeConfigSource namespace:s:1:r name:s:2:r uid:s:3:o:n=types.UID resourceVersion:s:4:o kubeletConfigKey:s:5:r
ConfigMapProjection ^:LocalObjectReference:1: items:[KeyToPath:2:oA optional:b:4:op
ConfigMapVolumeSource ^:LocalObjectReference:1: items:[KeyToPath:2:oA defaultMode:i:3:op:d=420 optional:b:4:op
Container name:s:1:r image:s:2:o command:[s:3:oA args:[s:4:oA workingDir:s:5:o ports:[ContainerPort:6:oM+:k=containerPort,protocol;g=containerPort envFrom:[EnvFromSource:19:oA env:[EnvVar:7:oM+:k=name;g=name resources:ResourceRequirements:8:o resizePolicy:[ContainerResizePolicy:23:oA restartPolicy:=ContainerRestartPolicy:24:op restartPolicyRules:[ContainerRestartRule:25:oA volumeMounts:[VolumeMount:9:oM+:k=mountPath;g=mountPath volumeDevices:[VolumeDevice:21:oM+:k=devicePath;g=devicePath livenessProbe:Probe:10:op readinessProbe:Probe:11:op startupProbe:Probe:22:op lifecycle:Lifecycle:12:op terminationMessagePath:s:13:o:d="/dev/termination-log" terminationMessagePolicy:=TerminationMessagePolicy:20:o:d="File" imagePullPolicy:=PullPolicy:14:o securityContext:SecurityContext:15:op stdin:b:16:o stdinOnce:b:17:o tty:b:18:o
ContainerExtendedResourceRequest containerName:s:1:r resourceName:s:2:r requestName:s:3:r
ContainerImage names:[s:1:A sizeBytes:l:2:o
ContainerPort name:s:1:o hostPort:i:2:o containerPort:i:3:r protocol:=Protocol:4:o:d="TCP" hostIP:s:5:o
ContainerResizePolicy resourceName:=ResourceName:1:r restartPolicy:=ResourceResizeRestartPolicy:2:r
ContainerRestartPolicy =
ContainerRestartRule action:=ContainerRestartRuleAction:1:ro exitCodes:ContainerRestartRuleOnExitCodes:2:op
ContainerRestartRuleAction =
ContainerRestartRuleOnExitCodes operator:=ContainerRestartRuleOnExitCodesOperator:1:ro values:[i:2:oS
ContainerRestartRuleOnExitCodesOperator =
ContainerState waiting:ContainerStateWaiting:1:op running:ContainerStateRunning:2:op terminated:ContainerStateTerminated:3:op
ContainerStateRunning startedAt:t:1:o
ContainerStateTerminated exitCode:i:1:r signal:i:2:o reason:s:3:o message:s:4:o startedAt:t:5:o finishedAt:t:6:o containerID:s:7:o
ContainerStateWaiting reason:s:1:o message:s:2:o
ContainerStatus name:s:1:r state:ContainerState:2:o lastState:ContainerState:3:o ready:b:4:r restartCount:i:5:r image:s:6:r imageID:s:7:r containerID:s:8:o started:b:9:op allocatedResources:{q:10:o:n=ResourceList resources:ResourceRequirements:11:op volumeMounts:[VolumeMountStatus:12:oM+:k=mountPath;g=mountPath user:ContainerUser:13:op allocatedResourcesStatus:[ResourceStatus:14:oM+:k=name;g=name stopSignal:=Signal:15:op
ContainerUser linux:LinuxContainerUser:1:op
DNSPolicy =ClusterFirst,ClusterFirstWithHostNet,Default,None
DaemonEndpoint Port:i:1:r
DownwardAPIProjection items:[DownwardAPIVolumeFile:1:oA
DownwardAPIVolumeFile path:s:1:r fieldRef:ObjectFieldSelector:2:opX resourceFieldRef:ResourceFieldSelector:3:opX mode:i:4:op
DownwardAPIVolumeSource items:[DownwardAPIVolumeFile:1:oA defaultMode:i:2:op:d=420
EmptyDirVolumeSource medium:=StorageMedium:1:o sizeLimit:q:2:op
EndpointAddress ip:s:1:r hostname:s:3:o nodeName:s:4:op targetRef:ObjectReference:2:opX
EndpointPort name:s:1:o port:i:2:r protocol:=Protocol:3:o:d="TCP" appProtocol:s:4:op
EndpointSubset addresses:[EndpointAddress:1:oA notReadyAddresses:[EndpointAddress:2:oA ports:[EndpointPort:3:oA
Endpoints ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o subsets:[EndpointSubset:2:oA
EndpointsList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Endpoints:2:r
EnvFromSource prefix:s:1:o configMapRef:ConfigMapEnvSource:2:op secretRef:SecretEnvSource:3:op
EnvVar name:s:1:r value:s:2:o valueFrom:EnvVarSource:3:op
EnvVarSource fieldRef:ObjectFieldSelector:1:opX resourceFieldRef:ResourceFieldSelector:2:opX configMapKeyRef:ConfigMapKeySelector:3:opX secretKeyRef:SecretKeySelector:4:opX fileKeyRef:FileKeySelector:5:opX
EphemeralContainer ^:EphemeralContainerCommon:1: targetContainerName:s:2:o
EphemeralContainerCommon name:s:1:r image:s:2:o command:[s:3:oA args:[s:4:oA workingDir:s:5:o ports:[ContainerPort:6:oM+:k=containerPort,protocol;g=containerPort envFrom:[EnvFromSource:19:oA env:[EnvVar:7:oM+:k=name;g=name resources:ResourceRequirements:8:o resizePolicy:[ContainerResizePolicy:23:oA restartPolicy:=ContainerRestartPolicy:24:op restartPolicyRules:[ContainerRestartRule:25:oA volumeMounts:[VolumeMount:9:oM+:k=mountPath;g=mountPath volumeDevices:[VolumeDevice:21:oM+:k=devicePath;g=devicePath livenessProbe:Probe:10:op readinessProbe:Probe:11:op startupProbe:Probe:22:op lifecycle:Lifecycle:12:op terminationMessagePath:s:13:o:d="/dev/termination-log" terminationMessagePolicy:=TerminationMessagePolicy:20:o:d="File" imagePullPolicy:=PullPolicy:14:o securityContext:SecurityContext:15:op stdin:b:16:o stdinOnce:b:17:o tty:b:18:o
EphemeralVolumeSource volumeClaimTemplate:PersistentVolumeClaimTemplate:1:op
Event ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:r involvedObject:ObjectReference:2:rX reason:s:3:o message:s:4:o source:EventSource:5:o firstTimestamp:t:6:o lastTimestamp:t:7:o count:i:8:o type:s:9:o eventTime:m:10:o series:EventSeries:11:op action:s:12:o related:ObjectReference:13:opX reportingComponent:s:14: reportingInstance:s:15:
EventList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Event:2:r
EventSeries count:i:1:o lastObservedTime:m:2:o
EventSource component:s:1:o host:s:2:o
ExecAction command:[s:1:oA
FCVolumeSource targetWWNs:[s:1:oA lun:i:2:op fsType:s:3:o readOnly:b:4:o wwids:[s:5:oA
FileKeySelector volumeName:s:1:r path:s:2:r key:s:3:r optional:b:4:op:d=false
FinalizerName =
FlexPersistentVolumeSource driver:s:1:r fsType:s:2:o secretRef:SecretReference:3:opX readOnly:b:4:o options:{s:5:o
FlexVolumeSource driver:s:1:r fsType:s:2:o secretRef:LocalObjectReference:3:opX readOnly:b:4:o options:{s:5:o
FlockerVolumeSource datasetName:s:1:o datasetUUID:s:2:o
GCEPersistentDiskVolumeSource pdName:s:1:r fsType:s:2:o partition:i:3:o readOnly:b:4:o
GRPCAction port:i:1:r service:s:2:p:d=""
GitRepoVolumeSource repository:s:1:r revision:s:2:o directory:s:3:o
GlusterfsPersistentVolumeSource endpoints:s:1:r path:s:2:r readOnly:b:3:o endpointsNamespace:s:4:op
GlusterfsVolumeSource endpoints:s:1:r path:s:2:r readOnly:b:3:o
HTTPGetAction path:s:1:o:d="/" port:x:2:r host:s:3:o scheme:=URIScheme:4:o:d="HTTP" httpHeaders:[HTTPHeader:5:oA
HTTPHeader name:s:1:r value:s:2:r
HostAlias ip:s:1:r hostnames:[s:2:oA
HostIP ip:s:1:r
HostPathType =BlockDevice,CharDevice,Directory,DirectoryOrCreate,File,FileOrCreate,Socket
HostPathVolumeSource path:s:1:r type:=HostPathType:2:op:d=""
IPFamily =IPv4,IPv6
IPFamilyPolicy =PreferDualStack,RequireDualStack,SingleStack
ISCSIPersistentVolumeSource targetPortal:s:1:r iqn:s:2:r lun:i:3:r iscsiInterface:s:4:o:d="default" fsType:s:5:o readOnly:b:6:o portals:[s:7:oA chapAuthDiscovery:b:8:o chapAuthSession:b:11:o secretRef:SecretReference:10:opX initiatorName:s:12:op
ISCSIVolumeSource targetPortal:s:1:r iqn:s:2:r lun:i:3:r iscsiInterface:s:4:o:d="default" fsType:s:5:o readOnly:b:6:o portals:[s:7:oA chapAuthDiscovery:b:8:o chapAuthSession:b:11:o secretRef:LocalObjectReference:10:opX initiatorName:s:12:op
ImageVolumeSource reference:s:1:o pullPolicy:=PullPolicy:2:o
ImageVolumeStatus imageRef:s:1:ro
KeyToPath key:s:1:r path:s:2:r mode:i:3:op
Lifecycle postStart:LifecycleHandler:1:op preStop:LifecycleHandler:2:op stopSignal:=Signal:3:op
LifecycleHandler exec:ExecAction:1:op httpGet:HTTPGetAction:2:op tcpSocket:TCPSocketAction:3:op sleep:SleepAction:4:op
LimitRange ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:LimitRangeSpec:2:o
LimitRangeItem type:=LimitType:1:r max:{q:2:o:n=ResourceList min:{q:3:o:n=ResourceList default:{q:4:o:n=ResourceList defaultRequest:{q:5:o:n=ResourceList maxLimitRequestRatio:{q:6:o:n=ResourceList
LimitRangeList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[LimitRange:2:r
LimitRangeSpec limits:[LimitRangeItem:1:rA
LimitType =
LinuxContainerUser uid:l:1:r gid:l:2:r supplementalGroups:[l:3:oA
LoadBalancerIPMode =
LoadBalancerIngress ip:s:1:o hostname:s:2:o ipMode:=LoadBalancerIPMode:3:op ports:[PortStatus:4:oA
LoadBalancerStatus ingress:[LoadBalancerIngress:1:oA
LocalObjectReference name:s:1:o:d=""
LocalVolumeSource path:s:1:r fsType:s:2:op
ModifyVolumeStatus targetVolumeAttributesClassName:s:1:o status:=PersistentVolumeClaimModifyVolumeStatus:2:r
MountPropagationMode =Bidirectional,HostToContainer,None
NFSVolumeSource server:s:1:r path:s:2:r readOnly:b:3:o
Namespace ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:NamespaceSpec:2:o status:NamespaceStatus:3:o
NamespaceCondition type:=NamespaceConditionType:1:r status:=ConditionStatus:2:r lastTransitionTime:t:4:o reason:s:5:o message:s:6:o
NamespaceConditionType =
NamespaceList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Namespace:2:r
NamespacePhase =Active,Terminating
NamespaceSpec finalizers:[=FinalizerName:1:oA
NamespaceStatus phase:=NamespacePhase:1:o:d="Active" conditions:[NamespaceCondition:2:oM+:k=type;g=type
Node ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:NodeSpec:2:o status:NodeStatus:3:o
NodeAddress type:=NodeAddressType:1:r address:s:2:r
NodeAddressType =
NodeAffinity requiredDuringSchedulingIgnoredDuringExecution:NodeSelector:1:opX preferredDuringSchedulingIgnoredDuringExecution:[PreferredSchedulingTerm:2:oA
NodeAllocatableResourceClaimStatus resourceClaimName:s:1:r containers:[s:2:oS resources:{q:3:r
NodeCondition type:=NodeConditionType:1:r status:=ConditionStatus:2:r lastHeartbeatTime:t:3:o lastTransitionTime:t:4:o reason:s:5:o message:s:6:o
NodeConditionType =
NodeConfigSource configMap:ConfigMapNodeConfigSource:2:op
NodeConfigStatus assigned:NodeConfigSource:1:op active:NodeConfigSource:2:op lastKnownGood:NodeConfigSource:3:op error:s:4:o
NodeDaemonEndpoints kubeletEndpoint:DaemonEndpoint:1:o
NodeFeatures supplementalGroupsPolicy:b:1:op
NodeInclusionPolicy =Honor,Ignore
NodeList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Node:2:r
NodePhase =Pending,Running,Terminated
NodeProxyOptions ^:meta/v1.TypeMeta:0: path:s:1:o
NodeRuntimeHandler name:s:1: features:NodeRuntimeHandlerFeatures:2:op
NodeRuntimeHandlerFeatures recursiveReadOnlyMounts:b:1:op userNamespaces:b:2:op
NodeSelector nodeSelectorTerms:[NodeSelectorTerm:1:rA
NodeSelectorOperator =DoesNotExist,Exists,Gt,In,Lt,NotIn
NodeSelectorRequirement key:s:1:r operator:=NodeSelectorOperator:2:r values:[s:3:oA
NodeSelectorTerm matchExpressions:[NodeSelectorRequirement:1:oA matchFields:[NodeSelectorRequirement:2:oA
NodeSpec podCIDR:s:1:o podCIDRs:[s:7:oS+ providerID:s:3:o unschedulable:b:4:o taints:[Taint:5:oA configSource:NodeConfigSource:6:op externalID:s:2:o
NodeStatus capacity:{q:1:o:n=ResourceList allocatable:{q:2:o:n=ResourceList phase:=NodePhase:3:o conditions:[NodeCondition:4:oM+:k=type;g=type addresses:[NodeAddress:5:oM+:k=type;g=type daemonEndpoints:NodeDaemonEndpoints:6:o nodeInfo:NodeSystemInfo:7:o images:[ContainerImage:8:oA volumesInUse:[=UniqueVolumeName:9:oA volumesAttached:[AttachedVolume:10:oA config:NodeConfigStatus:11:op runtimeHandlers:[NodeRuntimeHandler:12:oA features:NodeFeatures:13:op declaredFeatures:[s:14:oA
NodeSwapStatus capacity:l:1:op
NodeSystemInfo machineID:s:1:r systemUUID:s:2:r bootID:s:3:r kernelVersion:s:4:r osImage:s:5:r containerRuntimeVersion:s:6:r kubeletVersion:s:7:r kubeProxyVersion:s:8:r operatingSystem:s:9:r architecture:s:10:r swap:NodeSwapStatus:11:op
OSName =
ObjectFieldSelector apiVersion:s:1:o:d="v1" fieldPath:s:2:r
ObjectReference kind:s:1:o namespace:s:2:o name:s:3:o uid:s:4:o:n=types.UID apiVersion:s:5:o resourceVersion:s:6:o fieldPath:s:7:o
PersistentVolume ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PersistentVolumeSpec:2:o status:PersistentVolumeStatus:3:o
PersistentVolumeAccessMode =ReadOnlyMany,ReadWriteMany,ReadWriteOnce,ReadWriteOncePod
PersistentVolumeClaim ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PersistentVolumeClaimSpec:2:o status:PersistentVolumeClaimStatus:3:o
PersistentVolumeClaimCondition type:=PersistentVolumeClaimConditionType:1:r status:=ConditionStatus:2:r lastProbeTime:t:3:o lastTransitionTime:t:4:o reason:s:5:o message:s:6:o
PersistentVolumeClaimConditionType =
PersistentVolumeClaimList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PersistentVolumeClaim:2:r
PersistentVolumeClaimModifyVolumeStatus =InProgress,Infeasible,Pending
PersistentVolumeClaimPhase =Bound,Lost,Pending
PersistentVolumeClaimSpec accessModes:[=PersistentVolumeAccessMode:1:oA selector:meta/v1.LabelSelector:4:opX resources:VolumeResourceRequirements:2:o volumeName:s:3:o storageClassName:s:5:op volumeMode:=PersistentVolumeMode:6:op:d="Filesystem" dataSource:TypedLocalObjectReference:7:opX dataSourceRef:TypedObjectReference:8:op volumeAttributesClassName:s:9:op
PersistentVolumeClaimStatus phase:=PersistentVolumeClaimPhase:1:o:d="Pending" accessModes:[=PersistentVolumeAccessMode:2:oA capacity:{q:3:o:n=ResourceList conditions:[PersistentVolumeClaimCondition:4:oM+:k=type;g=type allocatedResources:{q:5:o:n=ResourceList allocatedResourceStatuses:{=ClaimResourceStatus:7:o currentVolumeAttributesClassName:s:8:op modifyVolumeStatus:ModifyVolumeStatus:9:op
PersistentVolumeClaimTemplate metadata:meta/v1.ObjectMeta:1:o spec:PersistentVolumeClaimSpec:2:r
PersistentVolumeClaimVolumeSource claimName:s:1:r readOnly:b:2:o
PersistentVolumeList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PersistentVolume:2:r
PersistentVolumeMode =Block,Filesystem
PersistentVolumePhase =Available,Bound,Failed,Pending,Released
PersistentVolumeReclaimPolicy =Delete,Recycle,Retain
PersistentVolumeSource gcePersistentDisk:GCEPersistentDiskVolumeSource:1:op awsElasticBlockStore:AWSElasticBlockStoreVolumeSource:2:op hostPath:HostPathVolumeSource:3:op glusterfs:GlusterfsPersistentVolumeSource:4:op nfs:NFSVolumeSource:5:op rbd:RBDPersistentVolumeSource:6:op iscsi:ISCSIPersistentVolumeSource:7:op cinder:CinderPersistentVolumeSource:8:op cephfs:CephFSPersistentVolumeSource:9:op fc:FCVolumeSource:10:op flocker:FlockerVolumeSource:11:op flexVolume:FlexPersistentVolumeSource:12:op azureFile:AzureFilePersistentVolumeSource:13:op vsphereVolume:VsphereVirtualDiskVolumeSource:14:op quobyte:QuobyteVolumeSource:15:op azureDisk:AzureDiskVolumeSource:16:op photonPersistentDisk:PhotonPersistentDiskVolumeSource:17:op portworxVolume:PortworxVolumeSource:18:op scaleIO:ScaleIOPersistentVolumeSource:19:op local:LocalVolumeSource:20:op storageos:StorageOSPersistentVolumeSource:21:op csi:CSIPersistentVolumeSource:22:op
PersistentVolumeSpec capacity:{q:1:o:n=ResourceList ^:PersistentVolumeSource:2: accessModes:[=PersistentVolumeAccessMode:3:oA claimRef:ObjectReference:4:opX persistentVolumeReclaimPolicy:=PersistentVolumeReclaimPolicy:5:o storageClassName:s:6:o mountOptions:[s:7:oA volumeMode:=PersistentVolumeMode:8:op nodeAffinity:VolumeNodeAffinity:9:op volumeAttributesClassName:s:10:op
PersistentVolumeStatus phase:=PersistentVolumePhase:1:o:d="Pending" message:s:2:o reason:s:3:o lastPhaseTransitionTime:t:4:op
PhotonPersistentDiskVolumeSource pdID:s:1:r fsType:s:2:o
Pod ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:PodSpec:2:o status:PodStatus:3:o
PodAffinity requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm:1:oA preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm:2:oA
PodAffinityTerm labelSelector:meta/v1.LabelSelector:1:opX namespaces:[s:2:oA topologyKey:s:3:r namespaceSelector:meta/v1.LabelSelector:4:opX matchLabelKeys:[s:5:oA mismatchLabelKeys:[s:6:oA
PodAntiAffinity requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm:1:oA preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm:2:oA
PodAttachOptions ^:meta/v1.TypeMeta:0: stdin:b:1:o stdout:b:2:o stderr:b:3:o tty:b:4:o container:s:5:o
PodCertificateProjection signerName:s:1:ro keyType:s:2:ro maxExpirationSeconds:i:3:op credentialBundlePath:s:4:o keyPath:s:5:o certificateChainPath:s:6:o userAnnotations:{s:7:o
PodCondition type:=PodConditionType:1:r observedGeneration:l:7:o status:=ConditionStatus:2:r lastProbeTime:t:3:o lastTransitionTime:t:4:o reason:s:5:o message:s:6:o
PodConditionType =
PodDNSConfig nameservers:[s:1:oA searches:[s:2:oA options:[PodDNSConfigOption:3:oA
PodDNSConfigOption name:s:1:o value:s:2:op
PodExecOptions ^:meta/v1.TypeMeta:0: stdin:b:1:o stdout:b:2:o stderr:b:3:o tty:b:4:o container:s:5:o command:[s:6:rA
PodExtendedResourceClaimStatus requestMappings:[ContainerExtendedResourceRequest:1:rA resourceClaimName:s:2:r
PodFSGroupChangePolicy =Always,OnRootMismatch
PodIP ip:s:1:r
PodList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Pod:2:r
PodLogOptions ^:meta/v1.TypeMeta:0: container:s:1:o follow:b:2:o previous:b:3:o sinceSeconds:l:4:op sinceTime:t:5:op timestamps:b:6:o tailLines:l:7:op limitBytes:l:8:op insecureSkipTLSVerifyBackend:b:9:o stream:s:10:op
PodOS name:=OSName:1:r
PodPhase =Failed,Pending,Running,Succeeded,Unknown
PodPortForwardOptions ^:meta/v1.TypeMeta:0: ports:[i:1:oA
PodProxyOptions ^:meta/v1.TypeMeta:0: path:s:1:o
PodQOSClass =BestEffort,Burstable,Guaranteed
PodReadinessGate conditionType:=PodConditionType:1:r
PodResizeStatus =
PodResourceClaim name:s:1:r resourceClaimName:s:3:op resourceClaimTemplateName:s:4:op
PodResourceClaimStatus name:s:1:r resourceClaimName:s:2:op
PodSELinuxChangePolicy =
PodSchedulingGate name:s:1:r
PodSchedulingGroup podGroupName:s:1:op
PodSecurityContext seLinuxOptions:SELinuxOptions:1:op windowsOptions:WindowsSecurityContextOptions:8:op runAsUser:l:2:op runAsGroup:l:6:op runAsNonRoot:b:3:op supplementalGroups:[l:4:oA supplementalGroupsPolicy:=SupplementalGroupsPolicy:12:op fsGroup:l:5:op sysctls:[Sysctl:7:oA fsGroupChangePolicy:=PodFSGroupChangePolicy:9:op seccompProfile:SeccompProfile:10:op appArmorProfile:AppArmorProfile:11:op seLinuxChangePolicy:=PodSELinuxChangePolicy:13:op
PodSignature podController:meta/v1.OwnerReference:1:opX
PodSpec volumes:[Volume:1:oM+R:k=name;g=name initContainers:[Container:20:oM+:k=name;g=name containers:[Container:2:rM+:k=name;g=name ephemeralContainers:[EphemeralContainer:34:oM+:k=name;g=name restartPolicy:=RestartPolicy:3:o:d="Always" terminationGracePeriodSeconds:l:4:op:d=30 activeDeadlineSeconds:l:5:op dnsPolicy:=DNSPolicy:6:o:d="ClusterFirst" nodeSelector:{s:7:oX serviceAccountName:s:8:o serviceAccount:s:9:o automountServiceAccountToken:b:21:op nodeName:s:10:o hostNetwork:b:11:o hostPID:b:12:o hostIPC:b:13:o shareProcessNamespace:b:27:op securityContext:PodSecurityContext:14:op:d={} imagePullSecrets:[LocalObjectReference:15:oM+:k=name;g=name hostname:s:16:o subdomain:s:17:o affinity:Affinity:18:op schedulerName:s:19:o:d="default-scheduler" tolerations:[Toleration:22:oA hostAliases:[HostAlias:23:oM+:k=ip;g=ip priorityClassName:s:24:o priority:i:25:op dnsConfig:PodDNSConfig:26:op readinessGates:[PodReadinessGate:28:oA runtimeClassName:s:29:op enableServiceLinks:b:30:op preemptionPolicy:=PreemptionPolicy:31:op overhead:{q:32:o:n=ResourceList topologySpreadConstraints:[TopologySpreadConstraint:33:oM+:k=topologyKey,whenUnsatisfiable;g=topologyKey setHostnameAsFQDN:b:35:op os:PodOS:36:op hostUsers:b:37:op schedulingGates:[PodSchedulingGate:38:oM+:k=name;g=name resourceClaims:[PodResourceClaim:39:oM+R:k=name;g=name resources:ResourceRequirements:40:op hostnameOverride:s:41:op schedulingGroup:PodSchedulingGroup:43:op
PodStatus observedGeneration:l:17:o phase:=PodPhase:1:o conditions:[PodCondition:2:oM+:k=type;g=type message:s:3:o reason:s:4:o nominatedNodeName:s:11:o hostIP:s:5:o hostIPs:[HostIP:16:oA+:g=ip podIP:s:6:o podIPs:[PodIP:12:oM+:k=ip;g=ip startTime:t:7:op initContainerStatuses:[ContainerStatus:10:oA containerStatuses:[ContainerStatus:8:oA qosClass:=PodQOSClass:9:o ephemeralContainerStatuses:[ContainerStatus:13:oA resize:=PodResizeStatus:14:o resourceClaimStatuses:[PodResourceClaimStatus:15:oM+R:k=name;g=name extendedResourceClaimStatus:PodExtendedResourceClaimStatus:18:op allocatedResources:{q:19:o:n=ResourceList resources:ResourceRequirements:20:op nodeAllocatableResourceClaimStatuses:[NodeAllocatableResourceClaimStatus:21:oA
PodStatusResult ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o status:PodStatus:2:o
PodTemplate ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o template:PodTemplateSpec:2:o
PodTemplateList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[PodTemplate:2:r
PodTemplateSpec metadata:meta/v1.ObjectMeta:1:o spec:PodSpec:2:o
PortStatus port:i:1:r protocol:=Protocol:2:r error:s:3:op
PortworxVolumeSource volumeID:s:1:r fsType:s:2:o readOnly:b:3:o
Preconditions uid:s:1:op:n=types.UID
PreemptionPolicy =Never,PreemptLowerPriority
PreferAvoidPodsEntry podSignature:PodSignature:1:r evictionTime:t:2:o reason:s:3:o message:s:4:o
PreferredSchedulingTerm weight:i:1:r preference:NodeSelectorTerm:2:rX
Probe ^:ProbeHandler:1: initialDelaySeconds:i:2:o timeoutSeconds:i:3:o:d=1 periodSeconds:i:4:o:d=10 successThreshold:i:5:o:d=1 failureThreshold:i:6:o:d=3 terminationGracePeriodSeconds:l:7:op
ProbeHandler exec:ExecAction:1:op httpGet:HTTPGetAction:2:op tcpSocket:TCPSocketAction:3:op grpc:GRPCAction:4:op
ProcMountType =Default,Unmasked
ProjectedVolumeSource sources:[VolumeProjection:1:A defaultMode:i:2:op:d=420
Protocol =SCTP,TCP,UDP
PullPolicy =Always,IfNotPresent,Never
QuobyteVolumeSource registry:s:1:r volume:s:2:r readOnly:b:3:o user:s:4:o group:s:5:o tenant:s:6:o
RBDPersistentVolumeSource monitors:[s:1:rA image:s:2:r fsType:s:3:o pool:s:4:o:d="rbd" user:s:5:o:d="admin" keyring:s:6:o:d="/etc/ceph/keyring" secretRef:SecretReference:7:opX readOnly:b:8:o
RBDVolumeSource monitors:[s:1:rA image:s:2:r fsType:s:3:o pool:s:4:o:d="rbd" user:s:5:o:d="admin" keyring:s:6:o:d="/etc/ceph/keyring" secretRef:LocalObjectReference:7:opX readOnly:b:8:o
RangeAllocation ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o range:s:2:r data:y:3:r
RecursiveReadOnlyMode =
ReplicationController ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ReplicationControllerSpec:2:o status:ReplicationControllerStatus:3:o
ReplicationControllerCondition type:=ReplicationControllerConditionType:1:r status:=ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o
ReplicationControllerConditionType =
ReplicationControllerList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ReplicationController:2:r
ReplicationControllerSpec replicas:i:1:op:d=1 minReadySeconds:i:4:o:d=0 selector:{s:2:oX template:PodTemplateSpec:3:op
ReplicationControllerStatus replicas:i:1:r fullyLabeledReplicas:i:2:o readyReplicas:i:4:o availableReplicas:i:5:o observedGeneration:l:3:o conditions:[ReplicationControllerCondition:6:oM+:k=type;g=type
ResourceClaim name:s:1:r request:s:2:o
ResourceFieldSelector containerName:s:1:o resource:s:2:r divisor:q:3:o
ResourceHealth resourceID:=ResourceID:1:r health:=ResourceHealthStatus:2:o message:s:6:op
ResourceHealthStatus =
ResourceID =
ResourceName =
ResourceQuota ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ResourceQuotaSpec:2:o status:ResourceQuotaStatus:3:o
ResourceQuotaList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ResourceQuota:2:r
ResourceQuotaScope =BestEffort,CrossNamespacePodAffinity,NotBestEffort,NotTerminating,PriorityClass,Terminating,VolumeAttributesClass
ResourceQuotaSpec hard:{q:1:o:n=ResourceList scopes:[=ResourceQuotaScope:2:oA scopeSelector:ScopeSelector:3:opX
ResourceQuotaStatus hard:{q:1:o:n=ResourceList used:{q:2:o:n=ResourceList
ResourceRequirements limits:{q:1:o:n=ResourceList requests:{q:2:o:n=ResourceList claims:[ResourceClaim:3:oM:k=name
ResourceResizeRestartPolicy =
ResourceStatus name:=ResourceName:1:r resources:[ResourceHealth:2:oM:k=resourceID
RestartPolicy =Always,Never,OnFailure
SELinuxOptions user:s:1:o role:s:2:o type:s:3:o level:s:4:o
ScaleIOPersistentVolumeSource gateway:s:1:r system:s:2:r secretRef:SecretReference:3:rpX sslEnabled:b:4:o protectionDomain:s:5:o storagePool:s:6:o storageMode:s:7:o:d="ThinProvisioned" volumeName:s:8:o fsType:s:9:o:d="xfs" readOnly:b:10:o
ScaleIOVolumeSource gateway:s:1:r system:s:2:r secretRef:LocalObjectReference:3:rpX sslEnabled:b:4:o protectionDomain:s:5:o storagePool:s:6:o storageMode:s:7:o:d="ThinProvisioned" volumeName:s:8:o fsType:s:9:o:d="xfs" readOnly:b:10:o
ScopeSelector matchExpressions:[ScopedResourceSelectorRequirement:1:oA
ScopeSelectorOperator =DoesNotExist,Exists,In,NotIn
ScopedResourceSelectorRequirement scopeName:=ResourceQuotaScope:1:r operator:=ScopeSelectorOperator:2:r values:[s:3:oA
SeccompProfile type:=SeccompProfileType:1:r localhostProfile:s:2:op
SeccompProfileType =Localhost,RuntimeDefault,Unconfined
Secret ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o immutable:b:5:op data:{y:2:o stringData:{s:4:o type:=SecretType:3:o:d="Opaque"
SecretEnvSource ^:LocalObjectReference:1: optional:b:2:op
SecretKeySelector ^:LocalObjectReference:1: key:s:2:r optional:b:3:op
SecretList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Secret:2:r
SecretProjection ^:LocalObjectReference:1: items:[KeyToPath:2:oA optional:b:4:op
SecretReference name:s:1:o namespace:s:2:o
SecretType =
SecretVolumeSource secretName:s:1:o items:[KeyToPath:2:oA defaultMode:i:3:op:d=420 optional:b:4:op
SecurityContext capabilities:Capabilities:1:op privileged:b:2:op seLinuxOptions:SELinuxOptions:3:op windowsOptions:WindowsSecurityContextOptions:10:op runAsUser:l:4:op runAsGroup:l:8:op runAsNonRoot:b:5:op readOnlyRootFilesystem:b:6:op allowPrivilegeEscalation:b:7:op procMount:=ProcMountType:9:op seccompProfile:SeccompProfile:11:op appArmorProfile:AppArmorProfile:12:op
SerializedReference ^:meta/v1.TypeMeta:0: reference:ObjectReference:1:oX
Service ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ServiceSpec:2:o status:ServiceStatus:3:o
ServiceAccount ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o secrets:[ObjectReference:2:oM+:k=name;g=name imagePullSecrets:[LocalObjectReference:3:oA automountServiceAccountToken:b:4:op
ServiceAccountList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ServiceAccount:2:r
ServiceAccountTokenProjection audience:s:1:o expirationSeconds:l:2:op:d=3600 path:s:3:r
ServiceAffinity =ClientIP,None
ServiceExternalTrafficPolicy =Cluster,Local
ServiceInternalTrafficPolicy =Cluster,Local
ServiceList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Service:2:r
ServicePort name:s:1:o protocol:=Protocol:2:o:d="TCP" appProtocol:s:6:op port:i:3:r targetPort:x:4:o nodePort:i:5:o
ServiceProxyOptions ^:meta/v1.TypeMeta:0: path:s:1:o
ServiceSpec ports:[ServicePort:1:oM+:k=port,protocol;g=port selector:{s:2:oX clusterIP:s:3:o clusterIPs:[s:18:oA type:=ServiceType:4:o externalIPs:[s:5:oA sessionAffinity:=ServiceAffinity:7:o loadBalancerIP:s:8:o loadBalancerSourceRanges:[s:9:oA externalName:s:10:o externalTrafficPolicy:=ServiceExternalTrafficPolicy:11:o healthCheckNodePort:i:12:o publishNotReadyAddresses:b:13:o sessionAffinityConfig:SessionAffinityConfig:14:op ipFamilies:[=IPFamily:19:oA ipFamilyPolicy:=IPFamilyPolicy:17:op allocateLoadBalancerNodePorts:b:20:op loadBalancerClass:s:21:op internalTrafficPolicy:=ServiceInternalTrafficPolicy:22:op trafficDistribution:s:23:op
ServiceStatus loadBalancer:LoadBalancerStatus:1:o conditions:[meta/v1.Condition:2:oM+:k=type;g=type
ServiceType =ClusterIP,ExternalName,LoadBalancer,NodePort
SessionAffinityConfig clientIP:ClientIPConfig:1:op
Signal =SIGABRT,SIGALRM,SIGBUS,SIGCHLD,SIGCLD,SIGCONT,SIGFPE,SIGHUP,SIGILL,SIGINT,SIGIO,SIGIOT,SIGKILL,SIGPIPE,SIGPOLL,SIGPROF,SIGPWR,SIGQUIT,SIGRTMAX,SIGRTMAX-1,SIGRTMAX-10,SIGRTMAX-11,SIGRTMAX-12,SIGRTMAX-13,SIGRTMAX-14,SIGRTMAX-2,SIGRTMAX-3,SIGRTMAX-4,SIGRTMAX-5,SIGRTMAX-6,SIGRTMAX-7,SIGRTMAX-8,SIGRTMAX-9,SIGRTMIN,SIGRTMIN+1,SIGRTMIN+10,SIGRTMIN+11,SIGRTMIN+12,SIGRTMIN+13,SIGRTMIN+14,SIGRTMIN+15,SIGRTMIN+2,SIGRTMIN+3,SIGRTMIN+4,SIGRTMIN+5,SIGRTMIN+6,SIGRTMIN+7,SIGRTMIN+8,SIGRTMIN+9,SIGSEGV,SIGSTKFLT,SIGSTOP,SIGSYS,SIGTERM,SIGTRAP,SIGTSTP,SIGTTIN,SIGTTOU,SIGURG,SIGUSR1,SIGUSR2,SIGVTALRM,SIGWINCH,SIGXCPU,SIGXFSZ
SleepAction seconds:l:1:r
StorageMedium =
StorageOSPersistentVolumeSource volumeName:s:1:o volumeNamespace:s:2:o fsType:s:3:o readOnly:b:4:o secretRef:ObjectReference:5:opX
StorageOSVolumeSource volumeName:s:1:o volumeNamespace:s:2:o fsType:s:3:o readOnly:b:4:o secretRef:LocalObjectReference:5:opX
SupplementalGroupsPolicy =Merge,Strict
Sysctl name:s:1:r value:s:2:r
TCPSocketAction port:x:1:r host:s:2:o
Taint key:s:1:r value:s:2:o effect:=TaintEffect:3:r timeAdded:t:4:op
TaintEffect =NoExecute,NoSchedule,PreferNoSchedule
TerminationMessagePolicy =FallbackToLogsOnError,File
Toleration key:s:1:o operator:=TolerationOperator:2:o value:s:3:o effect:=TaintEffect:4:o tolerationSeconds:l:5:op
TolerationOperator =Equal,Exists,Gt,Lt
TopologySelectorLabelRequirement key:s:1:r values:[s:2:rA
TopologySelectorTerm matchLabelExpressions:[TopologySelectorLabelRequirement:1:oA
TopologySpreadConstraint maxSkew:i:1:r topologyKey:s:2:r whenUnsatisfiable:=UnsatisfiableConstraintAction:3:r labelSelector:meta/v1.LabelSelector:4:opX minDomains:i:5:op nodeAffinityPolicy:=NodeInclusionPolicy:6:op nodeTaintsPolicy:=NodeInclusionPolicy:7:op matchLabelKeys:[s:8:oA
TypedLocalObjectReference apiGroup:s:1:p kind:s:2:r name:s:3:r
TypedObjectReference apiGroup:s:1:p kind:s:2:r name:s:3:r namespace:s:4:op
URIScheme =HTTP,HTTPS
UniqueVolumeName =
UnsatisfiableConstraintAction =DoNotSchedule,ScheduleAnyway
Volume name:s:1:r ^:VolumeSource:2:
VolumeDevice name:s:1:r devicePath:s:2:r
VolumeMount name:s:1:r readOnly:b:2:o recursiveReadOnly:=RecursiveReadOnlyMode:7:op mountPath:s:3:r subPath:s:4:o mountPropagation:=MountPropagationMode:5:op subPathExpr:s:6:o
VolumeMountStatus name:s:1:r mountPath:s:2:r readOnly:b:3:o recursiveReadOnly:=RecursiveReadOnlyMode:4:op volumeStatus:VolumeStatus:5:op
VolumeNodeAffinity required:NodeSelector:1:opX
VolumeProjection secret:SecretProjection:1:op downwardAPI:DownwardAPIProjection:2:op configMap:ConfigMapProjection:3:op serviceAccountToken:ServiceAccountTokenProjection:4:op clusterTrustBundle:ClusterTrustBundleProjection:5:op podCertificate:PodCertificateProjection:6:op
VolumeResourceRequirements limits:{q:1:o:n=ResourceList requests:{q:2:o:n=ResourceList
VolumeSource hostPath:HostPathVolumeSource:1:op emptyDir:EmptyDirVolumeSource:2:op gcePersistentDisk:GCEPersistentDiskVolumeSource:3:op awsElasticBlockStore:AWSElasticBlockStoreVolumeSource:4:op gitRepo:GitRepoVolumeSource:5:op secret:SecretVolumeSource:6:op nfs:NFSVolumeSource:7:op iscsi:ISCSIVolumeSource:8:op glusterfs:GlusterfsVolumeSource:9:op persistentVolumeClaim:PersistentVolumeClaimVolumeSource:10:op rbd:RBDVolumeSource:11:op flexVolume:FlexVolumeSource:12:op cinder:CinderVolumeSource:13:op cephfs:CephFSVolumeSource:14:op flocker:FlockerVolumeSource:15:op downwardAPI:DownwardAPIVolumeSource:16:op fc:FCVolumeSource:17:op azureFile:AzureFileVolumeSource:18:op configMap:ConfigMapVolumeSource:19:op vsphereVolume:VsphereVirtualDiskVolumeSource:20:op quobyte:QuobyteVolumeSource:21:op azureDisk:AzureDiskVolumeSource:22:op photonPersistentDisk:PhotonPersistentDiskVolumeSource:23:op projected:ProjectedVolumeSource:26:op portworxVolume:PortworxVolumeSource:24:op scaleIO:ScaleIOVolumeSource:25:op storageos:StorageOSVolumeSource:27:op csi:CSIVolumeSource:28:op ephemeral:EphemeralVolumeSource:29:op image:ImageVolumeSource:30:op
VolumeStatus image:ImageVolumeStatus:1:op
VsphereVirtualDiskVolumeSource volumePath:s:1:r fsType:s:2:o storagePolicyName:s:3:o storagePolicyID:s:4:o
WeightedPodAffinityTerm weight:i:1:r podAffinityTerm:PodAffinityTerm:2:r
WindowsSecurityContextOptions gmsaCredentialSpecName:s:1:op gmsaCredentialSpec:s:2:op runAsUserName:s:3:op hostProcess:b:4:op
"""#
    }
}
