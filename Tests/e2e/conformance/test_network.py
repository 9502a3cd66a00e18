"""Services, endpoints, slices, ingresses and addresses as API objects: upstream's test/e2e/network."""


from harness import wait_until
from http_api import MERGE, STRATEGIC
from operations import api_operations, condition, conditions, discovered, labelled
from workloads import account, pod

SERVICES = "v1/services"
ENDPOINTS = "v1/endpoints"
SLICES = "discovery.k8s.io/v1/endpointslices"
ADDRESSES = "networking.k8s.io/v1/ipaddresses"
CIDRS = "networking.k8s.io/v1/servicecidrs"
INGRESSES = "networking.k8s.io/v1/ingresses"
CLASSES = "networking.k8s.io/v1/ingressclasses"


def service(name, labels=None, selector=None, **spec):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}], "selector": selector, **spec},
    }  # fmt: skip


def slices_of(space, name):
    return space.items(SLICES, labelSelector="kubernetes.io/service-name=" + name)


def test_the_apis_own_service_has_endpoints(api):
    """API Server should have Endpoints and EndpointSlices pointing to API Server"""
    found = api.get(SERVICES, "kubernetes", namespace="default")
    endpoints = api.get(ENDPOINTS, "kubernetes", namespace="default")
    addresses = [a["ip"] for s in endpoints["subsets"] for a in s["addresses"]]
    ports = [p["port"] for s in endpoints["subsets"] for p in s["ports"]]
    assert addresses == ["192.0.2.10"] and ports == [found["spec"]["ports"][0]["targetPort"]]
    slices = api.items(SLICES, namespace="default", labelSelector="kubernetes.io/service-name=kubernetes")
    assert [a for s in slices for e in s["endpoints"] for a in e["addresses"]] == addresses
    assert [p["port"] for s in slices for p in s["ports"]] == ports


def test_the_apis_service_is_secure(api):
    """API Server should provide secure master service"""
    found = api.get(SERVICES, "kubernetes", namespace="default")
    assert [(p["name"], p["port"]) for p in found["spec"]["ports"]] == [("https", 443)]


def test_services_are_found_in_all_namespaces(api):
    """Services should find a service from listing all namespaces"""
    assert ("default", "kubernetes") in [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in api.items(SERVICES)]


def test_the_life_of_a_services_status(space):
    """Services should complete a service status lifecycle"""
    labels = {"test-service-static": "true"}
    with space.watch(SERVICES, labelSelector="test-service-static=true") as events:
        space.create(SERVICES, service("test", labels, type="LoadBalancer", loadBalancerClass="example.com/internal-vip"))
        events.until("ADDED", lambda o: True)
        assert space.get(SERVICES, "test", sub="status")["status"]["loadBalancer"] == {}
        patched = space.patch(SERVICES, "test", {
            "metadata": {"annotations": {"patchedstatus": "true"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
        }, sub="status")  # fmt: skip
        assert patched["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
        events.until("MODIFIED", lambda o: o["metadata"].get("annotations", {}).get("patchedstatus") == "true")
        updated = space.change(
            SERVICES, "test", lambda o: o["status"].update(conditions=[condition("StatusUpdate")]), sub="status"
        )
        assert conditions(updated)["StatusUpdate"]["reason"] == "E2E"
        assert updated["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
        events.until("MODIFIED", lambda o: "StatusUpdate" in conditions(o))
        space.patch(SERVICES, "test", {"metadata": {"labels": {"test-service": "patched"}}}, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-service") == "patched")
        space.delete(SERVICES, labelSelector="test-service-static=true")
        events.until("DELETED", lambda o: True)


def test_a_collection_of_services_is_deleted(space):
    """Services should delete a collection of services"""
    for name, labels in (("one", {"e2e": "delete"}), ("two", {"e2e": "delete"}), ("three", {"e2e": "keep"})):
        space.create(SERVICES, service(name, labels))
    space.delete(SERVICES, labelSelector="e2e=delete")
    assert [s["metadata"]["name"] for s in space.items(SERVICES)] == ["three"]


def type_changes(space, before, after):
    """Addresses and ports come and go with the type."""
    space.create(SERVICES, service("changes", type=before, **({"externalName": "example.com", "ports": None} if before == "ExternalName" else {})))
    first = space.get(SERVICES, "changes")["spec"]

    def change(found):
        found["spec"]["type"] = after
        if after == "ExternalName":
            found["spec"].update(externalName="example.com")
            for name in ("clusterIP", "clusterIPs"):
                found["spec"].pop(name, None)
        else:
            found["spec"].pop("externalName")
            found["spec"]["ports"] = [{"port": 80, "name": "http", "targetPort": 9376}]

    return first, space.change(SERVICES, "changes", change)["spec"]


def test_external_name_to_cluster_ip(space):
    """Services should be able to change the type from ExternalName to ClusterIP (without the traffic)"""
    first, now = type_changes(space, "ExternalName", "ClusterIP")
    assert "clusterIP" not in first and now["clusterIP"] and "nodePort" not in now["ports"][0]


def test_external_name_to_node_port(space):
    """Services should be able to change the type from ExternalName to NodePort (without the traffic)"""
    first, now = type_changes(space, "ExternalName", "NodePort")
    assert "clusterIP" not in first and now["clusterIP"] and 30000 <= now["ports"][0]["nodePort"] < 32768


def test_cluster_ip_to_external_name(space):
    """Services should be able to change the type from ClusterIP to ExternalName (without the traffic)"""
    first, now = type_changes(space, "ClusterIP", "ExternalName")
    assert first["clusterIP"] and "clusterIP" not in now and now["externalName"] == "example.com"
    # The address is free again.
    space.create(SERVICES, service("again", clusterIP=first["clusterIP"]))


def test_node_port_to_external_name(space):
    """Services should be able to change the type from NodePort to ExternalName (without the traffic)"""
    first, now = type_changes(space, "NodePort", "ExternalName")
    assert first["ports"][0]["nodePort"] and "clusterIP" not in now and "nodePort" not in now["ports"][0]
    space.create(SERVICES, service("again", type="NodePort", ports=[{"port": 80, "nodePort": first["ports"][0]["nodePort"]}]))


def test_the_life_of_endpoints(space):
    """Endpoints should test the lifecycle of an Endpoint"""
    labels = {"test-endpoint-static": "true"}
    body = {
        "metadata": {"name": "testservice", "labels": labels},
        "subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}],
    }
    with space.watch(ENDPOINTS, labelSelector="test-endpoint-static=true") as events:
        space.create(ENDPOINTS, body)
        events.until("ADDED", lambda o: True)
        assert [e["metadata"]["name"] for e in space.api.items(ENDPOINTS, labelSelector="test-endpoint-static=true")] == ["testservice"]

        def update(found):
            found["metadata"]["labels"]["test-service"] = "updated"

        space.change(ENDPOINTS, "testservice", update)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-service") == "updated")
        subsets = [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080, "protocol": "TCP"}]}]
        space.patch(ENDPOINTS, "testservice", {"metadata": {"labels": {"test-service": "patched"}}, "subsets": subsets}, STRATEGIC)
        events.until("MODIFIED", lambda o: o["metadata"]["labels"].get("test-service") == "patched")
        assert space.get(ENDPOINTS, "testservice")["subsets"] == subsets
        space.delete(ENDPOINTS, labelSelector="test-endpoint-static=true")
        events.until("DELETED", lambda o: True)
    assert space.gone(ENDPOINTS, "testservice")


def without_pods(space):
    space.create(SERVICES, service("empty", selector={"does-not-match-anything": "endpoints-and-endpoint-slices-should-still-be-created"}))
    wait_until("Endpoints", lambda: not space.gone(ENDPOINTS, "empty"))
    slices = wait_until("slices", lambda: slices_of(space, "empty"))
    assert not space.get(ENDPOINTS, "empty").get("subsets") and not any(s.get("endpoints") for s in slices)
    space.delete(SERVICES, "empty")
    wait_until("Endpoints deleted", lambda: space.gone(ENDPOINTS, "empty"), timeout=60)
    wait_until("slices deleted", lambda: not slices_of(space, "empty"), timeout=60)


def test_endpoints_of_a_service_without_pods(space):
    """EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods"""
    without_pods(space)


def test_slices_of_a_service_without_pods(space):
    """EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods"""
    without_pods(space)


def with_pods(space):
    """Two pods and two services; what the controllers write about them is what is true."""
    account(space)
    labels = {"foo": "bar"}
    for name, port in (("pod1", 3000), ("pod2", 3001)):
        body = pod(name, {**labels, name: "yes"})
        body["spec"]["containers"][0]["ports"] = [{"name": "example-name", "containerPort": port}]
        space.create("v1/pods", body)
    space.create(SERVICES, service("both", selector=labels, ports=[{"name": "named", "port": 8080, "targetPort": "example-name"}]))
    space.create(SERVICES, service("first", selector={"pod1": "yes"}, publishNotReadyAddresses=True, ports=[{"port": 80, "targetPort": 3000}]))
    addresses = {}

    def running():
        for name in ("pod1", "pod2"):
            found = space.get("v1/pods", name)
            if conditions(found).get("Ready", {}).get("status") != "True":
                return False
            addresses[name] = found["status"]["podIP"]
        return True

    wait_until("Ready", running, timeout=60)
    return addresses


def test_slices_of_a_service_with_pods(space):
    """EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service"""
    addresses = with_pods(space)

    def sliced():
        found = {}
        for piece in slices_of(space, "both"):
            assert piece["addressType"] == "IPv4" and piece["metadata"]["ownerReferences"][0]["kind"] == "Service"
            for endpoint in piece.get("endpoints") or []:
                assert endpoint["targetRef"]["kind"] == "Pod" and endpoint["nodeName"] == "node-1"
                if endpoint["conditions"]["ready"]:
                    found[endpoint["targetRef"]["name"]] = (endpoint["addresses"][0], piece["ports"][0]["port"])
        return found == {"pod1": (addresses["pod1"], 3000), "pod2": (addresses["pod2"], 3001)}

    wait_until("slices per port", sliced, timeout=60)
    wait_until("one endpoint", lambda: [e["addresses"] for s in slices_of(space, "first") for e in s["endpoints"]] == [[addresses["pod1"]]])


def test_endpoints_of_a_service_with_pods(space):
    """EndpointsController should create Endpoints for Pods matching a Service"""
    addresses = with_pods(space)

    def subsets():
        found = {}
        for subset in space.get(ENDPOINTS, "both").get("subsets") or []:
            for address in subset.get("addresses") or []:
                assert address["targetRef"]["kind"] == "Pod"
                found[address["targetRef"]["name"]] = (address["ip"], subset["ports"][0]["port"], subset["ports"][0]["name"])
        return found == {"pod1": (addresses["pod1"], 3000, "named"), "pod2": (addresses["pod2"], 3001, "named")}

    wait_until("a subset per port", subsets, timeout=60)


def test_slices_are_served(api, space):
    """EndpointSlice should support creating EndpointSlice API operations"""
    body = {
        "addressType": "IPv4", "ports": [{"name": "test", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"], "conditions": {"ready": True}}],
    }  # fmt: skip

    def change(found):
        found["endpoints"].append({"addresses": ["9.9.9.9"], "conditions": {"ready": False}})
        return lambda got: len(got["endpoints"]) == 2

    api_operations(api, space, SLICES, "EndpointSlice", body, change)


def test_endpoints_of_ones_own_are_mirrored(space):
    """EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete"""
    space.create(SERVICES, {"metadata": {"name": "custom"}, "spec": {"ports": [{"name": "example", "port": 80}]}})
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    space.create(ENDPOINTS, {"metadata": {"name": "custom"}, "subsets": [subset]})

    def mirrored():
        return [(e["addresses"], s["ports"][0]["port"]) for s in slices_of(space, "custom") for e in s["endpoints"]]

    wait_until("mirrored", lambda: mirrored() == [(["10.1.2.3"], 80)], timeout=60)
    found = slices_of(space, "custom")[0]
    assert found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    changed = {"addresses": [{"ip": "10.2.3.4"}], "ports": [{"port": 9090, "protocol": "TCP"}]}
    space.change(ENDPOINTS, "custom", lambda o: o.update(subsets=[changed]))
    wait_until("mirrored again", lambda: mirrored() == [(["10.2.3.4"], 9090)], timeout=60)
    space.delete(ENDPOINTS, "custom")
    wait_until("deleted", lambda: not slices_of(space, "custom"), timeout=60)


def test_ingresses(api, space):
    """Ingress API should support creating Ingress API operations"""
    backend = {"service": {"name": "default-backend", "port": {"number": 80}}}
    rules = [{"host": "foo.bar.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    body = {"spec": {"defaultBackend": backend, "rules": rules}}

    def change(found):
        found["spec"]["rules"][0]["host"] = "changed.bar.com"
        return lambda got: got["spec"]["rules"][0]["host"] == "changed.bar.com" and got["metadata"]["generation"] == 2

    status = ({"loadBalancer": {"ingress": [{"ip": ip}]}} for ip in ("169.1.1.1", "169.1.1.2"))
    api_operations(api, space, INGRESSES, "Ingress", body, change, status=tuple(status))


def test_ingress_classes(api, unique):
    """IngressClass API should support creating IngressClass API operations"""
    api_operations(api, None, CLASSES, "IngressClass", {"spec": {"controller": "example.com/controller"}}, None, unique)


def test_addresses(api):
    """ServiceCIDR and IPAddress API should support IPAddress API operations"""
    discovered(api, ADDRESSES, "IPAddress", False)
    parent = {"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}
    for name, label in (("255.255.255.255", "broadcast"), ("fe80::42:1dff:fe84:f9e2", "link-local")):
        made = api.create(ADDRESSES, {"metadata": {"name": name, "labels": {"type": label}}, "spec": {"parentRef": parent}})
        assert made["spec"]["parentRef"] == parent
    patched = api.patch(ADDRESSES, "255.255.255.255", {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"]["patched"] == "true"
    updated = api.change(ADDRESSES, "255.255.255.255", lambda o: o["metadata"]["annotations"].update(updated="true"))
    assert updated["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    assert api.get(ADDRESSES, "255.255.255.255")["metadata"]["uid"] == updated["metadata"]["uid"]
    assert len(api.items(ADDRESSES, labelSelector="type=broadcast")) == 1
    with api.watch(ADDRESSES, labelSelector="type=broadcast") as events:
        events.until("ADDED", lambda o: True)
        api.delete(ADDRESSES, "255.255.255.255")
        events.until("DELETED", lambda o: True)
    api.delete(ADDRESSES, labelSelector="type=link-local")
    assert not api.items(ADDRESSES, labelSelector="type=link-local")


def test_the_ranges_of_services(api, unique):
    """ServiceCIDR and IPAddress API should support ServiceCIDR API operations"""
    default = api.get(CIDRS, "kubernetes")
    assert default["spec"]["cidrs"] == ["10.43.0.0/16"]
    status = api.get(CIDRS, "kubernetes", sub="status")
    assert (status["kind"], status["metadata"]["uid"]) == ("ServiceCIDR", default["metadata"]["uid"])
    wait_until("Ready", lambda: conditions(api.get(CIDRS, "kubernetes")).get("Ready", {}).get("status") == "True")
    assert len(api.items(CIDRS)) >= 1
    with api.watch(CIDRS) as events:
        events.until("ADDED", lambda o: o["metadata"]["name"] == "kubernetes")
    body = labelled({"spec": {"cidrs": ["203.0.113.0/28"]}}, unique, {"conformance": unique})
    api.create(CIDRS, body)
    api.patch(CIDRS, unique, {"metadata": {"annotations": {"patched": "true"}}}, MERGE)
    api.delete(CIDRS, labelSelector="conformance=" + unique)
    wait_until("deleted", lambda: api.gone(CIDRS, unique))


def test_endpoints_appear_soon(space):
    """Service endpoints latency should not be very high (20 services; upstream makes 200 and allows 20 s at the median)"""
    account(space)
    space.create("v1/pods", pod("latency", {"name": "svc-latency-rc"}))
    wait_until("Ready", lambda: conditions(space.get("v1/pods", "latency")).get("Ready", {}).get("status") == "True", timeout=60)
    with space.watch(ENDPOINTS) as events:
        for i in range(20):
            space.create(SERVICES, service(f"latency-{i}", selector={"name": "svc-latency-rc"}))
            wanted = f"latency-{i}"
            events.until(("ADDED", "MODIFIED"), lambda o: o["metadata"]["name"] == wanted and o.get("subsets"), timeout=20)
