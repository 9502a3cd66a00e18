import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct CertificateKindTests {
    private static let target = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    private func request(_ organizations: [String] = []) throws -> JSON {
        let key = try PrivateKey.generate()
        let request = try CertificateRequest.create(
            subject: DistinguishedName(commonName: "jane", organizations: organizations), key: key)
        return .string(Base64.encode(request.pem))
    }

    private func body(_ request: JSON, signer: String = "kubernetes.io/kube-apiserver-client") -> JSON {
        [
            "metadata": ["name": "r"],
            "spec": [
                "request": request, "signerName": .string(signer), "usages": ["client auth"], "username": "somebody",
            ],
        ]
    }

    @Test func whoAsksIsNotForTheRequestToSay() async throws {
        let cluster = try await Cluster { $0.authenticator = FixedUser(UserInfo("jane", uid: "7", groups: ["dev"])) }
        let made = try await cluster.call("POST", Self.target, body(try request()))
        #expect(made.code == 201, "\(made.text)")
        #expect(made.json["spec"]["username"] == "jane" && made.json["spec"]["groups"] == ["dev"])
        #expect(made.json["spec"]["uid"] == "7")
        let rows = try await cluster.call("GET", Self.target, headers: ["Accept": TableTests.accept])
        #expect(
            rows.json["rows"][0]["cells"].elements == [
                "r", "0s", "kubernetes.io/kube-apiserver-client", "jane", "<none>", "Pending",
            ])
        let changed = try await cluster.call(
            "PATCH", Self.target + "/r", ["spec": ["username": "root"]], type: "application/merge-patch+json")
        #expect(changed.code == 200 && changed.json["spec"]["username"] == "jane")
    }

    @Test func approvalAndSigningAreApart() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call("POST", Self.target, body(try request()))
        var approved = made.json
        approved["status"] = [
            "certificate": .string(Base64.encode(Array("x".utf8))),
            "conditions": [["type": "Approved", "status": "True", "reason": "R", "message": "m"]],
        ]
        let elsewhere = try await cluster.call("PUT", Self.target + "/r", approved)
        #expect(elsewhere.json["status"]["conditions"].isNull)
        approved["metadata"]["resourceVersion"] = elsewhere.json["metadata"]["resourceVersion"]
        let answer = try await cluster.call("PUT", Self.target + "/r/approval", approved)
        #expect(answer.code == 200 && answer.json["status"]["conditions"][0]["type"] == "Approved", "\(answer.text)")
        #expect(answer.json["status"]["conditions"][0]["lastUpdateTime"] == "2026-01-01T00:00:00Z")
        #expect(answer.json["status"]["certificate"].isNull)
        let denied = try await cluster.call(
            "PATCH", Self.target + "/r/approval",
            [
                "status": [
                    "conditions": [["type": "Approved", "status": "True"], ["type": "Denied", "status": "True"]]
                ]
            ], type: "application/merge-patch+json")
        #expect(denied.code == 422 && denied.message.contains("Approved and Denied conditions are mutually exclusive"))
        let undone = try await cluster.call(
            "PATCH", Self.target + "/r/approval", ["status": ["conditions": []]], type: "application/merge-patch+json")
        #expect(undone.message.contains("updates may not remove a condition of type \"Approved\""), "\(undone.text)")
        let nonsense = try await cluster.call(
            "PATCH", Self.target + "/r/status", ["status": ["certificate": "eA=="]],
            type: "application/merge-patch+json")
        #expect(nonsense.code == 422 && nonsense.message.contains("CERTIFICATE PEM block"), "\(nonsense.text)")
    }

    @Test func approversMayLeaveConditionsOfAnyTypeAndSignersNoVerdict() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.call("POST", Self.target, body(try request()))
        let merge = "application/merge-patch+json"
        func conditions(_ types: [String]) -> JSON {
            ["status": ["conditions": .array(types.map { ["type": .string($0), "status": "True"] })]]
        }
        func types(_ answer: Cluster.Answer) -> [JSON] {
            answer.json["status"]["conditions"].elements.map { $0["type"] }
        }
        let noted = try await cluster.call("PATCH", Self.target + "/r/approval", conditions(["Noted"]), type: merge)
        #expect(types(noted) == ["Noted"], "\(noted.text)")
        let signed = try await cluster.call(
            "PATCH", Self.target + "/r/status", conditions(["Noted", "Approved", "Seen"]), type: merge)
        #expect(types(signed) == ["Noted", "Seen"], "\(signed.text)")
    }

    @Test func badRequestsAreRefused() async throws {
        let cluster = try await Cluster()
        var bad = body("eA==", signer: "nobody")
        bad["spec"]["usages"] = ["client auth", "client auth", "fun"]
        bad["spec"]["expirationSeconds"] = 5
        let answer = try await cluster.call("POST", Self.target, bad)
        #expect(answer.code == 422)
        for text in [
            "PEM block type must be CERTIFICATE REQUEST", "must be a fully qualified domain and path",
            "spec.usages[1]: Duplicate value: \"client auth\"", "spec.usages[2]: Unsupported value: \"fun\"",
            "may not specify a duration less than 600 seconds",
        ] { #expect(answer.message.contains(text), "\(answer.message)") }
    }

    @Test func approversNeedTheRightToApproveForTheSigner() async throws {
        let rbac = RBACAuthorizer()
        RBACAuthorizerTests.observe(
            rbac,
            [
                RBACAuthorizerTests.role(
                    "approver",
                    [
                        [
                            "verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
                            "resourceNames": ["acme.io/*"],
                        ]
                    ]),
                RBACAuthorizerTests.binding("approver", to: "approver", RBACAuthorizerTests.toJane),
            ])
        let cluster = try await Cluster {
            $0.authenticator = FixedUser(RBACAuthorizerTests.jane)
            $0.admission.plugins.append(.certificates(authorizer: rbac))
        }
        for (signer, code) in [("acme.io/web", 200), ("kubernetes.io/kube-apiserver-client", 403)] {
            #expect(try await cluster.call("POST", Self.target, body(try request(), signer: signer)).code == 201)
            let answer = try await cluster.call(
                "PATCH", Self.target + "/r/approval",
                ["status": ["conditions": [["type": "Approved", "status": "True"]]]],
                type: "application/merge-patch+json")
            #expect(answer.code == code, "\(answer.text)")
            if code == 403 {
                #expect(
                    answer.message.hasSuffix(
                        "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\""
                    ))
            }
            _ = try await cluster.call("DELETE", Self.target + "/r")
        }
        let master = try await cluster.call("POST", Self.target, body(try request(["system:masters"])))
        #expect(master.code == 403 && master.message.hasSuffix("signer with system:masters group is not allowed"))
    }
}
