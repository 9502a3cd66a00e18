import Codecs
import KubeAPI
import Linux

/// The pieces that descriptions share. Tabs separate columns; `TabText.described` lays them out.
struct DescribeText {
    var text = ""

    mutating func line(_ level: Int, _ line: String) {
        text += String(repeating: " ", count: level * 2) + line + "\n"
    }
    mutating func field(_ name: String, _ value: String, level: Int = 0) { line(level, "\(name):\t\(value)") }

    /// `Labels:  a=b` with one of them a line.
    mutating func labels(_ title: String, _ map: JSON, separator: String = "=") {
        let entries = (map.object?.members ?? []).sorted { $0.key < $1.key }
        guard !entries.isEmpty else { return field(title, "<none>") }
        for (i, (key, value)) in entries.enumerated() {
            line(0, "\(i == 0 ? title + ":" : "")\t\(key)\(separator)\(value.shown)")
        }
    }

    mutating func annotations(_ map: JSON, title: String = "Annotations") {
        let entries = (map.object?.members ?? []).filter { $0.key != ApplyCommands.annotation }.sorted {
            $0.key < $1.key
        }
        guard !entries.isEmpty else { return field(title, "<none>") }
        func shortened(_ text: Substring, _ limit: Int) -> String {
            text.count > limit ? text.prefix(limit) + "..." : String(text)
        }
        for (i, (key, value)) in entries.enumerated() {
            let lead = i == 0 ? title + ":\t" : "\t"
            var text = value.shown
            if text.hasSuffix("\n") { text.removeLast() }
            if text.utf8.count + key.utf8.count + 2 > 140 || text.utf8.contains(10) {
                line(0, "\(lead)\(key):")
                for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
                    line(0, "\t  \(shortened(part, 138))")
                }
            } else {
                line(0, "\(lead)\(key): \(text)")
            }
        }
    }

    mutating func head(_ object: JSON, namespaced: Bool = true) {
        field("Name", object["metadata"]["name"].shown)
        if namespaced { field("Namespace", object["metadata"]["namespace"].shown) }
    }

    mutating func marks(_ object: JSON) {
        labels("Labels", object["metadata"]["labels"])
        annotations(object["metadata"]["annotations"])
    }

    mutating func quantities(_ title: String, _ map: JSON, level: Int) {
        let entries = (map.object?.members ?? []).sorted { $0.key < $1.key }
        guard !entries.isEmpty else { return }
        line(level, "\(title):")
        for (key, value) in entries { field(key, value.shown, level: level + 1) }
    }

    mutating func conditions(_ object: JSON) {
        let conditions = object["status"]["conditions"].elements
        guard !conditions.isEmpty else { return }
        line(0, "Conditions:\n  Type\tStatus\tReason")
        line(0, "  ----\t------\t------")
        for entry in conditions {
            line(0, "  \(entry["type"].shown) \t\(entry["status"].shown)\t\(entry["reason"].shown)")
        }
    }

    // MARK: - Times

    /// RFC 1123 with the numeric zone, in the user's.
    static func time(_ value: JSON) -> String {
        guard let text = value.string, let stamp = Timestamp(text) else { return "" }
        var seconds = time_t(stamp.seconds)
        var parts = tm()
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 64)
        strftime(&buffer, buffer.count, "%a, %d %b %Y %H:%M:%S %z", &parts)
        return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    // MARK: - Anything

    private static let acronyms: Set<String> = ["API", "URL", "UID", "OSB", "GUID"]

    /// `apiVersion` is "API Version".
    static func label(_ field: String) -> String {
        guard let first = field.unicodeScalars.first, first.properties.isAlphabetic,
            !field.contains(where: { !$0.isLetter && !$0.isNumber })
        else {
            return field
        }
        var words: [String] = []
        var previous = 0
        let kinds = field.map { $0.isUppercase ? 2 : $0.isNumber ? 3 : 1 }
        for (character, kind) in zip(field, kinds) {
            if kind == previous, !words.isEmpty {
                words[words.count - 1].append(character)
            } else {
                words.append(String(character))
            }
            previous = kind
        }
        // "PDFLoader": the last capital belongs to the word that follows.
        var i = 0
        while i + 1 < words.count {
            if words[i].first?.isUppercase == true, words[i + 1].first?.isLowercase == true,
                let last = words[i].popLast()
            {
                words[i + 1] = String(last) + words[i + 1]
            }
            i += 1
        }
        return words.filter { !$0.isEmpty }.map { word in
            acronyms.contains(word.uppercased()) ? word.uppercased() : word.prefix(1).uppercased() + word.dropFirst()
        }.joined(separator: " ")
    }

    mutating func content(_ value: JSON, level: Int = 0, path: String = "") {
        let skipped = [
            ".metadata.managedFields", ".metadata.name", ".metadata.namespace", ".metadata.labels",
            ".metadata.annotations",
        ]
        for (key, member) in (value.object?.members ?? []).sorted(by: { $0.key < $1.key }) {
            let place = "\(path).\(key)"
            if skipped.contains(place) { continue }
            switch member {
            case .object:
                line(level, Self.label(key) + ":")
                content(member, level: level + 1, path: place)
            case .array(let list):
                line(level, Self.label(key) + ":")
                for child in list {
                    if child.object != nil {
                        content(child, level: level + 1, path: place)
                    } else {
                        line(level + 1, child.goText)
                    }
                }
            default: field(Self.label(key), member.goText, level: level)
            }
        }
    }

    // MARK: - Events

    /// - Parameter byName: for objects whose events do not all have their uid, such as nodes.
    mutating func events(_ session: Session, _ found: Session.Found, byName: Bool = false) throws {
        let metadata = found.object["metadata"]
        var fields = ["involvedObject.name=\(found.name)"]
        if found.resource.namespaced { fields.append("involvedObject.namespace=\(found.namespace)") }
        if byName {
            fields.append("involvedObject.kind=\(found.resource.kind)")
        } else {
            fields.append("involvedObject.uid=\(metadata["uid"].shown)")
        }
        let path = found.resource.namespaced ? "/api/v1/namespaces/\(found.namespace)/events" : "/api/v1/events"
        guard
            let list = try? session.api.get(
                path, query: [("fieldSelector", fields.joined(separator: ",")), ("limit", "500")])
        else { return }
        func last(_ event: JSON) -> JSON {
            [event["series"]["lastObservedTime"], event["lastTimestamp"], event["eventTime"]].first { !$0.isNull }
                ?? .null
        }
        let events = list["items"].elements.sorted { (last($0).string ?? "") < (last($1).string ?? "") }
        guard !events.isEmpty else { return field("Events", "<none>") }
        line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage")
        line(0, "  ----\t------\t----\t----\t-------")
        for event in events {
            let first = event["firstTimestamp"].isNull ? event["eventTime"] : event["firstTimestamp"]
            let count = event["series"]["count"].int ?? event["count"].int ?? 1
            let age = count > 1 ? "\(Age.text(last(event))) (x\(count) over \(Age.text(first)))" : Age.text(first)
            var source = event["source"]["component"].shown
            if source.isEmpty { source = event["reportingComponent"].shown }
            line(
                0,
                "  \(event["type"].shown)\t\(event["reason"].shown)\t\(age)\t\(source)\t\(Self.place(event))\(event["message"].shown.trimmed)"
            )
        }
    }

    /// The part of the object that an event is about: `spec.containers{web}: `.
    private static func place(_ event: JSON) -> String {
        let path = event["involvedObject"]["fieldPath"].shown
        return path.isEmpty ? "" : path + ": "
    }
}
