"""Services beyond a cluster address: node ports, load balancers, their health checks, repair of the rules."""

from harness import wait_until
from test_workloads import DEPLOYMENT

BALANCER = """
apiVersion: v1
kind: Service
metadata: {name: lb}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 8099, targetPort: 8080}]
"""


def test_a_load_balancer_has_the_nodes_address_and_a_health_check(ns):
    ns.apply(DEPLOYMENT)
    ns.apply(BALANCER)
    wait_until("an address", lambda: ns.jsonpath("service", "lb", "{.status.loadBalancer.ingress[*].ip}") == "192.0.2.10")
    ns("rollout", "status", "deployment/web", "--timeout=60s")
    curl = lambda *a: ns.node.netns.run("curl", "-s", "-m", "3", *a, check=False).stdout
    wait_until("an answer on the load balancer's address", lambda: curl("http://192.0.2.10:8099/") == "hello\n")
    node_port = ns.jsonpath("service", "lb", "{.spec.ports[0].nodePort}")
    assert curl(f"http://192.0.2.10:{node_port}/") == "hello\n"
    assert curl(f"http://127.0.0.1:{node_port}/") == ""  # not on loopback, as in kube-proxy's nftables mode
    health = ns.jsonpath("service", "lb", "{.spec.healthCheckNodePort}")
    wait_until("two local endpoints", lambda: '"localEndpoints": 2' in curl(f"http://192.0.2.10:{health}/"))
    ns("scale", "deployment/web", "--replicas=0")
    status = lambda: curl("-o", "/dev/null", "-w", "%{http_code}", f"http://192.0.2.10:{health}/")
    wait_until("no local endpoints", lambda: status() == "503")
    ns("patch", "service", "lb", "-p", '{"spec": {"type": "ClusterIP"}}')
    wait_until("no address", lambda: ns.jsonpath("service", "lb", "{.status.loadBalancer.ingress[*].ip}") == "")
    wait_until("the health check's port is closed", lambda: status() == "000")


def test_rules_that_somebody_removed_come_back(ns):
    ns.node.netns.run("nft", "delete", "table", "ip", "k3s-proxy")
    wait_until(
        "the table", lambda: "10.43.0.1" in ns.node.netns.run("nft", "list", "table", "ip", "k3s-proxy", check=False).stdout,
        timeout=45,
    )  # fmt: skip


def test_the_name_server_tells_what_it_did(ns):
    ns.node.netns.run("dig", "@10.43.0.10", "+short", "kubernetes.default.svc.cluster.local")
    metrics = ns.node.netns.run("curl", "-s", "-m", "3", "http://10.43.0.10:9153/metrics").stdout
    for name in (
        "coredns_dns_requests_total", "coredns_dns_responses_total", "coredns_cache_entries", "coredns_cache_hits_total",
        "coredns_dns_request_duration_seconds_bucket", "coredns_cache_misses_total", "coredns_cache_requests_total",
        "coredns_forward_max_concurrent_rejects_total",
    ):  # fmt: skip
        assert f"\n{name}{{" in metrics, name
    asked = [line for line in metrics.splitlines() if line.startswith("coredns_dns_requests_total") and 'type="A"' in line]
    assert asked and 'proto="udp"' in asked[0] and int(asked[0].split()[-1]) >= 1
