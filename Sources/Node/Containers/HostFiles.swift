internal import Codecs

/// The files that a pod's containers get from the node: /etc/hosts, /etc/hostname and /etc/resolv.conf.
/// Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go and network/dns.
package enum HostFiles {
    package static func hostname(_ pod: Pod) -> (hostname: String, domain: String) { hostname(pod, clusterDomain: "") }

    /// The short name and, where the pod has a subdomain, its domain.
    package static func hostname(_ pod: Pod, clusterDomain: String) -> (hostname: String, domain: String) {
        if let override = pod.spec["hostnameOverride"].string, !override.isEmpty { return (override, "") }
        var name = pod.spec["hostname"].string ?? ""
        if name.isEmpty {
            name = String(pod.name.prefix(63))
            while let last = name.last, last == "-" || last == "." { name.removeLast() }
        }
        guard let subdomain = pod.spec["subdomain"].string, !subdomain.isEmpty else { return (name, "") }
        return (name, "\(subdomain).\(pod.namespace).svc.\(clusterDomain)")
    }

    /// What `hostname` prints in the pod.
    package static func systemHostname(_ pod: Pod, clusterDomain: String) -> String {
        let (name, domain) = hostname(pod, clusterDomain: clusterDomain)
        return pod.spec["setHostnameAsFQDN"].bool == true && !domain.isEmpty ? name + "." + domain : name
    }

    package static func hosts(_ pod: Pod, podIPs: [String], clusterDomain: String, nodeHosts: @autoclosure () -> String)
        -> String
    {
        var text: String
        if pod.hostNetwork {
            text = "# Kubernetes-managed hosts file (host network).\n" + nodeHosts()
        } else {
            text = """
                # Kubernetes-managed hosts file.
                127.0.0.1\tlocalhost
                ::1\tlocalhost ip6-localhost ip6-loopback
                fe00::0\tip6-localnet
                fe00::0\tip6-mcastprefix
                fe00::1\tip6-allnodes
                fe00::2\tip6-allrouters

                """
            let (name, domain) = hostname(pod, clusterDomain: clusterDomain)
            for address in podIPs {
                text += domain.isEmpty ? "\(address)\t\(name)\n" : "\(address)\t\(name).\(domain)\t\(name)\n"
            }
        }
        let aliases = pod.spec["hostAliases"].elements
        guard !aliases.isEmpty else { return text }
        text += "\n# Entries added by HostAliases.\n"
        for alias in aliases {
            let names = alias["hostnames"].elements.compactMap(\.string).joined(separator: "\t")
            text += "\(alias["ip"].string ?? "")\t\(names)\n"
        }
        return text
    }

    package struct Resolver: Sendable, Equatable {
        package var servers: [String] = []
        package var searches: [String] = []
        package var options: [String] = []
        package init(servers: [String] = [], searches: [String] = [], options: [String] = []) {
            (self.servers, self.searches, self.options) = (servers, searches, options)
        }

        package init(parsing text: String) {
            for line in text.split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
                guard let first = words.first, !first.hasPrefix("#"), !first.hasPrefix(";") else { continue }
                switch first {
                case "nameserver": if words.count > 1 { servers.append(String(words[1])) }
                case "search":
                    searches = words.dropFirst().map {
                        $0 == "." ? "." : String($0.hasSuffix(".") ? $0.dropLast() : $0)
                    }
                case "options": options = words.dropFirst().map(String.init)
                default: break
                }
            }
        }

        package var text: String {
            var text = ""
            if !searches.isEmpty { text += "search \(searches.joined(separator: " "))\n" }
            for server in servers { text += "nameserver \(server)\n" }
            if !options.isEmpty { text += "options \(options.joined(separator: " "))\n" }
            return text
        }
    }

    /// By dnsPolicy and dnsConfig. At most 3 servers and 32 search domains of 2048 characters in all.
    package static func resolver(
        _ pod: Pod, clusterDNS: [String], clusterDomain: String, host: @autoclosure () -> Resolver
    ) -> Resolver {
        var policy = pod.spec["dnsPolicy"].string ?? "ClusterFirst"
        if policy == "ClusterFirst", pod.hostNetwork { policy = "Default" }
        if policy == "ClusterFirstWithHostNet" { policy = "ClusterFirst" }
        if policy == "ClusterFirst", clusterDNS.isEmpty { policy = "Default" }
        var resolver: Resolver
        switch policy {
        case "None": resolver = Resolver()
        case "ClusterFirst":
            let node = host()
            var searches = ["svc.\(clusterDomain)", clusterDomain].map { $0 }
            searches.insert("\(pod.namespace).svc.\(clusterDomain)", at: 0)
            resolver = Resolver(servers: clusterDNS, searches: unique(searches + node.searches), options: ["ndots:5"])
        default: resolver = host()
        }
        let config = pod.spec["dnsConfig"]
        resolver.servers = unique(resolver.servers + config["nameservers"].elements.compactMap(\.string))
        resolver.searches = unique(resolver.searches + config["searches"].elements.compactMap(\.string))
        for option in config["options"].elements {
            guard let name = option["name"].string, !name.isEmpty else { continue }
            resolver.options.removeAll { $0 == name || $0.hasPrefix(name + ":") }
            let value = option["value"].string ?? ""
            resolver.options.append(value.isEmpty ? name : "\(name):\(value)")
        }
        resolver.servers = Array(resolver.servers.prefix(3))
        var length = 0
        resolver.searches = Array(resolver.searches.prefix(32)).filter { domain in
            length += domain.utf8.count + 1
            return length <= 2048
        }
        return resolver
    }

    private static func unique(_ list: [String]) -> [String] {
        var seen: Set<String> = []
        return list.filter { seen.insert($0).inserted }
    }
}
