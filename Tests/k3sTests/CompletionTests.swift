import Linux
import Testing

@testable import k3s

@Suite struct CompletionTests {
    @Test(arguments: [
        ([""], "secrets-encrypt", true), (["ser"], "server", true), (["-"], "--version", true),
        (["token", ""], "rotate", true), (["token", "create", "-"], "--ttl", true),
        (["server", "--"], "--disable-agent", true), (["server", "--"], "--kine-tls", false),
        (["agent", "--"], "--node-label", true), (["agent", "--"], "--cluster-cidr", false),
        (["secrets-encrypt", "reencrypt", "--"], "--skip", true), (["certificate", "check", "-"], "--output", true),
        (["server", "--debug", "-"], "--data-dir", true), (["completion", ""], "zsh", true),
    ])
    func wordsThatMayComeNext(_ words: [String], _ word: String, _ isThere: Bool) {
        #expect(CompletionCommand.candidates(words).contains(word) == isThere)
    }

    @Test(arguments: [["server", "--data-dir", ""], ["server", "-d", "-"], ["nothing", "-"], ["server", "x"]])
    func whereTheShellKnowsBetterThereIsNothing(_ words: [String]) {
        #expect(CompletionCommand.candidates(words).isEmpty || words[0] == "nothing")
    }

    @Test func theLineIsAddedOnce() throws {
        let home = "/tmp/k3s-completion-\(UInt64.random(in: 0...UInt64.max))"
        try Directories.make(home, mode: 0o700)
        defer { try? Directories.removeTree(home) }
        try Files.write(home + "/.bashrc", Array("alias k=kubectl".utf8), mode: 0o600)
        for _ in 0..<2 { #expect(try CompletionCommand.install("bash", home: home) == home + "/.bashrc") }
        #expect(
            try Files.readString(home + "/.bashrc") == """
                alias k=kubectl
                # >> k3s command completion (start)
                source <(k3s completion bash)
                # >> k3s command completion (end)

                """)
        #expect(try Files.status(home + "/.bashrc").st_mode & 0o777 == 0o600)
        #expect(CompletionCommand.script("fish") == nil)
    }
}
