// What the runtime's tests start: the shim alone, or a node agent that can be killed.
//   RuntimeProbe shim --directory DIR ...
//   RuntimeProbe client ROOT STATE CGROUP-PREFIX LOGS LAYER...   runs a container that counts, prints ids, waits
//   RuntimeProbe bench DIRECTORY COUNT LAYER...                  times COUNT lives of a container that runs `true`
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

func runBench(_ arguments: [String]) async {
    guard arguments.count >= 3, let count = Int(arguments[1]) else { exit(2) }
    var configuration = RuntimeConfiguration(root: arguments[0] + "/root", state: arguments[0] + "/state")
    configuration.cgroupPrefix = "k3s-bench-\(getpid())"
    let images = FakeImages()
    var image = ImageInfo()
    (image.id, image.tags) = ("sha256:busybox", ["busybox"])
    images.add(image, layers: Array(arguments[2...]))
    do {
        let runtime = try Runtime(configuration: configuration, images: images)
        try await runtime.start()
        var config = SandboxConfig()
        (config.podUID, config.logDirectory) = ("bench", arguments[0] + "/logs")
        let clock = ContinuousClock()
        var sandboxes: [Duration] = [], steps: [[Duration]] = [[], [], [], []]
        var events = runtime.events().makeAsyncIterator()
        for index in 0..<count {
            let begin = clock.now
            let sandbox = try await runtime.runSandbox(config)
            sandboxes.append(clock.now - begin)
            var container = ContainerConfig()
            (container.name, container.image, container.command) = ("c", "busybox", ["true"])
            container.logPath = "\(index).log"
            container.security.seccomp = .runtimeDefault
            let t0 = clock.now
            let id = try await runtime.createContainer(container, sandbox: sandbox.id)
            let t1 = clock.now
            try await runtime.startContainer(id)
            let t2 = clock.now
            while let event = await events.next(), event.kind != .exited {}
            let t3 = clock.now
            try await runtime.removeContainer(id)
            let t4 = clock.now
            for (step, time) in [t1 - t0, t2 - t1, t3 - t2, t4 - t3].enumerated() { steps[step].append(time) }
            try await runtime.removeSandbox(sandbox.id)
        }
        func figures(_ list: [Duration]) -> String {
            let sorted = list.sorted().map { Double($0.nanoseconds / 1000) / 1000 }
            return "min \(sorted[0]) median \(sorted[sorted.count / 2]) ms"
        }
        print("sandbox  \(figures(sandboxes))")
        for (name, list) in zip(["create ", "start  ", "exit   ", "remove "], steps) { print(name, figures(list)) }
        try await runtime.stopShim()
        runtime.shutdown()
        let cgroups = try CgroupDetection.detect()
        try cgroups.kill(configuration.cgroupPrefix)
        try cgroups.remove(configuration.cgroupPrefix)
    } catch {
        print("error", error)
        exit(1)
    }
}

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case ShimMain.role: exit(ShimMain.run(arguments: arguments))
case "client": await runClient(Array(arguments.dropFirst()))
case "bench": await runBench(Array(arguments.dropFirst()))
default: exit(2)
}
