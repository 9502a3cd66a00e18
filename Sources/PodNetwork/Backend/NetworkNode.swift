import Codecs
import Netlink

/// What a node says about its end of the pod network in the annotations of its object, in flannel's words, so that nodes of
/// the original and ours understand each other:
///
///     flannel.alpha.coreos.com/backend-type: vxlan
///     flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"5a:0b:6e:5d:7f:d2"}'
///     flannel.alpha.coreos.com/public-ip: 192.0.2.10
///     flannel.alpha.coreos.com/kube-subnet-manager: "true"
///
/// and backend-v6-data, public-ipv6. Source: flannel, pkg/subnet/kube/annotations.go.
package struct NetworkNode: Sendable, Equatable {
    package struct Tunnel: Sendable, Equatable {
        package var vni: UInt32?
        package var mac: MACAddress?
        package var publicKey: WireGuardKey?
        package init(vni: UInt32? = nil, mac: MACAddress? = nil, publicKey: WireGuardKey? = nil) {
            (self.vni, self.mac, self.publicKey) = (vni, mac, publicKey)
        }
    }
    package var name: String
    package var podCIDRs: [IPPrefix]
    /// Nil: the node has not set up its network (yet), or leaves it to others.
    package var backend: String?
    /// Where its packets are to be sent, by family.
    package var addresses: [AddressFamily: IPAddress]
    package var tunnels: [AddressFamily: Tunnel]

    package static let prefix = "flannel.alpha.coreos.com/"

    package init(
        name: String, podCIDRs: [IPPrefix], backend: String?, addresses: [AddressFamily: IPAddress] = [:],
        tunnels: [AddressFamily: Tunnel] = [:]
    ) {
        (self.name, self.podCIDRs, self.backend) = (name, podCIDRs, backend)
        (self.addresses, self.tunnels) = (addresses, tunnels)
    }

    /// From a Node object; what does not parse is absent.
    package init(name: String, podCIDRs: [String], annotations: [String: String]) {
        self.init(
            name: name, podCIDRs: podCIDRs.compactMap { IPPrefix($0)?.masked },
            backend: annotations[Self.prefix + "backend-type"])
        for (family, address, data) in [
            (AddressFamily.ipv4, "public-ip", "backend-data"), (.ipv6, "public-ipv6", "backend-v6-data"),
        ] {
            if let ip = annotations[Self.prefix + address].flatMap({ IPAddress($0) }), ip.family == family {
                addresses[family] = ip
            }
            guard let text = annotations[Self.prefix + data], let json = try? JSON.parse(text), json.object != nil
            else { continue }
            tunnels[family] = Tunnel(
                vni: json["VNI"].int.flatMap { UInt32(exactly: $0) },
                mac: json["VtepMAC"].string.flatMap { MACAddress($0) },
                publicKey: json["PublicKey"].string.flatMap { Base64.decode($0) }.flatMap { WireGuardKey(bytes: $0) })
        }
    }

    /// The annotations that say the same.
    package var annotations: [String: String] {
        var out = [Self.prefix + "kube-subnet-manager": "true"]
        out[Self.prefix + "backend-type"] = backend
        for (family, address, data) in [
            (AddressFamily.ipv4, "public-ip", "backend-data"), (.ipv6, "public-ipv6", "backend-v6-data"),
        ] {
            guard let ip = addresses[family] else { continue }
            out[Self.prefix + address] = ip.description
            guard let tunnel = tunnels[family] else {
                out[Self.prefix + data] = "null"
                continue
            }
            var json = JSONObject()
            if let vni = tunnel.vni { json.append("VNI", .int(Int64(vni))) }
            if let mac = tunnel.mac { json.append("VtepMAC", .string(mac.description)) }
            if let key = tunnel.publicKey { json.append("PublicKey", .string(Base64.encode(key.bytes))) }
            out[Self.prefix + data] = JSON.object(json).text
        }
        return out
    }
}
