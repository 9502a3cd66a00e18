// What the runtime's tests start: the shim alone, or a node agent that can be killed.
//   RuntimeProbe shim --directory DIR ...
//   RuntimeProbe client ROOT STATE CGROUP-PREFIX LOGS LAYER...   runs a container that counts, prints ids, waits
//   RuntimeProbe bench DIRECTORY COUNT LAYER...                  measures: lives of a container that runs `true`, memory,
//                                                                exec, log; lines "name value unit"
import Containers
import Linux

func runClient(_ arguments: [String]) async {
    guard arguments.count >= 5 else { exit(2) }
    var configuration = RuntimeConfiguration(root: arguments[0], state: arguments[1])
    configuration.cgroupPrefix = arguments[2]
    configuration.shimCommand = ["/proc/self/exe", ShimMain.role]
    let images = FakeImages()
    var image = ImageInfo()
    image.id = "sha256:busybox"
    image.tags = ["busybox"]
    images.add(image, layers: Array(arguments[4...]))
    do {
        let runtime = try Runtime(configuration: configuration, images: images)
        try await runtime.start()
        var sandbox = SandboxConfig()
        (sandbox.podUID, sandbox.name, sandbox.hostname, sandbox.logDirectory) = (
            "killed", "killed", "killed", arguments[3]
        )
        let status = try await runtime.runSandbox(sandbox)
        var container = ContainerConfig()
        container.name = "counter"
        container.image = "busybox"
        container.logPath = "counter.log"
        container.command = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; usleep 2000; done"]
        let id = try await runtime.createContainer(container, sandbox: status.id)
        try await runtime.startContainer(id)
        print(status.id, id)
        fflush(nil)
        while true { try await Task.sleep(for: .seconds(3600)) }
    } catch {
        print("error", error)
        exit(1)
    }
}

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case ShimMain.role: exit(ShimMain.run(arguments: arguments))
case "client": await runClient(Array(arguments.dropFirst()))
case "bench":
    let rest = Array(arguments.dropFirst())
    guard rest.count >= 3, let count = Int(rest[1]) else { exit(2) }
    do { try await Bench(rest, count: count).run() } catch {
        print("error", error)
        exit(1)
    }
default: exit(2)
}
