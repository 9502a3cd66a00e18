import Linux
import Testing

@testable import Node

@Suite("Choice of resolv.conf") struct ResolvConfChoiceTests {
    @Test(arguments: [
        "nameserver 192.0.2.1\n", "search a\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n",
        "nameserver 169.254.169.254\n",
    ])
    func serversOfTheNetworkAreUsable(_ text: String) { #expect(ResolvConfChoice.isUsable(text)) }

    @Test(arguments: [
        "", "search a\n", "nameserver 127.0.0.53\n", "nameserver 192.0.2.1\nnameserver ::1\n",
        "nameserver fe80::1%eth0\n", "nameserver 224.0.0.251\n", "nameserver 169.254.1.1\n", "nameserver 0.0.0.0\n",
    ])
    func serversOfThisMachineAloneAreNot(_ text: String) { #expect(!ResolvConfChoice.isUsable(text)) }

    @Test func theFirstUsableFileIsTakenElseOneIsWritten() throws {
        let node = try NodeHarness()
        let (stub, good) = (node.directory + "/stub.conf", node.directory + "/good.conf")
        try Files.writeAtomically(stub, "nameserver 127.0.0.53\n")
        try Files.writeAtomically(good, "nameserver 192.0.2.1\n")
        let generated = node.directory + "/generated/resolv.conf"
        let missing = node.directory + "/missing"
        #expect(try ResolvConfChoice.path(candidates: [missing, stub, good], generated: generated) == good)
        #expect(try ResolvConfChoice.path(candidates: [missing, stub], generated: generated) == generated)
        #expect(
            String(decoding: try Files.read(generated, limit: 4096), as: UTF8.self).contains("nameserver 8.8.8.8\n"))
    }
}
