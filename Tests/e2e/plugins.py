"""Plugins of the kubelet that know nothing of ours: grpcio, with messages after the public .proto files."""

import os
import queue
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
