"""Plugins of the kubelet that know nothing of ours: grpcio, with messages after the public .proto files."""

import json
import os
import queue
import subprocess
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TYPES = {"string": 9, "int64": 3, "int32": 5, "bool": 8, "bytes": 12}


def messages(package, text):
    """Classes by name, from lines of `Message: type field = number, ...` ("repeated", "map", "enum" as in protobuf)."""
    file = descriptor_pb2.FileDescriptorProto(name=package + ".proto", package=package, syntax="proto3")
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for field in filter(None, map(str.strip, fields.split(","))):
            declaration, number = field.split("=")
            *kind, title = declaration.split()
            added = message.field.add(name=title, number=int(number), label=3 if kind[0] in ("repeated", "map") else 1)
            if kind[0] == "map":
                entry = message.nested_type.add(name=title.title().replace("_", "") + "Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                entry.field.add(name="value", number=2, label=1, type=9)
                added.type, added.type_name = 11, f".{package}.{name}.{entry.name}"
            elif kind[-1] in TYPES:
                added.type = TYPES[kind[-1]]
            else:
                added.type, added.type_name = 11, f".{package}.{kind[-1]}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{m.name}"))
        for m in file.message_type
    }


REGISTRATION = messages(
    "pluginregistration",
    """
    InfoRequest:
    PluginInfo: string type = 1, string name = 2, string endpoint = 3, repeated string supported_versions = 4
    RegistrationStatus: bool plugin_registered = 1, string error = 2
    RegistrationStatusResponse:
    """,
)

DEVICES = messages(
    "v1beta1",
    """
    DevicePluginOptions: bool pre_start_required = 1, bool get_preferred_allocation_available = 2
    RegisterRequest: string version = 1, string endpoint = 2, string resource_name = 3, DevicePluginOptions options = 4
    Empty:
    ListAndWatchResponse: repeated Device devices = 1
    Device: string ID = 1, string health = 2
    PreStartContainerRequest: repeated string devices_ids = 1
    PreStartContainerResponse:
    PreferredAllocationRequest: repeated ContainerPreferredAllocationRequest container_requests = 1
    ContainerPreferredAllocationRequest: repeated string available_deviceIDs = 1, repeated string must_include_deviceIDs = 2, int32 allocation_size = 3
    PreferredAllocationResponse: repeated ContainerPreferredAllocationResponse container_responses = 1
    ContainerPreferredAllocationResponse: repeated string deviceIDs = 1
    AllocateRequest: repeated ContainerAllocateRequest container_requests = 1
    ContainerAllocateRequest: repeated string devices_ids = 1
    AllocateResponse: repeated ContainerAllocateResponse container_responses = 1
    ContainerAllocateResponse: map envs = 1, repeated Mount mounts = 2, repeated DeviceSpec devices = 3, map annotations = 4
    Mount: string container_path = 1, string host_path = 2, bool read_only = 3
    DeviceSpec: string container_path = 1, string host_path = 2, string permissions = 3
    """,
)

CSI = messages(
    "csi.v1",
    """
    Empty:
    NodeGetInfoResponse: string node_id = 1, int64 max_volumes_per_node = 2, Topology accessible_topology = 3
    Topology: map segments = 1
    NodeGetCapabilitiesResponse: repeated NodeServiceCapability capabilities = 1
    NodeServiceCapability: RPC rpc = 1
    RPC: int32 type = 1
    VolumeCapability: Empty block = 1, MountVolume mount = 2, AccessMode access_mode = 3
    MountVolume: string fs_type = 1, repeated string mount_flags = 2, string volume_mount_group = 3
    AccessMode: int32 mode = 1
    NodeStageVolumeRequest: string volume_id = 1, map publish_context = 2, string staging_target_path = 3, VolumeCapability volume_capability = 4, map secrets = 5, map volume_context = 6
    NodeUnstageVolumeRequest: string volume_id = 1, string staging_target_path = 2
    NodePublishVolumeRequest: string volume_id = 1, map publish_context = 2, string staging_target_path = 3, string target_path = 4, VolumeCapability volume_capability = 5, bool readonly = 6, map secrets = 7, map volume_context = 8
    NodeUnpublishVolumeRequest: string volume_id = 1, string target_path = 2
    NodeGetVolumeStatsRequest: string volume_id = 1, string volume_path = 2
    NodeGetVolumeStatsResponse: repeated VolumeUsage usage = 1
    VolumeUsage: int64 available = 1, int64 total = 2, int64 used = 3, int32 unit = 4
    NodeExpandVolumeRequest: string volume_id = 1, string volume_path = 2, CapacityRange capacity_range = 3, string staging_target_path = 4
    CapacityRange: int64 required_bytes = 1
    NodeExpandVolumeResponse: int64 capacity_bytes = 1
    """,
)


# A map of messages is a repeated entry on the wire.
DRA = messages(
    "k8s.io.kubelet.pkg.apis.dra.v1",
    """
    NodePrepareResourcesRequest: repeated Claim claims = 1
    NodePrepareResourcesResponse: repeated Prepared claims = 1
    Prepared: string key = 1, NodePrepareResourceResponse value = 2
    NodePrepareResourceResponse: repeated Device devices = 1, string error = 2
    Device: repeated string request_names = 1, string pool_name = 2, string device_name = 3, repeated string cdi_device_ids = 4
    NodeUnprepareResourcesRequest: repeated Claim claims = 1
    NodeUnprepareResourcesResponse: repeated Unprepared claims = 1
    Unprepared: string key = 1, NodeUnprepareResourceResponse value = 2
    NodeUnprepareResourceResponse: string error = 1
    Claim: string namespace = 1, string uid = 2, string name = 3
    """,
)


class Server:
    """Serves methods: a function of (request, context) each, by (service, method, request class)."""

    def __init__(self, socket, services):
        self.socket = socket
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        for service, methods in services.items():
            handlers = {}
            for method, (request, function, streams) in methods.items():
                make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
                handlers[method] = make(
                    function, request_deserializer=request.FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )  # fmt: skip
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.server.add_insecure_port("unix://" + socket)
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)


class DevicePlugin:
    """Offers /dev/null under other names."""

    def __init__(self, kubelet, resource, devices):
        self.folder = os.path.join(kubelet, "device-plugins")
        self.resource = resource
        self.devices = dict.fromkeys(devices, "Healthy")
        self.news = queue.Queue()
        self.calls = []
        m = DEVICES
        self.server = Server(
            os.path.join(self.folder, "test.sock"),
            {
                "v1beta1.DevicePlugin": {
                    "GetDevicePluginOptions": (m["Empty"], lambda *_: m["DevicePluginOptions"](), False),
                    "ListAndWatch": (m["Empty"], self.list, True),
                    "Allocate": (m["AllocateRequest"], self.allocate, False),
                    "PreStartContainer": (m["PreStartContainerRequest"], self.prepare, False),
                }
            },
        )

    def register(self):
        with grpc.insecure_channel("unix://" + os.path.join(self.folder, "kubelet.sock")) as channel:
            call = channel.unary_unary(
                "/v1beta1.Registration/Register", request_serializer=lambda r: r.SerializeToString(),
                response_deserializer=DEVICES["Empty"].FromString,
            )  # fmt: skip
            call(
                DEVICES["RegisterRequest"](
                    version="v1beta1", endpoint="test.sock", resource_name=self.resource,
                    options=DEVICES["DevicePluginOptions"](pre_start_required=True),
                ), timeout=30,
            )  # fmt: skip

    def list(self, request, context):
        while context.is_active():
            yield DEVICES["ListAndWatchResponse"](
                devices=[DEVICES["Device"](ID=i, health=h) for i, h in self.devices.items()]
            )
            if self.news.get() is None:
                return

    def set(self, device, health):
        self.devices[device] = health
        self.news.put(device)

    def allocate(self, request, context):
        ids = list(request.container_requests[0].devices_ids)
        self.calls.append(("Allocate", ids))
        answer = DEVICES["ContainerAllocateResponse"](
            envs={"DEVICES": ",".join(ids)}, annotations={"devices.test/ids": ",".join(ids)},
            mounts=[DEVICES["Mount"](container_path="/plugin", host_path=self.folder, read_only=True)],
            devices=[
                DEVICES["DeviceSpec"](container_path=f"/dev/test-{i}", host_path="/dev/zero", permissions="r")
                for i in ids
            ],
        )  # fmt: skip
        return DEVICES["AllocateResponse"](container_responses=[answer])

    def prepare(self, request, context):
        self.calls.append(("PreStartContainer", list(request.devices_ids)))
        return DEVICES["PreStartContainerResponse"]()

    def stop(self):
        self.news.put(None)
        self.server.stop()


class CSIDriver:
    """Volumes are folders below `folder`; inline ones and blocks are made when they are published."""

    STAGE, STATS, EXPAND = 1, 2, 3

    def __init__(self, kubelet, name, folder):
        self.name, self.folder = name, folder
        self.calls = []
        self.status = []
        m = CSI
        self.endpoint = os.path.join(kubelet, "plugins", name, "csi.sock")
        os.makedirs(os.path.dirname(self.endpoint), exist_ok=True)
        os.makedirs(folder, exist_ok=True)
        methods = {
            "NodeGetInfo": (m["Empty"], self.info, False),
            "NodeGetCapabilities": (m["Empty"], self.capabilities, False),
        }
        for method in "StageVolume UnstageVolume PublishVolume UnpublishVolume GetVolumeStats ExpandVolume".split():
            methods["Node" + method] = (m[f"Node{method}Request"], self.noting(method, getattr(self, method)), False)
        self.server = Server(self.endpoint, {"csi.v1.Node": methods})
        r = REGISTRATION
        self.registrar = Server(
            os.path.join(kubelet, "plugins_registry", name + "-reg.sock"),
            {
                "pluginregistration.Registration": {
                    "GetInfo": (r["InfoRequest"], self.registration, False),
                    "NotifyRegistrationStatus": (r["RegistrationStatus"], self.notified, False),
                }
            },
        )

    def registration(self, request, context):
        return REGISTRATION["PluginInfo"](
            type="CSIPlugin", name=self.name, endpoint=self.endpoint, supported_versions=["1.0.0"]
        )

    def notified(self, request, context):
        self.status.append((request.plugin_registered, request.error))
        return REGISTRATION["RegistrationStatusResponse"]()

    def info(self, request, context):
        topology = CSI["Topology"](segments={"topology.csi.test/rack": "r1"})
        return CSI["NodeGetInfoResponse"](node_id="id-1", max_volumes_per_node=3, accessible_topology=topology)

    def capabilities(self, request, context):
        return CSI["NodeGetCapabilitiesResponse"](
            capabilities=[
                CSI["NodeServiceCapability"](rpc=CSI["RPC"](type=t)) for t in (self.STAGE, self.STATS, self.EXPAND)
            ]
        )

    def noting(self, method, function):
        def call(request, context):
            self.calls.append((method, request))
            return function(request) or CSI["Empty"]()

        return call

    def names(self):
        return [method for method, _ in self.calls if method != "GetVolumeStats"]

    def StageVolume(self, request):
        if request.volume_capability.HasField("block"):
            return
        os.makedirs(os.path.join(self.folder, request.volume_id), exist_ok=True)
        mount(os.path.join(self.folder, request.volume_id), request.staging_target_path)

    def UnstageVolume(self, request):
        unmount(request.staging_target_path)

    def PublishVolume(self, request):
        target = request.target_path
        if request.volume_capability.HasField("block"):
            open(target, "a").close()
            mount("/dev/zero", target)
            return
        os.makedirs(target, exist_ok=True)
        source = request.staging_target_path
        if not source:
            source = os.path.join(self.folder, request.volume_id)
            os.makedirs(source, exist_ok=True)
            with open(os.path.join(source, "context"), "w") as f:
                f.write("".join(f"{k}={v}\n" for k, v in sorted(request.volume_context.items())))
        mount(source, target)

    def UnpublishVolume(self, request):
        unmount(request.target_path)
        if os.path.isdir(request.target_path):
            os.rmdir(request.target_path)
        elif os.path.exists(request.target_path):
            os.unlink(request.target_path)

    def GetVolumeStats(self, request):
        usage = CSI["VolumeUsage"]
        return CSI["NodeGetVolumeStatsResponse"](
            usage=[usage(available=60, total=100, used=40, unit=1), usage(available=6, total=10, used=4, unit=2)]
        )

    def ExpandVolume(self, request):
        return CSI["NodeExpandVolumeResponse"](capacity_bytes=request.capacity_range.required_bytes)

    def stop(self):
        self.registrar.stop()
        self.server.stop()


class DRADriver:
    """Publishes `devices` for a node, and gives each prepared claim a CDI device with the names of its devices in GPUS."""

    CDI = "/var/run/cdi"

    def __init__(self, node, name, devices, node_name="node-1"):
        self.node, self.name, self.devices, self.node_name = node, name, devices, node_name
        self.calls, self.status, self.failure = [], [], ""
        self.file = os.path.join(self.CDI, name + ".json")
        kubelet = os.path.join(node.dir, "kubelet")
        self.endpoint = os.path.join(kubelet, "plugins", name, "dra.sock")
        os.makedirs(os.path.dirname(self.endpoint), exist_ok=True)
        os.makedirs(self.CDI, exist_ok=True)
        m, r = DRA, REGISTRATION
        self.server = Server(
            self.endpoint,
            {
                "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin": {
                    "NodePrepareResources": (m["NodePrepareResourcesRequest"], self.prepare, False),
                    "NodeUnprepareResources": (m["NodeUnprepareResourcesRequest"], self.unprepare, False),
                }
            },
        )
        self.registrar = Server(
            os.path.join(kubelet, "plugins_registry", name + "-reg.sock"),
            {
                "pluginregistration.Registration": {
                    "GetInfo": (r["InfoRequest"], self.registration, False),
                    "NotifyRegistrationStatus": (r["RegistrationStatus"], self.notified, False),
                }
            },
        )

    def registration(self, request, context):
        return REGISTRATION["PluginInfo"](
            type="DRAPlugin", name=self.name, endpoint=self.endpoint, supported_versions=["v1.DRAPlugin"]
        )

    def notified(self, request, context):
        self.status.append((request.plugin_registered, request.error))
        return REGISTRATION["RegistrationStatusResponse"]()

    def publish(self):
        slice = {
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
            "metadata": {"name": f"{self.node_name}-{self.name}"},
            "spec": {
                "driver": self.name, "nodeName": self.node_name,
                "pool": {"name": self.node_name, "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": d, **attributes} for d, attributes in self.devices.items()],
            },
        }  # fmt: skip
        self.node.kubectl("apply", "-f", "-", input=json.dumps(slice))

    def prepare(self, request, context):
        answer = DRA["NodePrepareResourcesResponse"]()
        for claim in request.claims:
            self.calls.append(("prepare", claim.name))
            value = DRA["NodePrepareResourceResponse"](error=self.failure)
            if not self.failure:
                object = json.loads(self.node.kubectl("get", "resourceclaim", claim.name, "-o", "json").stdout)
                results = object["status"]["allocation"]["devices"]["results"]
                self.offer(claim.uid, [r["device"] for r in results])
                for result in results:
                    value.devices.add(
                        request_names=[result["request"]], pool_name=result["pool"], device_name=result["device"],
                        cdi_device_ids=[f"{self.name}/claim={claim.uid}"],
                    )  # fmt: skip
            answer.claims.add(key=claim.uid, value=value)
        return answer

    def offer(self, uid, devices):
        specification = {"cdiVersion": "0.6.0", "kind": self.name + "/claim", "devices": []}
        if os.path.exists(self.file):
            with open(self.file) as f:
                specification = json.load(f)
        edits = {"env": ["GPUS=" + ",".join(devices)]}
        specification["devices"].append({"name": uid, "containerEdits": edits})
        with open(self.file, "w") as f:
            json.dump(specification, f)

    def unprepare(self, request, context):
        answer = DRA["NodeUnprepareResourcesResponse"]()
        for claim in request.claims:
            self.calls.append(("unprepare", claim.name))
            answer.claims.add(key=claim.uid, value=DRA["NodeUnprepareResourceResponse"]())
        return answer

    def stop(self):
        self.registrar.stop()
        self.server.stop()
        if os.path.exists(self.file):
            os.unlink(self.file)


def mount(source, target):
    if not os.path.ismount(target):
        subprocess.run(["mount", "--bind", source, target], check=True)


def unmount(target):
    subprocess.run(["umount", target], capture_output=True)
