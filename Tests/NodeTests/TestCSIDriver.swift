import Codecs
import GRPC
import KubeAPI
import Linux
import Synchronization

@testable import Node

/// The node's half of a CSI driver that notes what it is asked; published volumes are directories with a file.
final class TestCSIDriver: Sendable {
    private struct State {
        var calls: [(method: String, request: JSON)] = []
        var failures: [String: String] = [:]
        var task: Task<Void, Never>?
    }
    let socket: String
    let name: String
    let capabilities: [Int64]
    private let table: ProtobufTable
    private let state = Mutex(State())

    init(_ node: NodeHarness, name: String = "disk.csi.test", capabilities: [Int64] = [1]) throws {
        socket = node.configuration.rootDirectory + "/plugins_registry/\(name)-reg.sock"
        (self.name, self.capabilities) = (name, capabilities)
        table = try ProtobufTable(CSIMessages.table + "\n" + PluginMessages.registration)
    }

    /// Without those of registration.
    var calls: [String] { state.withLock { $0.calls.map(\.method) }.filter { $0 != "NodeGetCapabilities" } }
    func requests(_ method: String) -> [JSON] {
        state.withLock { $0.calls.filter { $0.method == method }.map(\.request) }
    }
    func fail(_ method: String, _ message: String?) { state.withLock { $0.failures[method] = message } }
    func forget() { state.withLock { $0.calls = [] } }

    func start() throws {
        let server = GRPCServer { [self] _, method in
            .unary { [self] request throws(GRPCStatus) in
                do throws(ProtobufError) { return try respond(method, request.message) } catch {
                    throw GRPCStatus(.internal, error.message)
                }
            }
        }
        let listener = try UnixSocket.listen(socket, .stream)
        let task = Task { [listener = Owned(listener)] in
            if let fd = listener.take() { try? await server.run(fd) }
        }
        state.withLock { $0.task = task }
    }

    func stop() {
        state.withLock { $0.task?.cancel() }
        try? Files.remove(socket)
    }

    private func respond(_ method: String, _ message: [UInt8]) throws(ProtobufError) -> [UInt8] {
        switch method {
        case "GetInfo":
            return try table.encode(
                "PluginInfo",
                [
                    "type": "CSIPlugin", "name": .string(name), "endpoint": .string(socket),
                    "supported_versions": ["1.0.0"],
                ])
        case "NotifyRegistrationStatus": return []
        case "NodeGetInfo":
            return try table.encode(
                "NodeGetInfoResponse",
                [
                    "node_id": "here", "max_volumes_per_node": 7,
                    "accessible_topology": ["segments": ["topology.csi.test/rack": "r1"]],
                ])
        case "NodeGetCapabilities":
            let list = capabilities.map { JSON.object(["rpc": ["type": .int($0)]]) }
            return try table.encode("NodeGetCapabilitiesResponse", ["capabilities": .array(list)])
        default: break
        }
        let request = try table.decode(method + "Request", message)
        let failure = state.withLock { state -> String? in
            state.calls.append((method, request))
            return state.failures[method]
        }
        if let failure { throw ProtobufError(failure) }
        let target = request["target_path"].string ?? ""
        if method == "NodePublishVolume", request["volume_capability"]["block"].isNull {
            try? Directories.make(target)
            try? Files.write(target + "/file", [1])
        }
        if method == "NodeUnpublishVolume" { try? Directories.removeTree(target) }
        if method == "NodeGetVolumeStats" {
            return try table.encode(
                "NodeGetVolumeStatsResponse", ["usage": [["total": 100, "used": 40, "available": 60, "unit": 1]]])
        }
        return []
    }
}

extension NodeHarness {
    /// A bound claim and its volume, of the driver.
    func putVolume(
        _ name: String, size: String = "1Gi", spec more: JSON = [:], csi: JSON = [:], driver: String = "disk.csi.test"
    ) {
        var source: JSON = ["driver": .string(driver), "volumeHandle": .string("h-" + name)]
        for (key, value) in csi.object?.members ?? [] { source[key] = value }
        var volume = KubeObject(GroupVersionKind("", "v1", "PersistentVolume"), name: "pv-" + name)
        volume.spec = [
            "csi": source, "capacity": ["storage": .string(size)], "accessModes": ["ReadWriteOnce"],
            "claimRef": ["namespace": "default", "name": .string(name)],
        ]
        for (key, value) in more.object?.members ?? [] { volume.spec[key] = value }
        client.put(.persistentVolumes, volume)
        var claim = KubeObject(
            GroupVersionKind("", "v1", "PersistentVolumeClaim"), name: name, namespace: "default")
        claim.spec = ["volumeName": .string("pv-" + name)]
        claim.status = ["phase": "Bound", "capacity": ["storage": .string(size)]]
        client.put(.persistentVolumeClaims, claim)
    }

    func putDriver(_ spec: JSON, name: String = "disk.csi.test") {
        var object = KubeObject(GroupVersionKind("storage.k8s.io", "v1", "CSIDriver"), name: name)
        object.spec = spec
        client.put(.csiDrivers, object)
    }

    /// A pod that mounts the claim at /data.
    @discardableResult
    func createUser(_ name: String, of claim: String, spec more: JSON = [:], container: JSON = [:]) -> String {
        var spec: JSON = ["volumes": [["name": "data", "persistentVolumeClaim": ["claimName": .string(claim)]]]]
        for (key, value) in more.object?.members ?? [] { spec[key] = value }
        var json: JSON = ["name": .string("c-" + name), "image": "busybox:1"]
        json["volumeMounts"] = container.object?.isEmpty == false ? .null : [["name": "data", "mountPath": "/data"]]
        for (key, value) in container.object?.members ?? [] { json[key] = value }
        return create(name, spec, containers: [json])
    }
}
