internal import Codecs
package import KubeAPI

/// Brings claims and volumes together: volumes that exist are bound to claims that they do for, claims of classes with a
/// provisioner are handed to that; volumes whose claim is gone are released and reclaimed.
///
/// A binding is complete when both point at each other. Whatever half of it is found (a volume that somebody kept for a
/// claim, a claim that names its volume, a server that died in between) is completed or undone.
/// Source: pkg/controller/volume/persistentvolume.
package struct VolumeBinder: Controller {
    package let name = "persistentvolume-controller"
    let client: any KubeClient
    private let events: EventRecorder
    /// Stands for every claim that waits for a volume. Not a name that objects can have.
    private static let waiting = ObjectKey(namespace: "\u{1}", name: "waiting")
    static let provisioner = "volume.kubernetes.io/storage-provisioner"
    static let betaProvisioner = "volume.beta.kubernetes.io/storage-provisioner"
    private static let noProvisioner = "kubernetes.io/no-provisioner"

    package init(client: any KubeClient, clock: any KubeClock) {
        self.client = client
        events = EventRecorder(client: client, clock: clock, component: "persistentvolume-controller")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.persistentVolumeClaims) { claim, kind in
                var keys = kind == .deleted ? [] : [claim.key]
                if let volume = claim.spec["volumeName"].string, !volume.isEmpty {
                    keys.append(ObjectKey(name: volume))
                }
                return keys
            },
            WatchSource(.persistentVolumes) { volume, kind in
                var keys = kind == .deleted ? [] : [volume.key]
                let claim = volume.spec["claimRef"]
                if let name = claim["name"].string {
                    keys.append(ObjectKey(namespace: claim["namespace"].string ?? "", name: name))
                } else if kind != .deleted {
                    keys.append(Self.waiting)
                }
                return keys
            },
            WatchSource(.storageClasses) { _, kind in kind == .deleted ? [] : [Self.waiting] },
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key == Self.waiting else { return nil }
        return try await client.list(.persistentVolumeClaims).decoded().filter {
            ($0.spec["volumeName"].string ?? "").isEmpty
        }
        .map(\.key)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        if key.namespace.isEmpty {
            if let volume = try await client.getIfPresent(.persistentVolumes, namespace: "", name: key.name) {
                try await sync(volume: volume)
            }
        } else if let claim = try await client.getIfPresent(
            .persistentVolumeClaims, namespace: key.namespace, name: key.name)
        {
            if claim.annotations[VolumeMatch.bindCompleted] == nil {
                try await sync(unbound: claim)
            } else {
                try await sync(bound: claim)
            }
        }
        return nil
    }

    // MARK: - Claims

    private func sync(unbound claim: KubeObject) async throws(APIError) {
        guard !claim.isBeingDeleted else { return }
        let wanted = claim.spec["volumeName"].string ?? ""
        guard wanted.isEmpty else { return try await bindTo(wanted, claim) }
        guard let claim = try await withDefaultClass(claim) else { return }
        let className = VolumeMatch.className(claim)
        let storageClass =
            className.isEmpty ? nil : try await client.getIfPresent(.storageClasses, namespace: "", name: className)
        let isDelayed =
            storageClass?["volumeBindingMode"].string == "WaitForFirstConsumer"
            && claim.annotations[VolumeMatch.selectedNode] == nil
        let fitting = VolumeMatch.candidates(claim, try await client.list(.persistentVolumes).decoded())
        if let volume = fitting.first(where: { !isDelayed || VolumeMatch.isFor($0, claim) }) {
            return try await bind(volume, claim)
        }
        if isDelayed {
            await events.event(
                claim, reason: "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        } else if className.isEmpty {
            await events.event(
                claim, reason: "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set")
        } else if let storageClass {
            try await provision(claim, storageClass)
        } else {
            await events.event(
                claim, type: .warning, reason: "ProvisioningFailed",
                "storageclass.storage.k8s.io \"\(className)\" not found")
        }
        try await set(phase: "Pending", claim, .persistentVolumeClaims)
    }

    /// A claim that names no class gets the default one, also where that came later. nil: it has changed, and comes again.
    private func withDefaultClass(_ claim: KubeObject) async throws(APIError) -> KubeObject? {
        guard claim.spec["storageClassName"].isNull,
            claim.annotations["volume.beta.kubernetes.io/storage-class"] == nil
        else { return claim }
        let defaults = try await client.list(.storageClasses).decoded().filter {
            $0.annotations["storageclass.kubernetes.io/is-default-class"] == "true"
        }
        // The newest of several, as at admission.
        let newest = defaults.max {
            ($0.creationTimestamp?.nanoseconds ?? 0, $1.name) < ($1.creationTimestamp?.nanoseconds ?? 0, $0.name)
        }
        guard let newest else { return claim }
        var claim = claim
        claim.spec["storageClassName"] = .string(newest.name)
        _ = try await client.update(.persistentVolumeClaims, claim)
        return nil
    }

    /// The claim names its volume itself.
    private func bindTo(_ name: String, _ claim: KubeObject) async throws(APIError) {
        guard let volume = try await client.getIfPresent(.persistentVolumes, namespace: "", name: name) else {
            return try await set(phase: "Pending", claim, .persistentVolumeClaims)
        }
        if VolumeMatch.isFor(volume, claim) { return try await bind(volume, claim) }
        guard volume.spec["claimRef"].isNull else {
            await events.event(
                claim, type: .warning, reason: "FailedBinding",
                "volume \"\(name)\" already bound to a different claim.")
            return try await set(phase: "Pending", claim, .persistentVolumeClaims)
        }
        if let problem = mismatch(volume, claim) {
            await events.event(
                claim, type: .warning, reason: "VolumeMismatch",
                "Cannot bind to requested volume \"\(name)\": \(problem)")
            return try await set(phase: "Pending", claim, .persistentVolumeClaims)
        }
        try await bind(volume, claim)
    }

    private func mismatch(_ volume: KubeObject, _ claim: KubeObject) -> String? {
        let size = volume.spec["capacity"]["storage"].quantity ?? .zero
        if size < claim.spec["resources"]["requests"]["storage"].quantity ?? .zero {
            return "requested PV is too small"
        }
        if VolumeMatch.className(volume) != VolumeMatch.className(claim) { return "storageClassName does not match" }
        if VolumeMatch.mode(volume) != VolumeMatch.mode(claim) { return "incompatible volumeMode" }
        if !VolumeMatch.modes(volume).isSuperset(of: VolumeMatch.modes(claim)) { return "incompatible accessMode" }
        return nil
    }

    private func sync(bound claim: KubeObject) async throws(APIError) {
        let name = claim.spec["volumeName"].string ?? ""
        if name.isEmpty {
            return try await lose(
                claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
        }
        guard let volume = try await client.getIfPresent(.persistentVolumes, namespace: "", name: name) else {
            return try await lose(
                claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        }
        if volume.spec["claimRef"].isNull || VolumeMatch.isFor(volume, claim) {
            return try await bind(volume, claim)
        }
        try await lose(
            claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
    }

    private func lose(_ claim: KubeObject, _ reason: String, _ message: String) async throws(APIError) {
        guard claim.status["phase"].string != "Lost" else { return }
        await events.event(claim, type: .warning, reason: reason, message)
        try await set(phase: "Lost", claim, .persistentVolumeClaims)
    }

    private func provision(_ claim: KubeObject, _ storageClass: KubeObject) async throws(APIError) {
        let name = storageClass["provisioner"].string ?? ""
        guard name != Self.noProvisioner else {
            await events.event(
                claim, type: .warning, reason: "ProvisioningFailed", "no volume plugin matched name: \(name)")
            return
        }
        if claim.annotations[Self.provisioner] != name {
            var claim = claim
            claim.annotations[Self.provisioner] = name
            claim.annotations[Self.betaProvisioner] = name
            _ = try await client.update(.persistentVolumeClaims, claim)
        }
        await events.event(
            claim, reason: "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner '\(name)' or manually by the system "
                + "administrator. If volume creation is delayed, please verify that the provisioner is running and "
                + "correctly registered.")
    }

    /// Both halves, each only where it is missing.
    private func bind(_ volume: KubeObject, _ claim: KubeObject) async throws(APIError) {
        var volume = volume
        let reference = volume.spec["claimRef"]
        if reference["uid"].string != claim.uid || reference["name"].string != claim.name {
            if reference.isNull { volume.annotations[VolumeMatch.boundByController] = "yes" }
            volume.spec["claimRef"] = [
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": .string(claim.name),
                "namespace": .string(claim.namespace), "uid": .string(claim.uid),
                "resourceVersion": .string(String(claim.resourceVersion)),
            ]
            volume = try await client.update(.persistentVolumes, volume)
        }
        try await set(phase: "Bound", volume, .persistentVolumes)
        var bound = claim
        if bound.spec["volumeName"].string != volume.name {
            bound.spec["volumeName"] = .string(volume.name)
            bound.annotations[VolumeMatch.boundByController] = "yes"
        }
        bound.annotations[VolumeMatch.bindCompleted] = "yes"
        if bound != claim { bound = try await client.update(.persistentVolumeClaims, bound) }
        var status = bound.status
        status["phase"] = "Bound"
        status["accessModes"] = volume.spec["accessModes"]
        // What a resizer has written there since is its.
        if status["capacity"].isNull || bound.status["phase"].string != "Bound" {
            status["capacity"] = volume.spec["capacity"]
        }
        try await client.writeStatus(status, of: bound, .persistentVolumeClaims)
        let wanted = bound.spec["resources"]["requests"]["storage"].quantity ?? .zero
        if wanted > status["capacity"]["storage"].quantity ?? .zero {
            await events.event(
                bound, reason: "ExternalExpanding", "waiting for an external controller to expand this PVC")
        }
    }

    // MARK: - Volumes

    private func sync(volume: KubeObject) async throws(APIError) {
        let reference = volume.spec["claimRef"]
        guard let name = reference["name"].string, let uid = reference["uid"].string, !uid.isEmpty else {
            // Free, or kept for a claim that is still to come.
            return try await set(phase: "Available", volume, .persistentVolumes)
        }
        let claim = try await client.getIfPresent(
            .persistentVolumeClaims, namespace: reference["namespace"].string ?? "", name: name)
        guard let claim, claim.uid == uid else {
            try await set(phase: "Released", volume, .persistentVolumes, unless: "Failed")
            return try await reclaim(volume)
        }
        let wanted = claim.spec["volumeName"].string ?? ""
        if wanted == volume.name { return try await set(phase: "Bound", volume, .persistentVolumes) }
        // The claim's own turn completes this.
        if wanted.isEmpty { return }
        let isMade = volume.annotations["pv.kubernetes.io/provisioned-by"] != nil
        if isMade, volume.spec["persistentVolumeReclaimPolicy"].string == "Delete" {
            try await set(phase: "Released", volume, .persistentVolumes, unless: "Failed")
            return try await reclaim(volume)
        }
        // The claim is bound elsewhere: the volume is free again.
        var free = volume
        if free.annotations[VolumeMatch.boundByController] != nil {
            free.spec["claimRef"] = .null
            free.annotations[VolumeMatch.boundByController] = nil
        } else {
            free.spec["claimRef"]["uid"] = .null
        }
        let made = try await client.update(.persistentVolumes, free)
        try await set(phase: "Available", made, .persistentVolumes)
    }

    private func reclaim(_ volume: KubeObject) async throws(APIError) {
        let message: (String, String)
        switch volume.spec["persistentVolumeReclaimPolicy"].string ?? "Retain" {
        case "Recycle": message = ("VolumeFailedRecycle", "No recycler plugin found for the volume!")
        case "Delete":
            // Whoever made it deletes it: it watches for released volumes.
            if volume.annotations["pv.kubernetes.io/provisioned-by"] != nil { return }
            if volume.isBeingDeleted || !volume.spec["csi"].isNull { return }
            message = (
                "VolumeFailedDelete",
                "error getting deleter volume plugin for volume \"\(volume.name)\": no deletable volume plugin matched"
            )
        default: return
        }
        if volume.status["phase"].string == "Failed" { return }
        await events.event(volume, type: .warning, reason: message.0, message.1)
        guard let current = try await client.getIfPresent(.persistentVolumes, namespace: "", name: volume.name) else {
            return
        }
        var status = current.status
        (status["phase"], status["message"]) = ("Failed", .string(message.1))
        try await client.writeStatus(status, of: current, .persistentVolumes)
    }

    private func set(
        phase: String, _ object: KubeObject, _ resource: GroupVersionResource, unless: String? = nil
    ) async throws(APIError) {
        let before = object.status["phase"].string
        if before == phase || (unless != nil && before == unless) { return }
        var status = object.status
        (status["phase"], status["message"]) = (.string(phase), .null)
        try await client.writeStatus(status, of: object, resource)
    }
}
