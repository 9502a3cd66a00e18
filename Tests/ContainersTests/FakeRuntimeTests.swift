import Containers
import Testing

@Suite(.timeLimit(.minutes(1))) struct FakeRuntimeTests {
    private func make() -> FakeRuntime {
        let images = FakeImages()
        var image = ImageInfo()
        image.id = "sha256:1"
        image.tags = ["app"]
        images.add(image)
        return FakeRuntime(images: images)
    }

    private func running(_ runtime: FakeRuntime) async throws -> (sandbox: String, container: String) {
        let sandbox = try await runtime.runSandbox(SandboxConfig())
        var config = ContainerConfig()
        (config.name, config.image) = ("app", "app")
        let id = try await runtime.createContainer(config, sandbox: sandbox.id)
        try await runtime.startContainer(id)
        return (sandbox.id, id)
    }

    @Test func lifeOfAContainer() async throws {
        let runtime = make()
        var events = runtime.events().makeAsyncIterator()
        let (sandbox, id) = try await running(runtime)
        #expect(try await runtime.container(id).state == .running)
        runtime.exit(id, code: 3)
        let status = try await runtime.container(id)
        #expect((status.state, status.exitCode, status.reason) == (.exited, 3, "Error"))
        #expect(status.imageID == "sha256:1")
        try await runtime.removeSandbox(sandbox)
        #expect(await runtime.containers().isEmpty)
        #expect(await events.next()?.kind == .started)
        #expect(await events.next()?.kind == .exited)
        #expect(await events.next()?.kind == .removed)
    }

    @Test func missingImageIsTold() async throws {
        let runtime = make()
        let sandbox = try await runtime.runSandbox(SandboxConfig())
        var config = ContainerConfig()
        config.image = "none"
        let error = await #expect(throws: RuntimeError.self) {
            _ = try await runtime.createContainer(config, sandbox: sandbox.id)
        }
        #expect(error?.code == .imageNotPresent)
    }

    @Test func failureIsInjectedOnce() async throws {
        let runtime = make()
        runtime.fail("runSandbox", with: RuntimeError(.createFailed, "no"))
        await #expect(throws: RuntimeError.self) { _ = try await runtime.runSandbox(SandboxConfig()) }
        _ = try await runtime.runSandbox(SandboxConfig())
    }

    @Test func stubbornContainersDieOfKill() async throws {
        let runtime = make()
        let (_, id) = try await running(runtime)
        runtime.ignoreStopSignal(id)
        try await runtime.stopContainer(id, signal: nil, grace: .milliseconds(10))
        #expect(try await runtime.container(id).exitCode == 137)
    }

    @Test func attachEndsWithTheContainer() async throws {
        let runtime = make()
        let (_, id) = try await running(runtime)
        let process = try await runtime.attach(id, AttachRequest())
        async let code = process.wait()
        try await Task.sleep(for: .milliseconds(10))
        runtime.exit(id, code: 9)
        #expect(try await code == 9)
    }

    @Test func execAnswersAsTold() async throws {
        let runtime = make()
        let (_, id) = try await running(runtime)
        runtime.answerExec { exec in
            ExecResult(exitCode: exec.command == ["probe"] ? 0 : 1, stdout: Array("out".utf8), stderr: [])
        }
        #expect(try await runtime.execSync(id, command: ["probe"], timeout: .seconds(1)).exitCode == 0)
        let process = try await runtime.exec(id, ExecRequest(["other"]))
        #expect(await process.readStdout() == Array("out".utf8))
        #expect(await process.readStdout() == nil)
        #expect(try await process.wait() == 1)
    }
}
