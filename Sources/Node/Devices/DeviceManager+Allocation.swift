internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Logging
import Synchronization

/// Why a pod gets no devices.
struct DeviceError: Error, Sendable {
    var message: String
    init(_ message: String) { self.message = message }
}

/// Who gets which devices. What init containers had is given to the containers after them; all of it is the pod's until it
/// ends. Source: pkg/kubelet/cm/devicemanager/manager.go.
extension DeviceManager {
    private typealias Choice = (devices: [String], client: PluginClient)

    /// Takes devices for all containers of the pod, or says why not.
    func admit(_ pod: Pod) async -> PodStatusBuilder.Verdict? {
        guard state.withLock({ !$0.resources.isEmpty }) else { return nil }
        var reusable: [String: Set<String>] = [:]
        do throws(DeviceError) {
            for container in pod.initContainers + pod.containers {
                let limits = (container.json["resources"]["limits"].object?.keys ?? []).sorted()
                for name in limits where state.withLock({ $0.resources[name] != nil }) {
                    guard let needed = container.limit(name).flatMap({ Int(exactly: $0.value) }), needed > 0 else {
                        continue
                    }
                    try await allocate(pod, container.name, name, needed, reusable[name] ?? [])
                    let devices = grants(pod.uid, container.name)[name]?.devices ?? []
                    if container.kind == .initial, !container.isSidecar {
                        reusable[name, default: []].formUnion(devices)
                    } else {
                        reusable[name]?.subtract(devices)
                    }
                }
            }
            return nil
        } catch {
            release(pod.uid)
            return PodStatusBuilder.Verdict(
                "UnexpectedAdmissionError", "Allocate failed due to \(error.message), which is unexpected")
        }
    }

    func grants(_ uid: String, _ container: String) -> [String: Grant] {
        state.withLock { $0.grants[uid]?[container] ?? [:] }
    }

    /// The pod has ended.
    func release(_ uid: String) {
        guard state.withLock({ $0.grants.removeValue(forKey: uid) != nil }) else { return }
        save()
    }

    /// Forgets pods that are no more.
    func keep(_ uids: Set<String>) {
        let changed = state.withLock { state in
            let before = state.grants.count
            state.grants = state.grants.filter { uids.contains($0.key) }
            return state.grants.count != before
        }
        if changed { save() }
    }

    private func allocate(
        _ pod: Pod, _ container: String, _ name: String, _ needed: Int, _ reusable: Set<String>
    ) async throws(DeviceError) {
        let given = grants(pod.uid, container)[name]
        // Of an earlier life of this process.
        if let given, given.devices.count == needed, given.answer != nil { return }
        if let given, given.devices.count != needed {
            throw DeviceError(
                "pod \"\(pod.uid)\" container \"\(container)\" changed request for resource \"\(name)\" from "
                    + "\(given.devices.count) to \(needed)")
        }
        let preferred = await preference(name, needed, reusable)
        let choice = try state.withLock { state throws(DeviceError) -> Choice in
            let (usable, client) = try Self.usable(name, needed, reusable, state)
            var devices = Array(reusable.sorted().prefix(needed))
            for id in preferred where devices.count < needed && usable.contains(id) && !devices.contains(id) {
                devices.append(id)
            }
            for id in usable.sorted() where devices.count < needed && !devices.contains(id) { devices.append(id) }
            state.grants[pod.uid, default: [:]][container, default: [:]][name] = Grant(devices: devices.sorted())
            return (devices.sorted(), client)
        }
        do throws(GRPCStatus) {
            let answer = try await choice.client.call(
                "v1beta1.DevicePlugin/Allocate", "AllocateRequest",
                ["container_requests": [["devices_ids": .strings(choice.devices)]]], "AllocateResponse")
            guard let first = answer["container_responses"].elements.first else {
                throw GRPCStatus(.internal, "no containers return in allocation response")
            }
            let bytes = try choice.client.encode("ContainerAllocateResponse", first)
            state.withLock { $0.grants[pod.uid]?[container]?[name]?.answer = bytes }
        } catch { throw DeviceError(error.description) }
        save()
    }

    /// What is free of a resource, and whose it is.
    private static func usable(
        _ name: String, _ needed: Int, _ reusable: Set<String>, _ state: State
    ) throws(DeviceError) -> (Set<String>, PluginClient) {
        guard let resource = state.resources[name] else {
            throw DeviceError("cannot allocate unregistered device \(name)")
        }
        guard !resource.healthy.isEmpty, let client = resource.client else {
            throw DeviceError("no healthy devices present; cannot allocate unhealthy devices \(name)")
        }
        var used: Set<String> = []
        for containers in state.grants.values {
            for names in containers.values { used.formUnion(names[name]?.devices ?? []) }
        }
        let free = resource.healthy.subtracting(used)
        let missing = max(needed - reusable.count, 0)
        guard free.count >= missing else {
            throw DeviceError(
                "requested number of devices unavailable for \(name). Requested: \(missing), Available: \(free.count)")
        }
        return (free, client)
    }

    /// Which devices the plugin would rather give; none where it has no opinion.
    private func preference(_ name: String, _ needed: Int, _ reusable: Set<String>) async -> [String] {
        guard reusable.count < needed else { return [] }
        let question = state.withLock { state -> (Set<String>, PluginClient)? in
            guard state.resources[name]?.options["get_preferred_allocation_available"].bool == true else { return nil }
            return try? Self.usable(name, needed, reusable, state)
        }
        guard let (free, client) = question else { return [] }
        do throws(GRPCStatus) {
            let answer = try await client.call(
                "v1beta1.DevicePlugin/GetPreferredAllocation", "PreferredAllocationRequest",
                [
                    "container_requests": [
                        [
                            "available_deviceIDs": .strings(free.union(reusable).sorted()),
                            "must_include_deviceIDs": .strings(reusable.sorted()),
                            "allocation_size": .int(Int64(needed)),
                        ]
                    ]
                ], "PreferredAllocationResponse")
            return answer["container_responses"][0]["deviceIDs"].elements.compactMap(\.string)
        } catch {
            context.logger.info("device plugin for \(name) has no preference: \(error.description)")
            return []
        }
    }

    // MARK: Starting

    /// What the plugins want a container to have (ContainerAllocateResponse), after they were told that it starts.
    func answers(_ uid: String, _ container: String) async throws(DeviceError) -> [JSON] {
        let grants = grants(uid, container)
        guard !grants.isEmpty else { return [] }
        for (name, grant) in grants { try await prepare(name, grant) }
        do throws(ProtobufError) {
            let table = try ProtobufTable(PluginMessages.devices)
            var answers: [JSON] = []
            for (_, grant) in grants.sorted(by: { $0.key < $1.key }) {
                answers.append(try table.decode("ContainerAllocateResponse", grant.answer ?? []))
            }
            return answers
        } catch { throw DeviceError(error.message) }
    }

    private func prepare(_ name: String, _ grant: Grant) async throws(DeviceError) {
        let resource = state.withLock { $0.resources[name] }
        guard resource?.options["pre_start_required"].bool == true, let client = resource?.client else { return }
        do throws(GRPCStatus) {
            _ = try await client.call(
                "v1beta1.DevicePlugin/PreStartContainer", "PreStartContainerRequest",
                ["devices_ids": .strings(grant.devices)], "PreStartContainerResponse", timeout: .seconds(30))
        } catch {
            throw DeviceError("device plugin PreStartContainer rpc failed with err: \(error.description)")
        }
    }
}
