import Codecs
import Testing

@testable import KubeAPI

@Suite struct OpenAPITests {
    let api = OpenAPI(version: "v1.36.0")

    private func document(_ form: OpenAPI.Form, _ api: OpenAPI) throws -> JSON {
        let chunks = try #require(api.document(form))
        var bytes: [UInt8] = []
        for chunk in chunks {
            #expect(chunk.count < 96 * 1024)
            bytes += chunk
        }
        return try JSON.parse(bytes)
    }

    private func references(_ json: JSON, _ found: inout Set<String>) {
        switch json {
        case .array(let list): for item in list { references(item, &found) }
        case .object(let object):
            for (key, value) in object {
                if key == "$ref", let text = value.string { found.insert(text) }
                references(value, &found)
            }
        default: break
        }
    }

    @Test func everyReferenceOfEveryDocumentLeadsSomewhere() throws {
        for gv in Discovery().groupVersions {
            let document = try document(.v3(gv), api)
            var found: Set<String> = []
            references(document, &found)
            let schemas = document["components"]["schemas"].object ?? [:]
            let known = Set(schemas.keys.map { "#/components/schemas/" + $0 })
            #expect(found.subtracting(known).isEmpty, "\(gv)")
            #expect(document["paths"].object?.isEmpty == false)
        }
        let document = try document(.v2, api)
        var found: Set<String> = []
        references(document, &found)
        #expect(found.subtracting((document["definitions"].object ?? [:]).keys.map { "#/definitions/" + $0 }).isEmpty)
        #expect(document["swagger"] == "2.0")
    }

    @Test func typesHaveFieldsRequirementsAndExtensions() throws {
        let schemas = try document(.v3(.core), api)["components"]["schemas"]
        let pod = schemas["io.k8s.api.core.v1.Pod"]
        #expect(pod["x-kubernetes-group-version-kind"] == [["group": "", "kind": "Pod", "version": "v1"]])
        #expect(pod["properties"]["spec"]["allOf"] == [["$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"]])
        #expect(schemas["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"])
        let ports = schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"]
        #expect(ports["x-kubernetes-list-type"] == "map")
        #expect(ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"])
        #expect(ports["x-kubernetes-patch-merge-key"] == "containerPort")
        #expect(ports["x-kubernetes-patch-strategy"] == "merge")
        let volumes = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"]
        #expect(volumes["x-kubernetes-patch-strategy"] == "merge,retainKeys")
        let port = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]
        #expect(port["protocol"]["enum"] == ["SCTP", "TCP", "UDP"])
        #expect(port["containerPort"]["format"] == "int32")
        #expect(
            schemas["io.k8s.api.core.v1.Secret"]["properties"]["data"]["additionalProperties"] == [
                "type": "string", "format": "byte",
            ])
        #expect(schemas["io.k8s.api.core.v1.Pod"]["description"].string?.isEmpty == false)
    }

    /// kubectl finds a resource's kind by its path, and looks into the patch operation for what the server can do.
    @Test func pathsSayKindsAndParameters() throws {
        let paths = try document(.v3(.apps), api)["paths"]
        let item = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
        #expect(
            item["patch"]["x-kubernetes-group-version-kind"] == [
                "group": "apps", "kind": "Deployment", "version": "v1",
            ])
        #expect(item["patch"]["parameters"].elements.contains { $0["name"] == "fieldValidation" })
        #expect(item["patch"]["parameters"].elements.contains { $0["name"] == "dryRun" })
        #expect(!paths["/apis/apps/v1/deployments"]["get"].isNull)
        #expect(!paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"].isNull)
        #expect(paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["post"].isNull)
    }

    @Test func indexNamesEveryDocumentAndChangesWithIt() throws {
        let schema = Schema()
        let api = OpenAPI(schema, version: "v1.36.0")
        let before = api.index()["paths"]
        #expect(before["api/v1"]["serverRelativeURL"].string?.hasPrefix("/openapi/v3/api/v1?hash=") == true)
        #expect(api.index()["paths"] == before)
        let gv = GroupVersion("example.com", "v1")
        var row = ResourceInfo(
            gvr: .init("example.com", "v1", "widgets"), kind: "Widget", singular: "widget", namespaced: true)
        schema.addResource(row)
        let first = api.index()["paths"]
        #expect(first["api/v1"] == before["api/v1"])
        row.openAPISchema = Array(#"{"type":"object","properties":{"spec":{"type":"object"}}}"#.utf8)
        schema.addResource(row)
        #expect(api.index()["paths"]["apis/example.com/v1"] != first["apis/example.com/v1"])
        let schemas = try document(.v3(gv), api)["components"]["schemas"]
        #expect(schemas["com.example.v1.Widget"]["properties"]["spec"] == ["type": "object"])
        #expect(
            schemas["com.example.v1.WidgetList"]["properties"]["items"]["items"]["$ref"]
                == "#/components/schemas/com.example.v1.Widget")
    }

    @Test func groupVersionThatIsNotServedHasNoDocument() {
        #expect(api.document(.v3(.init("resource.k8s.io", "v1beta1"))) == nil)
    }
}
