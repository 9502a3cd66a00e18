import Codecs
import ControlPlane
import KubeAPI
import Linux
import Testing
import Transport

/// What kube-apiserver validates, keeps, resets and counts, kind by kind, as a table (`Fixtures/api/rules.tsv`, written
/// from upstream's rules), run row by row against this server.
@Suite struct RuleTableTests {
    /// A valid object of a kind, from which each row starts.
    struct Base: Sendable {
        var collection: String
        var name: String
        var object: JSON
    }

    struct Rule: Sendable {
        var line: Int
        var resource: String
        /// create, put (of what is not there), update, status, sub:NAME: what is tried. drop, keep, status-keep, status-take, default, generation,
        /// status-generation: what becomes of it.
        var action: String
        /// Made of the base before: assignments, those of a status through its subresource.
        var given: [String]
        var tried: [String]
        /// "Required spec.x", "ok", "409"; for effects a value in JSON, "-" for absent.
        var expected: String
        var text: String
    }

    /// Rows of one resource.
    struct Group: Sendable, CustomTestStringConvertible {
        var resource: String
        var rules: [Rule]
        var testDescription: String { resource }
    }

    private static func lines(_ name: String) -> [(Int, [String])] {
        let directory = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let bytes = (try? Files.read("/\(directory)/Fixtures/api/\(name)", limit: 1 << 20)) ?? []
        return String(decoding: bytes, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .filter { !$0.element.isEmpty && $0.element.first != "#" }
            .map {
                ($0.offset + 1, $0.element.split(separator: "\t", omittingEmptySubsequences: false).map(String.init))
            }
    }

    static let bases: [String: Base] = {
        var bases: [String: Base] = [:]
        for (_, row) in lines("objects.tsv") {
            let parts = row[0].split(separator: "/").map(String.init)
            let version = parts.dropLast().joined(separator: "/")
            let root = (version.contains("/") ? "/apis/" : "/api/") + version
            let object = (try? JSON.parse(Array(row[3].utf8))) ?? .null
            let space = row[1] == "N" ? "/namespaces/default/" : "/"
            bases[row[0]] = Base(collection: root + space + parts[parts.count - 1], name: row[2], object: object)
        }
        return bases
    }()

    static let groups: [Group] = {
        var order: [String] = []
        var rules: [String: [Rule]] = [:]
        for (line, row) in lines("rules.tsv") {
            func edits(_ text: String) -> [String] {
                text.split(separator: "\u{A6}").map { String($0.drop { $0 == " " }).trimmedRight }.filter {
                    !$0.isEmpty
                }
            }
            func cell(_ i: Int) -> String { i < row.count ? row[i] : "" }
            let rule = Rule(
                line: line, resource: cell(0), action: cell(1), given: edits(cell(2)), tried: edits(cell(3)),
                expected: cell(4), text: cell(5))
            if rules[rule.resource] == nil { order.append(rule.resource) }
            rules[rule.resource, default: []].append(rule)
        }
        return order.map { Group(resource: $0, rules: rules[$0] ?? []) }
    }()

    private static let schema = Schema()

    // MARK: - Assignments

    private enum Step { case key(String), index(Int) }

    /// spec.containers[0].name, data["a.b"]
    private static func steps(_ path: String) -> [Step] {
        var steps: [Step] = []
        var name = ""
        var rest = Substring(path)
        func flush() {
            if !name.isEmpty { steps.append(.key(name)) }
            name = ""
        }
        while let first = rest.first {
            rest.removeFirst()
            if first == "." {
                flush()
            } else if first == "[" {
                flush()
                let inner = rest.prefix { $0 != "]" }
                rest = rest.dropFirst(inner.count + 1)
                if let number = Int(inner) {
                    steps.append(.index(number))
                } else {
                    steps.append(.key(String(inner.filter { $0 != "\"" })))
                }
            } else {
                name.append(first)
            }
        }
        flush()
        return steps
    }

    private static func set(_ json: JSON, _ steps: ArraySlice<Step>, _ value: JSON) -> JSON {
        guard let step = steps.first else { return value }
        var json = json
        switch step {
        case .key(let key):
            if json.object == nil { json = .object(JSONObject()) }
            json[key] = set(json[key], steps.dropFirst(), value)
            if value.isNull, steps.count == 1 {
                json = .object(JSONObject(members: (json.object ?? JSONObject()).members.filter { $0.key != key }))
            }
        case .index(let index):
            var items = json.elements
            while items.count <= index { items.append(.object(JSONObject())) }
            items[index] = set(items[index], steps.dropFirst(), value)
            json = .array(items)
        }
        return json
    }

    /// Without the times that are written as null.
    private static func bare(_ json: JSON) -> JSON {
        switch json {
        case .array(let items): .array(items.map(bare))
        case .object(let object):
            .object(JSONObject(members: object.members.filter { !$0.value.isNull }.map { ($0.key, bare($0.value)) }))
        default: json
        }
    }

    static func value(_ json: JSON, _ path: String) -> JSON {
        steps(path).reduce(json) { json, step in
            switch step {
            case .key(let key): json[key]
            case .index(let index): json[index]
            }
        }
    }

    private func apply(_ edits: [String], to object: JSON, statusToo: Bool = true) throws -> JSON {
        var object = object
        for edit in edits where statusToo || !edit.hasPrefix("status") {
            if edit.hasSuffix("-"), !edit.contains("=") {
                object = Self.set(object, Self.steps(String(edit.dropLast()))[...], .null)
                continue
            }
            let parts = edit.split(separator: "=", maxSplits: 1).map(String.init)
            let value = try #require(try? JSON.parse(Array((parts.count == 2 ? parts[1] : "").utf8)), "\(edit)")
            object = Self.set(object, Self.steps(parts[0])[...], value)
        }
        return object
    }

    // MARK: - Rows

    private static let reasons = [
        "Required": "FieldValueRequired", "Invalid": "FieldValueInvalid", "Duplicate": "FieldValueDuplicate",
        "NotSupported": "FieldValueNotSupported", "Forbidden": "FieldValueForbidden",
        "NotFound": "FieldValueNotFound", "TooLong": "FieldValueTooLong", "TooMany": "FieldValueTooMany",
        "TypeInvalid": "FieldValueTypeInvalid",
    ]

    /// What is wrong with an answer; nil: it is as the row says.
    private func difference(_ answer: Cluster.Answer, _ rule: Rule) -> String? {
        if rule.expected == "ok" {
            return (200..<300).contains(answer.code) ? nil : "\(answer.code) \(answer.message)"
        }
        if let code = Int(rule.expected) {
            return answer.code == code && answer.message.contains(rule.text) ? nil : "\(answer.code) \(answer.message)"
        }
        let words = rule.expected.split(separator: " ", maxSplits: 1).map(String.init)
        let field = words.count > 1 ? words[1] : ""
        guard let reason = Self.reasons[words[0]] else { return "no such expectation: \(rule.expected)" }
        let fits = answer.json["details"]["causes"].elements.contains { cause in
            // A cause without a field has none in JSON.
            (cause["field"].string ?? "").sameField(as: field) && cause["reason"].string == reason
                && (cause["message"].string ?? "").contains(rule.text)
        }
        return answer.code == 422 && fits ? nil : "\(answer.code) \(answer.message)"
    }

    private func run(_ rule: Rule, _ base: Base) async throws -> String? {
        let cluster = try await Cluster {
            // Other tests have other servers, without reviews, over the shared one.
            $0.schema = Self.schema
            $0.reviews = AccessReviews(
                authorizer: AllowAll(), rules: { _, _ in [] }, authenticateToken: { _, _ in nil })
        }
        let input = try apply(rule.given, to: base.object, statusToo: false)
        let target = base.collection + "/" + base.name
        if rule.action == "create" || rule.action == "drop" || rule.action == "default" {
            let answer = try await cluster.call("POST", base.collection, try apply(rule.tried, to: input))
            if rule.action == "create" { return difference(answer, rule) }
            guard answer.code == 201 else { return "\(answer.code) \(answer.message)" }
            return effect(answer.json, rule, rule.action == "drop" ? Self.paths(rule.tried) : [rule.text])
        }
        if rule.action == "put" {
            return difference(try await cluster.call("PUT", target, try apply(rule.tried, to: input)), rule)
        }
        let made = try await cluster.call("POST", base.collection, input)
        guard made.code == 201 else { return "base: \(made.code) \(made.message)" }
        var current = made.json
        let status = rule.given.filter { $0.hasPrefix("status") }
        if !status.isEmpty {
            let set = try await cluster.call("PUT", target + "/status", try apply(status, to: current))
            guard set.code == 200 else { return "given status: \(set.code) \(set.message)" }
            current = set.json
        }
        let subresource =
            rule.action.hasPrefix("status")
            ? "/status" : rule.action.hasPrefix("sub:") ? "/" + rule.action.dropFirst(4) : ""
        let changed = try apply(rule.tried, to: current)
        let answer = try await cluster.call("PUT", target + subresource, changed)
        switch rule.action {
        case "keep", "status-keep", "status-take":
            guard answer.code == 200 else { return "\(answer.code) \(answer.message)" }
            let stored = try await cluster.call("GET", target)
            let wanted = rule.action == "status-take" ? changed : current
            for path in Self.paths(rule.tried) {
                let value = Self.value(stored.json, path)
                if Self.bare(value) != Self.bare(Self.value(wanted, path)) { return "\(path) is \(value.text)" }
            }
            return nil
        case "generation", "status-generation":
            guard answer.code == 200 else { return "\(answer.code) \(answer.message)" }
            return effect(answer.json, rule, ["metadata.generation"])
        default: return difference(answer, rule)
        }
    }

    private static func paths(_ edits: [String]) -> [String] {
        edits.map { edit in
            if edit.hasSuffix("-"), !edit.contains("=") { return String(edit.dropLast()) }
            return String(edit.prefix { $0 != "=" })
        }
    }

    private func effect(_ object: JSON, _ rule: Rule, _ paths: [String]) -> String? {
        let wanted: JSON = rule.expected == "-" ? .null : (try? JSON.parse(Array(rule.expected.utf8))) ?? .null
        for path in paths where Self.value(object, path) != wanted {
            return "\(path) is \(Self.value(object, path).text)"
        }
        return nil
    }

    @Test(arguments: groups)
    func kindsBehaveAsUpstream(_ group: Group) async throws {
        let base = try #require(Self.bases[group.resource], "no object of \(group.resource)")
        for rule in group.rules {
            if let problem = try await run(rule, base) {
                Issue.record(
                    "line \(rule.line): \(rule.resource) \(rule.action) \(rule.tried): expected \(rule.expected) \(rule.text), got \(problem)"
                )
            }
        }
    }

    // MARK: - Completeness

    /// Every kind that can be written has a refusal; those with a status have rules about it, and so on.
    @Test func everyKindHasItsRules() throws {
        let rules = Dictionary(grouping: Self.groups.flatMap(\.rules), by: \.resource)
        #expect(rules.values.reduce(0) { $0 + $1.count } > 500)
        let readOnly: Set<String> = ["v1/componentstatuses", "apiextensions.k8s.io/v1/customresourcedefinitions"]
        for row in DiscoveryTests.rows {
            let name = row.groupVersion + "/" + row.resource
            if readOnly.contains(name) { continue }
            let own = rules[name] ?? []
            func has(_ actions: String...) -> Bool { own.contains { actions.contains($0.action) } }
            #expect(own.contains { $0.action == "create" && $0.expected != "ok" }, "\(name): no refusal")
            guard row.verbs.contains("update") else { continue }
            #expect(has("update", "keep", "generation"), "\(name): nothing of updates")
            #expect(has("generation"), "\(name): no rule of its generation")
            guard row.columns[8].contains("status[") else { continue }
            #expect(has("drop"), "\(name): status on create")
            #expect(has("keep"), "\(name): status on update")
            #expect(has("status-keep"), "\(name): spec on an update of the status")
        }
    }
}

extension String {
    fileprivate var trimmedRight: String {
        var text = Substring(self)
        while text.last == " " { text.removeLast() }
        return String(text)
    }

    /// Upstream writes "<nil>" where the root itself is meant.
    fileprivate func sameField(as other: String) -> Bool { self == other || isEmpty && other == "<nil>" }
}
