internal import Codecs
internal import Containers
package import Linux
package import Transport

extension KubeletServer {
    private static func plain(_ message: String, _ status: Int) -> HTTPResponse {
        .text(message + "\n", status: status)
    }

    func exec(_ request: HTTPRequest, _ namespace: String, _ pod: String, _ container: String) async -> HTTPResponse {
        let command = request.query.values("command")
        guard !command.isEmpty else { return Self.plain("you must specify a command for the container", 400) }
        guard let options = RemoteCommandOptions(query: request.query) else {
            return Self.plain("you must specify at least 1 of stdin, stdout, stderr", 400)
        }
        guard let worker = worker(namespace, pod) else { return Self.noPod(pod) }
        guard let id = await worker.runningContainer(container) else {
            return Self.plain("container not found (\"\(container)\")", 500)
        }
        var exec = ExecRequest(command)
        (exec.stdin, exec.stdout, exec.stderr, exec.tty) = (options.stdin, options.stdout, options.stderr, options.tty)
        let (runtime, wanted) = (context.runtime, exec)
        return RemoteCommand.accept(request, options: options) { session in
            do throws(RuntimeError) {
                let process = try await runtime.exec(id, wanted)
                return await Self.serve(process, session)
            } catch {
                return .failed("error executing command in container: \(error.message)")
            }
        }
    }

    func attach(_ request: HTTPRequest, _ namespace: String, _ pod: String, _ container: String) async -> HTTPResponse {
        guard var options = RemoteCommandOptions(query: request.query) else {
            return Self.plain("you must specify at least 1 of stdin, stdout, stderr", 400)
        }
        guard let worker = worker(namespace, pod) else { return Self.noPod(pod) }
        guard let spec = await worker.spec(container), let id = await worker.runningContainer(container) else {
            return Self.plain("container not found (\"\(container)\")", 500)
        }
        // Whether there is a terminal was decided when the container was made.
        let tty = spec.json["tty"].bool ?? false
        options = RemoteCommandOptions(
            stdin: options.stdin, stdout: options.stdout, stderr: options.stderr && !tty, tty: tty)
        var attach = AttachRequest()
        attach.stdin = options.stdin && spec.json["stdin"].bool == true
        (attach.stdout, attach.stderr) = (options.stdout, options.stderr)
        let (runtime, wanted) = (context.runtime, attach)
        return RemoteCommand.accept(request, options: options) { session in
            do throws(RuntimeError) {
                let process = try await runtime.attach(id, wanted)
                return await Self.serve(process, session)
            } catch {
                return .failed("error attaching to container: \(error.message)")
            }
        }
    }

    /// Copies the streams of a process to and from the client until the process has ended or the client is gone.
    static func serve(_ process: any ContainerProcess, _ session: RemoteCommandSession) async
        -> RemoteCommandResult
    {
        let input = Task {
            do {
                while let bytes = try await session.readStdin() { try await process.writeStdin(bytes) }
            } catch {
                // The command does not read any more, or the client is gone: either ends the input.
            }
            await process.closeStdin()
        }
        let resizing = Task {
            for await size in session.resizes { await process.resize(columns: size.width, rows: size.height) }
        }
        let result: RemoteCommandResult = await withTaskCancellationHandler {
            let copied = await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do {
                        while let bytes = await process.readStdout() { try await session.writeStdout(bytes) }
                        return true
                    } catch { return false }
                }
                group.addTask {
                    do {
                        while let bytes = await process.readStderr() { try await session.writeStderr(bytes) }
                        return true
                    } catch { return false }
                }
                var copied = true
                for await done in group where !done { copied = false }
                return copied
            }
            guard copied, !Task.isCancelled else { return .failed("the client is gone") }
            do throws(RuntimeError) {
                let code = try await process.wait()
                return code == 0 ? .success : .exited(code: code)
            } catch {
                return .failed(error.message)
            }
        } onCancel: {
            Task { await process.close() }
        }
        input.cancel()
        resizing.cancel()
        await process.close()
        return result
    }

    func run(_ request: HTTPRequest, _ namespace: String, _ pod: String, _ container: String) async -> HTTPResponse {
        guard request.method == "POST" else { return Self.methodNotAllowed }
        guard let worker = worker(namespace, pod) else { return Self.noPod(pod) }
        guard let id = await worker.runningContainer(container) else {
            return Self.plain("container not found (\"\(container)\")", 404)
        }
        let command = (request.query["cmd"] ?? "").split(separator: " ").map(String.init)
        guard !command.isEmpty else { return Self.plain("you must specify a command for the container", 400) }
        do throws(RuntimeError) {
            let result = try await context.runtime.execSync(id, command: command, timeout: .seconds(120))
            let output = String(decoding: result.stdout + result.stderr, as: UTF8.self)
            guard result.exitCode != 0 else { return .text(output) }
            return Self.plain(
                "command '\(command.joined(separator: " "))' exited with \(result.exitCode): \(output)", 500)
        } catch {
            return Self.plain(error.message, 500)
        }
    }

    func portForward(_ request: HTTPRequest, _ namespace: String, _ pod: String) async -> HTTPResponse {
        guard let worker = worker(namespace, pod) else { return Self.noPod(pod) }
        guard let sandbox = await worker.sandboxID else {
            return Self.plain("pod not found (\"\(pod)_\(namespace)\")", 500)
        }
        let runtime = context.runtime
        return PortForward.accept(request) { connection in
            do throws(RuntimeError) {
                let descriptor = try await runtime.dial(sandbox: sandbox, port: connection.port)
                let socket: AsyncFD
                do throws(SysError) { socket = try AsyncFD(FileDescriptor(owning: descriptor)) } catch {
                    throw RuntimeError(.io, error.description)
                }
                await Self.join(connection.stream, socket)
            } catch {
                connection.reportError(
                    "error forwarding port \(connection.port) to pod \(sandbox), uid : failed to execute portforward in network namespace: \(error.message)"
                )
            }
        }
    }

    /// Copies both ways; each direction ends by itself, and the connection with both.
    package static func join(_ stream: any ByteStream, _ socket: AsyncFD) async {
        await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do {
                        while let bytes = try await stream.read() { try await socket.write(bytes) }
                        _ = try socket.withDescriptor { shutdown($0, Int32(SHUT_WR)) }
                    } catch {
                        socket.close()
                    }
                }
                group.addTask {
                    do {
                        while let bytes = try await socket.read() { try await stream.write(bytes) }
                        stream.closeWrite()
                    } catch {
                        stream.close()
                    }
                }
                await group.waitForAll()
            }
        } onCancel: {
            socket.close()
        }
        socket.close()
    }
}
