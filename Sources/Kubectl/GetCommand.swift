import Codecs
import KubeAPI
import Linux

/// `kubectl get`: tables as the server renders them, or whole objects.
struct GetCommand {
    let session: Session
    private var options: Options { session.options }

    init(_ session: Session) { self.session = session }

    func run() throws {
        if let raw = options.given("raw") {
            guard session.arguments.isEmpty else {
                throw CommandError.usage("arguments may not be passed when --raw is specified", "get")
            }
            Terminal.write(try session.api.raw("GET", raw), to: STDOUT_FILENO)
            return
        }
        if session.arguments.isEmpty, !options.isSet("filename"), !options.isSet("kustomize") {
            Terminal.error(
                "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n"
            )
            throw CommandError(
                "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples"
            )
        }
        let output = options.string("output")
        if ObjectPrinter.isWanted(output) { _ = try session.printer }
        if options.bool("watch") || options.bool("watch-only") { return try watch() }
        if ObjectPrinter.isWanted(output) { try objects() } else { try tables() }
    }

    // MARK: - Whole objects

    private func missing(_ error: any Error) -> Bool {
        options.bool("ignore-not-found") && (error as? APIError)?.isNotFound == .some(true)
    }

    private func objects() throws {
        var errors = ErrorList()
        var found: [JSON] = []
        var isSingle = false
        if options.isSet("filename") || options.isSet("kustomize") {
            let documents = try session.manifests()
            isSingle = documents.count == 1
            for document in documents {
                do { found.append(try session.api.get(document.path)) } catch {
                    if !missing(error) { errors.add(error) }
                }
            }
        } else {
            let targets = try session.targets(session.arguments)
            isSingle = targets.count == 1 && targets[0].names.count == 1
            for target in targets {
                for name in target.names {
                    do {
                        found.append(
                            try session.api.get(
                                target.resource.path(try session.namespace, name, options.given("subresource"))))
                    } catch {
                        if !missing(error) { errors.add(error) }
                    }
                }
                guard target.names.isEmpty else { continue }
                errors.collect {
                    for page in try session.pages(target.resource, query: session.listQuery()) {
                        for var item in page["items"].elements {
                            item["apiVersion"] = .string(target.resource.apiVersion)
                            item["kind"] = .string(target.resource.kind)
                            found.append(item)
                        }
                    }
                }
            }
        }
        if let spec = options.given("sort-by"), !isSingle {
            let path = try JSONPath(relaxed: spec)
            found = try RowOrder.sorted(found, by: path) { $0 }
        }
        let printer = try session.printer
        if isSingle {
            if let object = found.first { try printer.print(object) }
        } else if !(found.isEmpty && !errors.errors.isEmpty) {
            try printer.print([
                "apiVersion": "v1", "items": .array(found), "kind": "List", "metadata": ["resourceVersion": ""],
            ])
        }
        printer.finish()
        try errors.throwIfAny()
    }

    // MARK: - Tables

    private var showsKind: Bool {
        options.bool("show-kind") || Self.severalTypes(session.arguments)
    }

    /// As kubectl decides it: by the words, not by what is found.
    static func severalTypes(_ words: [String]) -> Bool {
        var types: Set<Substring> = []
        for word in words {
            if word == "all" { return true }
            if let slash = word.firstIndex(of: "/") {
                types.insert(word[..<slash])
            } else if Set(word.split(separator: ",")).count > 1 {
                return true
            }
        }
        return types.count > 1
    }

    private func tables() throws {
        var errors = ErrorList()
        var groups: [(resource: Catalog.Resource, tables: [JSON])] = []
        func add(_ resource: Catalog.Resource, _ tables: [JSON]) {
            if groups.last?.resource.qualified == resource.qualified {
                groups[groups.count - 1].tables += tables
            } else {
                groups.append((resource, tables))
            }
        }
        var query: [(String, String)] = []
        if options.isSet("sort-by") { query.append(("includeObject", "Object")) }
        func one(_ path: String, _ resource: Catalog.Resource) {
            do {
                add(resource, [try session.api.call("GET", path, query: query, accept: Connection.table)])
            } catch {
                if !missing(error) { errors.add(error) }
            }
        }
        var resources: [Catalog.Resource] = []
        if options.isSet("filename") || options.isSet("kustomize") {
            for document in try session.manifests() {
                resources.append(document.resource)
                one(document.path, document.resource)
            }
        } else {
            for target in try session.targets(session.arguments) {
                resources.append(target.resource)
                for name in target.names {
                    one(
                        target.resource.path(try session.namespace, name, options.given("subresource")), target.resource
                    )
                }
                guard target.names.isEmpty else { continue }
                errors.collect {
                    add(
                        target.resource,
                        try session.pages(target.resource, query: session.listQuery() + query, accept: Connection.table)
                    )
                }
            }
        }
        let shown = groups.filter { $0.tables.contains { !$0["rows"].elements.isEmpty } }
        let withKind = showsKind || Set(resources.map(\.qualified)).count > 1
        var hasWritten = false
        for group in shown {
            if hasWritten, !options.bool("no-headers") { Terminal.out("\n") }
            var rows: [[String]] = []
            var lines = try TableLines(options, group.resource, withKind: withKind)
            for table in group.tables { rows += try lines.rows(table) }
            rows = try sort(rows, group.tables)
            if !options.bool("no-headers") { rows.insert(lines.header, at: 0) }
            Terminal.out(TabText.table(rows))
            hasWritten = true
        }
        if shown.isEmpty, errors.errors.isEmpty, !options.bool("ignore-not-found") {
            let isNamespaced = !options.bool("all-namespaces") && resources.allSatisfy(\.namespaced)
            Terminal.error(
                isNamespaced ? "No resources found in \(try session.namespace) namespace." : "No resources found")
        }
        try errors.throwIfAny()
    }

    private func sort(_ rows: [[String]], _ tables: [JSON]) throws -> [[String]] {
        guard let spec = options.given("sort-by") else { return rows }
        let path = try JSONPath(relaxed: spec)
        let objects = tables.flatMap { $0["rows"].elements.map { $0["object"] } }
        return try RowOrder.sorted(Array(zip(rows, objects)), by: path) { $0.1 }.map(\.0)
    }

    // MARK: - Watching

    private func watch() throws {
        var words = session.arguments
        var query = session.listQuery()
        let targets: [Session.Target]
        if options.isSet("filename") {
            let documents = try session.manifests()
            guard documents.count == 1 else {
                throw CommandError(
                    "watch is only supported on individual resources and resource collections - \(documents.count) resources were found"
                )
            }
            targets = [Session.Target(resource: documents[0].resource, names: [documents[0].name])]
            words = []
        } else {
            targets = try session.targets(words)
        }
        guard targets.count == 1, targets[0].names.count < 2 else {
            throw CommandError(
                "watch is only supported on individual resources and resource collections - more than 1 resource was found"
            )
        }
        let target = targets[0]
        if let name = target.names.first { query.append(("fieldSelector", "metadata.name=\(name)")) }
        let path = target.resource.path(try session.namespace(for: target.resource))
        let isObjects = ObjectPrinter.isWanted(options.string("output"))
        let accept = isObjects ? Connection.json : Connection.table
        let withEvents = options.bool("output-watch-events")
        var lines = try TableLines(options, target.resource, withKind: showsKind)
        var widths: [Int] = []
        func show(_ rows: [[String]]) {
            // As the first rows were laid out; wider cells widen what follows.
            for row in rows {
                for (i, cell) in row.enumerated() {
                    if i == widths.count { widths.append(6) }
                    widths[i] = max(widths[i], cell.unicodeScalars.count + 3)
                }
            }
            for row in rows {
                var line = ""
                for (i, cell) in row.enumerated() {
                    line += i < row.count - 1 ? cell.padded(widths[i]) : cell
                }
                Terminal.line(line)
            }
        }
        func table(_ table: JSON, _ event: String?) throws {
            let isFirst = lines.header.isEmpty
            var rows = try lines.rows(table)
            if withEvents { rows = rows.map { [event ?? "ADDED"] + $0 } }
            if isFirst, !rows.isEmpty, !options.bool("no-headers") {
                rows.insert(withEvents ? ["EVENT"] + lines.header : lines.header, at: 0)
            }
            show(rows)
        }
        if let name = target.names.first {
            _ = try session.api.get(target.resource.path(try session.namespace, name))
        }
        var revision = ""
        let pages = try session.pages(target.resource, query: query, accept: accept)
        for page in pages {
            revision = page["metadata"]["resourceVersion"].string ?? revision
            if options.bool("watch-only") { continue }
            if isObjects {
                for var item in page["items"].elements {
                    item["apiVersion"] = .string(target.resource.apiVersion)
                    item["kind"] = .string(target.resource.kind)
                    try session.printer.print(item)
                    try session.printer.finish()
                }
            } else if !page["rows"].elements.isEmpty || lines.header.isEmpty {
                try table(page, nil)
            }
        }
        query.append(("resourceVersion", revision))
        try session.api.watch(path, query: query, accept: accept) { type, object in
            guard type != "BOOKMARK" else { return true }
            if isObjects {
                try session.printer.print(withEvents ? ["type": .string(type), "object": object] : object)
                try session.printer.finish()
            } else {
                try table(object, type)
            }
            return true
        }
    }
}

extension String {
    func padded(_ width: Int) -> String {
        let count = unicodeScalars.count
        return count >= width ? self : self + String(repeating: " ", count: width - count)
    }
}

/// From the server's tables to lines of text.
struct TableLines {
    private let resource: Catalog.Resource
    private let withKind: Bool
    private let withNamespace: Bool
    private let isWide: Bool
    private let labels: [String]
    private let showsLabels: Bool
    /// Empty until a table has come.
    private(set) var header: [String] = []
    private var columns: [Int] = []
    private var nameColumn = 0

    init(_ options: Options, _ resource: Catalog.Resource, withKind: Bool) throws {
        self.resource = resource
        self.withKind = withKind
        withNamespace = options.bool("all-namespaces") && resource.namespaced
        isWide = options.string("output") == "wide"
        labels = options.list("label-columns")
        showsLabels = options.bool("show-labels")
    }

    mutating func rows(_ table: JSON) throws -> [[String]] {
        guard table["kind"].string == "Table" else {
            throw CommandError("the server did not answer with a table of \(resource.qualified)")
        }
        let definitions = table["columnDefinitions"].elements
        if !definitions.isEmpty, header.isEmpty {
            columns = definitions.indices.filter { isWide || definitions[$0]["priority"].int ?? 0 == 0 }
            nameColumn =
                definitions.firstIndex { ($0["format"].string == "name") || $0["name"].string?.lowercased() == "name" }
                ?? 0
            header =
                (withNamespace ? ["NAMESPACE"] : [])
                + columns.map { (definitions[$0]["name"].string ?? "").uppercased() }
            header += labels.map { ($0.split(separator: "/").last.map(String.init) ?? $0).uppercased() }
            if showsLabels { header.append("LABELS") }
        }
        return table["rows"].elements.map { row in
            let cells = row["cells"].elements
            let metadata = row["object"]["metadata"]
            var line = withNamespace ? [metadata["namespace"].string ?? ""] : []
            for column in columns {
                var text = column < cells.count ? Self.text(cells[column]) : ""
                if withKind, column == nameColumn { text = resource.singularName + "/" + text }
                line.append(text)
            }
            let own = metadata["labels"].stringMap
            line += labels.map { own[$0] ?? "" }
            if showsLabels { line.append(Self.labels(own)) }
            return line
        }
    }

    private static func text(_ cell: JSON) -> String {
        guard case .string(let text) = cell else { return cell.isNull ? "<nil>" : cell.goText }
        if let end = text.firstIndex(where: { $0.isNewline }) { return text[..<end] + "..." }
        return text
    }

    static func labels(_ labels: [String: String]) -> String {
        labels.isEmpty
            ? "<none>" : labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }
}

/// `--sort-by`: numbers and quantities by value, texts with their numbers counted.
enum RowOrder {
    static func sorted<T>(_ rows: [T], by path: JSONPath, _ object: (T) -> JSON) throws -> [T] {
        let keyed = try rows.enumerated().map {
            (offset: $0.offset, row: $0.element, key: try path.values(object($0.element)).first ?? .null)
        }
        if !rows.isEmpty, keyed.allSatisfy({ $0.key.isNull }) {
            throw CommandError("couldn't find any field with path \"\(spec(path))\" in the list of objects")
        }
        return keyed.sorted { a, b in
            if less(a.key, b.key) { return true }
            if less(b.key, a.key) { return false }
            return a.offset < b.offset
        }.map(\.row)
    }

    private static func spec(_ path: JSONPath) -> String {
        guard case .path(let steps)? = path.nodes.first else { return "" }
        return "{"
            + steps.map { step -> String in
                switch step {
                case .field(let name): "." + name
                case .index(let index): "[\(index)]"
                case .wildcard: "[*]"
                default: ""
                }
            }.joined() + "}"
    }

    static func less(_ a: JSON, _ b: JSON) -> Bool {
        if a.isNull || b.isNull { return a.isNull && !b.isNull }
        if let x = a.double, let y = b.double { return x < y }
        guard let x = a.string, let y = b.string else { return a.text < b.text }
        if let p = Quantity(x), let q = Quantity(y) { return p < q }
        return natural(Array(x.utf8), Array(y.utf8))
    }

    private static func natural(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        var (i, j) = (0, 0)
        func number(_ bytes: [UInt8], _ at: inout Int) -> ArraySlice<UInt8> {
            while at < bytes.count, bytes[at] == 0x30 { at += 1 }
            let start = at
            while at < bytes.count, (0x30...0x39).contains(bytes[at]) { at += 1 }
            return bytes[start..<at]
        }
        while i < a.count, j < b.count {
            if (0x30...0x39).contains(a[i]), (0x30...0x39).contains(b[j]) {
                let (x, y) = (number(a, &i), number(b, &j))
                if x.count != y.count { return x.count < y.count }
                if !x.elementsEqual(y) { return x.lexicographicallyPrecedes(y) }
            } else {
                if a[i] != b[j] { return a[i] < b[j] }
                i += 1
                j += 1
            }
        }
        return a.count - i < b.count - j
    }
}
