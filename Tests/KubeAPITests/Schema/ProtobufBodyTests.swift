import Codecs
import Testing

@testable import KubeAPI

/// Request bodies in Kubernetes' protobuf form. Field numbers are those of the generated.proto files.
@Suite struct ProtobufBodyTests {
    private static let configMap = GroupVersionKind("", "v1", "ConfigMap")
    private static let pod = GroupVersionKind("", "v1", "Pod")

    /// The envelope as client-go writes it.
    private static func envelope(_ kind: GroupVersionKind, _ raw: [UInt8]) -> [UInt8] {
        var out = ProtobufWriter()
        out.message(1) { meta in
            meta.string(1, kind.groupVersion.description)
            meta.string(2, kind.kind)
        }
        out.bytes(2, raw)
        out.element(3, "")
        out.element(4, "")
        return [0x6B, 0x38, 0x73, 0x00] + out.bytes
    }

    private func decode(_ kind: GroupVersionKind, _ raw: [UInt8]) throws -> JSON {
        try Schema.shared.decodeProtobuf(Self.envelope(kind, raw), expecting: kind)
    }

    private func decode(_ kind: GroupVersionKind, _ write: (inout ProtobufWriter) -> Void) throws -> JSON {
        var out = ProtobufWriter()
        write(&out)
        return try decode(kind, out.bytes)
    }

    /// As Go's encoder writes a ConfigMap "a": all of metadata's plain strings, empty or not.
    private static let golden: [UInt8] = [
        0x6B, 0x38, 0x73, 0x00,
        0x0A, 0x0F, 0x0A, 0x02, 0x76, 0x31,  // apiVersion v1
        0x12, 0x09, 0x43, 0x6F, 0x6E, 0x66, 0x69, 0x67, 0x4D, 0x61, 0x70,  // kind ConfigMap
        0x12, 0x26,
        0x0A, 0x11, 0x0A, 0x01, 0x61, 0x12, 0x00, 0x1A, 0x00, 0x22, 0x00, 0x2A, 0x00, 0x32, 0x00, 0x38, 0x00, 0x42,
        0x00,
        0x12, 0x06, 0x0A, 0x01, 0x6B, 0x12, 0x01, 0x76,  // data k: v
        0x1A, 0x07, 0x0A, 0x01, 0x62, 0x12, 0x02, 0x00, 0xFF,  // binaryData b: 00 FF
        0x20, 0x01,  // immutable
        0x1A, 0x00, 0x22, 0x00,
    ]

    @Test func goldenConfigMapIsRead() throws {
        let json = try Schema.shared.decodeProtobuf(Self.golden, expecting: Self.configMap)
        #expect(
            json.text
                == #"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"},"binaryData":{"b":"AP8="},"immutable":true}"#
        )
    }

    @Test func envelopeWithoutAKindIsOfTheExpectedOne() throws {
        let bytes: [UInt8] = [0x6B, 0x38, 0x73, 0x00, 0x12, 0x05, 0x0A, 0x03, 0x0A, 0x01, 0x61]
        let json = try Schema.shared.decodeProtobuf(bytes, expecting: Self.configMap)
        #expect(json == ["kind": "ConfigMap", "apiVersion": "v1", "metadata": ["name": "a"]])
    }

    @Test func bodiesThatAreNotKubernetesProtobufAreRefused() {
        let error = #expect(throws: ProtobufError.self) {
            try Schema.shared.decodeProtobuf(Array("{}".utf8), expecting: Self.configMap)
        }
        #expect(error?.message.contains("expected prefix [107 56 115 0]") == true)
        let unknown = GroupVersionKind("example.com", "v1", "Widget")
        let other = #expect(throws: ProtobufError.self) { try decode(unknown, [UInt8]()) }
        #expect(other?.message == "no kind \"Widget\" is registered for version \"example.com/v1\"")
    }

    @Test func volumesLieInTheirWrapperMessage() throws {
        let json = try decode(Self.pod) { pod in
            pod.message(2) { spec in
                spec.message(1) { volume in
                    volume.string(1, "config")
                    volume.message(2) { source in
                        source.message(19) { map in
                            map.message(1) { $0.string(1, "cm") }
                            map.message(2) { item in
                                item.string(1, "k")
                                item.string(2, "p")
                                item.int(3, 384)
                            }
                            map.int(3, 420)
                        }
                    }
                }
                spec.message(1) { volume in
                    volume.string(1, "scratch")
                    volume.message(2) { $0.message(2) { $0.message(2) { $0.string(1, "1Gi") } } }
                }
                spec.message(1) { volume in
                    volume.string(1, "plain")
                    volume.message(2) { $0.message(2) { _ in } }
                }
                spec.message(2) { container in
                    container.string(1, "c")
                    container.element(3, "sh")
                    container.element(3, "")
                }
            }
        }
        #expect(
            json["spec"]["volumes"] == [
                [
                    "name": "config",
                    "configMap": [
                        "name": "cm", "items": [["key": "k", "path": "p", "mode": 384]], "defaultMode": 420,
                    ],
                ],
                ["name": "scratch", "emptyDir": ["sizeLimit": "1Gi"]],
                ["name": "plain", "emptyDir": [:]],
            ])
        #expect(json["spec"]["containers"] == [["name": "c", "command": ["sh", ""]]])
    }

    @Test func timesAreRFC3339AndGosZeroTimeIsNone() throws {
        func created(_ seconds: Int64) throws -> JSON {
            try decode(Self.configMap) { map in map.message(1) { $0.message(8) { $0.int(1, seconds) } } }["metadata"][
                "creationTimestamp"]
        }
        #expect(try created(1_767_323_045) == "2026-01-02T03:04:05Z")
        #expect(try created(-1) == "1969-12-31T23:59:59Z")
        #expect(try created(-62_135_596_800).isNull)
        #expect(try created(.max).isNull)
        #expect(try created(.min).isNull)
        let lease = try decode(.init("coordination.k8s.io", "v1", "Lease")) { lease in
            lease.message(2) { spec in
                spec.message(4) { time in
                    time.int(1, 1_767_323_045)
                    time.int(2, 6000)
                }
            }
        }
        #expect(lease["spec"] == ["renewTime": "2026-01-02T03:04:05.000006Z"])
    }

    @Test func quantitiesMapsAndIntOrString() throws {
        func port(_ isText: Bool) throws -> JSON {
            try decode(Self.pod) { pod in
                pod.message(2) { spec in
                    spec.message(2) { container in
                        container.message(8) { resources in
                            for (name, value) in [("cpu", "100m"), ("memory", "64Mi"), ("cpu", "200m")] {
                                resources.message(1) { entry in
                                    entry.string(1, name)
                                    entry.message(2) { $0.string(1, value) }
                                }
                            }
                        }
                        container.message(10) { probe in
                            probe.message(1) { handler in
                                handler.message(2) { get in
                                    get.message(2) { port in
                                        port.int(1, isText ? 1 : 0)
                                        port.int(2, 8080)
                                        port.string(3, "http")
                                    }
                                }
                            }
                            probe.int(2, 5)
                        }
                    }
                }
            }["spec"]["containers"][0]
        }
        let text = try port(true)
        // Of entries with one key the last counts.
        #expect(text["resources"] == ["limits": ["cpu": "200m", "memory": "64Mi"]])
        #expect(text["livenessProbe"] == ["httpGet": ["port": "http"], "initialDelaySeconds": 5])
        #expect(try port(false)["livenessProbe"]["httpGet"]["port"] == 8080)
    }

    @Test func pointersKeepTheirZeros() throws {
        let kind = GroupVersionKind("apps", "v1", "Deployment")
        // spec.replicas and spec.minReadySeconds, both 0.
        let json = try decode(kind, [0x12, 0x04, 0x08, 0x00, 0x28, 0x00])
        #expect(json["spec"] == ["replicas": 0])
        #expect(try decode(kind, [0x12, 0x02, 0x08, 0x07])["spec"]["replicas"] == 7)
    }

    @Test func numbersArePackedOrNot() throws {
        // spec.securityContext.supplementalGroups
        for groups in [[0x22, 0x03, 0x01, 0xAC, 0x02], [0x20, 0x01, 0x20, 0xAC, 0x02]] as [[UInt8]] {
            let json = try decode(Self.pod) { $0.message(2) { $0.bytes(14, groups) } }
            #expect(json["spec"]["securityContext"] == ["supplementalGroups": [1, 300]])
        }
        #expect(throws: ProtobufError("unexpected EOF")) {
            try decode(Self.pod) { $0.message(2) { $0.bytes(14, [0x22, 0x01, 0x80] as [UInt8]) } }
        }
    }

    @Test func mapsWithManyKeysTakeTimeInProportion() throws {
        let count = 50_000
        let json = try decode(Self.configMap) { map in
            for i in 0..<count {
                map.message(2) { entry in
                    entry.string(1, "k\(i)")
                    entry.string(2, "v")
                }
            }
        }
        #expect(json["data"].object?.count == count)
    }

    @Test func fieldsNobodyKnowsArePassedOverAndWrongWireTypesRefused() throws {
        let known = try decode(Self.configMap, [0xF8, 0x07, 0x01, 0x0A, 0x03, 0x0A, 0x01, 0x61])
        #expect(known["metadata"] == ["name": "a"])
        #expect(throws: ProtobufError("proto: wrong wireType")) { try decode(Self.configMap, [0x08, 0x01]) }
        #expect(throws: ProtobufError("proto: illegal wireType 3")) { try decode(Self.configMap, [0x0B]) }
        #expect(throws: ProtobufError("proto: illegal tag 0")) { try decode(Self.configMap, [0x00]) }
        #expect(throws: ProtobufError("unexpected EOF")) {
            try decode(Self.configMap, [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])
        }
    }

    @Test func nestingHasALimit() throws {
        func wrap(_ number: UInt32, _ inner: [UInt8]) -> [UInt8] {
            var out = ProtobufWriter()
            out.bytes(number, inner)
            return out.bytes
        }
        func definition(_ depth: Int) throws -> JSON {
            var schema: [UInt8] = []
            for _ in 0..<depth { schema = wrap(28, schema) }  // not: {not: {...}}
            // spec.versions[0].schema.openAPIV3Schema
            let kind = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
            return try decode(kind, wrap(2, wrap(7, wrap(4, wrap(1, schema)))))
        }
        #expect(try definition(3)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == ["not": ["not": ["not": [:]]]])
        #expect(throws: ProtobufError("proto: message nested too deeply")) { try definition(5000) }
    }

    /// A pod with something of every shape.
    private static let sample: [UInt8] = {
        var out = ProtobufWriter()
        out.message(1) { meta in
            meta.string(1, "p")
            meta.message(8) { $0.int(1, 1_767_323_045) }
            meta.message(11) { label in
                label.string(1, "app")
                label.string(2, "web")
            }
            meta.message(17) { managed in
                managed.string(1, "kubectl")
                managed.message(7) { $0.string(1, #"{"f:spec":{}}"#) }
            }
        }
        out.message(2) { spec in
            spec.message(1) { volume in
                volume.string(1, "config")
                volume.message(2) { $0.message(19) { $0.message(1) { $0.string(1, "cm") } } }
            }
            spec.message(2) { container in
                container.string(1, "c")
                container.message(8) { limits in
                    limits.message(1) { entry in
                        entry.string(1, "cpu")
                        entry.message(2) { $0.string(1, "1") }
                    }
                }
                container.message(10) { $0.message(1) { $0.message(2) { $0.message(2) { $0.int(2, 80) } } } }
            }
            spec.message(14) { $0.bytes(4, [1, 2, 3] as [UInt8]) }
        }
        return envelope(pod, out.bytes)
    }()

    @Test func truncatedBodiesAreRefusedOrShorter() throws {
        let whole = try Schema.shared.decodeProtobuf(Self.sample, expecting: Self.pod)
        #expect(whole["metadata"]["labels"] == ["app": "web"])
        #expect(whole["metadata"]["managedFields"][0]["fieldsV1"] == ["f:spec": [:]])
        var refused = 0
        for count in 0..<Self.sample.count {
            do throws(ProtobufError) {
                let json = try Schema.shared.decodeProtobuf(Array(Self.sample.prefix(count)), expecting: Self.pod)
                // Only at a border of the envelope's fields: all of the object, or nothing of it.
                #expect(json == whole || json == ["kind": "Pod", "apiVersion": "v1"], "\(count)")
            } catch {
                refused += 1
            }
        }
        #expect(refused > Self.sample.count - 10)
    }

    @Test func mutatedBodiesNeverTrap() {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var (read, refused) = (0, 0)
        for _ in 0..<5000 {
            var bytes = Self.sample
            for _ in 0...random(4) {
                let at = 4 + random(bytes.count - 4)
                switch random(3) {
                case 0: bytes[at] = UInt8(random(256))
                case 1: bytes[at] ^= UInt8(1 << random(8))
                default: bytes.insert([0x00, 0x7F, 0x80, 0xFF][random(4)], at: at)
                }
            }
            do throws(ProtobufError) {
                let json = try Schema.shared.decodeProtobuf(bytes, expecting: Self.pod)
                #expect(json["kind"].string != nil)
                read += 1
            } catch {
                #expect(!error.message.isEmpty)
                refused += 1
            }
        }
        #expect(read > 100 && refused > 100, "\(read) read, \(refused) refused")
    }
}
