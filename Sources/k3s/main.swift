import CShims
import Containers
import HostTools
import Linux

// Linked under the name of a tool that is in here, the program is that tool.
let tool = ["kubectl", "crictl", "ctr"].first { CommandLine.arguments.first?.split(separator: "/").last == $0[...] }
let arguments = (tool.map { [$0] } ?? []) + CommandLine.arguments.dropFirst()
/// Without what `exit` calls: OpenSSL's and the runtime's clean-up would pull the ground from under threads that still run.
func leave(_ code: Int32) -> Never {
    fflush(nil)
    _exit(code)
}

// The parent of a rootless node stays as small as it starts.
if getenv(K3S_ROOTLESS_ROLE).map({ String(cString: $0) }) == "parent" {
    leave(k3s_rootless_main(CommandLine.unsafeArgv))
}
// A tool of the host needs nothing of what follows.
if let tool = CommandLine.arguments.first.flatMap(HostTool.named) { leave(tool.run(Array(arguments))) }
if let tool = arguments.first.flatMap(HostTool.named) { leave(tool.run(Array(arguments.dropFirst()))) }
// The pods' parent is a role of the same binary; it starts before anything else is set up, so that it stays small.
if CNIPlugin.isAsked { leave(CNIPlugin.run()) }
leave(arguments.first == ShimMain.role ? ShimMain.run(arguments: arguments) : Root.run(arguments))
