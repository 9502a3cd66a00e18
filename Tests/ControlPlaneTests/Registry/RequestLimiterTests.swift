import Codecs
import KubeAPI
import Store
import Testing
import Transport

@testable import ControlPlane

@Suite struct RequestLimiterTests {
    private func limiter(requests: Int, perUser: Int, system: Int = 1) -> RequestLimiter {
        var limits = RequestLimiter.Limits()
        (limits.requests, limits.perUser, limits.system) = (requests, perUser, system)
        return RequestLimiter(limits)
    }

    @Test func oneClientLeavesSeatsForOthers() throws {
        let limiter = limiter(requests: 3, perUser: 2)
        let (noisy, other) = (UserInfo("noisy"), UserInfo("other"))
        let first = try #require(limiter.enter(noisy, verb: "get"))
        #expect(limiter.enter(noisy, verb: "get") != nil)
        #expect(limiter.enter(noisy, verb: "get") == nil)
        #expect(limiter.enter(other, verb: "create") != nil)
        #expect(limiter.enter(other, verb: "get") == nil)
        limiter.leave(first)
        #expect(limiter.enter(other, verb: "get") != nil)
        #expect(limiter.counts == (2, 1, 2))
    }

    @Test func nodesAndAdministratorsAreNotHeldUp() {
        let limiter = limiter(requests: 0, perUser: 0)
        #expect(limiter.enter(UserInfo("jane"), verb: "get") == nil)
        #expect(limiter.enter(UserInfo("system:node:a", groups: ["system:nodes"]), verb: "update") != nil)
        #expect(limiter.enter(UserInfo("system:node:a", groups: ["system:nodes"]), verb: "update") == nil)
        #expect(limiter.enter(UserInfo("admin", groups: ["system:masters"]), verb: "list") != nil)
    }

    @Test func whoFindsNoSeatIsToldToComeAgain() async throws {
        let cluster = try await Cluster {
            $0.requestLimits.requests = 0
            $0.authenticator = FixedUser(UserInfo("jane"))
        }
        let refused = try await cluster.call("GET", "/api/v1/namespaces/default/pods")
        #expect(refused.code == 429 && refused.reason == "TooManyRequests")
        #expect(refused.headers["Retry-After"] == "1")
        #expect(refused.json["details"]["retryAfterSeconds"] == 1)
        // Long-running requests and health are not counted.
        let watch = try await cluster.watch("/api/v1/namespaces/default/pods?watch=true")
        watch.cancel()
        #expect(try await cluster.call("GET", "/livez").code == 200)
    }

    @Test func metricsHaveTheNamesOfDashboards() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("GET", "/api/v1/namespaces/default/pods")
        _ = try await cluster.call("GET", "/api/v1/namespaces/default/pods/none")
        let text = try await cluster.call("GET", "/metrics").text
        let labels = #"group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1""#
        #expect(
            text.contains("apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",\(labels)} 1\n"))
        #expect(
            text.contains(
                "apiserver_request_duration_seconds_bucket{component=\"apiserver\",dry_run=\"\",\(labels),le=\"+Inf\"} 1\n"
            ))
        #expect(text.contains(#"apiserver_current_inflight_requests{request_kind="readOnly"} 0"#))
        #expect(text.contains("process_resident_memory_bytes ") && text.contains("kubernetes_build_info{"))
        #expect(text.contains(#"code="404""#))
    }
}
