import Codecs
import Linux

/// `k3s ctr`: images, containers and tasks with ctr's words. There is one namespace, k8s.io.
struct CtrCommand {
    static let help = """
        NAME:
           ctr - containers and images of this node

        USAGE:
           k3s ctr [-n k8s.io] command [arguments...]

        COMMANDS:
           images ls [-q]                  List images
           images import FILE...           Import archives (docker save, OCI layout; plain, gzip, zstd)
           images export [--platform P] FILE REF...  Write images into an archive (OCI layout, also for docker load)
           images pull [-u USER:PASSWORD] REF
           images tag REF NEW-REF
           images rm REF...                Remove images
           containers ls [-q]              List containers
           containers info ID              Show a container as JSON
           containers rm ID...             Remove containers that do not run
           tasks ls [-q]                   List running containers with their processes
           tasks exec [-t] [--exec-id ID] CONTAINER COMMAND...
           tasks kill CONTAINER            Stop a container at once
           version
        """

    static func run(_ arguments: [String]) -> Int32 {
        do { return try execute(arguments) } catch {
            Terminal.error("ctr: \(error)")
            return 1
        }
    }

    private static func execute(_ all: [String]) throws -> Int32 {
        var words = all[...]
        var state = ControlClient.standardState
        while let flag = words.first, flag.hasPrefix("-"), flag != "-h", flag != "--help", flag != "-v" {
            words = words.dropFirst()
            guard let value = words.popFirst() else { break }
            if flag == "--state" { state = value }
            if (flag == "-n" || flag == "--namespace"), value != "k8s.io" {
                throw ControlClient.Failure(description: "namespace \"\(value)\": there is only k8s.io")
            }
        }
        let client = ControlClient(state: state)
        let group = words.popFirst() ?? "help"
        let verb = words.popFirst() ?? ""
        let rest = Array(words)
        let (names, options) = split(rest)
        let quiet = rest.contains("-q") || rest.contains("--quiet")
        func need(_ count: Int) throws {
            if names.count < count { throw ControlClient.Failure(description: "\(group) \(verb): too few arguments") }
        }
        switch (group, verb) {
        case ("images", "ls"), ("images", "list"), ("image", "ls"), ("image", "list"), ("i", "ls"), ("i", "list"):
            listImages(try client.call("images").elements, quiet)
        case ("images", "import"), ("image", "import"), ("i", "import"):
            try need(1)
            for name in names {
                let path = name.hasPrefix("/") ? name : Path.join(workingDirectory(), name)
                for image in try client.call("import", ["id": .string(path)]).elements {
                    for tag in image["tags"].elements {
                        print("unpacking \(tag.string ?? "") (\(image["id"].string ?? ""))...done")
                    }
                }
            }
        case ("images", "export"), ("image", "export"), ("i", "export"):
            try need(2)
            let path = names[0].hasPrefix("/") ? names[0] : Path.join(workingDirectory(), names[0])
            var request: [String: JSON] = [
                "path": .string(path), "references": .strings(Array(names.dropFirst())),
            ]
            if let platform = options["--platform"] { request["platform"] = .string(platform) }
            _ = try client.call("export", request)
        case ("images", "pull"), ("image", "pull"), ("i", "pull"):
            var request = (options["-u"] ?? options["--user"]).map(ControlClient.credentials) ?? [:]
            guard let reference = names.last else {
                throw ControlClient.Failure(description: "please provide an image reference to pull")
            }
            request["id"] = .string(reference)
            print("done: \(try client.call("pull", request)["id"].string ?? "")")
        case ("images", "tag"), ("image", "tag"), ("i", "tag"):
            try need(2)
            _ = try client.call("tag", ["id": .string(names[0]), "target": .string(names[1])])
            print(names[1])
        case ("images", "rm"), ("images", "remove"), ("image", "rm"), ("i", "rm"):
            try need(1)
            for name in names {
                _ = try client.call("remove-image", ["id": .string(name)])
                print(name)
            }
        case ("containers", "ls"), ("containers", "list"), ("container", "ls"), ("c", "ls"):
            var table = TextTable(["CONTAINER", "IMAGE", "RUNTIME"])
            for container in try client.call("containers").elements {
                let id = container["id"].string ?? ""
                if quiet { print(id) } else { table.add([id, container["image"].string ?? "", "k3s-shim"]) }
            }
            if !quiet { Terminal.write(table.text, to: STDOUT_FILENO) }
        case ("containers", "info"), ("container", "info"), ("c", "info"):
            try need(1)
            print(String(decoding: try client.call("inspect", ["id": .string(names[0])]).encode(), as: UTF8.self))
        case ("containers", "rm"), ("container", "rm"), ("c", "rm"):
            try need(1)
            for name in names { _ = try client.call("rm", ["id": .string(name)]) }
        case ("tasks", "ls"), ("tasks", "list"), ("task", "ls"), ("t", "ls"):
            var table = TextTable(["TASK", "PID", "STATUS"])
            for container in try client.call("containers").elements where container["state"].string == "Running" {
                let id = container["id"].string ?? ""
                if quiet { print(id) } else { table.add([id, "\(container["pid"].int ?? 0)", "RUNNING"]) }
            }
            if !quiet { Terminal.write(table.text, to: STDOUT_FILENO) }
        case ("tasks", "exec"), ("task", "exec"), ("t", "exec"): return try exec(client, rest)
        case ("tasks", "kill"), ("task", "kill"), ("t", "kill"):
            try need(1)
            for name in names { _ = try client.call("stop", ["id": .string(name)]) }
        case ("version", _), ("-v", _):
            print(Root.version)
        case ("help", _), ("-h", _), ("--help", _): print(help)
        default: throw ControlClient.Failure(description: "No help topic for '\(group) \(verb)'\n\n\(help)")
        }
        return 0
    }

    /// Flags of ctr that have a value of their own.
    private static let valued: Set<String> = [
        "--platform", "--user", "-u", "--base-name", "--index-name", "--snapshotter", "--hosts-dir", "--label",
    ]

    /// What is no flag, and the flags' values.
    private static func split(_ words: [String]) -> (names: [String], options: [String: String]) {
        var names: [String] = []
        var options: [String: String] = [:]
        var rest = words[...]
        while let word = rest.popFirst() {
            if !word.hasPrefix("-") {
                names.append(word)
            } else if let equals = word.firstIndex(of: "=") {
                options[String(word[..<equals])] = String(word[word.index(after: equals)...])
            } else if valued.contains(word) {
                options[word] = rest.popFirst() ?? ""
            }
        }
        return (names, options)
    }

    private static func exec(_ client: ControlClient, _ arguments: [String]) throws -> Int32 {
        var words = arguments[...]
        var terminal = false
        while let flag = words.first, flag.hasPrefix("-") {
            words = words.dropFirst()
            if flag == "-t" || flag == "--tty" { terminal = true }
            if flag == "--exec-id" { words = words.dropFirst() }
        }
        guard let container = words.popFirst(), !words.isEmpty else {
            throw ControlClient.Failure(description: "tasks exec: a container and a command must be provided")
        }
        return try client.exec(container, Array(words), terminal: terminal && isatty(0) == 1)
    }

    private static func listImages(_ images: [JSON], _ quiet: Bool) {
        var table = TextTable(["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"])
        for image in images {
            let digest = image["digests"][0].string?.split(separator: "@").last.map(String.init)
            for name in (image["tags"].elements + image["digests"].elements).compactMap(\.string) {
                if quiet {
                    print(name)
                    continue
                }
                table.add([
                    name, "application/vnd.oci.image.manifest.v1+json", digest ?? image["id"].string ?? "",
                    CrictlText.size(image["size"].int ?? 0), "linux",
                    image["pinned"].bool == true ? "io.cri-containerd.pinned=pinned" : "-",
                ])
            }
        }
        if !quiet { Terminal.write(table.text, to: STDOUT_FILENO) }
    }

    private static func workingDirectory() -> String { (try? Files.readLink("/proc/self/cwd")) ?? "/" }
}
