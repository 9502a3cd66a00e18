/// An operating system, architecture and variant as image indexes name them.
package struct Platform: Sendable, Hashable, CustomStringConvertible {
    package var os: String
    package var architecture: String
    /// "v7" of arm, "v8" of arm64, "" where the architecture has none.
    package var variant: String

    package init(os: String = "linux", architecture: String, variant: String = "") {
        (self.os, self.architecture, self.variant) = (os, architecture, variant)
    }

    /// The platform this binary was built for.
    package static var host: Platform {
        #if arch(x86_64)
            Platform(architecture: "amd64")
        #elseif arch(arm64)
            Platform(architecture: "arm64", variant: "v8")
        #elseif arch(arm)
            Platform(architecture: "arm", variant: "v7")
        #elseif arch(i386)
            Platform(architecture: "386")
        #elseif arch(riscv64)
            Platform(architecture: "riscv64")
        #else
            Platform(architecture: "unknown")
        #endif
    }

    package var description: String { [os, architecture, variant].filter { !$0.isEmpty }.joined(separator: "/") }

    /// Names that compare equal: aarch64 is arm64, arm64 is v8, arm without variant is v7 (containerd's
    /// `platforms.Normalize`).
    var normalized: Platform {
        var result = self
        result.os = os.lowercased()
        if result.os.isEmpty { result.os = "linux" }
        switch architecture.lowercased() {
        case "aarch64", "arm64":
            result.architecture = "arm64"
            if ["", "8", "v8"].contains(variant) { result.variant = "v8" }
        case "x86_64", "x86-64", "amd64":
            result.architecture = "amd64"
            if variant == "v1" { result.variant = "" }
        case "i386", "386":
            (result.architecture, result.variant) = ("386", "")
        case "armhf": (result.architecture, result.variant) = ("arm", "v7")
        case "armel": (result.architecture, result.variant) = ("arm", "v6")
        case "arm":
            result.architecture = "arm"
            switch variant {
            case "", "7": result.variant = "v7"
            case "5", "6", "8": result.variant = "v" + variant
            default: break
            }
        default: result.architecture = architecture.lowercased()
        }
        return result
    }

    /// What a machine of this platform can run, best first: an ARMv7 takes v6 and v5 images too, a 64-bit ARM falls
    /// back to 32 bits, amd64 to 386 (containerd's `platforms.Only`).
    var compatible: [Platform] {
        let own = normalized
        func arm(_ variants: [String]) -> [Platform] {
            variants.map { Platform(os: own.os, architecture: "arm", variant: $0) }
        }
        switch own.architecture {
        case "arm64":
            let base = Platform(os: own.os, architecture: "arm64", variant: "v8")
            return (own == base ? [own] : [own, base]) + arm(["v8", "v7", "v6", "v5"])
        case "arm":
            let all = ["v8", "v7", "v6", "v5"]
            return arm(Array(all.drop { $0 != own.variant }))
        case "amd64":
            let base = Platform(os: own.os, architecture: "amd64")
            return (own == base ? [own] : [own, base]) + [Platform(os: own.os, architecture: "386")]
        default: return [own]
        }
    }

    /// 0 is the best match, nil none.
    func rank(_ candidate: Platform) -> Int? { compatible.firstIndex(of: candidate.normalized) }
}
