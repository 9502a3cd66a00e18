import Linux
import Testing

@testable import k3s

@Suite struct ConfigurationFileTests {
    /// The arguments that the files say, and the keys that are not known.
    private func read(_ files: [String: String]) throws -> ConfigurationFile {
        let folder = "/tmp/k3s-config-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try Directories.make(folder + "/config.yaml.d")
        defer { try? Directories.removeTree(folder) }
        for (name, text) in files { try Files.write(folder + "/" + name, Array(text.utf8)) }
        return try ConfigurationFile(path: folder + "/config.yaml", flags: ServerFlags.all)
    }

    @Test func valuesBecomeFlags() throws {
        let file = try read([
            "config.yaml": "debug: true\ntls-san:\n  - a.example\n  - b.example\nhttps-listen-port: 7443\nt: secret\n"
        ])
        #expect(
            file.arguments == [
                "--debug=true", "--tls-san=a.example", "--tls-san=b.example", "--https-listen-port=7443", "-t=secret",
            ])
        #expect(file.unknown.isEmpty)
    }

    @Test func noFileIsNoError() throws { #expect(try read([:]).arguments.isEmpty) }

    @Test func laterFilesReplaceAndPlusAppends() throws {
        let file = try read([
            "config.yaml": "node-name: first\ntls-san: a\nnode-label: [x=1]\n",
            "config.yaml.d/10.yaml": "node-name: second\ntls-san+: [b, c]\nnode-label: [y=2]\n",
            "config.yaml.d/20.YML": "tls-san+: d\n",
            "config.yaml.d/30.txt": "node-name: third\n",
        ])
        #expect(
            file.arguments == [
                "--node-name=second", "--tls-san=a", "--tls-san=b", "--tls-san=c", "--tls-san=d", "--node-label=y=2",
            ])
    }

    @Test func aValueWithoutPlusForgetsWhatWasAppended() throws {
        let file = try read([
            "config.yaml": "tls-san: a\n", "config.yaml.d/1.yaml": "tls-san+: b\n",
            "config.yaml.d/2.yaml": "tls-san: c\n",
        ])
        #expect(file.arguments == ["--tls-san=c"])
    }

    @Test func unknownKeysAreTold() throws {
        let file = try read(["config.yaml": "nope: 1\ndebug: true\n"])
        #expect(file.unknown == ["nope"] && file.arguments == ["--debug=true"])
    }

    @Test(arguments: ["- a\n", "debug: [\n", "tls-san: {a: b}\n", "debug: true\ndebug: false\n"])
    func whatIsWrongNamesTheFile(_ text: String) {
        let error = #expect(throws: UsageError.self) { try read(["config.yaml": text]) }
        #expect(error.map { "\($0)".contains("config.yaml") } == true)
    }

    @Test func theCommandLineHasTheLastWord() throws {
        let file = try read(["config.yaml": "node-name: file\ntls-san: a\n"])
        let values = try FlagParser(flags: ServerFlags.all).parse(
            file.arguments + ["--node-name", "line", "--tls-san", "b"],
            environment: { $0 == "K3S_NODE_NAME" ? "environment" : nil })
        #expect(values.string("node-name") == "line")
        #expect(values.list("tls-san") == ["a", "b"])
    }

    @Test(arguments: [
        (["--config", "/a"], "/a"), (["-c=/b"], "/b"), (["--debug"], "/etc/rancher/k3s/config.yaml"),
    ])
    func whereTheFileIs(_ arguments: [String], _ path: String) {
        #expect(ConfigurationFile.path(arguments, environment: { _ in nil }) == path)
        #expect(ConfigurationFile.path(arguments, environment: { _ in "/env" }) == "/env")
    }
}

@Suite struct ServerFlagsTests {
    private let parser = FlagParser(flags: ServerFlags.all)

    @Test func namesAreUnique() {
        let names = ServerFlags.all.flatMap { [$0.name] + ($0.alias.map { [$0] } ?? []) }
        #expect(Set(names).count == names.count && names.count > 120)
    }

    @Test func whatHasNoEffectYetIsNamed() throws {
        let values = try parser.parse(
            ["--snapshotter", "native", "--etcd-s3", "--embedded-registry=false", "--debug"],
            environment: { $0 == "AWS_ACCESS_KEY_ID" ? "x" : nil })
        #expect(try parser.withoutEffect(values) == ["etcd-s3", "snapshotter"])
    }

    @Test func aDefaultIsNotWorthALine() throws {
        let values = try parser.parse(["--flannel-backend=vxlan"], environment: { _ in nil })
        #expect(try parser.withoutEffect(values) == [])
    }

    @Test(arguments: ["--server=https://a:6443", "--docker", "--datastore-endpoint=postgres://x"])
    func whatMustNotBeIgnoredIsRefused(_ argument: String) throws {
        let values = try parser.parse([argument], environment: { _ in nil })
        #expect(throws: UsageError.self) { try parser.withoutEffect(values) }
    }

    @Test func groupsAreNumbersOrNames() throws {
        #expect(try ServerConfiguration.group("12") == 12)
        #expect(try ServerConfiguration.group("root") == 0)
        #expect(throws: UsageError.self) { try ServerConfiguration.group("no such group") }
    }
}
