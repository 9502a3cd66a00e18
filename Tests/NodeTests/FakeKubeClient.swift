import Codecs
import KubeAPI
import Synchronization

/// The API in memory, as far as a node agent uses it: objects, watches with the two field selectors it needs, merge
/// patches, graceful deletion of pods, token requests.
final class FakeKubeClient: KubeClient {
    struct Key: Hashable {
        var resource: GroupVersionResource
        var namespace: String
        var name: String
    }
    final class Stream: WatchStream {
        let resource: GroupVersionResource
        let namespace: String?
        let fields: FieldSelector
        private let stream: AsyncStream<WatchEvent>
        private let input: AsyncStream<WatchEvent>.Continuation
        private let iterator: Mutex<AsyncStream<WatchEvent>.Iterator?>

        init(_ resource: GroupVersionResource, _ namespace: String?, _ fields: FieldSelector) {
            (self.resource, self.namespace, self.fields) = (resource, namespace, fields)
            (stream, input) = AsyncStream.makeStream()
            iterator = Mutex(nil)
        }
        func send(_ event: WatchEvent) { input.yield(event) }
        func next() async throws(APIError) -> WatchEvent? {
            for await event in stream { return event }
            return nil
        }
        func close() { input.finish() }
    }
    private struct State {
        var objects: [Key: KubeObject] = [:]
        var revision: Int64 = 1
        var streams: [Stream] = []
        var uid = 0
        var patches: [(Key, JSON)] = []
        var failing: APIError?
        var tokens = 0
    }
    private let state = Mutex(State())
    let clock: any KubeClock

    init(clock: any KubeClock) { self.clock = clock }

    // MARK: For tests

    var patches: [(Key, JSON)] { state.withLock { $0.patches } }
    var tokensIssued: Int { state.withLock { $0.tokens } }
    func fail(_ error: APIError?) { state.withLock { $0.failing = error } }
    func object(_ resource: GroupVersionResource, _ namespace: String, _ name: String) -> KubeObject? {
        state.withLock { $0.objects[Key(resource: resource, namespace: namespace, name: name)] }
    }
    func all(_ resource: GroupVersionResource) -> [KubeObject] {
        state.withLock { state in state.objects.filter { $0.key.resource == resource }.map(\.value) }
    }
    /// "Reason: message" of the events recorded so far, in no order.
    func eventTexts() -> [String] {
        all(.events).map { "\($0["reason"].string ?? ""): \($0["message"].string ?? "")" }
    }
    func eventCount(_ reason: String) -> Int64 {
        all(.events).filter { $0["reason"].string == reason }.reduce(0) { $0 + ($1["count"].int ?? 0) }
    }

    @discardableResult
    func put(_ resource: GroupVersionResource, _ object: KubeObject) -> KubeObject {
        state.withLock { state in
            let key = Key(resource: resource, namespace: object.namespace, name: object.name)
            let known = state.objects[key]
            var object = object
            if object.uid.isEmpty {
                state.uid += 1
                object.metadata["uid"] = .string(known?.uid ?? "uid-\(state.uid)")
            }
            return Self.store(&state, key, object, known == nil ? .added : .modified)
        }
    }

    private static func store(_ state: inout State, _ key: Key, _ object: KubeObject, _ kind: WatchEvent.Kind)
        -> KubeObject
    {
        var object = object
        state.revision += 1
        object.resourceVersion = state.revision
        state.objects[key] = kind == .deleted ? nil : object
        let encoded = EncodedObject(bytes: object.json.encode(), resourceVersion: state.revision)
        for stream in state.streams
        where stream.resource == key.resource && matches(object, stream.namespace, stream.fields) {
            stream.send(WatchEvent(kind, encoded))
        }
        return object
    }

    private static func matches(_ object: KubeObject, _ namespace: String?, _ fields: FieldSelector) -> Bool {
        guard namespace == nil || namespace == object.namespace else { return false }
        return fields.matches { field in
            switch field {
            case "metadata.name": object.name
            case "spec.nodeName": object.spec["nodeName"].string ?? ""
            case "spec.driver": object.spec["driver"].string ?? ""
            default: ""
            }
        }
    }

    private func check() throws(APIError) {
        if let error = state.withLock({ $0.failing }) { throw error }
    }

    // MARK: KubeClient

    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject {
        try check()
        guard let object = object(resource, namespace, name) else { throw .notFound(resource, name) }
        return object
    }

    func list(_ resource: GroupVersionResource, namespace: String?, options: ListOptions) async throws(APIError)
        -> ObjectList
    {
        try check()
        return state.withLock { state in
            let items = state.objects.filter {
                $0.key.resource == resource && Self.matches($0.value, namespace, options.fieldSelector)
            }
            return ObjectList(
                items: items.values.map { EncodedObject(bytes: $0.json.encode(), resourceVersion: $0.resourceVersion) },
                resourceVersion: state.revision)
        }
    }

    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream {
        try check()
        let stream = Stream(resource, namespace, options.fieldSelector)
        state.withLock { state in
            state.streams.append(stream)
            // What has happened since the list.
            for object in state.objects.filter({ $0.key.resource == resource }).map(\.value).sorted(by: {
                $0.resourceVersion < $1.resourceVersion
            })
            where object.resourceVersion > (options.resourceVersion ?? 0)
                && Self.matches(object, namespace, options.fieldSelector)
            {
                stream.send(
                    WatchEvent(
                        .modified, EncodedObject(bytes: object.json.encode(), resourceVersion: object.resourceVersion)))
            }
        }
        return stream
    }

    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        try check()
        if subresource == "token" {
            let number = state.withLock { state in
                state.tokens += 1
                return state.tokens
            }
            let issued = clock.now().seconds
            let claims: JSON = [
                "iat": .int(issued), "exp": .int(issued + (object.spec["expirationSeconds"].int ?? 3600)),
                "n": .int(Int64(number)),
            ]
            var answer = object
            answer.status = ["token": .string("e30.\(Base64.encodeURL(claims.encode())).sig")]
            return answer
        }
        if self.object(resource, object.namespace, object.name) != nil { throw .alreadyExists(resource, object.name) }
        return put(resource, object)
    }

    func update(_ resource: GroupVersionResource, _ object: KubeObject, subresource: String?) async throws(APIError)
        -> KubeObject
    {
        try check()
        guard self.object(resource, object.namespace, object.name) != nil else {
            throw .notFound(resource, object.name)
        }
        return put(resource, object)
    }

    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject {
        try check()
        let key = Key(resource: resource, namespace: namespace, name: name)
        let result = state.withLock { state -> KubeObject? in
            guard let old = state.objects[key] else { return nil }
            state.patches.append((key, patch))
            let json = Self.merged(old.json, patch, conditionsByType: type == .strategic)
            return Self.store(&state, key, KubeObject(json), .modified)
        }
        guard let result else { throw .notFound(resource, name) }
        return result
    }

    private static func merged(_ old: JSON, _ patch: JSON, conditionsByType: Bool) -> JSON {
        guard let members = patch.object else { return patch }
        var result = old.object == nil ? JSON.object(JSONObject()) : old
        for (key, value) in members {
            if value.isNull {
                result[key] = .null
            } else if key == "conditions", conditionsByType {
                var list = result[key].elements
                for condition in value.elements {
                    if condition["$patch"].string == "delete" {
                        list.removeAll { $0["type"] == condition["type"] }
                        continue
                    }
                    if let index = list.firstIndex(where: { $0["type"] == condition["type"] }) {
                        list[index] = merged(list[index], condition, conditionsByType: true)
                    } else {
                        list.append(condition)
                    }
                }
                result[key] = .array(list)
            } else {
                result[key] = merged(result[key], value, conditionsByType: conditionsByType)
            }
        }
        return result
    }

    @discardableResult
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject {
        try check()
        let key = Key(resource: resource, namespace: namespace, name: name)
        let now = clock.now()
        let result = state.withLock { state -> Result<KubeObject, APIError> in
            guard var object = state.objects[key] else { return .failure(.notFound(resource, name)) }
            if let uid = options.uid, uid != object.uid {
                return .failure(.conflict(resource, name, "the UID in the precondition does not match"))
            }
            let grace = options.gracePeriodSeconds ?? object.spec["terminationGracePeriodSeconds"].int ?? 30
            if resource == .pods, grace > 0 {
                object.metadata["deletionTimestamp"] = .string(now.advanced(by: .seconds(grace)).rfc3339)
                object.metadata["deletionGracePeriodSeconds"] = .int(grace)
                return .success(Self.store(&state, key, object, .modified))
            }
            return .success(Self.store(&state, key, object, .deleted))
        }
        return try result.get()
    }
}
