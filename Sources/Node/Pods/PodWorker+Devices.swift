internal import Codecs
internal import Containers

extension PodWorker {
    /// Adds what device plugins give to the container. What the pod says of itself counts more.
    func addDevices(
        _ config: inout ContainerConfig, _ container: ContainerSpec
    ) async throws(ContainerConfigError) {
        let answers: [JSON]
        do throws(DeviceError) { answers = try await context.devices.answers(uid, container.name) } catch {
            throw ContainerConfigError(error.message)
        }
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
