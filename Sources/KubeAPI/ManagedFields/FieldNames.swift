/// Names that fields often have, for sets at rest: a name of these takes a byte or two.
///
/// The numbers are in every stored object: names may be added at the end, never moved or taken away.
struct FieldNames {
    static let shared = FieldNames()

    private static let text: StaticString = """
        generateName deletionTimestamp deletionGracePeriodSeconds labels annotations ownerReferences finalizers \
        controller blockOwnerDeletion type status observedGeneration lastTransitionTime reason message metadata spec \
        volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds \
        activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName serviceAccount automountServiceAccountToken \
        nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain \
        affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates \
        runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN \
        hostUsers schedulingGates resourceClaims resources hostnameOverride schedulingGroup phase conditions \
        nominatedNodeName hostIP hostIPs podIP podIPs startTime initContainerStatuses containerStatuses qosClass \
        ephemeralContainerStatuses resize resourceClaimStatuses extendedResourceClaimStatus allocatedResources \
        nodeAllocatableResourceClaimStatuses lastProbeTime image command args workingDir ports envFrom env \
        resizePolicy restartPolicyRules volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle \
        terminationMessagePath terminationMessagePolicy imagePullPolicy stdin stdinOnce tty hostPort containerPort \
        protocol state lastState ready restartCount imageID containerID started user allocatedResourcesStatus \
        stopSignal waiting running terminated startedAt exitCode signal finishedAt value valueFrom fieldRef \
        resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef readOnly recursiveReadOnly mountPath subPath \
        mountPropagation subPathExpr hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi \
        glusterfs persistentVolumeClaim rbd flexVolume cinder cephfs flocker downwardAPI azureFile configMap \
        vsphereVolume quobyte azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi ephemeral \
        limits requests claims initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold path \
        port host scheme httpHeaders capabilities privileged seLinuxOptions windowsOptions runAsUser runAsGroup \
        runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation procMount seccompProfile appArmorProfile \
        supplementalGroups supplementalGroupsPolicy fsGroup sysctls fsGroupChangePolicy seLinuxChangePolicy items \
        defaultMode optional secretName medium sizeLimit nodeAffinity podAffinity podAntiAffinity selector clusterIP \
        clusterIPs externalIPs sessionAffinity loadBalancerIP loadBalancerSourceRanges externalName \
        externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses sessionAffinityConfig ipFamilies \
        ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution \
        appProtocol targetPort nodePort loadBalancer ingress immutable data binaryData stringData involvedObject \
        source firstTimestamp lastTimestamp count eventTime series action related reportingComponent reportingInstance \
        component subsets podCIDR podCIDRs providerID unschedulable taints configSource externalID capacity \
        allocatable addresses daemonEndpoints nodeInfo images volumesInUse volumesAttached config runtimeHandlers \
        features declaredFeatures lastHeartbeatTime machineID systemUUID bootID kernelVersion osImage \
        containerRuntimeVersion kubeletVersion kubeProxyVersion operatingSystem architecture swap kubeletEndpoint \
        secrets accessModes volumeName storageClassName volumeMode dataSource dataSourceRef volumeAttributesClassName \
        allocatedResourceStatuses currentVolumeAttributesClassName modifyVolumeStatus claimRef \
        persistentVolumeReclaimPolicy mountOptions postStart preStop exec httpGet tcpSocket sleep replicas template \
        strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds updatedReplicas readyReplicas \
        availableReplicas unavailableReplicas terminatingReplicas collisionCount rollingUpdate maxUnavailable maxSurge \
        lastUpdateTime fullyLabeledReplicas volumeClaimTemplates serviceName podManagementPolicy updateStrategy \
        persistentVolumeClaimRetentionPolicy ordinals currentReplicas currentRevision updateRevision \
        currentNumberScheduled numberMisscheduled desiredNumberScheduled numberReady updatedNumberScheduled \
        numberAvailable numberUnavailable revision parallelism completions podFailurePolicy successPolicy backoffLimit \
        backoffLimitPerIndex maxFailedIndexes manualSelector ttlSecondsAfterFinished completionMode suspend \
        podReplacementPolicy managedBy completionTime active succeeded failed terminating completedIndexes \
        failedIndexes uncountedTerminatedPods schedule timeZone startingDeadlineSeconds concurrencyPolicy jobTemplate \
        successfulJobsHistoryLimit failedJobsHistoryLimit lastScheduleTime lastSuccessfulTime holderIdentity \
        leaseDurationSeconds acquireTime renewTime leaseTransitions preferredHolder addressType endpoints \
        ingressClassName defaultBackend tls rules podSelector egress policyTypes aggregationRule subjects roleRef \
        scaleTargetRef minReplicas maxReplicas metrics behavior lastScaleTime desiredReplicas currentMetrics \
        minAvailable unhealthyPodEvictionPolicy disruptedPods disruptionsAllowed currentHealthy desiredHealthy \
        expectedPods provisioner parameters reclaimPolicy allowVolumeExpansion volumeBindingMode allowedTopologies \
        name namespace kind apiVersion app app.kubernetes.io/name app.kubernetes.io/instance \
        app.kubernetes.io/component app.kubernetes.io/managed-by app.kubernetes.io/version app.kubernetes.io/part-of \
        pod-template-hash k8s-app kubernetes.io/metadata.name kubectl.kubernetes.io/last-applied-configuration \
        deployment.kubernetes.io/revision deployment.kubernetes.io/desired-replicas \
        deployment.kubernetes.io/max-replicas kubernetes.io/hostname kubernetes.io/service-name cpu memory storage \
        pods ephemeral-storage
        """

    private let ranges: [Range<Int32>]
    private let numbers: [String: UInt16]

    private init() {
        var ranges: [Range<Int32>] = []
        var numbers: [String: UInt16] = [:]
        let bytes = Self.text.bytes
        var start = 0
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != UInt8(ascii: " ") { end += 1 }
            numbers[bytes.text(start..<end)] = UInt16(ranges.count)
            ranges.append(Int32(start)..<Int32(end))
            start = end + 1
        }
        (self.ranges, self.numbers) = (ranges, numbers)
    }

    func number(of name: String) -> UInt16? { numbers[name] }

    /// nil: no such number.
    subscript(number: Int) -> UnsafeBufferPointer<UInt8>? {
        guard ranges.indices.contains(number) else { return nil }
        let range = ranges[number]
        return UnsafeBufferPointer(rebasing: Self.text.bytes[Int(range.lowerBound)..<Int(range.upperBound)])
    }
}
