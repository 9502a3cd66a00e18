internal import Codecs
package import KubeAPI

/// Why a container cannot be made from its spec: reason CreateContainerConfigError, and the message.
package struct ContainerConfigError: Error, Sendable, Equatable {
    package var message: String
    package init(_ message: String) { self.message = message }
}

/// A container's environment in upstream's order: envFrom, env, then the services' variables that nothing has set.
package struct ContainerEnvironment: Sendable {
    package typealias Variable = (name: String, value: String)

    let facts: PodFacts
    let container: ContainerSpec
    let services: [String: String]
    /// Reads a ConfigMap or Secret of the pod's namespace; nil: there is none.
    let object: @Sendable (ObjectReference) async throws(APIError) -> KubeObject?

    package init(
        facts: PodFacts, container: ContainerSpec, services: [String: String],
        object: @escaping @Sendable (ObjectReference) async throws(APIError) -> KubeObject?
    ) {
        (self.facts, self.container, self.services, self.object) = (facts, container, services, object)
    }

    /// Whether it depends on ConfigMaps or Secrets.
    package var readsObjects: Bool {
        !container.json["envFrom"].elements.isEmpty
            || container.json["env"].elements.contains {
                !$0["valueFrom"]["configMapKeyRef"].isNull || !$0["valueFrom"]["secretKeyRef"].isNull
            }
    }

    package func build() async throws(ContainerConfigError) -> [Variable] {
        var values: [String: String] = [:]
        var order: [String] = []
        func set(_ name: String, _ value: String) {
            if values.updateValue(value, forKey: name) == nil { order.append(name) }
        }
        for source in container.json["envFrom"].elements {
            let prefix = source["prefix"].string ?? ""
            for (key, value) in try await from(source).sorted(by: { $0.key < $1.key }) { set(prefix + key, value) }
        }
        for variable in container.json["env"].elements {
            guard let name = variable["name"].string, !name.isEmpty else { continue }
            let known = values
            if !variable["valueFrom"].isNull {
                guard let value = try await value(from: variable["valueFrom"], name) else { continue }
                set(name, value)
            } else {
                set(name, Expansion.expand(variable["value"].string ?? "") { known[$0] ?? services[$0] })
            }
        }
        for (name, value) in services.sorted(by: { $0.key < $1.key }) where values[name] == nil { set(name, value) }
        return order.map { ($0, values[$0] ?? "") }
    }

    private func from(_ source: JSON) async throws(ContainerConfigError) -> [String: String] {
        for (field, kind) in [("configMapRef", ObjectReference.Kind.configMap), ("secretRef", .secret)]
        where !source[field].isNull {
            let reference = source[field]
            let name = reference["name"].string ?? ""
            guard let object = try await load(kind, name, optional: reference["optional"].bool ?? false) else {
                return [:]
            }
            return kind == .configMap ? object["data"].stringMap : Self.decoded(object["data"].stringMap)
        }
        return [:]
    }

    private static func decoded(_ data: [String: String]) -> [String: String] {
        data.compactMapValues { Base64.decode($0).map { String(decoding: $0, as: UTF8.self) } }
    }

    private func load(_ kind: ObjectReference.Kind, _ name: String, optional: Bool) async throws(ContainerConfigError)
        -> KubeObject?
    {
        do throws(APIError) {
            if let found = try await object(ObjectReference(kind, facts.pod.namespace, name)) { return found }
        } catch {
            throw ContainerConfigError(error.message)
        }
        if optional { return nil }
        throw ContainerConfigError("\(kind.rawValue) \"\(name)\" not found")
    }

    /// nil: an optional source that is not there.
    private func value(from source: JSON, _ name: String) async throws(ContainerConfigError) -> String? {
        if let path = source["fieldRef"]["fieldPath"].string {
            guard let value = facts.field(path) else { throw ContainerConfigError("unsupported fieldPath: \(path)") }
            return value
        }
        if !source["resourceFieldRef"].isNull {
            guard let value = facts.resource(source["resourceFieldRef"], container: container) else {
                throw ContainerConfigError(
                    "unsupported container resource : \(source["resourceFieldRef"]["resource"].string ?? "")")
            }
            return value
        }
        for (field, kind) in [("configMapKeyRef", ObjectReference.Kind.configMap), ("secretKeyRef", .secret)]
        where !source[field].isNull {
            let reference = source[field]
            let objectName = reference["name"].string ?? ""
            let key = reference["key"].string ?? ""
            let optional = reference["optional"].bool ?? false
            guard let object = try await load(kind, objectName, optional: optional) else { return nil }
            if let text = object["data"][key].string {
                if kind == .configMap { return text }
                return String(decoding: Base64.decode(text) ?? [], as: UTF8.self)
            }
            if optional { return nil }
            let title = kind == .configMap ? "ConfigMap" : "Secret"
            throw ContainerConfigError("couldn't find key \(key) in \(title) \(facts.pod.namespace)/\(objectName)")
        }
        throw ContainerConfigError("environment variable \(name): unknown source")
    }
}

/// A ConfigMap or Secret that a pod refers to.
package struct ObjectReference: Sendable, Hashable {
    package enum Kind: String, Sendable {
        case configMap = "configmap"
        case secret = "secret"
        var resource: GroupVersionResource { self == .configMap ? .configMaps : .secrets }
    }
    package var kind: Kind
    package var namespace: String
    package var name: String
    package init(_ kind: Kind, _ namespace: String, _ name: String) {
        (self.kind, self.namespace, self.name) = (kind, namespace, name)
    }
}
