import Linux

/// `ethtool` 6.1: settings of an interface, its driver (-i), offloads (-k, -K) and statistics (-S), by SIOCETHTOOL.
enum Ethtool {
    static let help = """
        ethtool version 6.1 (k3s)
        Usage:
                ethtool DEVNAME	Display standard information about device
                ethtool -i|--driver DEVNAME	Show driver information
                ethtool -k|--show-features|--show-offload DEVNAME	Get state of protocol offload and other features
                ethtool -K|--features|--offload DEVNAME	Set protocol offload and other features
        		FEATURE on|off ...
                ethtool -S|--statistics DEVNAME	Show adapter statistics
                ethtool -h|--help		Show this help
                ethtool --version		Show version number

        """

    static func run(_ call: ToolCall) -> Int32 {
        let arguments = call.arguments
        guard let first = arguments.first else { return badUsage(call) }
        if first == "-h" || first == "--help" {
            call.write(help)
            return 0
        }
        if first == "--version" {
            call.line("ethtool version 6.1")
            return 0
        }
        if !first.hasPrefix("-") {
            return settings(EthtoolRequest(interface: first), call)
        }
        guard arguments.count > 1 else { return badUsage(call) }
        let request = EthtoolRequest(interface: arguments[1])
        let rest = Array(arguments.dropFirst(2))
        switch first {
        case "-i", "--driver": return driver(request, call)
        case "-k", "--show-features", "--show-offload": return features(request, call)
        case "-K", "--features", "--offload": return change(request, rest, call)
        case "-S", "--statistics": return statistics(request, call)
        default: return badUsage(call)
        }
    }

    private static func badUsage(_ call: ToolCall) -> Int32 {
        call.complain("ethtool: bad command line argument(s)")
        call.complain("For more information run ethtool -h")
        return 1
    }

    /// What the original says, which asks the kernel by netlink.
    private static func netlinkError(_ code: Int32, _ call: ToolCall) {
        if code == ENODEV { call.complain("netlink error: no device matches name (offset 24)") }
        call.complain("netlink error: \(errorText(code))")
    }

    private static func driver(_ request: EthtoolRequest, _ call: ToolCall) -> Int32 {
        let info: [UInt8]
        do throws(SysError) { info = try request.send(.driver, size: 196) } catch {
            call.complain("Cannot get driver information: \(errorText(error.code))")
            return 71
        }
        // struct ethtool_drvinfo: cmd, five texts of 32 bytes, 12 bytes, n_priv_flags, n_stats, testinfo_len, eedump_len, regdump_len
        func text(_ index: Int) -> String { EthtoolRequest.text(info, 4 + index * 32, 32) }
        func has(_ offset: Int) -> String { EthtoolRequest.word(info, offset) > 0 ? "yes" : "no" }
        call.line("driver: \(text(0))")
        call.line("version: \(text(1))")
        call.line("firmware-version: \(text(2))")
        call.line("expansion-rom-version: \(text(4))")
        call.line("bus-info: \(text(3))")
        call.line("supports-statistics: \(has(180))")
        call.line("supports-test: \(has(184))")
        call.line("supports-eeprom-access: \(has(188))")
        call.line("supports-register-dump: \(has(192))")
        call.line("supports-priv-flags: \(has(176))")
        return 0
    }

    private static func features(_ request: EthtoolRequest, _ call: ToolCall) -> Int32 {
        do throws(SysError) {
            let features = try EthtoolFeatures.read(request)
            call.line("Features for \(request.interface):")
            for line in features.lines { call.line(line) }
            return 0
        } catch {
            netlinkError(error.code, call)
            return 1
        }
    }

    private static func change(_ request: EthtoolRequest, _ words: [String], _ call: ToolCall) -> Int32 {
        if words.isEmpty {
            call.complain("Could not change any device features")
            return 1
        }
        do throws(SysError) {
            let before = try EthtoolFeatures.read(request)
            var wanted: [Int: Bool] = [:]
            var index = 0
            while index < words.count {
                let value = index + 1 < words.count ? words[index + 1] : nil
                guard value == "on" || value == "off" else {
                    call.complain(
                        "ethtool (-K): flag '\(value ?? "(null)")' for parameter '(null)' is not followed by 'on' or 'off'"
                    )
                    return 1
                }
                let members = before.members(words[index])
                if members.isEmpty {
                    call.complain("netlink error: bit name not found (offset 52)")
                    call.complain("netlink error: \(errorText(EOPNOTSUPP))")
                    return 92
                }
                for member in members { wanted[member] = value == "on" }
                index += 2
            }
            // struct ethtool_sfeatures: cmd, size, then valid and requested for each 32 features
            var fields = [UInt32(before.blocks.count)]
            for block in before.blocks.indices {
                var (valid, requested) = (UInt32(0), UInt32(0))
                for (feature, isOn) in wanted where feature / 32 == block {
                    valid |= 1 << UInt32(feature % 32)
                    if isOn { requested |= 1 << UInt32(feature % 32) }
                }
                fields += [valid, requested]
            }
            _ = try request.send(.setFeatures, fields, size: 8 + before.blocks.count * 8)
            let after = try EthtoolFeatures.read(request)
            let lines = EthtoolFeatures.changes(before, after, wanted: wanted)
            if !lines.isEmpty { call.line("Actual changes:") }
            for line in lines { call.line(line) }
            // As the original counts: a wish that was there before is fulfilled.
            if !wanted.isEmpty, wanted.allSatisfy({ after.isActive($0.key) != $0.value }) {
                call.complain("Could not change any device features")
                return 1
            }
            return 0
        } catch {
            netlinkError(error.code, call)
            return 92
        }
    }

    private static func statistics(_ request: EthtoolRequest, _ call: ToolCall) -> Int32 {
        let names: [String]
        do throws(SysError) { names = try request.names(.statistics) } catch {
            if error.code != EOPNOTSUPP {
                call.complain("Cannot get stats strings information: \(errorText(error.code))")
                return 96
            }
            call.complain("no stats available")
            return 94
        }
        if names.isEmpty {
            call.complain("no stats available")
            return 94
        }
        do throws(SysError) {
            let answer = try request.send(.statistics, [UInt32(names.count)], size: 8 + names.count * 8)
            call.line("NIC statistics:")
            for (index, name) in names.enumerated() {
                call.line("     \(name): \(EthtoolRequest.long(answer, 8 + index * 8))")
            }
            return 0
        } catch {
            call.complain("Cannot get stats information: \(errorText(error.code))")
            return 97
        }
    }

    private static func settings(_ request: EthtoolRequest, _ call: ToolCall) -> Int32 {
        let link: [UInt8]
        do throws(SysError) { link = try request.send(.link, size: 8) } catch {
            if error.code == ENODEV { for _ in 0..<5 { netlinkError(error.code, call) } }
            call.line("No data available")
            return 75
        }
        call.line("Settings for \(request.interface):")
        if let settings = EthtoolLink(request) { for line in settings.lines { call.line("\t" + line) } }
        call.line("\tLink detected: \(EthtoolRequest.word(link, 4) != 0 ? "yes" : "no")")
        return 0
    }
}
