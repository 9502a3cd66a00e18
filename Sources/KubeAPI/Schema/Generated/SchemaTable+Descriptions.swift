// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// Sorted: type or type#field, tab, a sentence.
    static var descriptions: StaticString {
#"""
apps/v1.DaemonSet	One pod on every node, or on those that fit.
apps/v1.DaemonSetSpec#minReadySeconds	Seconds a pod must be ready before it counts as available.
apps/v1.DaemonSetSpec#revisionHistoryLimit	The number of old revisions kept for going back.
apps/v1.DaemonSetSpec#selector	The pods that belong to the set; must match the template's labels.
apps/v1.DaemonSetSpec#template	The pods to make.
apps/v1.DaemonSetSpec#updateStrategy	How old pods are replaced by new ones.
apps/v1.Deployment	A number of equal pods, changed step by step.
apps/v1.DeploymentSpec#minReadySeconds	Seconds a pod must be ready before it counts as available.
apps/v1.DeploymentSpec#paused	Changes of the template have no effect while true.
apps/v1.DeploymentSpec#progressDeadlineSeconds	Seconds without progress after which a rollout is reported as failed.
apps/v1.DeploymentSpec#replicas	The number of pods.
apps/v1.DeploymentSpec#revisionHistoryLimit	The number of old ReplicaSets kept for going back.
apps/v1.DeploymentSpec#selector	The pods that belong to the deployment; must match the template's labels.
apps/v1.DeploymentSpec#strategy	How old pods are replaced by new ones.
apps/v1.DeploymentSpec#template	The pods to make.
apps/v1.DeploymentStatus#availableReplicas	Pods that have been ready for minReadySeconds.
apps/v1.DeploymentStatus#conditions	Available, Progressing and ReplicaFailure, with reasons.
apps/v1.DeploymentStatus#readyReplicas	Pods that are ready.
apps/v1.DeploymentStatus#replicas	Pods that there are.
apps/v1.DeploymentStatus#updatedReplicas	Pods of the newest template.
apps/v1.DeploymentStrategy#rollingUpdate	How many pods more or fewer there may be on the way.
apps/v1.DeploymentStrategy#type	RollingUpdate, or Recreate: all old ones go first.
apps/v1.ReplicaSet	A number of equal pods; mostly made by a Deployment.
apps/v1.ReplicaSetSpec#replicas	The number of pods.
apps/v1.ReplicaSetSpec#selector	The pods that belong to the set; must match the template's labels.
apps/v1.ReplicaSetSpec#template	The pods to make.
apps/v1.RollingUpdateDeployment#maxSurge	Pods above the wanted number, as a number or in percent.
apps/v1.RollingUpdateDeployment#maxUnavailable	Pods that may be missing, as a number or in percent.
apps/v1.StatefulSet	Pods with lasting names and volumes.
apps/v1.StatefulSetSpec#minReadySeconds	Seconds a pod must be ready before it counts as available.
apps/v1.StatefulSetSpec#persistentVolumeClaimRetentionPolicy	Whether claims go with their pods or with the set.
apps/v1.StatefulSetSpec#podManagementPolicy	OrderedReady, or Parallel: all pods at once.
apps/v1.StatefulSetSpec#replicas	The number of pods.
apps/v1.StatefulSetSpec#selector	The pods that belong to the set; must match the template's labels.
apps/v1.StatefulSetSpec#serviceName	The headless service that gives the pods their names.
apps/v1.StatefulSetSpec#template	The pods to make.
apps/v1.StatefulSetSpec#updateStrategy	How old pods are replaced by new ones.
apps/v1.StatefulSetSpec#volumeClaimTemplates	Claims made for each pod, kept when it is replaced.
autoscaling/v2.HorizontalPodAutoscaler	Changes the number of pods to keep a measure near its target.
autoscaling/v2.HorizontalPodAutoscalerSpec#behavior	How fast it may go up and down.
autoscaling/v2.HorizontalPodAutoscalerSpec#maxReplicas	The most pods.
autoscaling/v2.HorizontalPodAutoscalerSpec#metrics	What is measured and where it should be.
autoscaling/v2.HorizontalPodAutoscalerSpec#minReplicas	The fewest pods.
autoscaling/v2.HorizontalPodAutoscalerSpec#scaleTargetRef	What is scaled.
batch/v1.CronJob	Jobs at set times.
batch/v1.CronJobSpec#concurrencyPolicy	What happens when a job is due while the last one runs.
batch/v1.CronJobSpec#failedJobsHistoryLimit	How many failed jobs are kept.
batch/v1.CronJobSpec#jobTemplate	The jobs to make.
batch/v1.CronJobSpec#schedule	When jobs start, in cron's five fields.
batch/v1.CronJobSpec#startingDeadlineSeconds	By how many seconds a start may be late.
batch/v1.CronJobSpec#successfulJobsHistoryLimit	How many completed jobs are kept.
batch/v1.CronJobSpec#suspend	No jobs are started while true.
batch/v1.CronJobSpec#timeZone	The time zone of the schedule.
batch/v1.CronJobStatus#lastScheduleTime	When a job was last started.
batch/v1.Job	Pods that run to their end.
batch/v1.JobSpec#activeDeadlineSeconds	Seconds after which the job and its pods are ended.
batch/v1.JobSpec#backoffLimit	Failures after which the job is given up.
batch/v1.JobSpec#backoffLimitPerIndex	Failures after which an index is given up.
batch/v1.JobSpec#completionMode	NonIndexed, or Indexed: every pod has a number.
batch/v1.JobSpec#completions	How many pods must succeed.
batch/v1.JobSpec#maxFailedIndexes	Failed indexes after which the job is given up.
batch/v1.JobSpec#parallelism	How many pods run at once.
batch/v1.JobSpec#podFailurePolicy	What failures mean, by exit codes and conditions.
batch/v1.JobSpec#podReplacementPolicy	When a pod that fails is replaced.
batch/v1.JobSpec#successPolicy	Which indexes are enough.
batch/v1.JobSpec#suspend	No pods run while true.
batch/v1.JobSpec#template	The pods to make.
batch/v1.JobSpec#ttlSecondsAfterFinished	Seconds after which the finished job is deleted.
batch/v1.JobStatus#active	Pods that run or wait.
batch/v1.JobStatus#failed	Pods that failed.
batch/v1.JobStatus#succeeded	Pods that succeeded.
core/v1.Affinity#nodeAffinity	Which nodes the pod may or likes to run on.
core/v1.Affinity#podAffinity	Which pods it wants to be near to.
core/v1.Affinity#podAntiAffinity	Which pods it wants to be away from.
core/v1.Capabilities#add	Linux capabilities that the container gets beside the usual ones.
core/v1.Capabilities#drop	Linux capabilities taken away; ALL for all.
core/v1.ConfigMap	Configuration for pods, as text or bytes by key.
core/v1.ConfigMap#binaryData	Bytes by key, in base64.
core/v1.ConfigMap#data	Text by key.
core/v1.ConfigMap#immutable	If true, the data cannot change any more.
core/v1.ConfigMapKeySelector#key	The key to take.
core/v1.ConfigMapKeySelector#name	The ConfigMap's name.
core/v1.ConfigMapKeySelector#optional	Whether the container starts without it.
core/v1.ConfigMapVolumeSource#defaultMode	Permissions of the files; 0644 if unset.
core/v1.ConfigMapVolumeSource#items	Which keys become which files; all of them if unset.
core/v1.ConfigMapVolumeSource#name	The ConfigMap's name.
core/v1.ConfigMapVolumeSource#optional	Whether the pod starts without it.
core/v1.Container	A container of a pod: an image and how it is run.
core/v1.Container#args	Arguments of the command; the image's own if unset. $(NAME) is replaced from the environment.
core/v1.Container#command	The command, instead of the image's entry point; not run by a shell. $(NAME) is replaced from the environment.
core/v1.Container#env	Environment variables.
core/v1.Container#envFrom	ConfigMaps and Secrets whose keys become environment variables.
core/v1.Container#image	The image's name; with a tag or a digest.
core/v1.Container#imagePullPolicy	When the image is pulled. Default: Always for the tag latest, else IfNotPresent.
core/v1.Container#lifecycle	What is done after the container's start and before its end.
core/v1.Container#livenessProbe	A check whose failure restarts the container.
core/v1.Container#name	The container's name, unique in the pod.
core/v1.Container#ports	Ports that the container listens on; for information and for names.
core/v1.Container#readinessProbe	A check that decides whether the container gets traffic from services.
core/v1.Container#resizePolicy	Whether a change of CPU or memory restarts the container.
core/v1.Container#resources	CPU, memory and other resources: what is reserved and what is the most.
core/v1.Container#restartPolicy	For init containers: Always makes a sidecar that runs beside the others.
core/v1.Container#restartPolicyRules	Exit codes upon which the container is started again, before the pod's own policy counts.
core/v1.Container#securityContext	User, capabilities and security options of the container.
core/v1.Container#startupProbe	A check that holds the other probes back until the container is up.
core/v1.Container#stdin	Keep standard input open for attach.
core/v1.Container#stdinOnce	Close standard input after the first client that attached has gone.
core/v1.Container#terminationMessagePath	The file that the container may write its last words to.
core/v1.Container#terminationMessagePolicy	File, or FallbackToLogsOnError: the end of the log where the file is empty and the container failed.
core/v1.Container#tty	Give the container a terminal.
core/v1.Container#volumeDevices	Volumes that the container sees as block devices.
core/v1.Container#volumeMounts	Where volumes are mounted.
core/v1.Container#workingDir	The directory that the command starts in; the image's own if unset.
core/v1.ContainerPort#containerPort	The port in the pod, 1 to 65535.
core/v1.ContainerPort#hostIP	The address of the node that hostPort is opened on; all of them if unset.
core/v1.ContainerPort#hostPort	A port of the node that leads to this one.
core/v1.ContainerPort#name	A name for services to refer to.
core/v1.ContainerPort#protocol	TCP, UDP or SCTP.
core/v1.ContainerStateTerminated#exitCode	The number that the process ended with.
core/v1.ContainerStateTerminated#reason	In a word: Completed, Error, OOMKilled, ...
core/v1.ContainerStateWaiting#reason	In a word: ContainerCreating, CrashLoopBackOff, ImagePullBackOff, ...
core/v1.ContainerStatus#image	The image that runs.
core/v1.ContainerStatus#imageID	The digest of the image.
core/v1.ContainerStatus#lastState	How the last run ended.
core/v1.ContainerStatus#ready	Whether the container passes its readiness probe.
core/v1.ContainerStatus#restartCount	How often the container was started again.
core/v1.ContainerStatus#state	Waiting, running or terminated, with details.
core/v1.EmptyDirVolumeSource#medium	Memory for a file system in memory; the node's disk if unset.
core/v1.EmptyDirVolumeSource#sizeLimit	The most that it may hold.
core/v1.Endpoints	Addresses of a service; EndpointSlices have taken their place.
core/v1.EnvFromSource#configMapRef	The ConfigMap to take all keys of.
core/v1.EnvFromSource#prefix	Put before every name.
core/v1.EnvFromSource#secretRef	The Secret to take all keys of.
core/v1.EnvVar#name	The variable's name.
core/v1.EnvVar#value	Its value; $(NAME) is replaced by variables defined before.
core/v1.EnvVar#valueFrom	Takes the value from a field of the pod, a ConfigMap, a Secret or a resource amount.
core/v1.EnvVarSource#configMapKeyRef	A key of a ConfigMap.
core/v1.EnvVarSource#fieldRef	A field of the pod, such as metadata.name or status.podIP.
core/v1.EnvVarSource#resourceFieldRef	A request or limit of a container.
core/v1.EnvVarSource#secretKeyRef	A key of a Secret.
core/v1.Event	Something that happened to an object.
core/v1.ExecAction#command	The command and its arguments; no shell.
core/v1.HTTPGetAction#host	Where to connect to; the pod's address if unset.
core/v1.HTTPGetAction#httpHeaders	Headers of the request.
core/v1.HTTPGetAction#path	The path to ask for.
core/v1.HTTPGetAction#port	The port, by number or by name.
core/v1.HTTPGetAction#scheme	HTTP or HTTPS; certificates are not checked.
core/v1.HostAlias#hostnames	Names for the address.
core/v1.HostAlias#ip	The address.
core/v1.HostPathVolumeSource#path	The path on the node.
core/v1.HostPathVolumeSource#type	What has to be there: Directory, File, Socket, ...; DirectoryOrCreate and FileOrCreate make it.
core/v1.KeyToPath#key	The key.
core/v1.KeyToPath#mode	Permissions of this file.
core/v1.KeyToPath#path	The file's path inside of the volume.
core/v1.Lifecycle#postStart	Done right after the start; the container is restarted where it fails.
core/v1.Lifecycle#preStop	Done before the container is stopped; its time is part of the grace period.
core/v1.Lifecycle#stopSignal	The signal that ends the container, instead of the image's.
core/v1.LimitRange	Least, most and usual amounts of resources in a namespace.
core/v1.LimitRangeItem#default	Limits of containers that say nothing.
core/v1.LimitRangeItem#defaultRequest	Requests of containers that say nothing.
core/v1.LimitRangeItem#max	The most of each resource.
core/v1.LimitRangeItem#maxLimitRequestRatio	By how much a limit may exceed its request.
core/v1.LimitRangeItem#min	The least of each resource.
core/v1.LimitRangeItem#type	Container, Pod or PersistentVolumeClaim.
core/v1.LocalObjectReference#name	The object's name.
core/v1.Namespace	A scope for names.
core/v1.NamespaceSpec#finalizers	Who has to agree before the namespace goes.
core/v1.NamespaceStatus#phase	Active or Terminating.
core/v1.Node	A machine of the cluster.
core/v1.NodeAffinity#preferredDuringSchedulingIgnoredDuringExecution	Terms with weights; nodes with the greatest sum are liked most.
core/v1.NodeAffinity#requiredDuringSchedulingIgnoredDuringExecution	The node has to match one of the terms when the pod is scheduled.
core/v1.NodeSelectorRequirement#key	The node's label.
core/v1.NodeSelectorRequirement#operator	In, NotIn, Exists, DoesNotExist, Gt or Lt.
core/v1.NodeSelectorRequirement#values	Values to compare with.
core/v1.NodeSelectorTerm#matchExpressions	Requirements on labels; all have to be met.
core/v1.NodeSelectorTerm#matchFields	Requirements on fields (metadata.name); all have to be met.
core/v1.NodeSpec#podCIDR	The range of the node's pod addresses.
core/v1.NodeSpec#providerID	The machine's name at its provider.
core/v1.NodeSpec#taints	Marks that keep pods away which do not tolerate them.
core/v1.NodeSpec#unschedulable	No new pods are put on the node.
core/v1.NodeStatus#addresses	Names and addresses by which the node is reached.
core/v1.NodeStatus#allocatable	What pods may use.
core/v1.NodeStatus#capacity	What the machine has.
core/v1.NodeStatus#conditions	Whether it is ready, and short of memory, disk or processes.
core/v1.NodeStatus#images	Images that are on the node.
core/v1.NodeStatus#nodeInfo	Versions of kernel, system, runtime and kubelet.
core/v1.PersistentVolume	Storage of the cluster.
core/v1.PersistentVolumeClaim	A request for storage.
core/v1.PersistentVolumeClaimSpec#accessModes	How the volume is to be mounted.
core/v1.PersistentVolumeClaimSpec#dataSource	What the volume is made from: another claim or a snapshot.
core/v1.PersistentVolumeClaimSpec#resources	How much storage.
core/v1.PersistentVolumeClaimSpec#selector	Labels of the volumes that come into question.
core/v1.PersistentVolumeClaimSpec#storageClassName	The StorageClass that provides the volume.
core/v1.PersistentVolumeClaimSpec#volumeMode	Filesystem or Block.
core/v1.PersistentVolumeClaimSpec#volumeName	The volume that the claim is bound to.
core/v1.PersistentVolumeClaimStatus#phase	Pending, Bound or Lost.
core/v1.PersistentVolumeClaimVolumeSource#claimName	The claim's name, in the pod's namespace.
core/v1.PersistentVolumeClaimVolumeSource#readOnly	Mount it without the right to write.
core/v1.PersistentVolumeSpec#accessModes	How the volume can be mounted.
core/v1.PersistentVolumeSpec#capacity	Its size.
core/v1.PersistentVolumeSpec#claimRef	The claim that it is bound to.
core/v1.PersistentVolumeSpec#mountOptions	Options of the mount.
core/v1.PersistentVolumeSpec#nodeAffinity	The nodes that can use it.
core/v1.PersistentVolumeSpec#persistentVolumeReclaimPolicy	What becomes of it after its claim: Retain, Delete.
core/v1.PersistentVolumeSpec#storageClassName	The StorageClass that it belongs to.
core/v1.Pod	One or more containers that run together on one node, sharing network and volumes.
core/v1.PodAffinityTerm#labelSelector	The pods that are meant.
core/v1.PodAffinityTerm#namespaceSelector	Namespaces of those pods, by labels; an empty one means all.
core/v1.PodAffinityTerm#namespaces	Namespaces of those pods, by name; the pod's own if nothing is said.
core/v1.PodAffinityTerm#topologyKey	The node's label by which near and away are meant, such as kubernetes.io/hostname.
core/v1.PodDNSConfig#nameservers	Addresses of name servers.
core/v1.PodDNSConfig#options	Resolver options, such as ndots.
core/v1.PodDNSConfig#searches	Domains that are tried for short names.
core/v1.PodReadinessGate#conditionType	A condition of the pod that somebody else sets.
core/v1.PodSchedulingGate#name	Who holds the pod back.
core/v1.PodSecurityContext#fsGroup	A group that all processes belong to and that volumes are given to.
core/v1.PodSecurityContext#fsGroupChangePolicy	Always, or OnRootMismatch: volumes that have the group already are left alone.
core/v1.PodSecurityContext#runAsGroup	The group's number, unless a container says otherwise.
core/v1.PodSecurityContext#runAsNonRoot	No container is started as user 0.
core/v1.PodSecurityContext#runAsUser	The user's number, unless a container says otherwise.
core/v1.PodSecurityContext#seccompProfile	Which system calls are allowed, unless a container says otherwise.
core/v1.PodSecurityContext#supplementalGroups	More groups that the processes belong to.
core/v1.PodSecurityContext#sysctls	Kernel settings of the pod's namespaces.
core/v1.PodSpec	What runs in a pod, and where and how.
core/v1.PodSpec#activeDeadlineSeconds	Seconds after which the pod is failed, counted from its start on the node.
core/v1.PodSpec#affinity	Rules about the nodes and the other pods that the pod wants to be near to or away from.
core/v1.PodSpec#automountServiceAccountToken	Whether the service account's token is mounted into the containers.
core/v1.PodSpec#containers	The containers; at least one. The list cannot change while the pod runs.
core/v1.PodSpec#dnsConfig	DNS servers, search domains and options, added to what dnsPolicy gives.
core/v1.PodSpec#dnsPolicy	Where names are resolved: by the cluster first, by the node, or only as dnsConfig says.
core/v1.PodSpec#enableServiceLinks	Whether containers get environment variables for the services of their namespace.
core/v1.PodSpec#ephemeralContainers	Containers added to a running pod for debugging, by the ephemeralcontainers subresource.
core/v1.PodSpec#hostAliases	Lines for the containers' /etc/hosts.
core/v1.PodSpec#hostIPC	Use the node's IPC namespace.
core/v1.PodSpec#hostNetwork	Use the node's network; containers then listen on the node's own ports.
core/v1.PodSpec#hostPID	Use the node's process namespace.
core/v1.PodSpec#hostUsers	Whether the pod's users are the node's; false gives the pod a user namespace of its own.
core/v1.PodSpec#hostname	The host name inside of the pod; the pod's name if unset.
core/v1.PodSpec#hostnameOverride	The host name inside of the pod, whatever else is said.
core/v1.PodSpec#imagePullSecrets	Secrets with credentials for the image registries.
core/v1.PodSpec#initContainers	Containers that run one after the other before the others start; with restartPolicy Always they stay as sidecars.
core/v1.PodSpec#nodeName	The node the pod runs on; set by the scheduler.
core/v1.PodSpec#nodeSelector	Labels that the node must have.
core/v1.PodSpec#os	The operating system that the pod needs.
core/v1.PodSpec#overhead	Resources that running the pod itself costs, from its RuntimeClass.
core/v1.PodSpec#preemptionPolicy	Whether the pod may push out pods of lower priority.
core/v1.PodSpec#priority	The number that priorityClassName stands for; higher is more important.
core/v1.PodSpec#priorityClassName	The PriorityClass of the pod.
core/v1.PodSpec#readinessGates	Conditions, besides the containers' readiness, that must be true for the pod to be ready.
core/v1.PodSpec#resourceClaims	Devices that the pod needs.
core/v1.PodSpec#resources	CPU and memory of the pod as a whole.
core/v1.PodSpec#restartPolicy	Whether containers that end are started again.
core/v1.PodSpec#runtimeClassName	The RuntimeClass that says how the containers are run.
core/v1.PodSpec#schedulerName	The scheduler that finds a node for the pod.
core/v1.PodSpec#schedulingGates	The pod is not scheduled while this list has members.
core/v1.PodSpec#securityContext	User, groups and security options of all containers, where they do not have their own.
core/v1.PodSpec#serviceAccountName	The ServiceAccount as which the pod talks to the API.
core/v1.PodSpec#setHostnameAsFQDN	Use the pod's full name as its host name.
core/v1.PodSpec#shareProcessNamespace	Whether the containers see each other's processes.
core/v1.PodSpec#subdomain	With it the pod's full host name is hostname.subdomain.namespace.svc.DOMAIN.
core/v1.PodSpec#terminationGracePeriodSeconds	Seconds between the request to stop and the kill; 0 kills at once.
core/v1.PodSpec#tolerations	Taints of nodes that the pod puts up with.
core/v1.PodSpec#topologySpreadConstraints	How evenly pods like this one are spread over zones, nodes or other domains.
core/v1.PodSpec#volumes	Volumes that containers may mount.
core/v1.PodStatus#conditions	What has been reached: scheduled, initialized, ready and so on.
core/v1.PodStatus#containerStatuses	The state of each container.
core/v1.PodStatus#hostIP	The address of the pod's node.
core/v1.PodStatus#initContainerStatuses	The state of each init container.
core/v1.PodStatus#message	Why the pod is in this state, for people.
core/v1.PodStatus#nominatedNodeName	The node where room is made for the pod.
core/v1.PodStatus#phase	A summary: Pending, Running, Succeeded, Failed or Unknown.
core/v1.PodStatus#podIP	The address of the pod.
core/v1.PodStatus#podIPs	The addresses of the pod, one of each family.
core/v1.PodStatus#qosClass	How resources are guaranteed; follows from requests and limits.
core/v1.PodStatus#reason	Why the pod is in this state, in a word.
core/v1.PodStatus#resize	How far a change of CPU or memory has come.
core/v1.PodStatus#startTime	When the node took the pod.
core/v1.PodTemplateSpec	The pods that a controller makes.
core/v1.PodTemplateSpec#spec	What runs in the pods.
core/v1.Probe#exec	A command in the container; 0 is success.
core/v1.Probe#failureThreshold	Failures in a row after which the check counts as failed.
core/v1.Probe#grpc	A gRPC health check.
core/v1.Probe#httpGet	A GET request; 200 to 399 is success.
core/v1.Probe#initialDelaySeconds	Seconds between the container's start and the first check.
core/v1.Probe#periodSeconds	Seconds between checks.
core/v1.Probe#successThreshold	Successes in a row after which the check counts as passed again.
core/v1.Probe#tcpSocket	A connection that can be opened is success.
core/v1.Probe#terminationGracePeriodSeconds	Seconds that the container gets to end after this probe failed.
core/v1.Probe#timeoutSeconds	Seconds a check may take.
core/v1.ProjectedVolumeSource#defaultMode	Permissions of the files; 0644 if unset.
core/v1.ProjectedVolumeSource#sources	Secrets, ConfigMaps, fields of the pod and tokens.
core/v1.ReplicationController	A number of equal pods; Deployments have taken their place.
core/v1.ResourceQuota	How much a namespace may use altogether.
core/v1.ResourceQuotaSpec#hard	The most, by name of the resource.
core/v1.ResourceQuotaSpec#scopeSelector	Which objects count, by scope and values.
core/v1.ResourceQuotaSpec#scopes	Which objects count.
core/v1.ResourceQuotaStatus#used	What is used.
core/v1.ResourceRequirements#claims	Devices that the container uses, by the names of the pod's resource claims.
core/v1.ResourceRequirements#limits	The most the container may use.
core/v1.ResourceRequirements#requests	What is reserved for the container; the limits if unset.
core/v1.SeccompProfile#localhostProfile	The profile's file below the kubelet's seccomp folder.
core/v1.SeccompProfile#type	RuntimeDefault, Unconfined, or Localhost with a file of the node.
core/v1.Secret	Sensitive data for pods, by key.
core/v1.Secret#data	Bytes by key, in base64.
core/v1.Secret#immutable	If true, the data cannot change any more.
core/v1.Secret#stringData	Text by key, for writing only: it is moved into data.
core/v1.Secret#type	What the secret is for.
core/v1.SecretKeySelector#key	The key to take.
core/v1.SecretKeySelector#name	The Secret's name.
core/v1.SecretKeySelector#optional	Whether the container starts without it.
core/v1.SecretVolumeSource#defaultMode	Permissions of the files; 0644 if unset.
core/v1.SecretVolumeSource#items	Which keys become which files; all of them if unset.
core/v1.SecretVolumeSource#optional	Whether the pod starts without it.
core/v1.SecretVolumeSource#secretName	The Secret's name.
core/v1.SecurityContext#allowPrivilegeEscalation	Whether a process may get more rights than its parent has (set-user-id programs).
core/v1.SecurityContext#appArmorProfile	The AppArmor profile.
core/v1.SecurityContext#capabilities	Linux capabilities that are added and dropped.
core/v1.SecurityContext#privileged	All of the node's rights and devices.
core/v1.SecurityContext#procMount	Which parts of /proc are hidden or read-only.
core/v1.SecurityContext#readOnlyRootFilesystem	The container cannot write to its image's files.
core/v1.SecurityContext#runAsGroup	The group's number.
core/v1.SecurityContext#runAsNonRoot	The container is not started as user 0.
core/v1.SecurityContext#runAsUser	The user's number; the image's own if unset.
core/v1.SecurityContext#seLinuxOptions	The SELinux label of the processes.
core/v1.SecurityContext#seccompProfile	Which system calls are allowed.
core/v1.Service	A stable name and address for a set of pods.
core/v1.ServiceAccount	An identity for pods.
core/v1.ServiceAccount#automountServiceAccountToken	Whether pods get the account's token.
core/v1.ServiceAccount#imagePullSecrets	Credentials for the images of pods that name none.
core/v1.ServiceAccount#secrets	Secrets that the account's pods may use.
core/v1.ServiceAccountTokenProjection#audience	For whom the token is; the API server if unset.
core/v1.ServiceAccountTokenProjection#expirationSeconds	How long it is good; it is renewed before.
core/v1.ServiceAccountTokenProjection#path	The file's path inside of the volume.
core/v1.ServicePort#appProtocol	The protocol that is spoken, for information.
core/v1.ServicePort#name	The port's name; needed where there are several.
core/v1.ServicePort#nodePort	The port of every node; chosen if unset.
core/v1.ServicePort#port	The service's port.
core/v1.ServicePort#protocol	TCP, UDP or SCTP.
core/v1.ServicePort#targetPort	The pods' port, by number or name; the same as port if unset.
core/v1.ServiceSpec	How a service is reached and which pods are behind it.
core/v1.ServiceSpec#allocateLoadBalancerNodePorts	Whether services of type LoadBalancer get node ports.
core/v1.ServiceSpec#clusterIP	The service's virtual address; "None" for a service that has only DNS records of its pods.
core/v1.ServiceSpec#clusterIPs	The virtual addresses, one of each family.
core/v1.ServiceSpec#externalIPs	Addresses, led to the nodes by other means, at which the service is reached as well.
core/v1.ServiceSpec#externalName	The DNS name that a service of type ExternalName stands for.
core/v1.ServiceSpec#externalTrafficPolicy	Cluster: any node passes traffic on. Local: only nodes with a pod of the service, keeping the client's address.
core/v1.ServiceSpec#healthCheckNodePort	A port of every node that tells balancers whether it has pods of the service.
core/v1.ServiceSpec#internalTrafficPolicy	Whether traffic from inside of the cluster stays on its node.
core/v1.ServiceSpec#ipFamilies	IPv4, IPv6 or both, the first one foremost.
core/v1.ServiceSpec#ipFamilyPolicy	SingleStack, PreferDualStack or RequireDualStack.
core/v1.ServiceSpec#loadBalancerClass	Who provides the load balancer.
core/v1.ServiceSpec#loadBalancerSourceRanges	Networks that may reach the load balancer.
core/v1.ServiceSpec#ports	The ports of the service.
core/v1.ServiceSpec#publishNotReadyAddresses	Names lead to pods that are not ready, too.
core/v1.ServiceSpec#selector	Labels of the pods behind the service.
core/v1.ServiceSpec#sessionAffinity	ClientIP sends a client to the same pod again.
core/v1.ServiceSpec#sessionAffinityConfig	How long a client is kept to its pod.
core/v1.ServiceSpec#trafficDistribution	PreferSameZone or PreferSameNode.
core/v1.ServiceSpec#type	ClusterIP, NodePort, LoadBalancer or ExternalName: from where the service is reached.
core/v1.TCPSocketAction#port	The port, by number or by name.
core/v1.Taint#effect	NoSchedule, PreferNoSchedule or NoExecute.
core/v1.Taint#key	The taint's name.
core/v1.Taint#value	Its value.
core/v1.Toleration#effect	NoSchedule, PreferNoSchedule or NoExecute; all of them if unset.
core/v1.Toleration#key	The taint's key; all of them if unset.
core/v1.Toleration#operator	Equal (the value has to be the same) or Exists.
core/v1.Toleration#tolerationSeconds	Seconds that the pod stays on the node after a NoExecute taint; for ever if unset.
core/v1.Toleration#value	The taint's value.
core/v1.TopologySpreadConstraint#labelSelector	The pods that are counted.
core/v1.TopologySpreadConstraint#maxSkew	By how many pods the parts may differ.
core/v1.TopologySpreadConstraint#minDomains	How many parts there are at least.
core/v1.TopologySpreadConstraint#topologyKey	The node's label that says which part it is in.
core/v1.TopologySpreadConstraint#whenUnsatisfiable	DoNotSchedule, or ScheduleAnyway: only a wish.
core/v1.Volume#configMap	Files from a ConfigMap.
core/v1.Volume#csi	A volume of a driver that lives as long as the pod.
core/v1.Volume#downwardAPI	Fields of the pod as files.
core/v1.Volume#emptyDir	A directory that lives as long as the pod.
core/v1.Volume#ephemeral	A claim that is made for the pod and goes with it.
core/v1.Volume#hostPath	A file or directory of the node.
core/v1.Volume#image	The files of an image.
core/v1.Volume#iscsi	A disk by iSCSI.
core/v1.Volume#name	The volume's name, unique in the pod.
core/v1.Volume#nfs	A directory of an NFS server.
core/v1.Volume#persistentVolumeClaim	The volume that a claim is bound to.
core/v1.Volume#projected	Several sources in one directory.
core/v1.Volume#secret	Files from a Secret.
core/v1.VolumeMount#mountPath	Where in the container the volume appears.
core/v1.VolumeMount#mountPropagation	Whether mounts made later are seen on the other side: None, HostToContainer, Bidirectional.
core/v1.VolumeMount#name	The volume's name.
core/v1.VolumeMount#readOnly	Mount the volume without the right to write.
core/v1.VolumeMount#recursiveReadOnly	Whether mounts below a read-only one are read-only too.
core/v1.VolumeMount#subPath	A path inside of the volume, instead of its root.
core/v1.VolumeMount#subPathExpr	As subPath, with $(NAME) replaced from the environment.
k3s/v1.Addon	A manifest of a server's manifests directory and what became of it.
k3s/v1.AddonSpec#checksum	SHA-256 of the manifest that was applied last.
k3s/v1.AddonSpec#source	The manifest's path on the server.
meta/v1.LabelSelector	Selects objects by their labels; all parts must match.
meta/v1.LabelSelector#matchExpressions	Requirements with operators: In, NotIn, Exists, DoesNotExist.
meta/v1.LabelSelector#matchLabels	Labels with exactly these values.
meta/v1.ObjectMeta#annotations	Values by key, for tools; not for selecting.
meta/v1.ObjectMeta#creationTimestamp	When the object was made; set by the server.
meta/v1.ObjectMeta#deletionGracePeriodSeconds	Seconds that the object has to end before it is removed.
meta/v1.ObjectMeta#deletionTimestamp	When the object is to be gone; set by the server on deletion.
meta/v1.ObjectMeta#finalizers	The object stays until this list is empty.
meta/v1.ObjectMeta#generateName	Beginning of a name that the server completes.
meta/v1.ObjectMeta#generation	Counts the changes of what is wanted.
meta/v1.ObjectMeta#labels	Values by key, for selecting.
meta/v1.ObjectMeta#managedFields	Who set which field.
meta/v1.ObjectMeta#name	The name, unique among the objects of its kind in the namespace.
meta/v1.ObjectMeta#namespace	The namespace; objects of the cluster have none.
meta/v1.ObjectMeta#ownerReferences	The objects this one belongs to; it goes when they are gone.
meta/v1.ObjectMeta#resourceVersion	Changes with every write; for noticing concurrent changes.
meta/v1.ObjectMeta#uid	Identifies the object for all times; set by the server.
networking/v1.HTTPIngressPath#backend	Where the requests go.
networking/v1.HTTPIngressPath#path	The path or its beginning.
networking/v1.HTTPIngressPath#pathType	Exact, Prefix or ImplementationSpecific.
networking/v1.Ingress	HTTP hosts and paths that lead to services.
networking/v1.IngressBackend#resource	An object of the namespace, instead of a service.
networking/v1.IngressBackend#service	A service of the namespace and its port.
networking/v1.IngressClass	Which controller answers for ingresses of a class.
networking/v1.IngressRule#host	The host name; *.name for all below it; all of them if unset.
networking/v1.IngressSpec#defaultBackend	Where requests go that no rule is for.
networking/v1.IngressSpec#ingressClassName	The IngressClass whose controller serves this.
networking/v1.IngressSpec#rules	Hosts and paths with the services behind them.
networking/v1.IngressSpec#tls	Certificates by host.
networking/v1.IngressTLS#hosts	Host names that the certificate is for.
networking/v1.IngressTLS#secretName	The Secret with certificate and key.
networking/v1.NetworkPolicy	Which traffic the selected pods may have.
networking/v1.NetworkPolicyPeer#ipBlock	A network, with exceptions.
networking/v1.NetworkPolicyPeer#namespaceSelector	Namespaces of pods, by labels.
networking/v1.NetworkPolicyPeer#podSelector	Pods, by labels.
networking/v1.NetworkPolicySpec#egress	Traffic from the pods that is allowed.
networking/v1.NetworkPolicySpec#ingress	Traffic to the pods that is allowed.
networking/v1.NetworkPolicySpec#podSelector	The pods that the policy is for; all of the namespace if empty.
networking/v1.NetworkPolicySpec#policyTypes	Whether the policy is about traffic to the pods, from them, or both.
policy/v1.PodDisruptionBudget	How many pods may be away at the same time by intent.
policy/v1.PodDisruptionBudgetSpec#maxUnavailable	Pods that may be away, as a number or in percent.
policy/v1.PodDisruptionBudgetSpec#minAvailable	Pods that have to stay, as a number or in percent.
policy/v1.PodDisruptionBudgetSpec#selector	The pods that are meant.
policy/v1.PodDisruptionBudgetSpec#unhealthyPodEvictionPolicy	Whether pods that are not ready may always be evicted.
rbac/v1.ClusterRole	Permissions in all namespaces and on the cluster's own objects.
rbac/v1.ClusterRoleBinding	Gives a role's permissions to users, groups or service accounts everywhere.
rbac/v1.PolicyRule#apiGroups	API groups of the resources; "" is the core.
rbac/v1.PolicyRule#nonResourceURLs	Paths; * at the end for all below.
rbac/v1.PolicyRule#resourceNames	Names of objects; all of them if unset.
rbac/v1.PolicyRule#resources	Resources, with subresources after a slash; * for all.
rbac/v1.PolicyRule#verbs	get, list, watch, create, update, patch, delete, ...; * for all.
rbac/v1.Role	Permissions in a namespace.
rbac/v1.RoleBinding	Gives a role's permissions to users, groups or service accounts in a namespace.
rbac/v1.RoleRef#name	The role's name.
rbac/v1.Subject#kind	User, Group or ServiceAccount.
rbac/v1.Subject#name	The subject's name.
rbac/v1.Subject#namespace	The service account's namespace.
scheduling/v1.PriorityClass	How important pods are.
scheduling/v1.PriorityClass#globalDefault	Whether pods that name no class are of this one.
scheduling/v1.PriorityClass#preemptionPolicy	Whether its pods push out less important ones.
scheduling/v1.PriorityClass#value	The greater, the more important.
storage/v1.StorageClass	A kind of storage and how volumes of it are made.
storage/v1.StorageClass#allowVolumeExpansion	Whether claims may grow.
storage/v1.StorageClass#parameters	For the provisioner.
storage/v1.StorageClass#provisioner	Who makes the volumes.
storage/v1.StorageClass#reclaimPolicy	What becomes of volumes after their claim.
storage/v1.StorageClass#volumeBindingMode	Immediate, or WaitForFirstConsumer: when a pod needs it.
"""#
    }
}
