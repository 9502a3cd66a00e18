"""iptables, its relatives and conntrack inside the binary, beside Debian's: the same words, exit codes and kernel rules."""

import os
import re
import shutil
import subprocess

import pytest
from host_tools import Lab, check, link_tools

pytestmark = pytest.mark.skipif(
    "nf_tables" not in subprocess.run(["iptables", "-V"], capture_output=True, text=True).stdout
    if shutil.which("iptables") else True, reason="needs Debian's iptables (hack/deps.sh test)")

FILTER = """
-A INPUT -s 10.0.0.1 -j ACCEPT
-A INPUT ! -s 10.0.0.0/8 -d 192.168.1.0/255.255.255.0 -j DROP
-A INPUT -s 10.1.0.0/13 -j RETURN
-A INPUT -s 1.2.3.4/255.0.255.0
-A INPUT -i eth0 -j ACCEPT
-A INPUT ! -i eth+ -j ACCEPT
-A INPUT -i + -j ACCEPT
-A FORWARD -o eth0 -i br+ -j DROP
-A INPUT -p tcp -j ACCEPT
-A INPUT ! -p udp -j ACCEPT
-A INPUT -p tcp --dport 80 -j ACCEPT
-A INPUT -p tcp --sport 5 --dport 6
-A INPUT -p tcp --sport 1:1024 ! --dport 80:90 -j ACCEPT
-A INPUT -p tcp --dport 0:65535
-A INPUT -p udp --dport 53
-A INPUT -p udp ! --sport 53:54 --dport 1:2
-A INPUT -p tcp --tcp-flags SYN,ACK SYN --dport 1
-A INPUT -p tcp --tcp-flags ALL NONE
-A INPUT -p tcp --syn -j ACCEPT
-A INPUT -p tcp ! --syn --tcp-option 5
-A INPUT -p tcp --syn --tcp-flags SYN SYN
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A INPUT -p icmp --icmp-type any
-A INPUT -p icmp ! --icmp-type 3/1
-A INPUT -p icmp --icmp-type nosuch
-A INPUT -f -j DROP
-A INPUT ! -f -j DROP
-A INPUT -m comment --comment "hello world" -j ACCEPT
-A INPUT -m comment --comment "it's" -j ACCEPT
-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
-A INPUT -m state --state NEW -j ACCEPT
-A INPUT -m conntrack ! --ctstate INVALID --ctproto 6 --ctorigsrc 1.2.3.4 --ctorigdstport 80:90 --ctdir ORIGINAL
-A INPUT -m conntrack --ctexpire 10:20 --ctstatus ASSURED,SEEN_REPLY --ctreplsrc 10.0.0.0/8
-A INPUT -m conntrack --ctstate DNAT,SNAT,UNTRACKED
-A INPUT -m conntrack --ctstate FOO
-A INPUT -m mark --mark 0x1/0xff -j ACCEPT
-A INPUT -m mark ! --mark 5
-A INPUT -m connmark --mark 5/0x5
-A INPUT -m connmark ! --mark 5
-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in
-A INPUT -m addrtype ! --src-type LOCAL,BROADCAST --dst-type UNICAST
-A INPUT -m multiport -p tcp --dports 80,443,1000:2000
-A INPUT -m multiport -p udp ! --sports 80,443
-A INPUT -p tcp -m multiport --ports 80
-A INPUT -m multiport --dports 80
-A INPUT -m limit --limit 10/min --limit-burst 7 -j LOG --log-prefix "hi there " --log-level 6 --log-uid
-A INPUT -m limit -j LOG --log-tcp-sequence --log-ip-options
-A INPUT -m limit --limit 5/foo
-A INPUT -m limit --limit 7/hour --limit-burst 5
-A INPUT -m statistic --mode random --probability 0.5
-A INPUT -m statistic --mode random --probability 0.33332999982
-A INPUT -m statistic --mode nth --every 3 --packet 0
-A INPUT -m statistic --mode nth ! --every 3 --packet 1
-A OUTPUT -m owner --uid-owner 1000 ! --gid-owner 5-6
-A OUTPUT -m owner --socket-exists
-A OUTPUT -m owner --uid-owner root
-A INPUT -m mac --mac-source 00:11:22:33:44:55
-A INPUT -m mac ! --mac-source 00:11:22:33:44:55
-A INPUT -m iprange --src-range 1.2.3.4-1.2.3.9 ! --dst-range 5.5.5.5-5.5.5.7
-A INPUT -m pkttype --pkt-type multicast
-A INPUT -m pkttype ! --pkt-type host
-A INPUT -p tcp -m tcpmss --mss 100:200
-A INPUT -m length --length 100:200
-A INPUT -m length ! --length 100
-A INPUT -m ttl --ttl-eq 5
-A INPUT -m ttl ! --ttl-eq 5
-A INPUT -m ttl --ttl-gt 5
-A INPUT -m ttl --ttl-lt 5
-A INPUT -m physdev --physdev-in eth0
-A FORWARD -m physdev --physdev-is-bridged ! --physdev-in eth+
-A INPUT -m recent --name x --set
-A INPUT -m recent --rcheck --seconds 60 --hitcount 4 --rttl --rsource
-A INPUT -m recent ! --update --rdest --mask 255.255.0.0
-A INPUT -m dscp --dscp 0x10
-A INPUT -m dscp --dscp-class EF
-A INPUT -p sctp --dport 80
-A INPUT -p esp -m esp --espspi 1:5
-A INPUT -m helper --helper ftp
-A INPUT -m connlimit --connlimit-above 5 --connlimit-mask 24
-A INPUT -m connlimit --connlimit-upto 5 --connlimit-daddr
-A INPUT -m socket --transparent
-A INPUT -j REJECT
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A INPUT -j REJECT --reject-with tcp-reset
-A INPUT -j NFLOG --nflog-group 5 --nflog-prefix "abc" --nflog-threshold 4
-A INPUT -j NFLOG --nflog-size 5
-A INPUT -j NFQUEUE --queue-num 5 --queue-bypass
-A INPUT -p tcp -m tcp -m comment --comment x
-A INPUT -m bogus
-A INPUT -j NOSUCH
-A NOSUCH -j ACCEPT
-D INPUT -j QQQ
-D INPUT 9999
-D INPUT 0
-I INPUT 9999 -j ACCEPT
-R INPUT 9999 -j ACCEPT
-C INPUT -s 9.9.9.9
-C INPUT -s 10.0.0.1 -j ACCEPT
-D INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
-I INPUT 3 -p tcp --dport 4444 -j ACCEPT
-I INPUT -p tcp --dport 4445 -j ACCEPT -v
-R INPUT 2 -s 7.7.7.7 -j DROP
-D INPUT 4
-N foo
-N foo
-N bar
-N ACCEPT
-N -x
-A INPUT -j foo
-A foo -g bar
-X foo
-X nosuch
-P foo DROP
-P FORWARD DROP
-P INPUT FOO
-P INPUT
-E foo baz
-E nosuch bar
-E nosuch qux
-L nosuch
-S nosuch
-F nosuch
-A INPUT -p tcp --dport
-A INPUT -p tcp --dport foo
-A INPUT --dport 80
-A INPUT -p nosuch
-A INPUT -s 1.2.3.4.5
-A INPUT -s 1.2.3.4/33
-A INPUT -o eth0
-A OUTPUT -i eth0
-A INPUT -j ACCEPT -j DROP
-A INPUT -s 1.1.1.1 -s 2.2.2.2
-A INPUT -m conntrack
-A INPUT -i toolonginterfacename1 -j ACCEPT
-A INPUT -L
-A FORWARD -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j ACCEPT -v
-A FORWARD -c 5 10 -j DROP
-A FORWARD -c 123456789 9876543210 -j DROP
-L FORWARD -n -v
-L FORWARD -v -x -n --line-numbers
-S FORWARD -v
-S
-S INPUT 2
-L INPUT 2 -n
-nL
-L -n --line-numbers
-nvL
-L FORWARD -n -v -Z
-S FORWARD -v
-Z
-F -v
-X -v
--foo
-A INPUT -j ACCEPT foo
-A INPUT ! -j ACCEPT
-w -S INPUT
-V
-A
-t nosuch -L
"""

NAT = """
-A POSTROUTING -j MASQUERADE
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1000-2000 --random-fully
-A POSTROUTING -j MASQUERADE --random
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4:80
-A PREROUTING -p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.9:80-90 --random --persistent
-A PREROUTING -p tcp -j DNAT --to-destination :80
-A PREROUTING -j DNAT --to-destination 1.2.3.4
-A PREROUTING -j DNAT --to-destination 1.2.3.4:80
-A PREROUTING -j DNAT --to 1.2.3.4
-A PREROUTING -j DNAT
-A PREROUTING -p tcp -m tcp --dport 10:20 -j DNAT --to-destination 1.2.3.4:5000-6000/1500
-A POSTROUTING -j SNAT --to-source 1.2.3.4
-A POSTROUTING -p udp -j SNAT --to-source 1.2.3.4-1.2.3.8:5-10 --random-fully
-A PREROUTING -p tcp -j REDIRECT --to-ports 8080
-A PREROUTING -p tcp -j REDIRECT --to-ports 8080-8090 --random
-A PREROUTING -j REDIRECT
-A PREROUTING -d 10.0.0.0/8 -j NETMAP --to 11.0.0.0/8
-A POSTROUTING -j REJECT
-L -n
-S
"""

MANGLE = """
-A PREROUTING -j MARK --set-mark 5
-A PREROUTING -j MARK --set-xmark 0x1/0xff
-A PREROUTING -j MARK --and-mark 0xff
-A PREROUTING -j MARK --or-mark 0xff
-A PREROUTING -j MARK --xor-mark 0xff
-A PREROUTING -j MARK
-A PREROUTING -j CONNMARK --save-mark
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xff
-A PREROUTING -j CONNMARK --set-mark 0x4/0xf
-A PREROUTING -j CONNMARK --restore-mark
-A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
-A PREROUTING -p tcp -j TPROXY --on-port 80 --on-ip 1.2.3.4 --tproxy-mark 1/1
-A POSTROUTING -p udp -j CHECKSUM --checksum-fill
-A PREROUTING -m rpfilter --loose --invert
-A PREROUTING -m rpfilter
-A POSTROUTING -j CLASSIFY --set-class 1:10
-A PREROUTING -j TTL --ttl-inc 1
-A PREROUTING -j DSCP --set-dscp 5
-L -n
-S
"""

RAW = """
-A PREROUTING -j NOTRACK
-A PREROUTING -j CT --notrack
-A PREROUTING -j CT --zone 5
-A PREROUTING -j CT --zone-orig 5 --ctevents new,destroy
-A PREROUTING -j TRACE
-L -n
-S
"""

FILTER6 = """
-A INPUT -s fd00::1 -j ACCEPT
-A INPUT ! -s fd00::/64 -d fe80::/10 -j DROP
-A INPUT -s fd00::/61
-A INPUT -p icmpv6 -j ACCEPT
-A INPUT -p ipv6-icmp --icmpv6-type echo-request -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 ! --icmpv6-type 1/2
-A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset
-A INPUT -j REJECT
-A INPUT -j REJECT --reject-with icmp6-adm-prohibited
-A INPUT -m hl --hl-eq 5
-A INPUT -m conntrack --ctstate NEW --ctorigsrc fd00::/64
-A INPUT -m iprange --src-range fd00::1-fd00::9
-A INPUT -m recent --set --name z --mask ffff:ffff::
-A INPUT -m multiport -p tcp --dports 80,443
-A INPUT -s 1.2.3.4
-L -n -v
-L
-S
"""

NAT6 = """
-A POSTROUTING -j MASQUERADE
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1000-2000 --random-fully
-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:80
-A PREROUTING -p tcp -j DNAT --to-destination fd00::1-fd00::5
-A POSTROUTING -p tcp -j SNAT --to-source fd00::1
-A POSTROUTING -p tcp -j SNAT --to-source [fd00::1-fd00::9]:1-5
-A PREROUTING -p tcp -j REDIRECT --to-ports 8080
-A PREROUTING -d fd00::/64 -j NETMAP --to fe00::/64
-L -n
"""


@pytest.fixture
def labs(tmp_path):
    """(Debian's, ours)"""
    names = [family + form for family in ["iptables", "ip6tables"] for form in ["", "-save", "-restore"]]
    link_tools(tmp_path, names + ["conntrack", "ipset"])
    made = [Lab(), Lab(tmp_path)]
    yield made
    for lab in made:
        lab.close()


@pytest.mark.parametrize("tool, table, lines", [
    ("iptables", "filter", FILTER), ("iptables", "nat", NAT), ("iptables", "mangle", MANGLE), ("iptables", "raw", RAW),
    ("ip6tables", "filter", FILTER6), ("ip6tables", "nat", NAT6)])
def test_each_command_says_and_does_what_debians_does(labs, tool, table, lines):
    theirs, ours = labs
    family = 2 if tool == "iptables" else 10
    differences = []
    for line in lines.strip().splitlines():
        command = f"{tool} {line}" if "-t " in line else f"{tool} -t {table} {line}"
        results = [lab.run(command) for lab in labs]
        if results[0] != results[1]:
            differences.append((command, *results))
        if theirs.kernel_rules(family) != ours.kernel_rules(family):
            differences.append((command, "the kernel's rules differ"))
            break
    check(differences)
    saved = theirs.run(f"{tool}-save")
    assert saved[2] == 0 and saved == ours.run(f"{tool}-save")
    # Each reads what the other wrote, in the kernel and as text.
    for lab, other in [(theirs, ours), (ours, theirs)]:
        assert lab.run(f"{tool}-restore", input=saved[0]) == ("", "", 0)
        nsenter = ["nsenter", f"--net=/proc/{lab.holder.pid}/ns/net", f"{tool}-save"]
        read = subprocess.run(nsenter, capture_output=True, text=True, env=dict(os.environ, PATH=other.path)).stdout
        assert re.sub(r"^(# (Generated by|Completed).*) on .*$", r"\1", read, flags=re.M) == saved[0]
    assert theirs.kernel_rules(family) == ours.kernel_rules(family)


RESTORES = [
    ("", "*filter\n:INPUT ACCEPT [5:10]\n:foo - [0:0]\n[7:8] -A INPUT -j foo\n-A foo -j NOSUCH\nCOMMIT\n"),
    ("", "*filter\n:INPUT ACCEPT [5:10]\n-A INPUT -p tcp --dport foo\nCOMMIT\n"),
    ("", "*filter\n:INPUT ACCEPT [5:10]\n:foo - [0:0]\n[7:8] -A INPUT -j foo\n"),
    ("", "-A INPUT -j ACCEPT\n"),
    ("", "*filter\ngarbage\nCOMMIT\n"),
    ("", "*nosuch\nCOMMIT\n"),
    ("", "*filter\n:INPUT FOO [0:0]\nCOMMIT\n"),
    ("", "*filter\n-A INPUT -j MASQUERADE\nCOMMIT\n"),
    ("", "*filter\n-A INPUT -j ACCEPT\n-D INPUT -s 9.9.9.9\nCOMMIT\n"),
    ("", "*filter\n-X nosuch\nCOMMIT\n"),
    ("-c", "# hi\n*filter\n:INPUT DROP [5:10]\n:FORWARD ACCEPT [0:0]\n:foo - [0:0]\n[7:8] -A INPUT -j foo\n"
           "-A foo -s 1.1.1.1,2.2.2.2 -j ACCEPT\n-I foo -j DROP\nCOMMIT\n\n*nat\n-A PREROUTING -j ACCEPT\nCOMMIT\n"),
    ("-n", "*filter\n:foo - [0:0]\n:new - [0:0]\n-A foo -j RETURN\n-A new -j foo\n-A INPUT \nCOMMIT\n"),
    ("-t", "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n"),
    ("-v", "*filter\n:INPUT ACCEPT [0:0]\n:foo - [0:0]\n-A INPUT -j foo\nCOMMIT\n"),
    ("-T nat", "*filter\n:INPUT DROP [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"),
    ("-n", "*filter\n-A foo -m comment --comment \"a \\\"b\\\" c\" -j ACCEPT\nCOMMIT\n"),
    ("-n", "*filter\n-N x1\n-A x1 -j x2\nCOMMIT\n"),
    ("-w 5 -W 5 --counters --noflush", ""),
    # As kube-proxy writes: delete by specification, chains emptied by their lines.
    ("--noflush --counters", "*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-A KUBE-A -m comment --comment \"x/y:z\" "
     "-m statistic --mode random --probability 0.50000000000 -j KUBE-B\n-A KUBE-B -s 10.42.0.3/32 -j MARK --or-mark 0x4000"
     "\n-A KUBE-B -p tcp -m tcp -j DNAT --to-destination 10.42.0.3:80\nCOMMIT\n"),
    ("--noflush", "*nat\n:KUBE-A - [0:0]\n-X KUBE-A\nCOMMIT\n"),
    ("nosuchfile", ""),
    ("", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\nCOMMIT\n"),
]


def test_restore(labs):
    theirs, ours = labs
    differences = []
    for number, (flags, text) in enumerate(RESTORES):
        results = [lab.run(f"iptables-restore {flags}", input=text) for lab in labs]
        results = [r + lab.run("iptables-save -c") for r, lab in zip(results, labs)]
        if results[0] != results[1]:
            differences.append((number, flags, text, *results))
        if theirs.kernel_rules(2) != ours.kernel_rules(2):
            differences.append((number, flags, text, "the kernel's rules differ"))
    check(differences)


def test_ten_thousand_rules_in_one_transaction(labs):
    _, ours = labs
    text = "*filter\n:big - [0:0]\n" + "".join(
        f"-A big -s 10.{n >> 8}.{n & 255}.1/32 -p tcp -m tcp --dport {n + 1} -j ACCEPT\n" for n in range(10000)) + "COMMIT\n"
    assert ours.run("iptables-restore", input=text) == ("", "", 0)
    saved = ours.run("iptables-save")[0]
    assert saved.count("-A big") == 10000
    assert "-A big -s 10.39.15.1/32 -p tcp -m tcp --dport 10000 -j ACCEPT" in saved


CONNECTIONS = """
import socket, sys
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("127.0.0.1", 8080)); s.listen()
a = socket.create_connection(("127.0.0.1", 8080), source_address=("127.0.0.1", 40001)); b, _ = s.accept()
c = socket.create_connection(("127.0.0.1", 8081), source_address=("127.0.0.1", 40002)); d, _ = s.accept()
u = socket.socket(type=2); u.bind(("127.0.0.1", 40003)); u.sendto(b"x", ("127.0.0.1", 8082))
p = socket.socket(2, 3, 1); p.sendto(b"\\x08\\0\\xf7\\xfd\\0\\1\\0\\1", ("127.0.0.1", 0))
print(flush=True)
sys.stdin.read()
"""

CONNTRACK = [
    "-L", "-C", "-L -p tcp", "-L -p tcp --dport 8081", "-L -f ipv6", "-L -s 127.0.0.1 -o extended", "-L -n", "-L -g",
    "-L -d 10.0.0.1", "-L -s 127.0.0.0/8", "-L --state ESTABLISHED", "-L -p tcp --state ESTABLISHED", "-L -m 0",
    "-L -m 5", "-L --reply-port-src 8080", "-L -p tcp --orig-port-dst 8081",
    "-L -p tcp --reply-port-src 8080 --orig-src 127.0.0.1", "-L -u ASSURED", "-L -p udp --sport 40003", "-L --foo",
    "-L -p nosuch", "-L -s x", "-V", "-D -p tcp --dport 8081", "-C", "-D -p tcp --dport 9", "-D -s 127.0.0.1 -p udp", "-L",
    "-D -f ipv6", "-F", "-C", "-L", "-D",
]


@pytest.mark.skipif(not shutil.which("conntrack"), reason="needs Debian's conntrack (hack/deps.sh test)")
def test_conntrack(labs):
    clients = []
    for lab in labs:
        lab.run("iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT")
        lab.run("iptables -t nat -A OUTPUT -p tcp --dport 8081 -j DNAT --to-destination 127.0.0.1:8080")
        client = subprocess.Popen(["nsenter", f"--net=/proc/{lab.holder.pid}/ns/net", "python3", "-c", CONNECTIONS],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client.stdout.readline()
        clients.append(client)
    try:
        differences = []
        for arguments in CONNTRACK:
            results = []
            for lab in labs:
                out, err, code = lab.run(f"conntrack {arguments}")
                # Remaining seconds tick, the order is that of a hash with a secret.
                lines = sorted(re.sub(r"^((?:ipv4 +2 )?\w+ +\d+) \d+ ", r"\1 T ", line) for line in out.splitlines())
                results.append((lines, err, code))
            if results[0] != results[1]:
                differences.append((arguments, *results))
        check(differences)
    finally:
        for client in clients:
            client.stdin.close()
            client.wait()


IPSET = """
create a hash:ip
create a hash:ip
create -exist a hash:ip
create n hash:net timeout 300 comment counters family inet
create n6 hash:net family inet6
create ipp hash:ip,port hashsize 64 maxelem 100
create np hash:net,port
create bp bitmap:port range 1-1000
create ls list:set size 4
create b hash:nosuch
create c hash:ip foo 1
add a 1.2.3.4
add a 1.2.3.4
-exist add a 1.2.3.4
add a 1.2.3.6-1.2.3.9
add n 10.0.0.0/8 comment "hello x" timeout 0
add n 11.0.0.0/8 comment "hello" packets 5 bytes 7 timeout 0
add n 12.0.0.0/8 nomatch timeout 0
add n6 fd00::/64
add n6 fd00::1
add ipp 1.2.3.4,tcp:80
add ipp 1.2.3.4,udp:53
add ipp 1.2.3.4,81
add ipp 1.2.3.4,icmp:8/0
add ipp 1.2.3.4,sctp:100-102
add np 10.0.0.0/8,tcp:80-81
add bp 80
add bp 90-92
add bp 9999
add ls a
add ls nosuch
add nosuch 1.2.3.4
add a 1.2.3.4 timeout 5
test a 1.2.3.4
test a 9.9.9.9
test np 10.9.9.9,80
del a 9.9.9.9
del a 1.2.3.7
list
list a
list -n
list -t
list nosuch
save
save n
rename a nn
create a2 hash:ip
swap nn a2
rename a2 nn
list -n
flush nn
flush n
destroy nn
destroy a
destroy nosuch
list
add
"""


@pytest.mark.skipif(not shutil.which("ipset"), reason="needs Debian's ipset (hack/deps.sh test)")
def test_ipset(labs):
    theirs, ours = labs

    def clean(result):
        # The seed of a hash is random, and so is the order of what it holds.
        out = re.sub(r"(initval) 0x[0-9a-f]+", r"\1 X", result[0])
        out = re.sub(r"(Size in memory:) .*", r"\1 X", out)
        blocks = [sorted(block.splitlines()) for block in out.split("\n\n")]
        return blocks, result[1], result[2]

    differences = []
    for line in IPSET.strip().splitlines():
        results = [clean(lab.run(f"ipset {line}")) for lab in labs]
        if results[0] != results[1]:
            differences.append((line, *results))
    check(differences)
    # A set of either is read by the other's restore, and rules name sets by their numbers.
    saved = theirs.run("ipset save")[0]
    for lab in labs:
        lab.run("ipset flush; ipset destroy")
        assert lab.run("ipset restore", input=saved) == ("", "", 0)
        assert sorted(lab.run("ipset save")[0].splitlines()) == sorted(saved.splitlines())
    for rule in ["--match-set n src", "! --match-set np dst,dst", "--match-set nosuch dst"]:
        assert theirs.run(f"iptables -A INPUT -m set {rule} -j DROP") == ours.run(f"iptables -A INPUT -m set {rule} -j DROP")
    assert theirs.run("iptables -S; iptables -nL") == ours.run("iptables -S; iptables -nL")
    assert theirs.kernel_rules(2) == ours.kernel_rules(2)
    bad = "create x hash:ip\nadd x 1.2.3.4\nadd x 1.2.3.4\n"
    assert theirs.run("ipset restore", input=bad) == ours.run("ipset restore", input=bad)
