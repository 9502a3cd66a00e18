import Linux

/// `socat` 1.7: data between two addresses. What is there: TCP, UDP, UNIX sockets, files, pipes, programs, descriptors
/// (SocatAddress has the list); no TLS, terminals, proxies, readline.
enum Socat {
    static let help = """
        socat (k3s), in the manner of socat 1.7 by Gerhard Rieger and contributors
        Usage:
        socat [options] <bi-address> <bi-address>
           options:
              -V     print version and feature information to stdout, and exit
              -h|-?  print a help text describing command line options and addresses
              -d[ddd]         increase verbosity (use up to 4 times; 2 are recommended)
              -lf<logfile>   log to file
              -ls            log to stderr (default if no other log)
              -lp<progname>  set the program name used for logging
              -v     verbose text dump of data traffic
              -x     verbose hexadecimal dump of data traffic
              -b<size_t>     set data buffer size (8192)
              -t<timeout>    wait seconds before closing second channel
              -T<timeout>    total inactivity timeout in seconds
              -u     unidirectional mode (left to right)
              -U     unidirectional mode (right to left)
              -4     prefer IPv4 if version is not explicitly specified
              -6     prefer IPv6 if version is not explicitly specified
           bi-address:  single-address or single-address!!single-address
           single-address:  TYPE[:parameter...][,option[=value]...]
           types: TCP TCP4 TCP6 TCP-LISTEN TCP4-LISTEN TCP6-LISTEN UDP UDP4 UDP6 UDP-LISTEN UDP-RECVFROM UDP-RECV
             UDP-SENDTO UNIX-CONNECT UNIX-LISTEN UNIX ABSTRACT-CONNECT ABSTRACT-LISTEN STDIO - STDIN STDOUT STDERR
             OPEN GOPEN CREATE PIPE FD EXEC SYSTEM

        """

    private struct Usage: Error {
        var text: String
    }

    static func run(_ call: ToolCall) -> Int32 {
        var settings = SocatTransfer.Settings()
        let log = SocatLog()
        var family = AF_INET
        var rest = call.arguments[...]
        do throws(Usage) {
            while let argument = rest.first, argument.hasPrefix("-"), argument != "-" {
                rest.removeFirst()
                if argument == "-h" || argument == "-?" || argument == "-hh" || argument == "-hhh" {
                    call.write(help)
                    return 0
                }
                if argument == "-V" {
                    call.line("socat version 1.7.4 (k3s)")
                    return 0
                }
                // "-" with an option is still standard input and output.
                if argument.hasPrefix("-,") {
                    rest = [argument] + rest
                    break
                }
                try option(argument, &rest, &settings, &family, log)
            }
        } catch {
            log.error(error.text)
            return 1
        }
        guard rest.count == 2, let first = rest.first, let second = rest.last else {
            log.error("exactly 2 addresses required (there are \(rest.count)); use option \"-h\" for help")
            return 1
        }
        return run(first, second, settings, SocatOpener(log: log, family: family))
    }

    private static func option(
        _ argument: String, _ rest: inout ArraySlice<String>, _ settings: inout SocatTransfer.Settings,
        _ family: inout Int32, _ log: SocatLog
    ) throws(Usage) {
        func value(_ letter: String) throws(Usage) -> String {
            let attached = argument.dropFirst(2)
            if !attached.isEmpty { return String(attached) }
            guard let next = rest.popFirst() else {
                throw Usage(text: "option -\(letter) requires an argument; use option \"-h\" for help")
            }
            return next
        }
        func seconds(_ letter: String) throws(Usage) -> Double {
            let text = try value(letter)
            guard let number = Double(text), number >= 0 else {
                throw Usage(text: "option -\(letter): \"\(text)\" is no time")
            }
            return number
        }
        switch argument {
        case "-u": settings.rightToLeft = false
        case "-U": settings.leftToRight = false
        case "-v": settings.dumpsText = true
        case "-x": settings.dumpsHex = true
        case "-4": family = AF_INET
        case "-6": family = AF_INET6
        case "-s", "-g", "-D", "-ls", "-lu", "-lh": break
        case let text where text.utf8.dropFirst().allSatisfy({ $0 == UInt8(ascii: "d") }):
            log.level += text.utf8.count - 1
        case let text where text.hasPrefix("-lf"):
            let path = text.utf8.count > 3 ? String(text.dropFirst(3)) : rest.popFirst() ?? ""
            if !log.write(to: path) { throw Usage(text: "cannot open log file \"\(path)\"") }
        case let text where text.hasPrefix("-lp"):
            log.name = text.utf8.count > 3 ? String(text.dropFirst(3)) : rest.popFirst() ?? ""
        case let text where text.hasPrefix("-b"):
            let size = try value("b")
            guard let number = Int(size), number > 0 else { throw Usage(text: "option -b: \"\(size)\" is no size") }
            settings.blockSize = number
        case let text where text.hasPrefix("-t"): settings.closing = try seconds("t")
        case let text where text.hasPrefix("-T"):
            let time = try seconds("T")
            settings.idle = time > 0 ? time : nil
        default: throw Usage(text: "unknown option \"\(argument)\"; use option \"-h\" for help")
        }
    }

    private static func run(
        _ first: String, _ second: String, _ settings: SocatTransfer.Settings, _ opener: SocatOpener
    ) -> Int32 {
        // A write to a side that has gone is an error like others.
        k3s_ignore_signal(SIGPIPE)
        let log = opener.log
        var files: [String] = []
        var children: [Int32] = []
        defer { for file in files { unlink(file) } }
        do throws(SocatAddress.Failure) {
            let addresses = (try SocatAddress.parse(first), try SocatAddress.parse(second))
            let left = try side(addresses.0, reads: settings.leftToRight, writes: settings.rightToLeft, opener)
            if let file = left.file { files.append(file) }
            let right = try side(addresses.1, reads: settings.rightToLeft, writes: settings.leftToRight, opener)
            if let file = right.file { files.append(file) }
            children = [left.child, right.child].filter { $0 > 0 }
            log.notice(
                "starting data transfer loop with FDs [\(left.input),\(left.output)] and [\(right.input),\(right.output)]"
            )
            var transfer = SocatTransfer(left, right, settings, log)
            let outcome = transfer.run()
            end(left)
            end(right)
            collect(children)
            if case .failed(let text) = outcome {
                log.error(text)
                return 1
            }
            log.notice("exiting with status 0")
            return 0
        } catch {
            if !error.text.isEmpty { log.error(error.text) }
            collect(children)
            return error.code
        }
    }

    /// A dual address reads from its first half and writes to its second.
    private static func side(
        _ addresses: [SocatAddress], reads: Bool, writes: Bool, _ opener: SocatOpener
    ) throws(SocatAddress.Failure) -> SocatEndpoint {
        // With -u or -U only the half that is needed is opened.
        if addresses.count == 1 || !writes { return try opener.open(addresses[0], reads: reads, writes: writes) }
        if !reads { return try opener.open(addresses[1], reads: reads, writes: writes) }
        let input = try opener.open(addresses[0], reads: true, writes: false)
        let output = try opener.open(addresses[1], reads: false, writes: true)
        var both = input
        both.output = output.output
        both.isOutputSocket = output.isOutputSocket
        both.ending = output.ending
        both.peer = output.peer
        return both
    }

    private static func end(_ endpoint: SocatEndpoint) {
        if endpoint.isInputSocket, endpoint.ending != .nothing { shutdown(endpoint.input, Int32(SHUT_RDWR)) }
    }

    /// Programs that were started have half a second to end by themselves.
    private static func collect(_ children: [Int32]) {
        for child in children {
            var status: Int32 = 0
            for attempt in 0..<50 {
                if k3s_tool_wait(child, &status, WNOHANG) != 0 { break }
                if attempt == 25 { kill(child, SIGTERM) }
                usleep(10_000)
            }
        }
    }
}
