import Codecs
import KubeAPI
import Synchronization

@testable import ControlPlane

/// A client whose process ends after so many writes: none comes through from there on.
struct FailingWrites: KubeClient {
    private final class Budget: Sendable {
        let left: Mutex<Int>
        init(_ count: Int) { left = Mutex(count) }
    }
    private let client: LocalClient
    private let budget: Budget

    init(_ client: LocalClient, after count: Int) { (self.client, budget) = (client, Budget(count)) }

    private func spend() throws(APIError) {
        let isAllowed = budget.left.withLock { left in
            left -= 1
            return left >= 0
        }
        if !isAllowed { throw .internalError("the process has ended") }
    }

    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject {
        try await client.get(resource, namespace: namespace, name: name)
    }
    func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList { try await client.list(resource, namespace: namespace, options: options) }
    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream {
        try await client.watch(resource, namespace: namespace, options: options)
    }
    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        try spend()
        return try await client.create(resource, object, subresource: subresource, name: name)
    }
    func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject {
        try spend()
        return try await client.update(resource, object, subresource: subresource)
    }
    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject {
        try spend()
        return try await client.patch(
            resource, namespace: namespace, name: name, patch, type: type, subresource: subresource)
    }
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject {
        try spend()
        return try await client.delete(resource, namespace: namespace, name: name, options: options)
    }
}
