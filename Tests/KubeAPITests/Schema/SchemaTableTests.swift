import Testing

@testable import KubeAPI

@Suite struct SchemaTableTests {
    @Test func everyTypeOfTheTableDecodes() {
        let schema = Schema()
        #expect(schema.typeCount > 900)
        for id in schema.allTypes {
            let type = schema.type(id)
            #expect(schema.id(named: type.fullName) == id)
            for (i, field) in type.fields.enumerated() {
                #expect(type.index(of: field.name) == i, "\(type.fullName).\(field.name)")
            }
        }
    }

    @Test func fieldsHaveTheirFacts() throws {
        let schema = Schema.shared
        let container = try #require(schema.type(named: "core/v1.Container"))
        let ports = try #require(container.field("ports"))
        #expect(ports.number == 6)
        #expect(ports.mergeKey == "containerPort")
        #expect(ports.listMapKeys == ["containerPort", "protocol"])
        #expect(ports.flags.contains([.mapList, .patchMerge, .omitEmpty]))
        #expect(container.field("name")?.isRequired == true)
        #expect(container.field("nonsense") == nil)
        let volume = try #require(schema.type(named: "core/v1.Volume"))
        // Inlined in JSON, nested in protobuf.
        #expect(volume.field("configMap")?.wrapper == 2)
        #expect(volume.field("configMap")?.number == 19)
        #expect(schema.type(named: "core/v1.Protocol")?.enumValues == ["SCTP", "TCP", "UDP"])
        #expect(schema.type(named: "certificates/v1.KeyUsage")?.enumValues.contains("digital signature") == true)
        #expect(schema.type(named: "core/v1.Nope") == nil)
        #expect(schema.type(named: "") == nil)
    }

    @Test func kindsAreFoundByGroupVersion() {
        let schema = Schema.shared
        #expect(schema.kind(.init("apps", "v1", "Deployment"))?.fullName == "apps/v1.Deployment")
        #expect(schema.kind(.init("", "v1", "PodList"))?.fullName == "core/v1.PodList")
        #expect(schema.kind(.init("apps", "v1", "DeleteOptions"))?.fullName == "meta/v1.DeleteOptions")
        #expect(schema.kind(.init("", "v1", "Status"))?.fullName == "meta/v1.Status")
        #expect(schema.kind(.init("", "v1", "Container")) == nil)
        #expect(schema.kind(.init("apps", "v2", "Deployment")) == nil)
    }

    @Test func everyResourceHasItsTypeColumnsAndHash() throws {
        let schema = Schema.shared
        #expect(schema.resources.count >= 86)
        for row in schema.resources {
            let type = try #require(row.typeName.flatMap { schema.type(named: $0) }, "\(row.gvr)")
            #expect(type.name == row.kind)
            #expect(type.fields.first?.name == "kind")
            if row.verbs.contains(.list) {
                #expect(schema.kind(.init(row.gvr.groupVersion, row.listKind)) != nil, "\(row.gvr)")
                #expect(!row.columns.isEmpty, "\(row.gvr)")
            }
        }
        let pods = try #require(schema.resource(.pods))
        #expect(pods.shortNames == ["po"])
        #expect(pods.storageVersionHash == "xPOwRZ+Yhw8=")
        #expect(pods.columns.map(\.name).prefix(3) == ["Name", "Ready", "Status"])
        #expect(pods.columns[5] == .init(name: "IP", type: "string", priority: 1))
        #expect(pods.columns[0].format == "name")
        #expect(pods.subresource("eviction")?.kind == .init("policy", "v1", "Eviction"))
        #expect(pods.subresource("status")?.verbs == [.get, .patch, .update])
        #expect(pods.verbs == .all)
        #expect(schema.resource(.namespaces)?.verbs.contains(.deleteCollection) == false)
        // Events of both groups are stored as the core group's.
        #expect(schema.resource(.init("events.k8s.io", "v1", "events"))?.storageVersionHash == "r2yiGXH7wu8=")
        #expect(schema.resource(.init("resource.k8s.io", "v1beta1", "deviceclasses"))?.isServed == false)
    }

    @Test func resourcesComeAndGoAtRunTime() {
        let schema = Schema()
        let gvr = GroupVersionResource("example.com", "v1", "widgets")
        let before = schema.generation
        schema.addResource(.init(gvr: gvr, kind: "Widget", singular: "widget", namespaced: true, shortNames: ["wd"]))
        #expect(schema.resource(gvr)?.kind == "Widget")
        #expect(schema.resource(forKind: .init("example.com", "v1", "Widget"))?.gvr == gvr)
        #expect(schema.generation > before)
        schema.removeResource(gvr)
        #expect(schema.resource(gvr) == nil)
        #expect(schema.resource(.pods)?.kind == "Pod")
        let beta = GroupVersion("resource.k8s.io", "v1beta1")
        schema.setServed(beta, true)
        #expect(schema.servedResources.contains { $0.gvr.groupVersion == beta })
    }

    @Test func threadsMayUseATypeAtOnce() async {
        let schema = Schema()
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask { schema.allTypes.reduce(0) { $0 + schema.type($1).fields.count } }
            }
            var counts: Set<Int> = []
            for await count in group { counts.insert(count) }
            #expect(counts.count == 1)
        }
    }
}
