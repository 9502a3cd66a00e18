internal import Codecs
internal import Containers
internal import KubeAPI

extension PodWorker {
    /// Has drivers prepare the pod's ResourceClaims. False: not yet; an event was recorded and another attempt is due.
    func prepareClaims(_ pod: Pod) async -> Bool {
        do throws(DeviceError) {
            try await context.claims.prepare(pod)
            claimFailures = 0
            return !Task.isCancelled
        } catch {
            if Task.isCancelled { return false }
            record(
                pod, .warning, "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: \(error.message)")
            // A second doubling to a minute.
            let delay = Duration.seconds(1) * (1 << min(claimFailures, 6))
            claimFailures += 1
            wake(after: min(delay, .seconds(60)), for: "claims")
            return false
        }
    }

    /// Adds what device plugins and drivers give to the container. What the pod says of itself counts more.
    func addDevices(
        _ config: inout ContainerConfig, _ container: ContainerSpec, _ pod: Pod
    ) async throws(ContainerConfigError) {
        let answers: [JSON]
        let claimed: [String]
        do throws(DeviceError) {
            answers = try await context.devices.answers(uid, container.name)
            claimed = try context.claims.devices(pod, container)
        } catch {
            throw ContainerConfigError(error.message)
        }
        if !claimed.isEmpty { try DeviceSpecifications.standard.add(claimed, &config) }
        for answer in answers {
            for (name, value) in answer["envs"].stringMap.sorted(by: { $0.key < $1.key })
            where !config.environment.contains(where: { $0.name == name }) {
                config.environment.append((name, value))
            }
            for mount in answer["mounts"].elements {
                let inside = mount["container_path"].string ?? ""
                guard !config.mounts.contains(where: { $0.containerPath == inside }) else { continue }
                config.mounts.append(
                    ContainerMount(
                        hostPath: mount["host_path"].string ?? "", containerPath: inside,
                        readOnly: mount["read_only"].bool ?? false))
            }
            for device in answer["devices"].elements {
                let host = device["host_path"].string ?? ""
                config.devices.append(
                    "\(host):\(device["container_path"].string ?? host):\(device["permissions"].string ?? "")")
            }
            config.annotations.merge(answer["annotations"].stringMap) { mine, _ in mine }
            let names = answer["cdi_devices"].elements.compactMap { $0["name"].string }
            if !names.isEmpty { try DeviceSpecifications.standard.add(names, &config) }
        }
    }
}
