import Linux

/// Speed, duplex and link modes of an interface (struct ethtool_link_settings).
struct EthtoolLink {
    private let bytes: [UInt8]
    private let words: Int

    /// nil where the driver does not say.
    init?(_ request: EthtoolRequest) {
        // Asked with no room the kernel answers with the number of words that it has, as a negative one.
        guard let probe = try? request.send(.linkSettings, size: 48),
            case let wanted = Int8(bitPattern: probe[15]), wanted < 0, wanted > -64
        else { return nil }
        let count = -Int(wanted)
        // link_mode_masks_nwords is the byte at 15.
        var fields = [UInt32](repeating: 0, count: 11)
        let places: [UInt8] = [0, 0, 0, UInt8(count)]
        fields[2] = places.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        guard let answer = try? request.send(.linkSettings, fields, size: 48 + 3 * count * 4),
            answer[15] == UInt8(count)
        else { return nil }
        (bytes, words) = (answer, count)
    }

    /// Names by number; kinds of ports and the like are words of their own.
    private static let modes: [Substring] =
        "10baseT/Half 10baseT/Full 100baseT/Half 100baseT/Full 1000baseT/Half 1000baseT/Full - - - - - - 10000baseT/Full - - 2500baseX/Full - 1000baseKX/Full 10000baseKX4/Full 10000baseKR/Full 10000baseR_FEC 20000baseMLD2/Full 20000baseKR2/Full 40000baseKR4/Full 40000baseCR4/Full 40000baseSR4/Full 40000baseLR4/Full 56000baseKR4/Full 56000baseCR4/Full 56000baseSR4/Full 56000baseLR4/Full 25000baseCR/Full 25000baseKR/Full 25000baseSR/Full 50000baseCR2/Full 50000baseKR2/Full 100000baseKR4/Full 100000baseSR4/Full 100000baseCR4/Full 100000baseLR4_ER4/Full 50000baseSR2/Full 1000baseX/Full 10000baseCR/Full 10000baseSR/Full 10000baseLR/Full 10000baseLRM/Full 10000baseER/Full 2500baseT/Full 5000baseT/Full"
        .split(separator: " ")

    /// 0: supported, 1: advertised, 2: by the partner.
    private func has(_ map: Int, _ bit: Int) -> Bool {
        bit / 32 < words && EthtoolRequest.word(bytes, 48 + (map * words + bit / 32) * 4) >> UInt32(bit % 32) & 1 == 1
    }

    private func linkModes(_ map: Int, _ title: String) -> [String] {
        var lines: [String] = []
        var last = ""
        for (bit, name) in EthtoolLink.modes.enumerated() where name != "-" && has(map, bit) {
            let base = String(name.prefix { $0 != "/" })
            if base == last, !lines.isEmpty { lines[lines.count - 1] += " \(name)" } else { lines.append(String(name)) }
            last = base
        }
        if lines.isEmpty { return ["\(title)Not reported"] }
        let space = String(repeating: " ", count: title.utf8.count)
        return lines.enumerated().map { ($0.offset == 0 ? title : space) + $0.element }
    }

    private func pause(_ map: Int) -> String {
        switch (has(map, 13), has(map, 14)) {
        case (true, true): "Symmetric Receive-only"
        case (true, false): "Symmetric"
        case (false, true): "Transmit-only"
        default: "No"
        }
    }

    private func correction(_ map: Int) -> String {
        let names = [(49, "None"), (50, "RS"), (51, "BaseR")].filter { has(map, $0.0) }.map(\.1)
        return names.isEmpty ? "Not reported" : names.joined(separator: " ")
    }

    var lines: [String] {
        let ports = [(7, "TP"), (8, "AUI"), (9, "MII"), (10, "FIBRE"), (11, "BNC"), (16, "Backplane")]
            .filter { has(0, $0.0) }.map(\.1)
        var result = ["Supported ports: [ \(ports.isEmpty ? "" : ports.joined(separator: " ")) ]"]
        if ports.isEmpty { result = ["Supported ports: [  ]"] }
        result += linkModes(0, "Supported link modes:   ")
        result.append("Supported pause frame use: \(pause(0))")
        result.append("Supports auto-negotiation: \(has(0, 6) ? "Yes" : "No")")
        result.append("Supported FEC modes: \(correction(0))")
        result += linkModes(1, "Advertised link modes:  ")
        result.append("Advertised pause frame use: \(pause(1))")
        result.append("Advertised auto-negotiation: \(has(1, 6) ? "Yes" : "No")")
        result.append("Advertised FEC modes: \(correction(1))")
        let speed = EthtoolRequest.word(bytes, 4)
        result.append("Speed: " + (speed == 0 || speed > 0x7fff_ffff ? "Unknown!" : "\(speed)Mb/s"))
        let duplex = bytes[8]
        result.append("Duplex: " + (duplex == 0 ? "Half" : duplex == 1 ? "Full" : "Unknown! (\(duplex))"))
        result.append("Auto-negotiation: " + (bytes[11] == 0 ? "off" : "on"))
        let names = ["Twisted Pair", "AUI", "MII", "FIBRE", "BNC", "Direct Attach Copper"]
        let port = Int(bytes[9])
        result.append(
            "Port: "
                + (port < names.count
                    ? names[port] : port == 0xef ? "None" : port == 0xff ? "Other" : "Unknown! (\(port))"))
        result.append("PHYAD: \(bytes[10])")
        result.append("Transceiver: " + (bytes[16] == 0 ? "internal" : bytes[16] == 1 ? "external" : "Unknown!"))
        if port == 0 { result.append("MDI-X: \(crossing)") }
        return result
    }

    /// Which pairs are crossed (eth_tp_mdix, eth_tp_mdix_ctrl).
    private var crossing: String {
        if bytes[14] == 1 { return "off (forced)" }
        if bytes[14] == 2 { return "on (forced)" }
        let state = bytes[13] == 1 ? "off" : bytes[13] == 2 ? "on" : "Unknown"
        return state + (bytes[14] == 3 ? " (auto)" : "")
    }
}
