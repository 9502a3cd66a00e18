import Codecs
import Linux

/// `k3s crictl`: the verbs that people use on a node, with crictl's flags and columns.
struct CrictlCommand {
    static let help = """
        NAME:
           crictl - client for the container runtime of this node

        USAGE:
           k3s crictl command [command options] [arguments...]

        COMMANDS:
           ps [-a] [-q] [--name NAME] [--pod ID]     List containers
           pods [-q] [--name NAME]                   List pods
           images [-q]                               List images
           pull [--creds USER:PASSWORD] IMAGE        Pull an image
           rmi IMAGE...                              Remove images
           inspect CONTAINER, inspectp POD           Show the state as JSON
           logs [-f] [--tail N] CONTAINER            Show the log
           exec [-i] [-t] CONTAINER COMMAND...       Run a command in a container
           stats [CONTAINER]                         Show usage
           stop [--timeout SECONDS] CONTAINER...     Stop containers
           rm [-f] CONTAINER...                      Remove containers
           stopp POD..., rmp POD...                  Stop, remove pods
           version                                   Show versions
        """

    let client: ControlClient
    private var options: [String: String] = [:]
    private var arguments: [String] = []

    static func run(_ arguments: [String]) -> Int32 {
        do {
            return try CrictlCommand(arguments).run()
        } catch {
            Terminal.error("Error: \(error)")
            return 1
        }
    }

    private let verb: String

    private init(_ all: [String]) throws {
        var all = all[...]
        var state = ControlClient.standardState
        // crictl's own global flags name an endpoint; this runtime has one.
        while let flag = all.first, flag.hasPrefix("-"), flag != "-h", flag != "--help" {
            all = all.dropFirst()
            if flag == "--state" { state = all.popFirst() ?? state }
            if ["-r", "--runtime-endpoint", "-i", "--image-endpoint", "-t", "--timeout", "-c", "--config"].contains(
                flag)
            {
                all = all.dropFirst()
            }
        }
        client = ControlClient(state: state)
        verb = all.popFirst() ?? "help"
        let valued: Set<String> = ["--name", "--pod", "-p", "--tail", "--timeout", "-t", "--creds", "-o", "--output"]
        // A flag of the same letter takes no value for exec, whose own arguments begin at the first that is no flag.
        let isExec = verb == "exec"
        while let word = all.popFirst() {
            guard word.hasPrefix("-"), word.count > 1, !(isExec && !arguments.isEmpty) else {
                arguments.append(word)
                continue
            }
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                options[parts[0]] = parts[1]
            } else if valued.contains(word), !(isExec && word == "-t") {
                guard let value = all.popFirst() else {
                    throw ControlClient.Failure(description: "flag needs an argument: \(word)")
                }
                options[word] = value
            } else {
                options[word] = ""
            }
        }
    }

    private func has(_ names: String...) -> Bool { names.contains { options[$0] != nil } }

    private func argument() throws -> String {
        guard let first = arguments.first else {
            throw ControlClient.Failure(description: "\(verb): ID cannot be empty")
        }
        return first
    }

    private func run() throws -> Int32 {
        switch verb {
        case "ps": try containers()
        case "pods", "p": try pods()
        case "images", "image", "img": try images()
        case "pull":
            var request = options["--creds"].map(ControlClient.credentials) ?? [:]
            request["id"] = .string(try argument())
            print("Image is up to date for \(try client.call("pull", request)["id"].string ?? "")")
        case "rmi":
            _ = try argument()
            for image in arguments {
                _ = try client.call("remove-image", ["id": .string(image)])
                print("Deleted: \(image)")
            }
        case "inspect", "inspectp":
            let json = try client.call("inspect", ["id": .string(try argument())])
            print(String(decoding: json.encode(), as: UTF8.self))
        case "logs": try logs()
        case "exec":
            let container = try argument()
            return try client.exec(
                container, Array(arguments.dropFirst()), terminal: has("-t", "--tty", "-it", "-ti") && isatty(0) == 1)
        case "stats": try stats()
        case "stop", "rm", "stopp", "rmp":
            _ = try argument()
            let verbs = ["stop": "stop", "rm": "rm", "stopp": "stop-pod", "rmp": "remove-pod"]
            for id in arguments {
                let done = try client.call(
                    verbs[verb] ?? verb,
                    [
                        "id": .string(id), "force": .bool(has("-f", "--force")),
                        "timeout": .int(Int64(options["--timeout"] ?? options["-t"] ?? "") ?? 0),
                    ])
                print(
                    verb == "stop" || verb == "rm"
                        ? done.string ?? id : "\(verb == "rmp" ? "Removed" : "Stopped") sandbox \(id)")
            }
        case "version":
            _ = try client.call("pods")
            print("Version:  0.1.0\nRuntimeName:  containerd\nRuntimeVersion:  \(Root.version)\nRuntimeApiVersion:  v1")
        case "help", "-h", "--help": print(Self.help)
        default: throw ControlClient.Failure(description: "No help topic for '\(verb)'\n\n\(Self.help)")
        }
        return 0
    }

    // MARK: - Lists

    private static func short(_ id: String) -> String {
        String((id.hasPrefix("sha256:") ? id.dropFirst(7) : id[...]).prefix(13))
    }

    static func age(_ nanoseconds: Int64) -> String {
        let seconds = max(0, (WallClock.now() - nanoseconds) / 1_000_000_000)
        func text(_ count: Int64, _ unit: String) -> String { count == 1 ? "1 \(unit) ago" : "\(count) \(unit)s ago" }
        if seconds < 60 { return text(seconds, "second") }
        if seconds < 3600 { return text(seconds / 60, "minute") }
        if seconds < 86400 { return text(seconds / 3600, "hour") }
        return text(seconds / 86400, "day")
    }

    /// As crictl, in powers of ten.
    static func size(_ bytes: Int64) -> String {
        var (value, unit) = (Double(bytes), 0)
        let units = ["B", "kB", "MB", "GB", "TB"]
        while value >= 1000, unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
        let rounded = (value * 100).rounded() / 100
        return (rounded == rounded.rounded() ? "\(Int64(rounded))" : "\(rounded)") + units[unit]
    }

    private func show(_ table: TextTable) { Terminal.write(table.text, to: STDOUT_FILENO) }

    private func containers() throws {
        var pods: [String: JSON] = [:]
        for pod in try client.call("pods").elements { pods[pod["id"].string ?? ""] = pod }
        let all = try client.call("containers").elements.reversed().filter { container in
            guard has("-a", "--all", "-aq", "-qa") || container["state"].string == "Running" else { return false }
            if let name = options["--name"], !(container["name"].string ?? "").contains(name) { return false }
            if let pod = options["--pod"] ?? options["-p"], !(container["pod"].string ?? "").hasPrefix(pod) {
                return false
            }
            return true
        }
        if has("-q", "--quiet", "-aq", "-qa") { return all.forEach { print($0["id"].string ?? "") } }
        var table = TextTable([
            "CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE",
        ])
        for container in all {
            let pod = pods[container["pod"].string ?? ""] ?? .null
            let image = container["image"].string ?? ""
            table.add([
                Self.short(container["id"].string ?? ""), image.hasPrefix("sha256:") ? Self.short(image) : image,
                Self.age(container["created"].int ?? 0), container["state"].string ?? "",
                container["name"].string ?? "", "\(container["attempt"].int ?? 0)",
                Self.short(container["pod"].string ?? ""), pod["name"].string ?? "", pod["namespace"].string ?? "",
            ])
        }
        show(table)
    }

    private func pods() throws {
        let all = try client.call("pods").elements.reversed().filter { pod in
            options["--name"].map { (pod["name"].string ?? "").contains($0) } ?? true
        }
        if has("-q", "--quiet") { return all.forEach { print($0["id"].string ?? "") } }
        var table = TextTable(["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"])
        for pod in all {
            table.add([
                Self.short(pod["id"].string ?? ""), Self.age(pod["created"].int ?? 0), pod["state"].string ?? "",
                pod["name"].string ?? "", pod["namespace"].string ?? "", "\(pod["attempt"].int ?? 0)", "(default)",
            ])
        }
        show(table)
    }

    private func images() throws {
        let all = try client.call("images").elements
        if has("-q", "--quiet") { return all.forEach { print($0["id"].string ?? "") } }
        var table = TextTable(["IMAGE", "TAG", "IMAGE ID", "SIZE"])
        for image in all {
            var names = image["tags"].elements.compactMap(\.string)
            if names.isEmpty { names = image["digests"].elements.compactMap(\.string).map { $0 + ":<none>" } }
            for name in names {
                let tag = name.split(separator: ":").last.map(String.init) ?? ""
                let repository = String(name.dropLast(tag.count + 1))
                table.add([
                    String(repository.prefix { $0 != "@" }), tag, Self.short(image["id"].string ?? ""),
                    Self.size(image["size"].int ?? 0),
                ])
            }
        }
        show(table)
    }

    private func stats() throws {
        let begin = try client.call("stats", ["id": .string(arguments.first ?? "")]).elements
        usleep(500_000)
        let end = try client.call("stats", ["id": .string(arguments.first ?? "")]).elements
        var table = TextTable(["CONTAINER", "NAME", "CPU %", "MEM", "DISK", "INODES"])
        for row in end {
            guard let before = begin.first(where: { $0["id"] == row["id"] }) else { continue }
            let used = Double((row["cpu"].int ?? 0) - (before["cpu"].int ?? 0)) / 5e8 * 100
            table.add([
                Self.short(row["id"].string ?? ""), row["name"].string ?? "", "\((used * 100).rounded() / 100)",
                Self.size(row["memory"].int ?? 0), Self.size(row["disk"].int ?? 0), "\(row["files"].int ?? 0)",
            ])
        }
        show(table)
    }

    // MARK: - Logs

    /// The text of CRI log lines ("time stream tag text"), stdout to stdout and stderr to stderr.
    private func logs() throws {
        let id = try argument()
        let path = try client.call("inspect", ["id": .string(id)])["log"].string ?? ""
        guard !path.isEmpty else { throw ControlClient.Failure(description: "container \"\(id)\" has no log") }
        var file = try FileDescriptor.open(path, O_RDONLY)
        var lines = try Files.read(file, limit: 256 << 20).split(separator: UInt8(ascii: "\n"))[...]
        if let tail = options["--tail"].flatMap({ Int($0) }) { lines = lines.suffix(max(0, tail)) }
        for line in lines { Self.write(line) }
        guard has("-f", "--follow") else { return }
        var rest: [UInt8] = []
        while true {
            usleep(200_000)
            rest += try Files.read(file, limit: 256 << 20)
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                Self.write(rest[..<end])
                rest.removeFirst(end + 1)
            }
            // A rotated log has another file under its name.
            if let now = try? Files.status(path), try now.st_ino != file.status().st_ino {
                file = try FileDescriptor.open(path, O_RDONLY)
            } else if try client.call("inspect", ["id": .string(id)])["state"].string != "Running" {
                return
            }
        }
    }

    private static func write(_ line: ArraySlice<UInt8>) {
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4 else { return }
        var text = Array(fields[3])
        if fields[2].first == UInt8(ascii: "F") { text.append(UInt8(ascii: "\n")) }
        let descriptor = fields[1].elementsEqual("stderr".utf8) ? STDERR_FILENO : STDOUT_FILENO
        Terminal.write(String(decoding: text, as: UTF8.self), to: descriptor)
    }
}
