internal import Codecs
internal import KubeAPI

extension PodWorker {
    /// Statistics of the pod's volumes that have drivers: `pods[].volume` of /stats/summary.
    func driverVolumeStats() async -> [JSON] {
        guard volumes.values.contains(where: { $0.driver }), let pod = decode() else { return [] }
        var stats: [JSON] = []
        for record in CSIRecord.all(pod: context.volumes.podDirectory(uid)) {
            let path = context.csi.targetPath(record, uid: uid)
            guard let name = volumes.first(where: { $0.value.path == path })?.key,
                var entry = await context.csi.statistics(record, uid: uid),
                let spec = pod.volumes.first(where: { $0["name"].string == name })
            else { continue }
            entry["time"] = .string(context.now().rfc3339)
            entry["name"] = .string(name)
            let claim =
                spec["persistentVolumeClaim"]["claimName"].string
                ?? (spec["ephemeral"].isNull ? nil : "\(pod.name)-\(name)")
            if let claim { entry["pvcRef"] = ["name": .string(claim), "namespace": .string(pod.namespace)] }
            stats.append(entry)
        }
        return stats
    }
}
