import Codecs
import ControlPlane
import KubeAPI
import Testing

/// Services of clusters with one family, with two, and with IPv6 alone.
@Suite struct ServiceFamiliesTests {
    static let services = "/api/v1/namespaces/default/services"

    func service(_ spec: JSON, name: String = "s") -> JSON {
        var spec = spec
        if spec["ports"].isNull { spec["ports"] = [["port": 80]] }
        return ["metadata": ["name": .string(name)], "spec": spec]
    }
    func cluster(_ networks: [String]) async throws -> Cluster {
        try await Cluster { configuration in try configuration.setServiceNetworks(networks) }
    }
    let dual = ["10.43.0.0/16", "fd00:43::/112"]
    let app: JSON = ["app": "x"]

    /// "policy families addresses' families"
    func outcome(_ networks: [String], _ spec: JSON) async throws -> String {
        let made = try await cluster(networks).call("POST", Self.services, service(spec))
        guard made.code == 201 else {
            return String(made.message.dropFirst("Service \"s\" is invalid: ".count))
        }
        let spec = made.json["spec"]
        let families = spec["ipFamilies"].elements.compactMap(\.string)
        let addresses = spec["clusterIPs"].elements.compactMap(\.string)
        #expect(spec["clusterIP"] == spec["clusterIPs"][0])
        let kinds = addresses.map { $0 == "None" ? "none" : $0.contains(":") ? "6" : "4" }
        return "\(spec["ipFamilyPolicy"].string ?? "") \(families.joined(separator: "+")) \(kinds.joined())"
    }

    @Test func familiesFollowFromPolicyAndCluster() async throws {
        #expect(try await outcome(dual, [:]) == "SingleStack IPv4 4")
        #expect(try await outcome(Array(dual.reversed()), [:]) == "SingleStack IPv6 6")
        #expect(try await outcome(["fd00:43::/112"], [:]) == "SingleStack IPv6 6")
        #expect(try await outcome(dual, ["ipFamilyPolicy": "PreferDualStack"]) == "PreferDualStack IPv4+IPv6 46")
        #expect(
            try await outcome(dual, ["ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]])
                == "RequireDualStack IPv6+IPv4 64")
        #expect(
            try await outcome(["10.43.0.0/16"], ["ipFamilyPolicy": "PreferDualStack"]) == "PreferDualStack IPv4 4")
        #expect(try await outcome(dual, ["ipFamilies": ["IPv6"]]) == "SingleStack IPv6 6")
        #expect(try await outcome(dual, ["clusterIP": "fd00:43::1234"]) == "SingleStack IPv6 6")
        #expect(
            try await outcome(dual, ["clusterIP": "None", "selector": app, "ipFamilyPolicy": "PreferDualStack"])
                == "PreferDualStack IPv4+IPv6 none")
        #expect(try await outcome(dual, ["clusterIP": "None", "selector": app]) == "SingleStack IPv4 none")
        // Who writes the endpoints himself may have both families on any cluster.
        #expect(try await outcome(["10.43.0.0/16"], ["clusterIP": "None"]) == "RequireDualStack IPv4+IPv6 none")
    }

    @Test func whatCannotBeHadIsRefused() async throws {
        let four = ["10.43.0.0/16"]
        #expect(
            try await outcome(four, ["ipFamilyPolicy": "RequireDualStack"])
                == "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
        )
        #expect(
            try await outcome(four, ["ipFamilies": ["IPv6"]])
                == "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster")
        #expect(
            try await outcome(four, ["clusterIP": "fd00:43::7"])
                == "spec.clusterIPs[0]: Invalid value: [\"fd00:43::7\"]: IPv6 is not configured on this cluster")
        #expect(
            try await outcome(dual, ["ipFamilies": ["IPv4", "IPv6"]])
                == "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
        )
        #expect(
            try await outcome(dual, ["clusterIPs": ["10.43.0.7", "fd00:43::7"], "clusterIP": "10.43.0.7"])
                == "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"
        )
        #expect(
            try await outcome(
                dual,
                [
                    "clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7", "10.43.0.8"],
                    "ipFamilyPolicy": "PreferDualStack",
                ])
                == "spec.clusterIPs: Invalid value: [\"10.43.0.7\",\"10.43.0.8\"]: may specify no more than one IP for each IP family"
        )
        #expect(
            try await outcome(
                dual, ["clusterIP": "10.43.0.7", "ipFamilies": ["IPv6"]])
                == "spec.clusterIPs[0]: Invalid value: \"10.43.0.7\": expected an IPv6 value as indicated by `ipFamilies[0]`"
        )
        #expect(
            try await outcome(dual, ["ipFamilyPolicy": "Both"]).hasPrefix(
                "spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\""
            ))
    }

    @Test func aSecondFamilyComesAndGoesByThePolicy() async throws {
        let cluster = try await cluster(dual)
        let path = Self.services + "/s"
        let made = try await cluster.call("POST", Self.services, service([:]))
        let first = made.json["spec"]["clusterIP"]
        func patch(_ spec: JSON) async throws -> (code: Int, json: JSON, message: String) {
            let done = try await cluster.call("PATCH", path, ["spec": spec], type: "application/merge-patch+json")
            return (done.code, done.json, done.message)
        }
        let up = try await patch(["ipFamilyPolicy": "PreferDualStack"])
        #expect(up.code == 200 && up.json["spec"]["clusterIPs"].elements.count == 2, "\(up.message)")
        #expect(up.json["spec"]["clusterIPs"][0] == first)
        #expect(up.json["spec"]["ipFamilies"] == ["IPv4", "IPv6"])
        let second = up.json["spec"]["clusterIPs"][1]
        let released = try await patch(["clusterIPs": [first]])
        #expect(released.message.contains("must be 'SingleStack' to release the secondary cluster IP"))
        let swapped = try await patch(["ipFamilies": ["IPv6", "IPv4"]])
        #expect(swapped.code == 422)
        let down = try await patch(["ipFamilyPolicy": "SingleStack"])
        #expect(down.json["spec"]["clusterIPs"] == [first] && down.json["spec"]["ipFamilies"] == ["IPv4"])
        // The address that was given back is free.
        let other = try await cluster.call(
            "POST", Self.services, service(["clusterIP": second], name: "other"))
        #expect(other.code == 201, "\(other.message)")
    }
}
