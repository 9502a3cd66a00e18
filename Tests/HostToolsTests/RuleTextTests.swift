import Netlink
import Testing

@testable import HostTools

@Suite struct RuleTextTests {
    @Test(arguments: [
        ("-s 10.1.0.0/13 -j RETURN", "-s 10.0.0.0/13 -j RETURN"),
        ("! -s 10/8 -i eth+ -p tcp --dport 80", "! -s 10.0.0.0/8 -i eth+ -p tcp -m tcp --dport 80"),
        ("-p udp ! --sport 53:54", "-p udp -m udp ! --sport 53:54"),
        ("-p tcp --syn -j ACCEPT", "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT"),
        ("-m comment --comment \"a b\"", "-m comment --comment \"a b\""),
        ("-m state --state NEW", "-m state --state NEW"),
        ("-m conntrack --ctstate ESTABLISHED,NEW", "-m conntrack --ctstate NEW,ESTABLISHED"),
        ("-m limit -j LOG", "-m limit --limit 3/hour -j LOG"),
        ("-m mark ! --mark 5", "-m mark ! --mark 0x5"),
        (
            "-m statistic --mode random --probability 0.33332999982",
            "-m statistic --mode random --probability 0.33332999982"
        ),
        ("-p tcp -m multiport --dports 80,1000:2000", "-p tcp -m multiport --dports 80,1000:2000"),
        ("-j MARK --or-mark 0x4000", "-j MARK --set-xmark 0x4000/0x4000"),
        ("-p tcp -j DNAT --to 1.2.3.4:80", "-p tcp -j DNAT --to-destination 1.2.3.4:80"),
        ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
        ("-j NFLOG --nflog-group 5 --nflog-prefix abc", "-j NFLOG --nflog-prefix abc --nflog-group 5"),
        ("-g chain", "-g chain"), ("-f -j TRACE", "-f -j TRACE"),
    ])
    func isPrintedAsTheOriginalPrintsIt(_ line: String, _ expected: String) throws {
        let rules = try RuleText.roundTrip("-A INPUT " + line)
        #expect(rules.map(\.written) == [" " + expected])
        #expect(rules.map(\.read) == [" " + expected])
    }

    @Test(arguments: [
        ("-p ipv6-icmp --icmpv6-type echo-request", "-p ipv6-icmp -m icmp6 --icmpv6-type 128"),
        ("-p tcp -j DNAT --to-destination [fd00::1]:80", "-p tcp -j DNAT --to-destination [fd00::1]:80"),
        ("-d fe80::/10 -j MASQUERADE", "-d fe80::/10 -j MASQUERADE"),
    ])
    func ofIPv6(_ line: String, _ expected: String) throws {
        let rules = try RuleText.roundTrip("-A INPUT " + line, .ipv6)
        #expect(rules.map(\.written) == [" " + expected])
        #expect(rules.map(\.read) == [" " + expected])
    }

    @Test func listsOfAddressesAreRulesEach() throws {
        let rules = try RuleText.roundTrip("-A INPUT -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j DROP")
        #expect(rules.count == 4)
        #expect(rules[1].written == " -s 1.1.1.1/32 -d 4.4.4.4/32 -j DROP")
    }

    @Test(arguments: [
        ("-A INPUT --dport 80", "unknown option \"--dport\""),
        ("-A INPUT -p nosuch", "unknown protocol \"nosuch\" specified"),
        ("-A INPUT -s 1.2.3.4/33", "invalid mask `33' specified"),
        ("-A INPUT -m bogus", "Couldn't load match `bogus':No such file or directory\n"),
        ("-A INPUT -p tcp --dport foo", "invalid port/service `foo' specified"),
        ("-A INPUT -j DNAT", "DNAT: option \"--to-destination\" must be specified\n"),
        ("-A INPUT -m conntrack --ctstate FOO", "Bad ctstate \"FOO\""),
        ("-A INPUT -j ACCEPT -j DROP", "multiple -j flags not allowed"),
        ("-A INPUT -L", "Cannot use -L with -A"), ("", "no command specified"),
        ("-A", "option \"-A\" requires an argument"),
        ("-A INPUT -c , -j DROP", "-c packet counter not numeric"),
    ])
    func errorsAreTheOriginals(_ line: String, _ text: String) {
        #expect(throws: ToolError(2, text)) { try RuleText.roundTrip(line) }
    }

    @Test func quotesAndBackslashesOfALine() throws {
        #expect(
            try IptablesRestore.words("-A x --comment \"a \\\"b\\\" c\" -j 'D E'") == [
                "-A", "x", "--comment", "a \"b\" c", "-j", "D E",
            ])
    }

    @Test func whatTheKernelNamesAndTheTableLacksIsNotLost() throws {
        var list = MessageBuffer(capacity: 64)
        list.expression("match") {
            $0.attribute(1, string: "nosuch")
            $0.attribute(2, big: UInt32(3))
            $0.attribute(3, bytes: [1, 2, 3, 4])
        }
        #expect(RuleText.decode(list.bytes, .ipv4).options == " -m nosuch [unsupported revision] -c 0 0")
    }

    @Test func countersInColumns() {
        #expect(Rule.count(99999, false) == "99999 ")
        #expect(Rule.count(123_456_789, false) == " 123M ")
        #expect(Rule.shortCount(9_876_543_210) == "9877M")
    }

    @Test func everyLineOfTheTableIsUsable() {
        for family in AddressFamily.allCases {
            for one in Extension.all(family) {
                #expect(one.name == "TRACE" || !one.initial.bytes.isEmpty, "\(one.name)")
                for option in one.options where option.kind == "bits" || option.kind == "enum" {
                    #expect(!Extension.names(option.detail).isEmpty, "\(one.name) \(option.names)")
                }
                for option in one.options { #expect(option.offset < max(1, one.initial.bytes.count)) }
            }
        }
    }
}
