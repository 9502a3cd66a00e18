import Glibc

// Measures the API server of a running `k3s server` over TLS as hack/bench_api.py starts it: rates with 8 clients and
// ConfigMaps of 1 KB, the latency of watches, and what objects, watches and long lists cost it in memory.
guard CommandLine.arguments.count >= 4, let process = Int32(CommandLine.arguments[1]),
    let port = UInt16(CommandLine.arguments[2])
else {
    print("usage: api-exerciser PID PORT TLS-DIRECTORY [quick | (create | update | get | list | watch) [COUNT]]")
    exit(2)
}

signal(SIGPIPE, SIG_IGN)
let bench = Benchmark(Target(process: process, port: port, tls: CommandLine.arguments[3]))
switch CommandLine.arguments.dropFirst(4).first {
case nil: bench.run(isQuick: false)
case "quick": bench.run(isQuick: true)
case .some(let kind):
    bench.run(only: kind, CommandLine.arguments.dropFirst(5).first.flatMap { Int($0) } ?? 20_000)
}
