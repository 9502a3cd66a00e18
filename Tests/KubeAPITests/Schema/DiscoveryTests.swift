import Codecs
import Testing

@testable import KubeAPI

@Suite struct DiscoveryTests {
    @Test func groupsAndVersionsComeInOrderOfPreference() {
        let discovery = Discovery()
        #expect(discovery.apiVersions(serverAddress: "10.0.0.1:6443")["versions"] == ["v1"])
        let groups = discovery.groupList()["groups"].elements
        #expect(groups.count == 21)
        let autoscaling = groups.first { $0["name"] == "autoscaling" }
        #expect(autoscaling?["versions"].elements.map { $0["version"] } == ["v2", "v1"])
        #expect(autoscaling?["preferredVersion"] == ["groupVersion": "autoscaling/v2", "version": "v2"])
        #expect(discovery.group("apps")?["kind"] == "APIGroup")
        #expect(discovery.group("") == nil)
        #expect(discovery.group("nope") == nil)
    }

    @Test func resourceListHasSubresourcesWithTheirKinds() throws {
        let apps = try #require(Discovery().resourceList(.apps))
        #expect(apps["apiVersion"] == "v1")
        let names = apps["resources"].elements.compactMap { $0["name"].string }
        #expect(names.prefix(4) == ["controllerrevisions", "daemonsets", "daemonsets/status", "deployments"])
        let scale = try #require(apps["resources"].elements.first { $0["name"] == "deployments/scale" })
        #expect(
            scale.text
                == #"{"name":"deployments/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get","patch","update"]}"#
        )
        let core = try #require(Discovery().resourceList(.core))
        #expect(core["apiVersion"].isNull)
        let pods = try #require(core["resources"].elements.first { $0["name"] == "pods" })
        #expect(
            pods.text
                == #"{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["po"],"categories":["all"],"storageVersionHash":"xPOwRZ+Yhw8="}"#
        )
        #expect(Discovery().resourceList(.init("resource.k8s.io", "v1beta1")) == nil)
    }

    @Test func aggregatedDocumentsDecodeAsTheirKind() throws {
        for legacy in [true, false] {
            let document = Discovery().aggregated(legacy: legacy)
            let gvk = GroupVersionKind("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
            let decoded = try Schema.shared.decode(document, as: gvk, validation: .strict)
            #expect(decoded.json["items"].elements.count == (legacy ? 1 : 21))
        }
        let core = Discovery().aggregated(legacy: true)["items"][0]["versions"][0]
        let pods = try #require(core["resources"].elements.first { $0["resource"] == "pods" })
        #expect(pods["responseKind"] == ["group": "", "version": "v1", "kind": "Pod"])
        #expect(pods["scope"] == "Namespaced")
        #expect(pods["subresources"].elements.contains { $0["subresource"] == "exec" })
    }

    @Test func versionsSortByStabilityThenNumber() {
        let sorted = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v2", "v1beta2", "v1beta10", "bar"].sorted {
            VersionOrder.precedes($0, $1)
        }
        #expect(sorted == ["v10", "v2", "v1", "v2beta1", "v1beta10", "v1beta2", "v1alpha1", "bar", "foo"])
    }

    @Test func customResourcesAppear() throws {
        let schema = Schema()
        schema.addResource(
            .init(
                gvr: .init("example.com", "v1", "widgets"), kind: "Widget", singular: "widget", namespaced: true,
                shortNames: ["wd"]))
        let discovery = Discovery(schema)
        #expect(discovery.group("example.com")?["preferredVersion"]["version"] == "v1")
        #expect(discovery.resourceList(.init("example.com", "v1"))?["resources"][0]["shortNames"] == ["wd"])
    }
}
