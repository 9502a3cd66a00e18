import Linux

/// `du` of GNU coreutils 9.1: options, output and errors are its own.
enum Du {
    private static let known =
        "0,null a,all apparent-size B,block-size= b,bytes c,total D,dereference-args H d,max-depth= h,human-readable inodes k L,dereference l,count-links m P,no-dereference S,separate-dirs s,summarize si t,threshold= time? time-style= X,exclude-from= exclude= x,one-file-system files0-from= help version"

    private static let help = """
        Usage: du [OPTION]... [FILE]...
          or:  du [OPTION]... --files0-from=F
        Summarize device usage of the set of FILEs, recursively for directories.

          -0, --null            end each output line with NUL, not newline
          -a, --all             write counts for all files, not just directories
              --apparent-size   print apparent sizes rather than device usage
          -B, --block-size=SIZE  scale sizes by SIZE before printing them
          -b, --bytes           equivalent to '--apparent-size --block-size=1'
          -c, --total           produce a grand total
          -D, --dereference-args  dereference only symlinks that are listed on the command line
          -d, --max-depth=N     print the total for a directory only if it is N or fewer levels below the command line argument
              --files0-from=F   summarize device usage of the NUL-terminated file names specified in file F
          -H                    equivalent to --dereference-args (-D)
          -h, --human-readable  print sizes in human readable format (e.g., 1K 234M 2G)
              --inodes          list inode usage information instead of block usage
          -k                    like --block-size=1K
          -L, --dereference     dereference all symbolic links
          -l, --count-links     count sizes many times if hard linked
          -m                    like --block-size=1M
          -P, --no-dereference  don't follow any symbolic links (this is the default)
          -S, --separate-dirs   for directories do not include size of subdirectories
              --si              like -h, but use powers of 1000 not 1024
          -s, --summarize       display only a total for each argument
          -t, --threshold=SIZE  exclude entries smaller than SIZE if positive, or entries greater than SIZE if negative
              --time[=WORD]     show time of the last modification, or of WORD: atime, access, use, ctime or status
              --time-style=STYLE  show times using STYLE: full-iso, long-iso, iso, or +FORMAT
          -X, --exclude-from=FILE  exclude files that match any pattern in FILE
              --exclude=PATTERN    exclude files that match PATTERN
          -x, --one-file-system    skip directories on different file systems

        """

    private struct Plan {
        var walk = DiskWalk.Settings()
        var size: BlockSize?
        var total = false
        var end = UInt8(ascii: "\n")
        var timeFormat: String?
        var showsTime = false
        var summarizes = false
        var namesFrom: String?
        var isBad = false
    }

    static func run(_ call: ToolCall) -> Int32 {
        let options: CommandOptions
        do throws(CommandOptions.Failure) { options = try CommandOptions(call.arguments, known: known) } catch {
            call.usage(error)
            return 1
        }
        if options.given.contains(where: { $0.name == "help" }) {
            call.write(help)
            return 0
        }
        if options.given.contains(where: { $0.name == "version" }) {
            call.line("du (k3s, as GNU coreutils) 9.1")
            return 0
        }
        guard let plan = plan(options, call) else { return 1 }
        var operands = options.operands.map { Array($0.utf8) }
        if let file = plan.namesFrom {
            guard let names = names(from: file, operands, call) else { return 1 }
            operands = names
        } else if operands.isEmpty {
            operands = [[UInt8(ascii: ".")]]
        }
        return walk(plan, operands, call)
    }

    private static func walk(_ plan: Plan, _ operands: [[UInt8]], _ call: ToolCall) -> Int32 {
        let size =
            plan.size ?? BlockSize.standard(["DU_BLOCK_SIZE", "BLOCK_SIZE", "BLOCKSIZE"]) { call.environment($0) }
        let inodes = plan.walk.countsInodes
        func line(_ sum: DiskWalk.Sum, _ path: [UInt8]) {
            call.write(inodes ? BlockSizeOfInodes.text(sum.inodes, size) : size.text(sum.size))
            if plan.showsTime { call.write("\t" + time(sum, plan.timeFormat ?? "%Y-%m-%d %H:%M")) }
            call.write(bytes: [UInt8(ascii: "\t")] + path + [plan.end])
        }
        var settings = plan.walk
        settings.remembersAll = settings.follow == .always || plan.namesFrom != nil || operands.count > 1
        var failed = false
        var walk = DiskWalk(
            settings, print: line,
            complain: { what, path, code in
                // A link to nowhere comes without a reason, as in the original.
                call.complain("du: \(what) \(quoted(path))" + (code == 0 ? "" : ": \(errorText(code))"))
            })
        for (index, operand) in operands.enumerated() {
            if operand.isEmpty {
                let place = plan.namesFrom.map { "\($0):\(index + 1): " } ?? ""
                call.complain("du: \(place)invalid zero-length file name")
                failed = true
                continue
            }
            walk.operand(operand)
        }
        if plan.total { line(walk.total, Array("total".utf8)) }
        return failed || walk.failed ? 1 : 0
    }

    /// Only -h and --si change how inodes are counted.
    private enum BlockSizeOfInodes {
        static func text(_ count: UInt64, _ size: BlockSize) -> String { size.isScaled ? size.text(count) : "\(count)" }
    }

    private static func plan(_ options: CommandOptions, _ call: ToolCall) -> Plan? {
        var plan = Plan()
        var depth: Int?
        var style: String?
        for option in options.given {
            let value = option.value ?? ""
            switch option.name {
            case "0": plan.end = 0
            case "a": plan.walk.printsAll = true
            case "apparent-size": plan.walk.apparent = true
            case "b": (plan.walk.apparent, plan.size) = (true, BlockSize(unit: 1))
            case "B":
                do throws(BlockSize.Failure) { plan.size = try BlockSize(value) } catch {
                    return invalid(option, error, call)
                }
            case "c": plan.total = true
            case "D", "H": plan.walk.follow = .operands
            case "d":
                if let number = Du.depth(value) {
                    depth = number
                } else {
                    call.complain("du: invalid maximum depth \(locally(value, call))")
                    plan.isBad = true
                }
            case "h": plan.size = .human
            case "inodes": plan.walk.countsInodes = true
            case "k": plan.size = BlockSize(unit: 1024)
            case "m": plan.size = BlockSize(unit: 1 << 20)
            case "L": plan.walk.follow = .always
            case "l": plan.walk.countsLinks = true
            case "P": plan.walk.follow = .never
            case "S": plan.walk.separate = true
            case "s": plan.summarizes = true
            case "si": plan.size = .si
            case "t":
                do throws(BlockSize.Failure) {
                    let (number, isNegative) = try BlockSize.number(value[...], isSigned: true)
                    if isNegative, number == 0 {
                        var named = option
                        named.spelling = "--threshold"
                        return invalid(named, .invalid, call)
                    }
                    plan.walk.threshold = number
                } catch { return invalid(option, error, call) }
            case "time":
                plan.showsTime = true
                guard let word = option.value else {
                    plan.walk.time = .modification
                    break
                }
                guard let row = choice(word, of: "--time", [["atime", "access", "use"], ["ctime", "status"]], call)
                else { return nil }
                plan.walk.time = row == 0 ? .access : .status
            case "time-style": style = value
            case "exclude": plan.walk.exclude.append(value)
            case "X":
                do throws(SysError) {
                    plan.walk.exclude += try Files.readString(value).split(separator: "\n").map(String.init)
                } catch {
                    call.complain("du: \(value): \(errorText(error.code))")
                    plan.isBad = true
                }
            case "x": plan.walk.oneFileSystem = true
            case "files0-from": plan.namesFrom = value
            default: break
            }
        }
        return check(plan, depth, style, call)
    }

    private static func check(_ plan: Plan, _ depth: Int?, _ style: String?, _ call: ToolCall) -> Plan? {
        var plan = plan
        if plan.isBad {
            call.complain("Try 'du --help' for more information.")
            return nil
        }
        if plan.walk.printsAll, plan.summarizes {
            call.complain("du: cannot both summarize and show all entries")
            call.complain("Try 'du --help' for more information.")
            return nil
        }
        if plan.summarizes, let depth {
            if depth != 0 {
                call.complain("du: warning: summarizing conflicts with --max-depth=\(depth)")
                call.complain("Try 'du --help' for more information.")
                return nil
            }
            call.complain("du: warning: summarizing is the same as using --max-depth=0")
        }
        plan.walk.maxDepth = plan.summarizes ? 0 : depth ?? .max
        if plan.walk.countsInodes, plan.walk.apparent {
            call.complain("du: warning: options --apparent-size and -b are ineffective with --inodes")
            plan.walk.apparent = false
        }
        if plan.showsTime, let style = style ?? call.environment("TIME_STYLE") {
            if style.hasPrefix("+") {
                plan.timeFormat = String(style.dropFirst())
            } else if style != "locale" {
                guard let row = choice(style, of: "time style", [["full-iso"], ["long-iso"], ["iso"]], call) else {
                    return nil
                }
                plan.timeFormat = ["%Y-%m-%d %H:%M:%S.%N %z", nil, "%Y-%m-%d"][row]
            }
        }
        return plan
    }

    private static func invalid(
        _ option: CommandOptions.Given, _ failure: BlockSize.Failure, _ call: ToolCall
    ) -> Plan? {
        call.complain("du: " + failure.text(option.spelling, option.value ?? ""))
        return nil
    }

    /// As strtoul(3) reads it: octal behind a zero, hexadecimal behind 0x.
    private static func depth(_ text: String) -> Int? {
        let lower = text.lowercased()
        if lower.hasPrefix("0x") { return lower.hasPrefix("0x-") ? nil : Int(lower.dropFirst(2), radix: 16) }
        guard let number = lower.hasPrefix("0") ? Int(lower, radix: 8) : Int(lower), number >= 0 else { return nil }
        return number
    }

    /// Which of the rows of synonyms a word names, cut short or not; says what there is when it names none, or several.
    private static func choice(_ word: String, of what: String, _ rows: [[String]], _ call: ToolCall) -> Int? {
        let exact = rows.firstIndex { $0.contains(word) }
        let matches = rows.indices.filter { rows[$0].contains { $0.hasPrefix(word) } }
        if let row = exact ?? (matches.count == 1 ? matches.first : nil) { return row }
        let problem = matches.isEmpty ? "invalid" : "ambiguous"
        call.complain("du: \(problem) argument \(locally(word, call)) for \(locally(what, call))")
        call.complain("Valid arguments are:")
        for row in rows { call.complain("  - " + row.map { locally($0, call) }.joined(separator: ", ")) }
        call.complain("Try 'du --help' for more information.")
        return nil
    }

    private static func names(from file: String, _ operands: [[UInt8]], _ call: ToolCall) -> [[UInt8]]? {
        if let first = operands.first {
            call.complain("du: extra operand \(locally(String(decoding: first, as: UTF8.self), call))")
            call.complain("file operands cannot be combined with --files0-from")
            call.complain("Try 'du --help' for more information.")
            return nil
        }
        do throws(SysError) {
            let bytes = file == "-" ? try call.readInput() : try Files.read(file)
            var names = bytes.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
            // The last name ends with a NUL, or with the file.
            if names.last?.isEmpty == true { names.removeLast() }
            return names
        } catch {
            call.complain("du: cannot open '\(file)' for reading: \(errorText(error.code))")
            return nil
        }
    }

    private static func time(_ sum: DiskWalk.Sum, _ format: String) -> String {
        // strftime(3) knows no %N.
        var pattern = ""
        var rest = format[...]
        while let character = rest.popFirst() {
            if character == "%", rest.first == "N" {
                rest.removeFirst()
                let digits = "\(max(0, sum.time.nanoseconds))"
                pattern += String(repeating: "0", count: max(0, 9 - digits.utf8.count)) + digits
            } else {
                pattern.append(character)
                if character == "%", let next = rest.popFirst() { pattern.append(next) }
            }
        }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
            guard let base = buffer.baseAddress,
                k3s_tool_time(base, buffer.count, pattern, sum.time.seconds) > 0
            else { return "" }
            return String(cString: base)
        }
    }

    /// A name in messages: in quotes that a shell would read.
    static func quoted(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.utf8.contains(UInt8(ascii: "'")) else { return "'\(text)'" }
        if !text.utf8.contains(where: { "\"$`\\!".utf8.contains($0) }) { return "\"\(text)\"" }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }

    private static func locally(_ text: String, _ call: ToolCall) -> String {
        call.speaksUTF8 ? "\u{2018}\(text)\u{2019}" : "'\(text)'"
    }
}
