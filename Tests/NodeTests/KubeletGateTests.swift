import Codecs
import KubeAPI
import Synchronization
import Testing
import Transport

@testable import Node

/// Reviews as an API server answers them: one token, one user who may read metrics.
private final class Reviewer: KubeClient {
    let asked = Mutex<[String]>([])
    let isAway = Mutex(false)

    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        if isAway.withLock({ $0 }) { throw .unavailable("away") }
        var answer = object
        if resource.resource == "tokenreviews" {
            asked.withLock { $0.append("token") }
            let isGood = object.spec["token"] == "good"
            answer.status = ["authenticated": .bool(isGood)]
            if isGood { answer.status["user"] = ["username": "prometheus", "groups": ["monitoring"]] }
        } else {
            let attributes = object.spec["resourceAttributes"]
            let what = "\(attributes["verb"].text) \(attributes["subresource"].text) \(attributes["name"].text)"
            asked.withLock { $0.append(what) }
            answer.status = ["allowed": .bool(object.spec["user"] == "prometheus" && what.contains("metrics"))]
        }
        return answer
    }

    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject {
        throw .notFound(resource, name)
    }
    func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList { throw .unavailable("") }
    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream { throw .unavailable("") }
    func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject { throw .unavailable("") }
    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject { throw .unavailable("") }
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject { throw .unavailable("") }
}

@Suite struct KubeletGateTests {
    private let reviewer = Reviewer()
    private let clock = VirtualClock()
    private let handler: HTTPHandler

    init() {
        handler = KubeletGate(client: reviewer, node: "n1", clock: clock).guarding { _ in .text("done") }
    }

    private func status(
        _ target: String, method: String = "GET", token: String? = nil, peer: PeerIdentity? = nil
    ) async throws -> (Int, String) {
        let response = await handler(
            try HTTPRequest(
                method: method, target: target, headers: token.map { ["Authorization": "Bearer " + $0] } ?? [:],
                peer: peer))
        guard case .bytes(let bytes) = response.body else { return (response.status, "") }
        return (response.status, String(decoding: bytes, as: UTF8.self))
    }

    @Test func nobodyIsLetInButToSeeWhetherItLives() async throws {
        #expect(try await status("/healthz").0 == 200)
        for path in ["/pods", "/metrics", "/containerLogs/a/b/c", "/exec/a/b/c", "/"] {
            #expect(try await status(path) == (401, "Unauthorized"))
        }
        #expect(try await status("/metrics", token: "bad").0 == 401)
    }

    @Test func theAPIServersCertificateIsEnoughAlsoWhileItIsAway() async throws {
        reviewer.isAway.withLock { $0 = true }
        let server = PeerIdentity(commonName: "system:kube-apiserver", organizations: ["system:masters"])
        #expect(try await status("/exec/a/b/c", method: "POST", peer: server).0 == 200)
        #expect(try await status("/metrics", token: "good").0 == 401)
    }

    @Test func aTokenMayDoWhatTheAPIServerSays() async throws {
        #expect(try await status("/metrics/cadvisor", token: "good").0 == 200)
        let refused = try await status("/exec/a/b/c", method: "POST", token: "good")
        #expect(refused.0 == 403)
        #expect(
            refused.1 == "Forbidden (user=prometheus, verb=create, resource=nodes, subresource(s)=[proxy])")
        #expect(
            reviewer.asked.withLock { $0 } == ["token", "\"get\" \"metrics\" \"n1\"", "\"create\" \"proxy\" \"n1\""])
    }

    @Test func verdictsAreRememberedForAWhile() async throws {
        for _ in 0..<3 {
            #expect(try await status("/metrics", token: "good").0 == 200)
            #expect(try await status("/stats/summary", token: "good").0 == 403)
        }
        #expect(reviewer.asked.withLock { $0.count } == 3)
        clock.advance(by: .seconds(31))
        _ = try await status("/metrics", token: "good")
        _ = try await status("/stats/summary", token: "good")
        #expect(reviewer.asked.withLock { $0.count } == 4)
        clock.advance(by: .seconds(301))
        _ = try await status("/metrics", token: "good")
        #expect(reviewer.asked.withLock { $0.count } == 6)
    }

    @Test func finerPermissionsOfPodsFallBackToProxy() async throws {
        let peer = PeerIdentity(commonName: "someone", organizations: [])
        #expect(try await status("/pods", peer: peer).0 == 403)
        #expect(reviewer.asked.withLock { $0 } == ["\"get\" \"pods\" \"n1\"", "\"get\" \"proxy\" \"n1\""])
    }
}
