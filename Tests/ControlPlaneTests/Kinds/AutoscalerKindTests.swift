import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct AutoscalerKindTests {
    private static let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    private static let v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    private static let target: JSON = ["kind": "Deployment", "name": "d", "apiVersion": "apps/v1"]

    @Test func theOldFormIsAViewOfTheNew() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "POST", Self.v1,
            [
                "metadata": ["name": "h"],
                "spec": ["scaleTargetRef": Self.target, "maxReplicas": 5, "targetCPUUtilizationPercentage": 60],
            ])
        #expect(made.code == 201 && made.json["apiVersion"] == "autoscaling/v1", "\(made.text)")
        #expect(made.json["spec"]["targetCPUUtilizationPercentage"] == 60 && made.json["spec"]["minReplicas"] == 1)
        let newer = try await cluster.call("GET", Self.v2 + "/h")
        #expect(
            newer.json["spec"]["metrics"] == [
                [
                    "type": "Resource",
                    "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 60]],
                ]
            ], "\(newer.text)")
        var changed = newer.json
        changed["spec"]["metrics"].append([
            "type": "Pods",
            "pods": ["metric": ["name": "rps"], "target": ["type": "AverageValue", "averageValue": "10"]],
        ])
        #expect(try await cluster.call("PUT", Self.v2 + "/h", changed).code == 200)
        let patched = try await cluster.call(
            "PATCH", Self.v1 + "/h", ["spec": ["targetCPUUtilizationPercentage": 70]],
            type: "application/merge-patch+json")
        #expect(patched.json["spec"]["targetCPUUtilizationPercentage"] == 70, "\(patched.text)")
        let after = try await cluster.call("GET", Self.v2 + "/h")
        #expect(after.json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70)
        #expect(after.json["spec"]["metrics"][1]["pods"]["metric"]["name"] == "rps", "what v1 cannot say stays")
        for (list, text) in [(Self.v1, "cpu: <unknown>/70%"), (Self.v2, "cpu: <unknown>/70%, <unknown>/10")] {
            let rows = try await cluster.call("GET", list, headers: ["Accept": TableTests.accept])
            #expect(
                rows.json["rows"][0]["cells"].elements == ["h", "Deployment/d", .string(text), "1", 5, 0, "0s"]
                    || rows.json["rows"][0]["cells"].elements == [
                        "h", "Deployment/d", .string(text), "1", "5", "0", "0s",
                    ],
                "\(rows.text)")
        }
    }

    @Test func defaultsAreTheProcessor() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call(
            "POST", Self.v2,
            [
                "metadata": ["name": "h"],
                "spec": [
                    "scaleTargetRef": Self.target, "maxReplicas": 5, "behavior": ["scaleDown": ["selectPolicy": "Min"]],
                ],
            ])
        #expect(made.code == 201, "\(made.text)")
        #expect(made.json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80)
        #expect(made.json["spec"]["behavior"]["scaleDown"]["policies"].elements.count == 1)
    }

    @Test func whatIsInvalidIsNamed() async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.call(
            "POST", Self.v2,
            [
                "metadata": ["name": "h"],
                "spec": [
                    "scaleTargetRef": ["kind": "Deployment", "name": ""], "minReplicas": 3, "maxReplicas": 2,
                    "metrics": [
                        ["type": "Any"], ["type": "Pods"],
                        ["type": "Resource", "resource": ["name": "cpu", "target": ["type": "Utilization"]]],
                    ],
                ],
            ])
        #expect(answer.code == 422)
        for text in [
            "spec.scaleTargetRef.name: Required value",
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
            "spec.metrics[0].type: Unsupported value: \"Any\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
            "spec.metrics[1].pods: Required value: must populate information for the given metric source",
            "must set either a target raw value or a target utilization",
        ] { #expect(answer.message.contains(text), "\(answer.message)") }
    }
}
