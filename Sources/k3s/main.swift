import Linux

/// The pods' parent is a role of the same binary; it starts before anything else is set up, so that it stays small.
exit(Root.run(Array(CommandLine.arguments.dropFirst())))
