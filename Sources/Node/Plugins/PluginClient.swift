internal import Codecs
internal import GRPC

/// Calls of a plugin at its socket: messages are `JSON`, told by a table that lives as long as the plugin.
struct PluginClient: Sendable {
    let socket: String
    let connection: GRPCClient
    let table: ProtobufTable

    init(socket: String, messages: String) throws(GRPCStatus) {
        self.socket = socket
        connection = GRPCClient(.unix(socket))
        do throws(ProtobufError) { table = try ProtobufTable(messages) } catch {
            throw GRPCStatus(.internal, error.message)
        }
    }

    /// `method`: "v1beta1.DevicePlugin/Allocate".
    func call(
        _ method: String, _ message: String, _ request: JSON, _ answer: String, timeout: Duration = .seconds(10)
    ) async throws(GRPCStatus) -> JSON {
        let bytes = try await connection.call("/" + method, try encode(message, request), timeout: timeout)
        return try decode(answer, bytes)
    }

    func encode(_ message: String, _ value: JSON) throws(GRPCStatus) -> [UInt8] {
        do throws(ProtobufError) { return try table.encode(message, value) } catch {
            throw GRPCStatus(.internal, error.message)
        }
    }

    func decode(_ message: String, _ bytes: [UInt8]) throws(GRPCStatus) -> JSON {
        do throws(ProtobufError) { return try table.decode(message, bytes) } catch {
            throw GRPCStatus(.internal, error.message)
        }
    }
}

/// Messages of the interfaces that plugins speak, in the form of `ProtobufTable`; read while there is a plugin.
enum PluginMessages {
    /// k8s.io/kubelet/pkg/apis/pluginregistration/v1/api.proto
    static let registration = """
        InfoRequest
        PluginInfo type=1s name=2s endpoint=3s supported_versions=4*s
        RegistrationStatus plugin_registered=1b error=2s
        RegistrationStatusResponse
        """

    /// k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto
    static let devices = """
        DevicePluginOptions pre_start_required=1b get_preferred_allocation_available=2b
        RegisterRequest version=1s endpoint=2s resource_name=3s options=4:DevicePluginOptions
        Empty
        ListAndWatchResponse devices=1*:Device
        Device ID=1s health=2s
        PreStartContainerRequest devices_ids=1*s
        PreStartContainerResponse
        PreferredAllocationRequest container_requests=1*:ContainerPreferredAllocationRequest
        ContainerPreferredAllocationRequest available_deviceIDs=1*s must_include_deviceIDs=2*s allocation_size=3i
        PreferredAllocationResponse container_responses=1*:ContainerPreferredAllocationResponse
        ContainerPreferredAllocationResponse deviceIDs=1*s
        AllocateRequest container_requests=1*:ContainerAllocateRequest
        ContainerAllocateRequest devices_ids=1*s
        AllocateResponse container_responses=1*:ContainerAllocateResponse
        ContainerAllocateResponse envs=1m mounts=2*:Mount devices=3*:DeviceSpec annotations=4m cdi_devices=5*:CDIDevice
        Mount container_path=1s host_path=2s read_only=3b
        DeviceSpec container_path=1s host_path=2s permissions=3s
        CDIDevice name=1s
        """
}
