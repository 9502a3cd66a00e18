import Codecs
import Testing

@testable import KubeAPI

@Suite struct DecodingTests {
    static let deployment = GroupVersionKind("apps", "v1", "Deployment")
    static let pod = GroupVersionKind("", "v1", "Pod")

    private func decode(_ text: String, _ gvk: GroupVersionKind, _ validation: FieldValidation = .ignore) throws
        -> DecodedObject
    {
        var duplicates: [String] = []
        let json = try JSON.parse(Array(text.utf8), duplicates: &duplicates)
        return try Schema.shared.decode(json, as: gvk, validation: validation, duplicates: duplicates)
    }
    private func failure(_ text: String, _ gvk: GroupVersionKind, _ validation: FieldValidation = .ignore) -> APIError?
    {
        do {
            _ = try decode(text, gvk, validation)
            return nil
        } catch {
            return error as? APIError
        }
    }

    @Test func unknownAndDuplicateFieldsAreDroppedWarnedOrRefused() throws {
        let text = """
            {"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a","labels":{"x":"1","x":"2"}},
             "spec":{"replica":3,"template":{"spec":{"containers":[{"name":"c","imag":"x"}]}}}}
            """
        let ignored = try decode(text, Self.deployment)
        #expect(ignored.warnings.isEmpty)
        #expect(ignored.json["spec"]["replica"].isNull)
        #expect(ignored.json["metadata"]["labels"] == ["x": "2"])
        let warned = try decode(text, Self.deployment, .warn)
        #expect(
            warned.warnings == [
                "duplicate field \"metadata.labels.x\"", "unknown field \"spec.replica\"",
                "unknown field \"spec.template.spec.containers[0].imag\"",
            ])
        let refused = failure(text, Self.deployment, .strict)
        #expect(refused?.code == 400)
        #expect(
            refused?.message
                == "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: "
                + "duplicate field \"metadata.labels.x\", unknown field \"spec.replica\", "
                + "unknown field \"spec.template.spec.containers[0].imag\"")
    }

    /// What is unknown and given twice is only unknown; what is given three times is told once.
    @Test func aFieldIsToldOnce() throws {
        let text = """
            {"spec":{"foo":1,"foo":2,"bar":{"a":1,"a":2},"paused":true,"paused":true,"paused":false,
             "template":{"spec":{"containers":[{"name":"c"},{"name":"d","image":"x","image":"y"}]}}}}
            """
        #expect(
            try decode(text, Self.deployment, .warn).warnings == [
                "unknown field \"spec.foo\"", "unknown field \"spec.bar\"", "duplicate field \"spec.paused\"",
                "duplicate field \"spec.template.spec.containers[1].image\"",
            ])
    }

    @Test(arguments: [
        (
            #"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        ),
        (
            #"{"spec":{"replicas":3.5}}"#,
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
        ),
        (
            #"{"spec":{"replicas":3000000000}}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
        ),
        (
            #"{"spec":[]}"#,
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"
        ),
        (
            #"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
        ),
        (
            #"{"spec":{"template":{"spec":{"containers":[{"image":1}]}}}}"#,
            "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of type string"
        ),
        (
            #"{"metadata":{"labels":{"a":1}}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
        ),
        (
            #"{"metadata":{"labels":"x"}}"#,
            "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string"
        ),
        (
            #"{"metadata":{"uid":1}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.uid of type types.UID"
        ),
        (
            #"{"spec":{"paused":"true"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool"
        ),
        (
            #"{"spec":{"template":{"spec":{"dnsPolicy":1}}}}"#,
            "json: cannot unmarshal number into Go struct field PodSpec.spec.template.spec.dnsPolicy of type v1.DNSPolicy"
        ),
        (
            #"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
        ),
        (#"{"metadata":{"creationTimestamp":5}}"#, "json: cannot unmarshal number into Go value of type string"),
        (
            #"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"lots"}}}]}}}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ),
        (
            #"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"1Mii"}}}]}}}}"#,
            "unable to parse quantity's suffix"
        ),
        (
            #"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}"#,
            "json: cannot unmarshal bool into Go value of type int32"
        ),
        ("[]", "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ])
    func typeErrorsHaveGoWords(_ text: String, _ message: String) {
        let error = failure(text, Self.deployment)
        #expect(error?.message == "Deployment in version \"v1\" cannot be handled as a Deployment: " + message)
        #expect(error?.reason == "BadRequest")
    }

    @Test func bytesMustBeBase64() throws {
        let secret = GroupVersionKind("", "v1", "Secret")
        #expect(
            failure(#"{"data":{"a":"aGk"}}"#, secret)?.message.hasSuffix("illegal base64 data at input byte 0") == true)
        #expect(
            failure(#"{"data":{"a":"aGkhaGk*"}}"#, secret)?.message.hasSuffix("illegal base64 data at input byte 7")
                == true)
        #expect(
            failure(#"{"data":{"a":"=aGk"}}"#, secret)?.message.hasSuffix("illegal base64 data at input byte 0") == true
        )
        #expect(try decode(#"{"data":{"a":"aGkh\naGk="}}"#, secret).json["data"]["a"] == "aGkhaGk=")
    }

    @Test func outputIsWhatGoWouldWrite() throws {
        let decoded = try decode(
            """
            {"status":{},"spec":{"containers":[{"image":"x","name":"c","command":[],"stdin":false,"env":[{"name":"E","value":""}],
              "ports":[{"containerPort":80,"hostPort":0}]}],"nodeSelector":{"b":"2","a":"1"},"hostNetwork":false,
              "terminationGracePeriodSeconds":0,"tolerations":null},
             "metadata":{"name":"p","creationTimestamp":null,"labels":{},"namespace":"","annotations":{"k":null}},
             "apiVersion":"v1","kind":"Pod"}
            """, Self.pod)
        #expect(
            decoded.json.text
                == #"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","annotations":{"k":""}},"spec":{"containers":[{"name":"c","image":"x","ports":[{"containerPort":80}],"env":[{"name":"E"}],"resources":{}}],"terminationGracePeriodSeconds":0,"nodeSelector":{"a":"1","b":"2"}},"status":{}}"#
        )
    }

    @Test func emptyStructsAppearWhereGoWritesThem() throws {
        let json = try decode(#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d"}}"#, Self.deployment)
            .json
        #expect(
            json.text
                == #"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"d"},"spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}},"strategy":{}},"status":{}}"#
        )
        let event = try decode(#"{"metadata":{}}"#, .init("", "v1", "Event")).json
        #expect(event["firstTimestamp"].isNull)
        #expect(event.object?["firstTimestamp"] != nil)
        #expect(event["source"] == [:])
    }

    @Test func textFormsBecomeCanonical() throws {
        let json = try decode(
            """
            {"metadata":{"creationTimestamp":"2026-01-02T03:04:05+02:00","managedFields":[{"time":"2026-01-02T03:04:05Z","fieldsV1":{"f:a":{}}}]},
             "spec":{"containers":[{"name":"c","resources":{"limits":{"memory":"1024Ki","cpu":"0.5"},"requests":{"cpu":1}}}]}}
            """, Self.pod
        ).json
        #expect(json["metadata"]["creationTimestamp"] == "2026-01-02T01:04:05Z")
        #expect(json["metadata"]["managedFields"][0]["fieldsV1"] == ["f:a": [:]])
        let resources = json["spec"]["containers"][0]["resources"]
        #expect(resources.text == #"{"limits":{"cpu":"500m","memory":"1Mi"},"requests":{"cpu":"1"}}"#)
        let lease = try decode(
            #"{"spec":{"renewTime":"2026-01-02T03:04:05.5Z"}}"#, .init("coordination.k8s.io", "v1", "Lease")
        ).json
        #expect(lease["spec"]["renewTime"] == "2026-01-02T03:04:05.500000Z")
        let far = try decode(#"{"metadata":{"deletionTimestamp":"9999-12-31T23:59:59Z"}}"#, Self.pod).json
        #expect(far["metadata"]["deletionTimestamp"] == "9999-12-31T23:59:59Z")
    }

    @Test func decodingTwiceChangesNothing() throws {
        for row in Schema.shared.resources {
            let first = try Schema.shared.decode([:], as: row.gvk, defaults: true).json
            let second = try Schema.shared.decode(first, as: row.gvk, defaults: true).json
            #expect(first.text == second.text, "\(row.gvr)")
        }
    }

    @Test func customResourceSchemasMayBeBooleansAndLists() throws {
        let json = try decode(
            """
            {"metadata":{"name":"a"},"spec":{"group":"g","names":{"kind":"K","plural":"ks"},"scope":"Namespaced","versions":[{"name":"v1",
             "served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","additionalProperties":true,
             "properties":{"a":{"items":[{"type":"string"}],"default":{"x":[1,null]},"enum":["a",1]}},"x-kubernetes-preserve-unknown-fields":false}}}]}}
            """, .init("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), .strict
        ).json
        let schema = json["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        #expect(schema["additionalProperties"] == true)
        #expect(schema["properties"]["a"]["default"] == ["x": [1, .null]])
        #expect(schema["properties"]["a"]["items"] == [["type": "string"]])
        #expect(schema.object?["x-kubernetes-preserve-unknown-fields"] == .bool(false))
    }

    @Test func unknownKindIsABadRequest() {
        #expect(failure("{}", .init("", "v1", "Nope"))?.message == "no kind \"Nope\" is registered for version \"v1\"")
    }

    @Test func randomDocumentsNeverTrap() throws {
        var random = SystemRandomNumberGenerator()
        func value(_ depth: Int) -> JSON {
            switch Int.random(in: 0..<(depth > 5 ? 6 : 9), using: &random) {
            case 0: .null
            case 1: .bool(.random())
            case 2: .int(.random(in: .min ... .max, using: &random))
            case 3: .double(.random(in: -1e30...1e30, using: &random))
            case 4:
                .string(
                    ["", "1", "x", "2026-01-01T00:00:00Z", "1Gi", "aGk=", "-1h", "RollingUpdate", "Always"]
                        .randomElement() ?? "")
            case 5: .int(Int64.random(in: -3...3, using: &random))
            case 6: .array((0..<2).map { _ in value(depth + 1) })
            default:
                .object(JSONObject(members: names.shuffled(using: &random).prefix(6).map { ($0, value(depth + 1)) }))
            }
        }
        let names = [
            "spec", "status", "metadata", "containers", "template", "resources", "limits", "requests", "name", "labels",
            "ports", "strategy",
            "rollingUpdate", "type", "volumes", "image", "replicas", "selector", "versions", "schema",
            "openAPIV3Schema", "items", "behavior",
        ]
        let kinds = Schema.shared.resources.map(\.gvk)
        for i in 0..<3000 {
            _ = try? Schema.shared.decode(value(0), as: kinds[i % kinds.count], validation: .warn, defaults: true)
        }
        // Real documents with one value exchanged get further.
        let text =
            #"{"metadata":{"name":"a","labels":{"a":"b"}},"spec":{"replicas":1,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":1}],"resources":{"limits":{"cpu":"1"}}}],"hostNetwork":true}}}}"#
        let seed = try JSON.parse(text)
        func mutate(_ json: JSON) -> JSON {
            if Int.random(in: 0..<8, using: &random) == 0 { return value(3) }
            switch json {
            case .array(let list): return .array(list.map(mutate))
            case .object(let object):
                return .object(JSONObject(members: object.members.map { ($0.key, mutate($0.value)) }))
            default: return json
            }
        }
        for i in 0..<3000 {
            _ = try? Schema.shared.decode(mutate(seed), as: kinds[i % kinds.count], validation: .strict, defaults: true)
        }
    }
}
