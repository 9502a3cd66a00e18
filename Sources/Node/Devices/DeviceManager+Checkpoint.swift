internal import Codecs
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// The file that says which container has which devices, in the form of upstream's: agents of others read it, and a node
/// that was the original's keeps its devices. Its checksum is of Go's own making: 0 here, and not looked at.
/// Source: pkg/kubelet/cm/devicemanager/checkpoint.
extension DeviceManager {
    static let checkpointName = "kubelet_internal_checkpoint"

    private var path: String { directory + "/" + Self.checkpointName }

    /// Called before anything else.
    func restore() {
        guard let bytes = try? Files.readIfPresent(path, limit: 16 << 20) else { return }
        guard let data = (try? JSON.parse(bytes))?["Data"] else {
            context.logger.warning("\(path) is not read: expected JSON with a member Data")
            return
        }
        let now = context.clock.now()
        state.withLock { state in
            for entry in data["PodDeviceEntries"].elements {
                guard let uid = entry["PodUID"].string, let container = entry["ContainerName"].string,
                    let name = entry["ResourceName"].string
                else { continue }
                // By NUMA node; -1 where the plugin names none.
                let devices = (entry["DeviceIDs"].object?.members ?? []).flatMap {
                    $0.value.elements.compactMap(\.string)
                }
                let answer = entry["AllocResp"].string.flatMap { Base64.decode($0) } ?? []
                state.grants[uid, default: [:]][container, default: [:]][name] = Grant(
                    devices: devices.sorted(), answer: answer)
            }
            // Known, but of no use before their plugins come.
            for name in data["RegisteredDevices"].object?.keys ?? [] {
                var resource = Resource()
                resource.stoppedAt = now
                state.resources[name] = resource
            }
        }
        written.withLock { $0 = bytes }
        expire()
    }

    /// Writes the file if it has changed.
    func save() {
        written.withLock { written in
            let (grants, resources) = state.withLock { ($0.grants, $0.resources) }
            var entries: [JSON] = []
            for (uid, containers) in grants.sorted(by: { $0.key < $1.key }) {
                for (container, names) in containers.sorted(by: { $0.key < $1.key }) {
                    for (name, grant) in names.sorted(by: { $0.key < $1.key }) {
                        guard let answer = grant.answer else { continue }
                        entries.append([
                            "PodUID": .string(uid), "ContainerName": .string(container),
                            "ResourceName": .string(name), "DeviceIDs": ["-1": .strings(grant.devices)],
                            "AllocResp": .string(Base64.encode(answer)),
                        ])
                    }
                }
            }
            var registered = JSONObject()
            for (name, resource) in resources.sorted(by: { $0.key < $1.key }) {
                registered.append(name, .strings(resource.healthy.sorted()))
            }
            let data: JSON = [
                "PodDeviceEntries": entries.isEmpty ? .null : .array(entries), "RegisteredDevices": .object(registered),
            ]
            let bytes = (["Data": data, "Checksum": 0] as JSON).encode()
            guard bytes != written else { return }
            do throws(SysError) {
                try Directories.make(directory, mode: 0o750)
                try Files.writeAtomically(path, bytes, mode: 0o600)
                written = bytes
            } catch { context.logger.error("devices of pods are not remembered: \(error.description)") }
        }
    }
}
