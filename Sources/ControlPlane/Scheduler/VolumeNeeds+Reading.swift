internal import Codecs
internal import KubeAPI

extension VolumeNeeds {
    /// Reads the claims of a pod, their volumes and classes.
    static func read(_ pod: SchedulingPod, _ object: KubeObject, _ client: any KubeClient) async throws(APIError)
        -> Self
    {
        var needs = VolumeNeeds(pod)
        let names = pod.podClass.volumes.filter { $0.kind == .claim }.map(\.name)
        guard !names.isEmpty else { return needs }
        var hasUnbound = false
        var candidates: [KubeObject]?
        for name in names {
            guard
                let claim = try await client.getIfPresent(.persistentVolumeClaims, namespace: pod.namespace, name: name)
            else {
                let isEphemeral = object.spec["volumes"].elements.contains {
                    !$0["ephemeral"].isNull && object.claimName(of: $0) == name
                }
                needs.failure =
                    isEphemeral
                    ? "waiting for ephemeral volume controller to create the persistentvolumeclaim \"\(name)\""
                    : "persistentvolumeclaim \"\(name)\" not found"
                return needs
            }
            let volumeName = claim.spec["volumeName"].string ?? ""
            if claim.status["phase"].string == "Lost" {
                needs.failure =
                    "persistentvolumeclaim \"\(name)\" bound to non-existent persistentvolume \"\(volumeName)\""
                return needs
            }
            if claim.isBeingDeleted {
                needs.failure = "persistentvolumeclaim \"\(name)\" is being deleted"
                return needs
            }
            if claim.spec["accessModes"].elements.contains("ReadWriteOncePod") { needs.exclusive.append(name) }
            if !volumeName.isEmpty, !claim.annotations["pv.kubernetes.io/bind-completed", default: ""].isEmpty {
                if let volume = try await client.getIfPresent(.persistentVolumes, namespace: "", name: volumeName) {
                    needs.bound.append(volume)
                    if let driver = volume.spec["csi"]["driver"].string { needs.csi[driver, default: 0] += 1 }
                } else {
                    needs.hasLostVolume = true
                }
                continue
            }
            let className = claim.spec["storageClassName"].string ?? ""
            let storageClass =
                className.isEmpty
                ? nil : try await client.getIfPresent(.storageClasses, namespace: "", name: className)
            guard let storageClass, storageClass["volumeBindingMode"].string == "WaitForFirstConsumer",
                volumeName.isEmpty
            else {
                hasUnbound = true
                continue
            }
            if candidates == nil { candidates = try await client.list(.persistentVolumes).decoded() }
            let fitting = VolumeMatch.candidates(claim, candidates ?? [])
            var need = Delayed(claim: claim, storageClass: storageClass, volumes: fitting)
            if need.isProvisioned, let driver = storageClass["provisioner"].string {
                needs.csi[driver, default: 0] += 1
                let object = try await client.getIfPresent(.csiDrivers, namespace: "", name: driver)
                if object?.spec["storageCapacity"].bool == true {
                    need.capacities = try await client.list(.csiStorageCapacities).decoded().filter {
                        $0["storageClassName"].string == storageClass.name
                    }
                }
            }
            needs.delayed.append(need)
        }
        if hasUnbound { needs.failure = "pod has unbound immediate PersistentVolumeClaims" }
        if !needs.csi.isEmpty { try await needs.readLimits(client, candidates) }
        return needs
    }

    private mutating func readLimits(_ client: any KubeClient, _ listed: [KubeObject]?) async throws(APIError) {
        for item in try await client.list(.csiNodes).items {
            let node = try item.decode()
            for driver in node.spec["drivers"].elements {
                guard let name = driver["name"].string, csi[name] != nil,
                    let count = driver["allocatable"]["count"].int
                else { continue }
                limits[node.name, default: [:]][name] = Int(clamping: count)
            }
        }
        // Nobody counts: neither need we.
        guard !limits.isEmpty else {
            csi = [:]
            return
        }
        var volumes = listed ?? []
        if listed == nil { volumes = try await client.list(.persistentVolumes).decoded() }
        for volume in volumes {
            guard let driver = volume.spec["csi"]["driver"].string else { continue }
            let claim = volume.spec["claimRef"]
            drivers[ObjectKey(namespace: claim["namespace"].string ?? "", name: claim["name"].string ?? "")] = driver
        }
    }
}
