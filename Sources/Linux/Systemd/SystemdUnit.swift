/// The unit of systemd that stands for a cgroup of ours, by the cgroup's path in Kubernetes' form.
///
/// "kubepods/burstable/pod1-2/abc" is the scope "cri-containerd-abc.scope" in the slice
/// "kubepods-burstable-pod1_2.slice", whose directory is "kubepods.slice/kubepods-burstable.slice/...": systemd derives
/// a slice's place from the dashes of its name, so that a dash in a component becomes an underscore.
/// Sources: systemd.slice(5), systemd.unit(5); k8s.io/kubernetes/pkg/kubelet/cm (CgroupName.ToSystemd).
package struct SystemdUnit: Sendable, Equatable {
    package enum Kind: Sendable { case slice, scope }
    package var kind: Kind
    package var name: String
    /// Of its cgroup, below the hierarchy's root.
    package var directory: String
    /// Of a scope: where it lies. Empty for slices, whose names say it.
    package var slice = ""

    /// Whose scope is not of a pod.
    package static let shim = "k3s-shim"

    package init(path: String) {
        var components = path.split(separator: "/").map(String.init)
        if components.last == Self.shim {
            kind = .scope
            slice = "system.slice"
            name = Self.limited(components.map(Self.characters).joined(separator: "-"), ".scope")
            directory = slice + "/" + name
            return
        }
        var scope: String?
        if components.count > 1, components[components.count - 2].hasPrefix("pod") {
            scope = Self.limited("cri-containerd-" + Self.characters(components.removeLast()), ".scope")
        }
        let levels = Self.levels(components)
        let parent = Self.slice(levels)
        if let scope {
            (kind, name, slice) = (.scope, scope, parent)
            directory = Self.directory(levels) + "/" + scope
        } else {
            (kind, name) = (.slice, parent)
            directory = Self.directory(levels)
        }
    }

    /// Of the slice's name, one by one. A component that is a slice's name already ("a-b.slice") says its whole way.
    private static func levels(_ components: [String]) -> [String] {
        var levels: [String] = []
        for component in components {
            if component.hasSuffix(".slice"), component != "-.slice" {
                levels = component.dropLast(6).split(separator: "-").map { characters(String($0)) }
            } else {
                levels.append(characters(String(component.map { $0 == "-" ? "_" : $0 })))
            }
        }
        return levels
    }

    /// What a unit's name may not have becomes \xNN.
    private static func characters(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", ":", "_", ".", "-": result.unicodeScalars.append(scalar)
            default:
                for byte in String(scalar).utf8 {
                    result += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
                }
            }
        }
        return result
    }

    /// A unit's name has at most 255 bytes.
    private static func limited(_ name: String, _ suffix: String) -> String {
        String(decoding: name.utf8.prefix(255 - suffix.utf8.count), as: UTF8.self) + suffix
    }

    private static func slice(_ levels: [String]) -> String {
        levels.isEmpty ? "-.slice" : limited(levels.joined(separator: "-"), ".slice")
    }

    private static func directory(_ levels: [String]) -> String {
        levels.indices.map { slice(Array(levels[...$0])) }.joined(separator: "/")
    }
}
