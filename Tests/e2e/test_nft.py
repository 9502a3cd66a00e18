"""`nft list` inside the binary, beside Debian's: the same text for what k3s loads, and for what others commonly do."""

import os
import shutil

import pytest
from conftest import BUSYBOX
from harness import run, wait_until
from host_tools import Lab, check, differences, link_tools

pytestmark = pytest.mark.skipif(not shutil.which("nft"), reason="needs Debian's nftables (hack/deps.sh test)")

OBJECTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: plain}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: u, port: 53, protocol: UDP}}, {{name: s, port: 5, protocol: SCTP}}]
---
apiVersion: v1
kind: Service
metadata: {{name: sticky}}
spec:
  type: NodePort
  sessionAffinity: ClientIP
  ipFamilyPolicy: PreferDualStack
  selector: {{app: web}}
  ports: [{{port: 81, targetPort: 8080, nodePort: 30081}}]
---
apiVersion: v1
kind: Service
metadata: {{name: local}}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  externalIPs: [198.51.100.7]
  selector: {{app: web}}
  ports: [{{port: 82, targetPort: 8080, nodePort: 30082}}]
---
apiVersion: v1
kind: Service
metadata: {{name: balanced}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  loadBalancerSourceRanges: [198.51.100.0/24, 203.0.113.5/32, "fd99::/48"]
  selector: {{app: web}}
  ports: [{{port: 8083, targetPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: nobody}}
spec: {{type: NodePort, selector: {{app: nobody}}, ports: [{{port: 84, nodePort: 30084}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: w1, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: {BUSYBOX}
    command: [sleep, "1000"]
    ports: [{{containerPort: 8080, hostPort: 9090, name: named}}, {{containerPort: 81, hostPort: 91, hostIP: 192.0.2.10, protocol: UDP}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: w2, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: {BUSYBOX}, command: [sleep, "1000"]}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: p1}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: web}}}}}}, {{ipBlock: {{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}}}]
    ports: [{{port: 80}}, {{port: named}}, {{port: 100, endPort: 200, protocol: UDP}}]
  egress:
  - to: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}, {{ipBlock: {{cidr: "fd99::/48", except: ["fd99:0:0:1::/64"]}}}}]
  - ports: [{{port: 53, protocol: UDP}}]
"""

LINES = """
nft list ruleset
nft -a list ruleset
nft -n list ruleset
nft -s list ruleset
nft -t list ruleset
nft list ruleset ip6
nft list tables
nft list tables ip6
nft list table ip k3s-proxy
nft list table k3s-pods
nft list chains
nft list chains ip
nft list chain ip k3s-proxy postrouting
nft list sets
nft -a list maps ip
nft list set ip k3s-pods cluster-cidrs
nft list map ip k3s-proxy services
nft list map ip k3s-proxy cluster-cidrs
nft list table ip nosuch
nft list chain ip k3s-proxy nosuch
nft list chain ip nosuch nosuch
"""

DUAL_STACK = ("--cluster-cidr=10.42.0.0/16,fd42::/56", "--service-cidr=10.43.0.0/16,fd43::/112",
              "--node-ip=192.0.2.10,fd00:2::10")


@pytest.mark.parametrize("flags", [DUAL_STACK, ("--kube-proxy-arg=nodeport-addresses=192.0.2.0/24",)],
                         ids=["dual stack", "one family"])
def test_what_a_node_loads(own_node, tmp_path, flags):
    tools = link_tools(tmp_path, ["nft"])
    own_node.flags = flags
    if flags == DUAL_STACK:
        own_node.netns.run("ip", "addr", "add", "fd00:2::10/64", "dev", "lo", check=False)
    own_node.start()
    own_node.apply(OBJECTS if flags == DUAL_STACK else OBJECTS.replace(', "fd99::/48"]', "]"))
    own_node.kubectl("wait", "--for=condition=Ready", "pod", "w1", "w2", "--timeout=60s")

    def ruleset():
        return own_node.netns.run("nft", "list", "ruleset").stdout

    wait_until("host ports", lambda: "9090" in ruleset())
    wait_until("endpoints", lambda: "numgen random mod 2" in ruleset())
    wait_until("policies", lambda: "chain ingress/default/p1" in ruleset())

    def tool(path):
        def go(line):
            result = run(*own_node.netns.command("sh", "-c", line), check=False,
                         env=dict(os.environ, PATH=f"{path}:{os.environ['PATH']}"))
            return result.stdout, result.stderr, result.returncode
        return go

    def found():
        return differences(LINES.strip().splitlines(), tool("/usr/sbin"), tool(tools))

    # Something may change between the two; what stays is a difference.
    for _ in range(3):
        left = found()
        if not left:
            break
    check(left)
    assert "elements" in tool(tools)("nft list map ip k3s-proxy services")[0]


OTHERS = """
add table ip a { comment "of somebody"; }
add table inet b { flags dormant; }
add table ip6 c
add set ip a s { type ipv4_addr; flags interval; auto-merge; timeout 1h; gc-interval 5m; comment "x y"; policy memory; size 100; }
add set ip a ports { type inet_service; }
add element ip a ports { 80, 443, 1, 2, 3, 4, 5, 6 }
add set ip a nets { type ipv4_addr; flags interval; }
add element ip a nets { 10.0.0.0/8, 192.168.1.5-192.168.1.9, 1.2.3.4, 224.0.0.0/4 }
add set ip a marks { type mark; }
add element ip a marks { 1, 256, 2 }
add set ip a names { type ifname; }
add element ip a names { "eth0", "lo" }
add set ip a pairs { type ipv4_addr . inet_service; flags interval; }
add element ip a pairs { 10.0.0.0/8 . 80-90, 1.2.3.4 . 53 }
add map ip a m { type mark : ipv4_addr; }
add element ip a m { 5 : 1.2.3.4 }
add map ip a v { type ipv4_addr : verdict; flags interval; }
add element ip a v { 10.0.0.0/8 : drop, 1.2.3.4 comment "one" : accept }
add map ip6 c hosts { type ipv6_addr : inet_service; }
add element ip6 c hosts { fd00::1 : 80, fd00::2 : 81 }
add chain ip a other
add chain ip a first { type filter hook input priority 0; policy drop; comment "zz"; }
add chain ip a pre { type nat hook prerouting priority -110; }
add chain ip a post { type nat hook postrouting priority 100; }
add chain ip a out { type route hook output priority -150; }
add chain inet b f { type filter hook forward priority 5; }
add chain ip6 c in6 { type filter hook input priority -300; }
add rule ip a first tcp dport 80 accept
add rule ip a first tcp dport { 80, 443 } accept comment "web"
add rule ip a first tcp sport 1024-65535 tcp dport != 53 drop
add rule ip a first udp dport 53 counter accept
add rule ip a first ip saddr 10.0.0.0/8 ip daddr != 1.2.3.4 drop
add rule ip a first ip saddr 10.1.0.0/13 return
add rule ip a first ip saddr 10.0.0.1-10.0.0.9 accept
add rule ip a first ip saddr @nets tcp dport @ports jump other
add rule ip a first ip saddr . tcp dport @pairs goto other
add rule ip a first ip protocol tcp accept
add rule ip a first ip ttl 5 drop
add rule ip a first meta l4proto { tcp, udp } accept
add rule ip a first meta l4proto icmp icmp type echo-request accept
add rule ip a first icmp type { 0, 8 } accept
add rule ip a first iif lo accept
add rule ip a first iifname "eth0" oifname != "br-*" accept
add rule ip a first iifname @names accept
add rule ip a first ct state established,related accept
add rule ip a first ct state invalid drop
add rule ip a first ct status dnat accept
add rule ip a first ct direction original accept
add rule ip a first ct mark 5 accept
add rule ip a first ct original ip daddr 1.2.3.4 accept
add rule ip a first meta mark 0x10 accept
add rule ip a first meta mark & 0xff == 0x10 accept
add rule ip a first meta mark & 0xff != 0x10 drop
add rule ip a first meta mark @marks accept
add rule ip a first meta mark set 0x20
add rule ip a first meta mark set meta mark or 0x4000
add rule ip a first meta mark set meta mark and 0xffffbfff
add rule ip a first ct mark set meta mark
add rule ip a first meta mark set ct mark
add rule ip a first meta pkttype multicast drop
add rule ip a first meta skuid 1000 accept
add rule ip a first ip saddr vmap @v
add rule ip a first tcp dport vmap { 22 : accept, 23 : drop }
add rule ip a first fib daddr type local accept
add rule ip a first fib saddr . iif oif 0 drop
add rule ip a first log prefix "hi there " level info
add rule ip a first log group 5
add rule ip a first limit rate 10/second burst 5 packets accept
add rule ip a first limit rate over 400/minute drop
add rule ip a first tcp flags syn accept
add rule ip a first tcp flags & (syn | ack) == syn accept
add rule ip a first reject
add rule ip a first reject with tcp reset
add rule ip a first reject with icmp host-unreachable
add rule ip a first notrack
add rule ip a first counter packets 5 bytes 10
add rule ip a first continue
add rule ip a pre tcp dport 80 dnat to 10.0.0.1:8080
add rule ip a pre dnat to 10.0.0.1
add rule ip a pre tcp dport 81 dnat to 10.0.0.1-10.0.0.9:80-90
add rule ip a pre tcp dport 82 redirect to :8080
add rule ip a pre dnat to meta mark map @m
add rule ip a pre dnat to numgen random mod 2 map { 0 : 1.2.3.4, 1 : 1.2.3.5 }
add rule ip a post masquerade
add rule ip a post ip saddr 10.0.0.0/8 oifname "eth0" masquerade random,persistent
add rule ip a post snat to 1.2.3.4
add rule ip a out meta mark set 5 accept
add rule inet b f meta nfproto ipv4 accept
add rule inet b f ip saddr 1.2.3.4 tcp dport 80 accept
add rule inet b f ip6 daddr fd00::/64 drop
add rule inet b f tcp dport 22 accept
add rule inet b f reject
add rule ip6 c in6 ip6 saddr fd00::/64 ip6 daddr fd00::5 accept
add rule ip6 c in6 icmpv6 type { echo-request, nd-neighbor-solicit } accept
add rule ip6 c in6 ip6 nexthdr tcp accept
add rule ip6 c in6 tcp dport 80 ip6 saddr fd00::/8 accept
"""


def test_what_others_load(tmp_path):
    tools = link_tools(tmp_path, ["nft"])
    lab = Lab()
    try:
        for line in OTHERS.strip().splitlines():
            assert lab.run(f"nft '{line}'") == ("", "", 0), line
        path = f"{tools}:{lab.path}"
        lines = ["nft list ruleset", "nft -a list ruleset", "nft -s list ruleset", "nft -t list ruleset", "nft list sets",
                 "nft list maps", "nft list chains", "nft list tables", "nft list chain ip a first", "nft list set ip a s",
                 "nft list ruleset inet", "nft list table inet b"]
        found = differences(lines, lab.run, lambda line: lab.run(line, path=path))
        check(found)
        # What iptables has written is shown as far as it goes, and never as something else.
        lab.run("iptables -A INPUT -p tcp --dport 80 -m recent --set -j ACCEPT")
        out, err, code = lab.run("nft list table ip filter", path=path)
        assert (err, code) == ("", 0) and "# xt_recent" in out and "accept" in out
        # Nothing is changed by it.
        assert lab.run("nft flush ruleset", path=path)[2] == 1
        assert "table ip a" in lab.run("nft list tables")[0]
    finally:
        lab.close()


def test_terminates_without_rules(tmp_path):
    tools = link_tools(tmp_path, ["nft"])
    lab = Lab()
    try:
        check(differences(["nft list ruleset", "nft list tables", "nft list sets", "nft", "nft -Z"], lab.run,
                          lambda line: lab.run(line, path=f"{tools}:{lab.path}")))
    finally:
        lab.close()
