internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Logging
import Synchronization

/// The CSI drivers that are registered on this node, and what the API shows of them: the node's CSINode object, its
/// annotation `csi.volume.kubernetes.io/nodeid` and topology labels. Source: pkg/volume/csi/csi_plugin.go, nodeinfomanager.
final class CSIDrivers: PluginHandler, Sendable {
    struct Driver: Sendable {
        var name: String
        var client: PluginClient
        var capabilities: Set<Int64>

        func can(_ capability: CSICapability) -> Bool { capabilities.contains(capability.rawValue) }

        func call(
            _ method: String, _ request: JSON, answer: String = "Empty"
        ) async throws(GRPCStatus) -> JSON {
            // As upstream: what takes longer is asked for again.
            try await client.call(
                "csi.v1.Node/\(method)", method + "Request", request, answer, timeout: .seconds(120))
        }
    }

    private static let nodeIDs = "csi.volume.kubernetes.io/nodeid"

    private let node: String
    private let client: any KubeClient
    private let logger: Logger
    private let drivers = Mutex<[String: Driver]>([:])
    private let registered = Mutex<(@Sendable () -> Void)?>(nil)

    init(node: String, client: any KubeClient, logger: Logger) {
        (self.node, self.client, self.logger) = (node, client, logger)
    }

    subscript(name: String) -> Driver? { drivers.withLock { $0[name] } }

    /// Called after each registration.
    func onRegister(_ body: @escaping @Sendable () -> Void) { registered.withLock { $0 = body } }

    // MARK: Registering

    func register(_ plugin: PluginInfo) async throws(PluginError) {
        let majors = plugin.versions.compactMap { version in
            (version.first == "v" ? version.dropFirst() : version[...]).split(separator: ".").first.flatMap { Int($0) }
        }
        guard majors.contains(1) else {
            throw PluginError(
                "failed to get highest supported version. none of the CSI versions \(plugin.versions) reported by "
                    + "driver \(plugin.name) are supported")
        }
        let information: JSON
        let driver: Driver
        do throws(GRPCStatus) {
            let client = try PluginClient(socket: plugin.endpoint, messages: CSIMessages.table)
            var fresh = Driver(name: plugin.name, client: client, capabilities: [])
            information = try await client.call(
                "csi.v1.Node/NodeGetInfo", "Empty", [:], "NodeGetInfoResponse", timeout: .seconds(120))
            do throws(GRPCStatus) {
                let answer = try await client.call(
                    "csi.v1.Node/NodeGetCapabilities", "Empty", [:], "NodeGetCapabilitiesResponse")
                fresh.capabilities = Set(answer["capabilities"].elements.compactMap { $0["rpc"]["type"].int })
            } catch {
                guard error.code == .unimplemented else { throw error }
            }
            driver = fresh
        } catch {
            throw PluginError("failed to get CSI node info: \(error.description)")
        }
        do throws(APIError) { try await show(plugin.name, information) } catch {
            throw PluginError("error updating CSINode object with CSI driver node info: \(error.message)")
        }
        let old = drivers.withLock { drivers in
            defer { drivers[plugin.name] = driver }
            return drivers[plugin.name]
        }
        old?.client.connection.close()
        logger.info("CSI driver \(plugin.name) has registered at \(plugin.endpoint)")
        registered.withLock { $0 }?()
    }

    func deregister(_ plugin: PluginInfo) async {
        guard let driver = drivers.withLock({ $0.removeValue(forKey: plugin.name) }) else { return }
        driver.client.connection.close()
        do throws(APIError) {
            try await update { node throws(APIError) in
                var ids = Self.ids(node)
                guard ids[plugin.name] != nil else { return nil }
                ids[plugin.name] = nil
                return ["metadata": ["annotations": [Self.nodeIDs: ids.isEmpty ? .null : .string(Self.text(ids))]]]
            }
            guard var object = try await client.getIfPresent(.csiNodes, namespace: "", name: node) else { return }
            let left = object.spec["drivers"].elements.filter { $0["name"].string != plugin.name }
            guard left.count < object.spec["drivers"].elements.count else { return }
            object.spec["drivers"] = .array(left)
            _ = try await client.update(.csiNodes, object)
        } catch {
            logger.warning("CSI driver \(plugin.name) is not taken out of the node's objects: \(error.message)")
        }
    }

    // MARK: The API's objects

    /// The node's object is there before any driver: who asks learns that there are none. Source: nodeinfomanager's
    /// InitializeCSINodeWithAnnotation.
    func run(_ clock: any KubeClock) async {
        var delay = Duration.seconds(1)
        while !Task.isCancelled {
            do throws(APIError) {
                let uid = try await client.get(.nodes, namespace: "", name: node).uid
                return try await put(nil, nodeUID: uid)
            } catch {
                if !error.isNotFound { logger.info("CSINode \(node) is not made: \(error.message)") }
            }
            await clock.sleep(for: delay)
            delay = min(delay * 2, .seconds(60))
        }
    }

    private func show(_ name: String, _ information: JSON) async throws(APIError) {
        let id = information["node_id"].string ?? ""
        guard !id.isEmpty else { throw .badRequest("error adding CSI driver node info: nodeID must not be empty") }
        let topology = information["accessible_topology"]["segments"].stringMap
        var uid = ""
        try await update { object throws(APIError) in
            uid = object.uid
            var patch: JSON = [:]
            for (key, value) in topology {
                if let there = object.labels[key], there != value {
                    throw .badRequest(
                        "detected topology value collision: driver reported \"\(key)\":\"\(value)\" but existing label "
                            + "is \"\(key)\":\"\(there)\"")
                }
                if object.labels[key] == nil { patch["metadata"]["labels"][key] = .string(value) }
            }
            var ids = Self.ids(object)
            if ids[name] != id {
                ids[name] = id
                patch["metadata"]["annotations"][Self.nodeIDs] = .string(Self.text(ids))
            }
            return patch == [:] ? nil : patch
        }
        var driver: JSON = ["name": .string(name), "nodeID": .string(id)]
        if !topology.isEmpty { driver["topologyKeys"] = .strings(topology.keys.sorted()) }
        if let limit = information["max_volumes_per_node"].int, limit > 0 {
            driver["allocatable"] = ["count": .int(limit)]
        }
        try await put(driver, nodeUID: uid)
    }

    /// nil: only the object.
    private func put(_ driver: JSON?, nodeUID: String) async throws(APIError) {
        for attempt in 0... {
            do throws(APIError) {
                guard var object = try await client.getIfPresent(.csiNodes, namespace: "", name: node) else {
                    var fresh = KubeObject(GroupVersionKind("storage.k8s.io", "v1", "CSINode"), name: node)
                    fresh.metadata["ownerReferences"] = [
                        ["apiVersion": "v1", "kind": "Node", "name": .string(node), "uid": .string(nodeUID)]
                    ]
                    fresh.spec = ["drivers": .array(driver.map { [$0] } ?? [])]
                    _ = try await client.create(.csiNodes, fresh)
                    return
                }
                let drivers = object.spec["drivers"].elements
                guard let driver, !drivers.contains(driver) else { return }
                object.spec["drivers"] = .array(drivers.filter { $0["name"] != driver["name"] } + [driver])
                _ = try await client.update(.csiNodes, object)
                return
            } catch {
                guard error.isConflict || error.isAlreadyExists, attempt < 10 else { throw error }
            }
        }
    }

    /// Patches the node by what `change` makes of it; nil: nothing is to be done.
    private func update(_ change: (KubeObject) throws(APIError) -> JSON?) async throws(APIError) {
        let object = try await client.get(.nodes, namespace: "", name: node)
        guard var patch = try change(object) else { return }
        // Two drivers may register at one time: the annotation holds both.
        patch["metadata"]["resourceVersion"] = object.metadata["resourceVersion"]
        do throws(APIError) {
            _ = try await client.patch(.nodes, namespace: "", name: node, patch, type: .merge, subresource: nil)
        } catch {
            guard error.isConflict else { throw error }
            try await update(change)
        }
    }

    private static func ids(_ node: KubeObject) -> [String: String] {
        node.annotations[nodeIDs].flatMap { try? JSON.parse($0) }?.stringMap ?? [:]
    }

    private static func text(_ ids: [String: String]) -> String {
        String(decoding: JSON.map(ids).encode(), as: UTF8.self)
    }
}
