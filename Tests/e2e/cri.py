"""A client of CRI v1 that knows nothing of ours: grpcio, and the messages as Debian's containerd has them in its binary.

What Kubernetes has added since containerd 1.6 is `ADDED`, after api.proto of Kubernetes 1.36.
"""

import zlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CONTAINERD = "/usr/bin/containerd"
STRING, INT64, UINT64, BOOL, MESSAGE, INT32, ENUM = 9, 3, 4, 8, 11, 5, 14
STREAMS = {"GetContainerEvents", "StreamPodSandboxes", "StreamContainers", "StreamImages"}
ADDED = {
    "PodSandboxStatusResponse": [("containers_statuses", 3, "*ContainerStatus"), ("timestamp", 4, INT64)],
    "Container": [("image_id", 10, STRING)],
    "ContainerUser": [("linux", 1, "LinuxContainerUser")],
    "LinuxContainerUser": [("uid", 1, INT64), ("gid", 2, INT64)],
    "ContainerStatus": [("image_id", 17, STRING), ("user", 18, "ContainerUser"), ("stop_signal", 19, INT32)],
    "CDIDevice": [("name", 1, STRING)],
    "ContainerConfig": [("CDI_devices", 17, "*CDIDevice"), ("stop_signal", 18, INT32)],
    "Mount": [("recursive_read_only", 8, BOOL), ("image", 9, "ImageSpec"), ("image_sub_path", 10, STRING)],
    "RuntimeFeatures": [("supplemental_groups_policy", 1, BOOL)],
    "StatusResponse": [("features", 4, "RuntimeFeatures")],
    "LinuxRuntimeConfiguration": [("cgroup_driver", 1, INT32)],
    "RuntimeConfigRequest": [],
    "RuntimeConfigResponse": [("linux", 1, "LinuxRuntimeConfiguration")],
    "ContainerEventResponse": [
        ("pod_sandbox_status", 4, "PodSandboxStatus"),
        ("containers_statuses", 5, "*ContainerStatus"),
    ],
    "MetricDescriptor": [("name", 1, STRING), ("help", 2, STRING), ("label_keys", 3, "*" + str(STRING))],
    "ListMetricDescriptorsRequest": [],
    "ListMetricDescriptorsResponse": [("descriptors", 1, "*MetricDescriptor")],
    "Metric": [("name", 1, STRING), ("label_values", 4, "*" + str(STRING)), ("value", 5, "UInt64Value")],
    "ContainerMetrics": [("container_id", 1, STRING), ("metrics", 2, "*Metric")],
    "PodSandboxMetrics": [("pod_sandbox_id", 1, STRING), ("container_metrics", 3, "*ContainerMetrics")],
    "ListPodSandboxMetricsRequest": [],
    "ListPodSandboxMetricsResponse": [("pod_metrics", 1, "*PodSandboxMetrics")],
    "StreamContainersRequest": [("filter", 1, "ContainerFilter")],
    "StreamContainersResponse": [("containers", 1, "*Container")],
}
REQUESTS = {"GetContainerEvents": ("GetEventsRequest", "ContainerEventResponse")}


def _embedded():
    """The file descriptor that gogo's generator put, compressed, into the program."""
    with open(CONTAINERD, "rb") as f:
        program = f.read()
    at = -1
    while (at := program.find(b"\x1f\x8b\x08", at + 1)) >= 0:
        try:
            raw = zlib.decompressobj(31).decompress(program[at : at + 200_000])
            found = descriptor_pb2.FileDescriptorProto.FromString(raw)
        except Exception:
            continue
        if found.package == "runtime.v1":
            return found
    raise AssertionError(f"{CONTAINERD} has no runtime.v1")


def _messages():
    file = _embedded()
    del file.dependency[:]
    file.ClearField("options")
    del file.service[:]
    by_name = {m.name: m for m in file.message_type}
    # containerd 1.6 took it from a draft.
    del by_name["ContainerEventResponse"].field[3:]
    for name, fields in ADDED.items():
        if name not in by_name:
            by_name[name] = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated = isinstance(kind, str) and kind.startswith("*")
            if repeated:
                kind = kind[1:]
            added = by_name[name].field.add(name=field, number=number, label=3 if repeated else 1)
            if str(kind).isdigit():
                added.type = int(kind)
            else:
                added.type, added.type_name = MESSAGE, ".runtime.v1." + kind

    def strip(message):
        for field in message.field:
            field.ClearField("options")
        for nested in message.nested_type:
            strip(nested)

    for message in file.message_type:
        strip(message)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName("runtime.v1." + m.name))
        for m in file.message_type
    }


class Client:
    """`client.ListContainers(filter={...})`; what streams gives an iterator that can be cancelled."""

    messages = None

    def __init__(self, socket):
        Client.messages = Client.messages or _messages()
        self.channel = grpc.insecure_channel(
            "unix://" + socket, options=[("grpc.max_receive_message_length", 16 << 20), ("grpc.use_local_subchannel_pool", 1)]
        )  # fmt: skip

    def __getattr__(self, method):
        images = "Image" in method
        service = "ImageService" if images else "RuntimeService"
        request, response = REQUESTS.get(method, (method + "Request", method + "Response"))
        kind = self.channel.unary_stream if method in STREAMS else self.channel.unary_unary
        call = kind(
            f"/runtime.v1.{service}/{method}",
            request_serializer=self.messages[request].SerializeToString,
            response_deserializer=self.messages[response].FromString,
        )
        return lambda deadline=60, **fields: call(self.messages[request](**fields), timeout=deadline)

    def close(self):
        self.channel.close()


def code(call):
    """The name of the code with which a call fails, and the message."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""
