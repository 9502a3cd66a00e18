// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// Sorted: type or type#field, tab, a sentence.
    static var descriptions: StaticString {
#"""
apps/v1.DaemonSet	One pod on every node, or on those that fit.
apps/v1.Deployment	A number of equal pods, changed step by step.
apps/v1.DeploymentSpec#minReadySeconds	Seconds a pod must be ready before it counts as available.
apps/v1.DeploymentSpec#paused	Changes of the template have no effect while true.
apps/v1.DeploymentSpec#progressDeadlineSeconds	Seconds without progress after which a rollout is reported as failed.
apps/v1.DeploymentSpec#replicas	The number of pods.
apps/v1.DeploymentSpec#revisionHistoryLimit	The number of old ReplicaSets kept for going back.
apps/v1.DeploymentSpec#selector	The pods that belong to the deployment; must match the template's labels.
apps/v1.DeploymentSpec#strategy	How old pods are replaced by new ones.
apps/v1.DeploymentSpec#template	The pods to make.
apps/v1.ReplicaSet	A number of equal pods; mostly made by a Deployment.
apps/v1.StatefulSet	Pods with lasting names and volumes.
apps/v1.StatefulSetSpec#serviceName	The headless service that gives the pods their names.
apps/v1.StatefulSetSpec#volumeClaimTemplates	Claims made for each pod, kept when it is replaced.
autoscaling/v2.HorizontalPodAutoscaler	Changes the number of pods to keep a measure near its target.
batch/v1.CronJob	Jobs at set times.
batch/v1.CronJobSpec#concurrencyPolicy	What happens when a job is due while the last one runs.
batch/v1.CronJobSpec#schedule	When jobs start, in cron's five fields.
batch/v1.CronJobSpec#suspend	No jobs are started while true.
batch/v1.CronJobSpec#timeZone	The time zone of the schedule.
batch/v1.Job	Pods that run to their end.
batch/v1.JobSpec#backoffLimit	Failures after which the job is given up.
batch/v1.JobSpec#completions	How many pods must succeed.
batch/v1.JobSpec#parallelism	How many pods run at once.
batch/v1.JobSpec#ttlSecondsAfterFinished	Seconds after which the finished job is deleted.
core/v1.ConfigMap	Configuration for pods, as text or bytes by key.
core/v1.ConfigMap#binaryData	Bytes by key, in base64.
core/v1.ConfigMap#data	Text by key.
core/v1.ConfigMap#immutable	If true, the data cannot change any more.
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
core/v1.Container#resources	CPU, memory and other resources: what is reserved and what is the most.
core/v1.Container#restartPolicy	For init containers: Always makes a sidecar that runs beside the others.
core/v1.Container#securityContext	User, capabilities and security options of the container.
core/v1.Container#startupProbe	A check that holds the other probes back until the container is up.
core/v1.Container#stdin	Keep standard input open for attach.
core/v1.Container#terminationMessagePath	The file that the container may write its last words to.
core/v1.Container#tty	Give the container a terminal.
core/v1.Container#volumeMounts	Where volumes are mounted.
core/v1.Container#workingDir	The directory that the command starts in; the image's own if unset.
core/v1.ContainerPort#containerPort	The port in the pod, 1 to 65535.
core/v1.ContainerPort#hostPort	A port of the node that leads to this one.
core/v1.ContainerPort#name	A name for services to refer to.
core/v1.ContainerPort#protocol	TCP, UDP or SCTP.
core/v1.EnvVar#name	The variable's name.
core/v1.EnvVar#value	Its value; $(NAME) is replaced by variables defined before.
core/v1.EnvVar#valueFrom	Takes the value from a field of the pod, a ConfigMap, a Secret or a resource amount.
core/v1.Event	Something that happened to an object.
core/v1.Namespace	A scope for names.
core/v1.Node	A machine of the cluster.
core/v1.NodeSpec#taints	Marks that keep pods away which do not tolerate them.
core/v1.NodeSpec#unschedulable	No new pods are put on the node.
core/v1.PersistentVolume	Storage of the cluster.
core/v1.PersistentVolumeClaim	A request for storage.
core/v1.PersistentVolumeClaimSpec#accessModes	How the volume is to be mounted.
core/v1.PersistentVolumeClaimSpec#resources	How much storage.
core/v1.PersistentVolumeClaimSpec#storageClassName	The StorageClass that provides the volume.
core/v1.Pod	One or more containers that run together on one node, sharing network and volumes.
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
core/v1.PodSpec#resources	CPU and memory of the pod as a whole.
core/v1.PodSpec#restartPolicy	Whether containers that end are started again.
core/v1.PodSpec#runtimeClassName	The RuntimeClass that says how the containers are run.
core/v1.PodSpec#schedulerName	The scheduler that finds a node for the pod.
core/v1.PodSpec#schedulingGates	The pod is not scheduled while this list has members.
core/v1.PodSpec#securityContext	User, groups and security options of all containers, where they do not have their own.
core/v1.PodSpec#serviceAccountName	The ServiceAccount as which the pod talks to the API.
core/v1.PodSpec#shareProcessNamespace	Whether the containers see each other's processes.
core/v1.PodSpec#subdomain	With it the pod's full host name is hostname.subdomain.namespace.svc.DOMAIN.
core/v1.PodSpec#terminationGracePeriodSeconds	Seconds between the request to stop and the kill; 0 kills at once.
core/v1.PodSpec#tolerations	Taints of nodes that the pod puts up with.
core/v1.PodSpec#topologySpreadConstraints	How evenly pods like this one are spread over zones, nodes or other domains.
core/v1.PodSpec#volumes	Volumes that containers may mount.
core/v1.PodStatus#conditions	What has been reached: scheduled, initialized, ready and so on.
core/v1.PodStatus#containerStatuses	The state of each container.
core/v1.PodStatus#hostIP	The address of the pod's node.
core/v1.PodStatus#phase	A summary: Pending, Running, Succeeded, Failed or Unknown.
core/v1.PodStatus#podIP	The address of the pod.
core/v1.PodStatus#qosClass	How resources are guaranteed; follows from requests and limits.
core/v1.PodTemplateSpec	The pods that a controller makes.
core/v1.Probe#failureThreshold	Failures in a row after which the check counts as failed.
core/v1.Probe#initialDelaySeconds	Seconds between the container's start and the first check.
core/v1.Probe#periodSeconds	Seconds between checks.
core/v1.Probe#successThreshold	Successes in a row after which the check counts as passed again.
core/v1.Probe#timeoutSeconds	Seconds a check may take.
core/v1.ResourceRequirements#limits	The most the container may use.
core/v1.ResourceRequirements#requests	What is reserved for the container; the limits if unset.
core/v1.Secret	Sensitive data for pods, by key.
core/v1.Secret#data	Bytes by key, in base64.
core/v1.Secret#stringData	Text by key, for writing only: it is moved into data.
core/v1.Secret#type	What the secret is for.
core/v1.Service	A stable name and address for a set of pods.
core/v1.ServiceAccount	An identity for pods.
core/v1.ServicePort#nodePort	The port of every node; chosen if unset.
core/v1.ServicePort#port	The service's port.
core/v1.ServicePort#targetPort	The pods' port, by number or name; the same as port if unset.
core/v1.ServiceSpec	How a service is reached and which pods are behind it.
core/v1.ServiceSpec#allocateLoadBalancerNodePorts	Whether services of type LoadBalancer get node ports.
core/v1.ServiceSpec#clusterIP	The service's virtual address; "None" for a service that has only DNS records of its pods.
core/v1.ServiceSpec#externalIPs	Addresses, led to the nodes by other means, at which the service is reached as well.
core/v1.ServiceSpec#externalName	The DNS name that a service of type ExternalName stands for.
core/v1.ServiceSpec#externalTrafficPolicy	Cluster: any node passes traffic on. Local: only nodes with a pod of the service, keeping the client's address.
core/v1.ServiceSpec#internalTrafficPolicy	Whether traffic from inside of the cluster stays on its node.
core/v1.ServiceSpec#ports	The ports of the service.
core/v1.ServiceSpec#selector	Labels of the pods behind the service.
core/v1.ServiceSpec#sessionAffinity	ClientIP sends a client to the same pod again.
core/v1.ServiceSpec#type	ClusterIP, NodePort, LoadBalancer or ExternalName: from where the service is reached.
core/v1.Volume#configMap	Files from a ConfigMap.
core/v1.Volume#emptyDir	A directory that lives as long as the pod.
core/v1.Volume#hostPath	A file or directory of the node.
core/v1.Volume#name	The volume's name, unique in the pod.
core/v1.Volume#persistentVolumeClaim	The volume that a claim is bound to.
core/v1.Volume#projected	Several sources in one directory.
core/v1.Volume#secret	Files from a Secret.
core/v1.VolumeMount#mountPath	Where in the container the volume appears.
core/v1.VolumeMount#readOnly	Mount the volume without the right to write.
core/v1.VolumeMount#subPath	A path inside of the volume, instead of its root.
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
networking/v1.Ingress	HTTP hosts and paths that lead to services.
networking/v1.IngressSpec#ingressClassName	The IngressClass whose controller serves this.
networking/v1.IngressSpec#rules	Hosts and paths with the services behind them.
networking/v1.IngressSpec#tls	Certificates by host.
networking/v1.NetworkPolicy	Which traffic the selected pods may have.
networking/v1.NetworkPolicySpec#podSelector	The pods that the policy is for; all of the namespace if empty.
networking/v1.NetworkPolicySpec#policyTypes	Whether the policy is about traffic to the pods, from them, or both.
rbac/v1.ClusterRole	Permissions in all namespaces and on the cluster's own objects.
rbac/v1.ClusterRoleBinding	Gives a role's permissions to users, groups or service accounts everywhere.
rbac/v1.Role	Permissions in a namespace.
rbac/v1.RoleBinding	Gives a role's permissions to users, groups or service accounts in a namespace.
storage/v1.StorageClass	A kind of storage and how volumes of it are made.
"""#
    }
}
