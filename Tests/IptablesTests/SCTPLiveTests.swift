import Iptables
import Linux
import Netlink
import NetworkTesting
import Testing

/// SCTP by real packets. The kernel's own SCTP sockets are not needed, what netfilter knows of it is.
@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct SCTPLiveTests {
    @Test func anAssociationIsTranslatedAndItsAnswerBack() throws {
        let at = try ProxyLab(bridgeFiltering: false)
        try at.proxy.sync(
            ProxyState(services: [at.service(["10.42.0.3"], transport: .sctp)], settings: at.settings))
        at.expectPrintable()
        let (client, server) = (try SCTPSocket(in: at.a), try SCTPSocket(in: at.b))
        #expect(client.send(chunk: 1, to: try at.address("10.43.0.10"), from: 5000, port: 80))
        let first = try #require(server.receive(milliseconds: 10_000))
        #expect(first == SCTPSocket.Packet(try at.address("10.42.0.2"), 5000, 8080, chunk: 1))
        #expect(server.send(chunk: 2, to: first.source, from: 8080, port: first.sourcePort))
        let answer = SCTPSocket.Packet(try at.address("10.43.0.10"), 80, 5000, chunk: 2)
        #expect(client.receive(milliseconds: 10_000) == answer)
        // A TCP service of the same address and port is another's.
        #expect(probe(from: at.a, "10.43.0.10", 80, milliseconds: 300).server == nil)
    }

    @Test func policiesKnowItsPorts() throws {
        let at = try PolicyLab(bridgeFiltering: false)
        let rule = PolicyRule(ports: [PolicyPort(.sctp, 9000), PolicyPort(.tcp, 9001)])
        try at.load([NetworkPolicy("sctp", namespace: "default", pods: .equal(["app": "a"]), ingress: [rule])])
        let (client, server) = (try SCTPSocket(in: at.b), try SCTPSocket(in: at.a))
        let address = try #require(IPAddress("10.42.0.2"))
        #expect(client.send(chunk: 1, to: address, from: 5000, port: 9001))
        #expect(client.send(chunk: 1, to: address, from: 5000, port: 9000))
        // Only the second arrives.
        #expect(server.receive(milliseconds: 10_000)?.destinationPort == 9000)
    }
}
