import Codecs
import KubeAPI
import Linux
import Transport

/// `-f FILE|DIRECTORY|URL|-`: the objects of manifests.
extension Session {
    private static let suffixes = [".json", ".yaml", ".yml"]

    func requireFiles() throws {
        if !options.isSet("filename") && !options.isSet("kustomize") {
            throw CommandError("must specify one of -f and -k")
        }
    }

    /// The documents with their sources, in the order of the files; lists taken apart.
    func documents() throws -> [(object: JSON, source: String)] {
        if options.isSet("kustomize") {
            throw CommandError(
                "-k/--kustomize is not supported by this kubectl: run `kustomize build DIRECTORY` and give its output to -f -"
            )
        }
        var documents: [(object: JSON, source: String)] = []
        for name in options.list("filename") {
            if name == "-" {
                try add(try Terminal.input(), "STDIN", &documents)
            } else if name.hasPrefix("http://") || name.hasPrefix("https://") {
                try add(try download(name), name, &documents)
            } else {
                for path in try paths(name) { try add(try LocalFiles.read(path), path, &documents) }
            }
        }
        return documents
    }

    private func paths(_ name: String) throws -> [String] {
        guard Files.exists(name) else { throw CommandError("the path \(GoText.quoted(name)) does not exist") }
        guard Files.isDirectory(name) else { return [name] }
        var found: [String] = []
        for entry in try LocalFiles.names(in: name).sorted() {
            let path = Path.join(name, entry)
            if Files.isDirectory(path) {
                if options.bool("recursive") { found += try paths(path) }
            } else if Self.suffixes.contains(where: entry.hasSuffix) {
                found.append(path)
            }
        }
        guard !found.isEmpty else {
            throw CommandError("error reading [\(name)]: recognized file extensions are [.json .yaml .yml]")
        }
        return found
    }

    private func download(_ address: String) throws -> [UInt8] {
        var url = try HTTPURL(address)
        let client = HTTPClient(group: try api.group)
        for _ in 0..<10 {
            let target = url
            let response = try Terminal.wait { try await client.get(target) }
            if (300..<400).contains(response.status), let next = response.headers["Location"] {
                if next.hasPrefix("/") { url.target = next } else { url = try HTTPURL(next) }
                continue
            }
            guard response.status == 200 else {
                throw CommandError(
                    "unable to read URL \(GoText.quoted(address)), server reported \(response.status), status code=\(response.status)"
                )
            }
            return try Connection.bytes(response)
        }
        throw CommandError("unable to read URL \(GoText.quoted(address)), stopped after 10 redirects")
    }

    private func add(_ bytes: [UInt8], _ source: String, _ documents: inout [(object: JSON, source: String)]) throws {
        let parsed: [JSON]
        let first = bytes.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }
        if first == UInt8(ascii: "{"), let json = try? JSON.parse(bytes) {
            parsed = [json]
        } else {
            do throws(YAMLError) { parsed = try YAML.parseAll(bytes) } catch {
                throw CommandError("error parsing \(source): error converting YAML to JSON: \(error)")
            }
        }
        for document in parsed { try flatten(document, source, &documents) }
    }

    private func flatten(_ document: JSON, _ source: String, _ out: inout [(object: JSON, source: String)]) throws {
        guard document.object != nil else {
            throw CommandError(
                "error parsing \(source): error converting YAML to JSON: a mapping is expected at the top")
        }
        if (document["kind"].string ?? "").hasSuffix("List"), case .array(let items) = document["items"] {
            for item in items { try flatten(item, source, &out) }
            return
        }
        for key in ["apiVersion", "kind"] where (document[key].string ?? "").isEmpty {
            let missing = key == "kind" ? "Object 'Kind' is missing in '\(document.text)'" : "\(key) not set"
            throw CommandError(
                key == "kind"
                    ? "unable to decode \(GoText.quoted(source)): \(missing)"
                    : "error validating \(GoText.quoted(source)): error validating data: \(missing); if you choose to ignore these errors, turn validation off with --validate=false"
            )
        }
        out.append((document, source))
    }

    /// The documents with their resources and the namespaces they go to.
    func manifests() throws -> [Found] {
        let documents = try self.documents()
        guard !documents.isEmpty else { throw CommandError("no objects passed to \(command)") }
        var found: [Found] = []
        var errors = ErrorList()
        for (object, source) in documents {
            errors.collect { found.append(try place(object, source)) }
        }
        try errors.throwIfAny()
        return found
    }

    func place(_ given: JSON, _ source: String) throws -> Found {
        var object = given
        let (api, kind) = (object["apiVersion"].string ?? "", object["kind"].string ?? "")
        let name = object["metadata"]["name"].string ?? ""
        guard let resource = try catalog.resource(apiVersion: api, kind: kind) else {
            throw CommandError(
                "resource mapping not found for name: \(GoText.quoted(name)) namespace: \(GoText.quoted(object["metadata"]["namespace"].string ?? "")) from \(GoText.quoted(source)): no matches for kind \(GoText.quoted(kind)) in version \(GoText.quoted(api))\nensure CRDs are installed first"
            )
        }
        if resource.namespaced {
            let own = object["metadata"]["namespace"].string ?? ""
            if own.isEmpty {
                object["metadata"]["namespace"] = .string(try namespace)
            } else if try settings.namespaceIsGiven, try own != namespace {
                throw CommandError(
                    "the namespace from the provided object \(GoText.quoted(own)) does not match the namespace \(GoText.quoted(try namespace)). You must pass '--namespace=\(own)' to perform this operation."
                )
            }
        }
        return Found(resource: resource, object: object, source: source)
    }
}

enum LocalFiles {
    static func read(_ path: String) throws -> [UInt8] {
        do throws(SysError) { return try Files.read(path) } catch {
            throw CommandError("open \(path): \(SysError.text(error.code))")
        }
    }

    static func names(in path: String) throws -> [String] {
        guard let directory = opendir(path) else { throw SysError(errno, "open", path: path) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
