import Netlink

/// Everything that is known without asking: the cluster's names, hosts, custom server blocks and cached answers. A value;
/// says what to answer, or whom to ask.
package struct Resolver: Sendable {
    package var zone: ClusterZone
    package var nodeHosts = HostsTable()
    package private(set) var custom = CustomConfiguration()
    /// Groups of servers to ask; the first is the node's resolv.conf.
    private(set) var groups: [[Upstream]] = [[]]
    var cache: AnswerCache
    /// Turns the order of addresses from answer to answer.
    private var turn = 0

    package init(zone: ClusterZone, cacheBytes: Int = 2 << 20) {
        self.zone = zone
        cache = AnswerCache(limit: cacheBytes)
    }

    package var upstreams: [Upstream] { groups[0] }

    package mutating func setUpstreams(_ list: [Upstream]) {
        guard list != groups[0] else { return }
        groups[0] = list
        cache.removeAll()
    }

    package mutating func setCustom(_ configuration: CustomConfiguration) {
        guard configuration != custom else { return }
        custom = configuration
        groups = [groups[0]]
        for block in [custom.base] + custom.blocks {
            for forward in block.forwards where !forward.servers.isEmpty && !groups.contains(forward.servers) {
                groups.append(forward.servers)
            }
        }
        cache.removeAll()
    }

    /// Somebody who waits for another server's answer.
    struct Waiter: Sendable {
        var query: DNSQuery
        var limit: Int
        /// Aliases that led to the name that is asked for.
        var chain: [DNSRecord] = []
        /// The name as it was asked, after rewriting.
        var name: DNSName
    }

    enum Step: Sendable {
        /// `isStable`: the same question has the same answer until something here is changed.
        case reply([UInt8], DNSCode, isStable: Bool)
        case forward(CacheKey, Waiter)
    }

    // MARK: one query

    mutating func step(_ query: DNSQuery, limit: Int, now: Int64) -> Step {
        guard query.recordClass == 1, query.type != .axfr, query.type != .ixfr, query.type != .opt else {
            return refuse(query, .refused, limit)
        }
        let block = custom.blocks.filter { query.name.isInside($0.zone) }
            .max { $0.zone.wire.count < $1.zone.wire.count }
        let rules = block ?? custom.base
        var waiter = Waiter(query: query, limit: limit, name: rules.rewritten(query.name))
        var name = waiter.name
        // Aliases of aliases end somewhere.
        for _ in 0..<8 {
            if let records = rules.hosts?.answer(name, query.type), !records.isEmpty || !rules.hostsFallThrough {
                return local(waiter, ClusterZone.Answer(answers: records))
            }
            if block == nil {
                if let records = nodeHosts.answer(name, query.type) {
                    return local(waiter, ClusterZone.Answer(answers: records))
                }
                if query.type == .ptr, let address = name.reverseAddress, let target = zone.name(of: address) {
                    let record = DNSRecord(name, .ptr, ttl: ClusterZone.ttl, .name(target))
                    return local(waiter, ClusterZone.Answer(answers: [record]))
                }
                if let answer = zone.answer(name, query.type) {
                    guard let alias = answer.alias, !waiter.chain.contains(where: { $0.name == alias }) else {
                        return local(waiter, answer)
                    }
                    waiter.chain += answer.answers
                    name = alias
                    continue
                }
            }
            return ask(name, rules, isCluster: block == nil, waiter, now)
        }
        return refuse(query, .serverFailure, limit)
    }

    private mutating func ask(
        _ name: DNSName, _ block: ServerBlock, isCluster: Bool, _ waiter: Waiter, _ now: Int64
    ) -> Step {
        let servers = block.servers(for: name)
        guard servers != nil || isCluster else { return refuse(waiter.query, .serverFailure, waiter.limit) }
        let group = groups.firstIndex(of: servers.flatMap { $0.isEmpty ? nil : $0 } ?? groups[0]) ?? 0
        let key = CacheKey(
            name, waiter.query.type, wantsDNSSEC: waiter.query.edns?.wantsDNSSEC ?? false,
            disablesChecking: waiter.query.disablesChecking, group: group)
        if let stored = cache.find(key, now: now) {
            return .reply(
                reply(to: waiter, key, stored, now), DNSCode(rawValue: stored.code) ?? .noError, isStable: false)
        }
        return .forward(key, waiter)
    }

    // MARK: answers

    private mutating func local(_ waiter: Waiter, _ answer: ClusterZone.Answer) -> Step {
        let query = waiter.query
        var answers = answer.answers
        // CoreDNS's loadbalance: clients take the first.
        let takesTurns = answers.count > 1 && (query.type == .a || query.type == .aaaa)
        if takesTurns {
            turn = (turn &+ 1) & 0xffff
            let middle = turn % answers.count
            answers = Array(answers[middle...] + answers[..<middle])
        }
        let code = answer.code
        let isNegative = answers.isEmpty
        return .reply(
            compose(
                waiter, flags: query.answerFlags(code, authoritative: true), answers: waiter.chain + answers,
                authorities: isNegative ? [zone.authority()] : [], additionals: answer.additionals), code,
            isStable: !takesTurns)
    }

    func refuse(_ query: DNSQuery, _ code: DNSCode, _ limit: Int) -> Step {
        var writer = DNSWriter(
            id: query.id, flags: query.answerFlags(code, authoritative: false), question: query.question,
            name: query.name, limit: limit)
        return .reply(writer.finish(edns: query.edns), code, isStable: false)
    }

    /// Another server's answer for one who waited.
    func reply(to waiter: Waiter, _ key: CacheKey, _ stored: StoredAnswer, _ now: Int64) -> [UInt8] {
        if waiter.chain.isEmpty, key.name == waiter.query.name,
            let bytes = stored.reply(to: waiter.query, now: now, limit: waiter.limit)
        {
            return bytes
        }
        guard var message = try? DNSMessage(stored.bytes) else {
            guard case .reply(let bytes, _, _) = refuse(waiter.query, .serverFailure, waiter.limit) else { return [] }
            return bytes
        }
        let age = UInt32(clamping: (now - stored.storedAt) / 1_000_000_000)
        for index in message.answers.indices {
            message.answers[index].ttl -= min(age, message.answers[index].ttl)
        }
        let flags = waiter.query.answerFlags(.noError, authoritative: false) | UInt16(stored.code & 15)
        return compose(
            waiter, flags: flags, answers: waiter.chain + message.answers, authorities: message.authorities,
            additionals: message.additionals)
    }

    private func compose(
        _ waiter: Waiter, flags: UInt16, answers: [DNSRecord], authorities: [DNSRecord], additionals: [DNSRecord]
    ) -> [UInt8] {
        let query = waiter.query
        let reserved = query.edns == nil ? 0 : EDNS.recordSize
        // Records of the rewritten name point to the question's and so come back under the name that was asked.
        var writer = DNSWriter(
            id: query.id, flags: flags, question: query.question, name: waiter.name, limit: waiter.limit)
        for record in answers where !writer.add(record, to: .answer, reserving: reserved) { break }
        if !writer.isTruncated {
            for record in authorities where !writer.add(record, to: .authority, reserving: reserved) { break }
            for record in additionals where !writer.add(record, to: .additional, reserving: reserved) { break }
        }
        return writer.finish(edns: query.edns)
    }
}
