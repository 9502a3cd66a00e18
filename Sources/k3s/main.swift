import Containers
import Linux

let arguments = Array(CommandLine.arguments.dropFirst())
// The pods' parent is a role of the same binary; it starts before anything else is set up, so that it stays small.
if CNIPlugin.isAsked { exit(CNIPlugin.run()) }
exit(arguments.first == ShimMain.role ? ShimMain.run(arguments: arguments) : Root.run(arguments))
