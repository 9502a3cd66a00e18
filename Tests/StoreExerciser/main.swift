import Glibc

guard CommandLine.arguments.count == 3 else {
    print("usage: store-exerciser write FILE | bench DIRECTORY | read DIRECTORY")
    exit(2)
}
switch CommandLine.arguments[1] {
case "write": try await writeUntilKilled(path: CommandLine.arguments[2])
case "bench": try await measure(directory: CommandLine.arguments[2])
case "read": try await measureReading(directory: CommandLine.arguments[2])
default: exit(2)
}
