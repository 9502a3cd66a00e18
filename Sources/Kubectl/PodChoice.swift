import Codecs
import KubeAPI

/// From the words of `logs`, `exec` and the like to a pod and its container.
extension Session {
    /// The pods that an object selects: itself, or those of its selector.
    func pods(of found: Found) throws -> [JSON] {
        if found.resource.qualified == "pods" { return [found.object] }
        let selector = try podSelector(of: found)
        let list = try api.get(
            "/api/v1/namespaces/\(found.namespace)/pods", query: [("labelSelector", selector)])
        return list["items"].elements.map { pod in
            var pod = pod
            pod["apiVersion"] = "v1"
            pod["kind"] = "Pod"
            return pod
        }
    }

    func podSelector(of found: Found) throws -> String {
        let spec = found.object["spec"]
        let selector: JSON
        switch found.resource.qualified {
        case "services", "replicationcontrollers": selector = ["matchLabels": spec["selector"]]
        case "cronjobs.batch":
            throw CommandError("cannot get the logs from \(found.resource.qualified): use a job of it")
        default: selector = spec["selector"]
        }
        guard selector["matchLabels"].object?.isEmpty == .some(false) || !selector["matchExpressions"].elements.isEmpty
        else {
            throw CommandError("\(found.resource.singularName)/\(found.name) has no selector of pods")
        }
        return try LabelSelector(json: selector).text
    }

    /// The pod to talk to: of several the one that runs and is ready, the oldest first.
    func pod(_ word: String, waiting seconds: Double = 0) throws -> JSON {
        let words = word.utf8.contains(UInt8(ascii: "/")) ? [word] : ["pods", word]
        guard let found = try findAll(words).first else { throw CommandError("no pod") }
        if found.resource.qualified == "pods" { return found.object }
        let until = Terminal.now + seconds
        while true {
            let pods = try self.pods(of: found).sorted(by: Self.preferred)
            if let first = pods.first { return first }
            guard Terminal.now < until else {
                throw CommandError("no pods found for \(found.resource.singularName)/\(found.name)")
            }
            Terminal.sleep(0.3)
        }
    }

    static func preferred(_ a: JSON, _ b: JSON) -> Bool {
        func rank(_ pod: JSON) -> Int {
            var rank = 0
            if (pod["spec"]["nodeName"].string ?? "").isEmpty { rank += 8 }
            if pod["status"]["phase"].string != "Running" { rank += 4 }
            let ready = pod["status"]["conditions"].elements.contains {
                $0["type"].string == "Ready" && $0["status"].string == "True"
            }
            return ready ? rank : rank + 2
        }
        let (x, y) = (rank(a), rank(b))
        if x != y { return x < y }
        return (a["metadata"]["creationTimestamp"].string ?? "") < (b["metadata"]["creationTimestamp"].string ?? "")
    }

    static func containers(_ pod: JSON) -> [(name: String, kind: String)] {
        [("containers", ""), ("ephemeralContainers", " (ephem)"), ("initContainers", " (init)")].flatMap { list, kind in
            pod["spec"][list].elements.map { ($0["name"].string ?? "", kind) }
        }
    }

    /// The container that is meant; which one it is when nobody said so is told on stderr.
    func container(of pod: JSON) throws -> String {
        let all = Self.containers(pod)
        let name = pod["metadata"]["name"].string ?? ""
        if let given = options.given("container"), !given.isEmpty {
            guard all.contains(where: { $0.name == given }) else {
                throw CommandError(
                    "container \(given) is not valid for pod \(name) out of: \(all.map { $0.name + $0.kind }.joined(separator: ", "))"
                )
            }
            return given
        }
        if let chosen = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].string,
            all.contains(where: { $0.name == chosen })
        {
            return chosen
        }
        guard let first = all.first else { throw CommandError("pod \(name) has no containers") }
        if all.count > 1, !options.bool("quiet") {
            Terminal.error(
                "Defaulted container \(GoText.quoted(first.name)) out of: \(all.map { $0.name + $0.kind }.joined(separator: ", "))"
            )
        }
        return first.name
    }
}
