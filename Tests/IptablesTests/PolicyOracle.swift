import Iptables
import Netlink

/// A cluster as plain lists, and who may reach whom by the words of the API's documentation: no sets, no groups, no
/// incremental anything.
struct PolicyWorld {
    var pods: [String: PolicyPod] = [:]
    var namespaces: [String: [String: String]] = [:]
    var policies: [String: NetworkPolicy] = [:]

    func pod(_ address: IPAddress) -> PolicyPod? { pods.values.first { $0.addresses.contains(address) } }

    func mayConnect(_ source: IPAddress, _ destination: IPAddress, _ transport: TransportProtocol, _ port: UInt16)
        -> Bool
    {
        let (from, to) = (pod(source), pod(destination))
        if let from, let to, from.id == to.id { return true }
        return allows(from, isIngress: false, peer: destination, to, destination, transport, port)
            && allows(to, isIngress: true, peer: source, to, destination, transport, port)
    }

    /// `isolated`: the pod whose side is looked at.
    private func allows(
        _ isolated: PolicyPod?, isIngress: Bool, peer: IPAddress, _ receiver: PolicyPod?, _ destination: IPAddress,
        _ transport: TransportProtocol, _ port: UInt16
    ) -> Bool {
        guard let isolated, isolated.isLocal else { return true }
        var isIsolated = false
        for policy in policies.values where policy.namespace == isolated.namespace {
            guard policy.pods.matches(isolated.labels), let rules = isIngress ? policy.ingress : policy.egress else {
                continue
            }
            isIsolated = true
            for rule in rules {
                let portMatches =
                    rule.ports.map { list in
                        list.contains { wanted in
                            guard wanted.transport == transport else { return false }
                            switch wanted.number {
                            case .any: return true
                            case .range(let first, let last): return first <= port && port <= last
                            case .named(let name):
                                return receiver?.ports.contains {
                                    $0.name == name && $0.transport == transport && $0.number == port
                                } == true
                            }
                        }
                    } ?? true
                let peerMatches =
                    rule.peers.map { list in list.contains { matches($0, peer, policy.namespace) } } ?? true
                if portMatches, peerMatches { return true }
            }
        }
        return !isIsolated
    }

    private func matches(_ peer: PolicyPeer, _ address: IPAddress, _ namespace: String) -> Bool {
        switch peer {
        case .block(let prefix, let except):
            return prefix.contains(address) && !except.contains { $0.contains(address) }
        case .pods(let match):
            guard let pod = pod(address) else { return false }
            return pod.namespace == namespace && match.matches(pod.labels)
        case .namespaces(let match, let pods):
            guard let pod = pod(address), let labels = namespaces[pod.namespace] else { return false }
            return match.matches(labels) && pods.matches(pod.labels)
        }
    }
}

/// Numbers that are the same in every run.
struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
    mutating func roll(_ count: Int) -> Int { Int(next() % UInt64(count)) }
    mutating func pick<T>(_ list: [T]) -> T { list[roll(list.count)] }
}

/// Makes random clusters out of few names, so that everything meets.
struct PolicyWorldMaker {
    var dice: Dice
    let names = ["red", "blue", "green"]

    mutating func labels() -> [String: String] {
        var out: [String: String] = [:]
        for key in ["app", "tier"] where dice.roll(3) > 0 { out[key] = dice.pick(["a", "b", "c"]) }
        return out
    }
    mutating func match() -> LabelMatch {
        var requirements: [LabelMatch.Requirement] = []
        for key in ["app", "tier"] where dice.roll(3) == 0 {
            switch dice.roll(4) {
            case 0: requirements.append(.init(key, .exists))
            case 1: requirements.append(.init(key, .absent))
            case 2: requirements.append(.init(key, .noneOf([dice.pick(["a", "b", "c"])])))
            default: requirements.append(.init(key, .oneOf([dice.pick(["a", "b", "c"])])))
            }
        }
        return LabelMatch(requirements)
    }
    mutating func transport() -> TransportProtocol { dice.pick([.tcp, .udp, .sctp]) }

    mutating func pod(_ number: Int) -> PolicyPod {
        var ports: [PolicyPod.Port] = []
        if dice.roll(2) == 0 { ports.append(.init("web", .tcp, dice.pick([80, 8080]))) }
        if dice.roll(3) == 0 { ports.append(.init("dns", .udp, 53)) }
        var addresses: [IPAddress] = [.v4(0x0a2a_0002 + UInt32(number))]
        if dice.roll(4) > 0 { addresses.append(.v6(0xfd00_0042_0000_0000, 2 + UInt64(number))) }
        if dice.roll(20) == 0 { addresses = [] }
        let namespace = dice.pick(names)
        return PolicyPod(
            "\(namespace)/p\(number)", namespace: namespace, labels: labels(), addresses: addresses,
            isLocal: dice.roll(3) > 0, ports: ports)
    }

    mutating func rule() -> PolicyRule {
        var rule = PolicyRule()
        if dice.roll(4) > 0 {
            rule.peers = (0..<dice.roll(3)).map { _ in
                switch dice.roll(4) {
                case 0: .pods(match())
                case 1:
                    .namespaces(
                        dice.roll(2) == 0 ? .everything : .equal(["team": dice.pick(["x", "y"])]), pods: match())
                case 2:
                    .block(
                        dice.pick(["0.0.0.0/0", "10.42.0.0/28", "198.51.100.0/24"].compactMap { IPPrefix($0) }),
                        except: dice.roll(2) == 0
                            ? [] : ["10.42.0.0/29", "10.42.0.4/30", "198.51.100.128/25"].compactMap { IPPrefix($0) })
                default:
                    .block(
                        dice.pick(["::/0", "fd00:42::/124"].compactMap { IPPrefix($0) }),
                        except: ["fd00:42::4/126", "fd00:42::/127"].compactMap { IPPrefix($0) })
                }
            }
        }
        if dice.roll(3) > 0 {
            rule.ports = (0..<dice.roll(3)).map { _ in
                switch dice.roll(4) {
                case 0: PolicyPort(transport())
                case 1: PolicyPort(transport(), .range(70, 90))
                case 2: PolicyPort(dice.roll(2) == 0 ? .tcp : .udp, .named(dice.pick(["web", "dns", "unknown"])))
                default: PolicyPort(transport(), dice.pick([53, 80, 8080]))
                }
            }
        }
        return rule
    }

    mutating func policy(_ number: Int) -> NetworkPolicy {
        var policy = NetworkPolicy("n\(number)", namespace: dice.pick(names), pods: match())
        if dice.roll(3) > 0 { policy.ingress = (0..<dice.roll(3)).map { _ in rule() } }
        if policy.ingress == nil || dice.roll(2) == 0 { policy.egress = (0..<dice.roll(3)).map { _ in rule() } }
        return policy
    }

    /// One or two random changes, made to the world as well.
    mutating func change(_ world: inout PolicyWorld) -> PolicyChanges {
        var changes = PolicyChanges()
        for _ in 0...dice.roll(2) {
            switch dice.roll(8) {
            case 0, 1, 2:
                let number = dice.roll(12)
                let new = pod(number)
                // The number is the address: whoever had it is gone, which may not have been told yet.
                for id in world.pods.keys where id.hasSuffix("/p\(number)") && id != new.id {
                    world.pods[id] = nil
                    if new.addresses.count < 2 || dice.roll(2) == 0 { changes.removedPods.append(id) }
                }
                changes.pods.removeAll { $0.id.hasSuffix("/p\(number)") }
                changes.removedPods.removeAll { $0 == new.id }
                world.pods[new.id] = new
                changes.pods.append(new)
            case 3:
                guard let id = world.pods.keys.sorted().randomElement(using: &dice) else { continue }
                world.pods[id] = nil
                changes.pods.removeAll { $0.id == id }
                changes.removedPods.append(id)
            case 4:
                let name = dice.pick(names)
                if dice.roll(4) == 0 {
                    world.namespaces[name] = nil
                    changes.namespaces[name] = nil
                    changes.removedNamespaces.append(name)
                } else {
                    let labels = dice.roll(3) == 0 ? [:] : ["team": dice.pick(["x", "y"])]
                    world.namespaces[name] = labels
                    changes.removedNamespaces.removeAll { $0 == name }
                    changes.namespaces[name] = labels
                }
            case 5, 6:
                let new = policy(dice.roll(5))
                world.policies[new.id] = new
                changes.removedPolicies.removeAll { $0 == new.id }
                changes.policies.removeAll { $0.id == new.id }
                changes.policies.append(new)
            default:
                guard let id = world.policies.keys.sorted().randomElement(using: &dice) else { continue }
                world.policies[id] = nil
                changes.policies.removeAll { $0.id == id }
                changes.removedPolicies.append(id)
            }
        }
        return changes
    }
}
