internal import Codecs
internal import KubeAPI

/// Which address families a service has: policy, families and addresses, each of which may be told or follow from the others.
/// Source: initIPFamilyFields of pkg/registry/core/service/storage/alloc.go, ValidateServiceClusterIPsRelatedFields and
/// validateUpgradeDowngrade of pkg/apis/core/validation (KEP-563).
enum ServiceFamilies {
    static let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"]

    private static func strings(_ json: JSON) -> [String] { json.elements.map { $0.string ?? "" } }
    private static func family(_ address: String) -> String { address.contains(":") ? "IPv6" : "IPv4" }

    /// Fills in what was not told.
    static func complete(
        _ object: inout KubeObject, old: KubeObject?, configured: [String], _ errors: inout [FieldError]
    ) {
        guard object.spec["type"].string != "ExternalName" else { return }
        let before = old.flatMap { $0.spec["type"].string == "ExternalName" ? nil : $0.spec }
        complete(addresses: &object, before)
        // A service that prefers two families stays what it is when the cluster changes.
        if let before, object.spec["ipFamilyPolicy"].string == "PreferDualStack",
            ["ipFamilyPolicy", "clusterIPs", "ipFamilies"].allSatisfy({ object.spec[$0] == before[$0] })
        {
            return
        }
        let hasNoSelector = (object.spec["selector"].object?.count ?? 0) == 0
        let isOpen = object.spec["clusterIP"].string == "None" && hasNoSelector
        if object.spec["ipFamilyPolicy"].isNull {
            let policy = before.map { $0["ipFamilyPolicy"] } ?? .null
            object.json["spec"]["ipFamilyPolicy"] =
                !policy.isNull ? policy : isOpen ? "RequireDualStack" : "SingleStack"
        }
        var check = Validation()
        validate(object.spec, &check)
        guard check.errors.isEmpty else {
            errors += check.errors
            return
        }
        if let before { release(&object, before, &errors) }
        let policy = object.spec["ipFamilyPolicy"]
        let isSingle = policy.string == "SingleStack"
        let addresses = strings(object.spec["clusterIPs"])
        var families = strings(object.spec["ipFamilies"])
        func need(_ what: String) {
            errors.append(
                .invalid(
                    "spec.ipFamilyPolicy", policy,
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple \(what) are specified"))
        }
        if isSingle, addresses.count == 2 { need("cluster IPs") }
        if isSingle, families.count == 2 { need("IP families") }
        for (index, address) in addresses.enumerated() where address != "None" && index >= families.count {
            let family = family(address)
            if configured.contains(family) {
                families.append(family)
            } else {
                errors.append(
                    .invalid(
                        "spec.clusterIPs[\(index)]", .strings(addresses), "\(family) is not configured on this cluster")
                )
            }
        }
        guard errors.isEmpty else { return }
        defer { object.json["spec"]["ipFamilies"] = .strings(families) }
        if isOpen {
            // Whoever writes the endpoints knows their families.
            if families.isEmpty { families = Array(configured.prefix(1)) }
            if families.count == 1, !isSingle { families.append(families[0] == "IPv4" ? "IPv6" : "IPv4") }
            return
        }
        if policy.string == "RequireDualStack", configured.count < 2 {
            errors.append(
                .invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"))
        }
        for (index, family) in families.enumerated() where !configured.contains(family) {
            errors.append(
                .invalid("spec.ipFamilies[\(index)]", .string(family), "not configured on this cluster"))
        }
        guard errors.isEmpty else { return }
        if families.isEmpty { families = Array(configured.prefix(1)) }
        if !isSingle, families.count == 1 { families += configured.filter { $0 != families[0] }.prefix(1) }
    }

    /// `clusterIP` is the first of `clusterIPs`; clients that know only one of them change only that.
    private static func complete(addresses object: inout KubeObject, _ before: JSON?) {
        let one = object.spec["clusterIP"]
        let list = object.spec["clusterIPs"].elements
        let hasOne = one.string?.isEmpty == false
        if list.isEmpty {
            if hasOne { object.json["spec"]["clusterIPs"] = [one] }
        } else if !hasOne {
            if before == nil { return }
            object.json["spec"]["clusterIP"] = list[0]
        } else if let before, before["clusterIP"] != one, before["clusterIPs"] == object.spec["clusterIPs"] {
            object.json["spec"]["clusterIPs"] = [one]
        }
    }

    /// From two families to one: said by the policy, and then what it is about may stay unsaid.
    private static func release(_ object: inout KubeObject, _ before: JSON, _ errors: inout [FieldError]) {
        let policy = object.spec["ipFamilyPolicy"]
        for (key, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
            let (new, old) = (object.spec[key].elements, before[key].elements)
            if policy.string == "SingleStack" {
                if new == old, new.count > 1 { object.json["spec"][key] = [new[0]] }
            } else if old.count == 2, new.count == 1 {
                errors.append(
                    .invalid("spec.ipFamilyPolicy", policy, "must be 'SingleStack' to release the secondary \(what)"))
            }
        }
    }

    // MARK: validation

    static func validate(_ spec: JSON, _ check: inout Validation) {
        guard spec["type"].string != "ExternalName" else { return }
        let addresses = strings(spec["clusterIPs"])
        let one = spec["clusterIP"].string ?? ""
        if !one.isEmpty {
            if addresses.isEmpty {
                check.add(.required("spec.clusterIPs"))
            } else if addresses[0] != one {
                check.add(.invalid("spec.clusterIPs", .strings(addresses), "first value must match `clusterIP`"))
            }
        } else if !addresses.isEmpty {
            check.add(
                .invalid("spec.clusterIPs", .strings(addresses), "must be empty when `clusterIP` is not specified"))
        }
        let families = strings(spec["ipFamilies"])
        for (index, family) in families.enumerated() {
            if family != "IPv4", family != "IPv6" {
                check.add(.notSupported("spec.ipFamilies[\(index)]", .string(family), ["IPv4", "IPv6"]))
            }
            if families.prefix(index).contains(family) {
                check.add(.duplicate("spec.ipFamilies[\(index)]", .string(family)))
            }
        }
        check.oneOf(spec["ipFamilyPolicy"], policies, "spec.ipFamilyPolicy")
        var isSound = true
        for (index, address) in addresses.enumerated() {
            if index == 0, address == "None" {
                if addresses.count > 1 {
                    isSound = false
                    check.add(
                        .invalid("spec.clusterIPs", .strings(addresses), "'None' must be the first and only value"))
                }
                continue
            }
            if IPAddress(address) == nil {
                isSound = false
                check.add(
                    .invalid(
                        "spec.clusterIPs[\(index)]", .string(address),
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
            }
        }
        if addresses.count > 2 {
            check.add(.invalid("spec.clusterIPs", .strings(addresses), "may only hold up to 2 values"))
        }
        guard isSound, one != "None" else { return }
        if addresses.count > 1, Set(addresses.map(family)).count < 2 {
            check.add(
                .invalid(
                    "spec.clusterIPs", .strings(addresses), "may specify no more than one IP for each IP family"))
        }
        for (index, (address, family)) in zip(addresses, families).enumerated() where self.family(address) != family {
            check.add(
                .invalid(
                    "spec.clusterIPs[\(index)]", .string(address),
                    "expected an \(family) value as indicated by `ipFamilies[\(index)]`"))
        }
    }

    /// The first address and family stay as long as the service has any; the second may come and go.
    static func validateUpdate(_ spec: JSON, old: JSON, _ check: inout Validation) {
        guard spec["type"].string != "ExternalName", old["type"].string != "ExternalName" else { return }
        let isOpen = { (spec: JSON) in spec["clusterIP"].string == "None" && (spec["selector"].object?.count ?? 0) == 0
        }
        for (key, primary, secondary) in [
            ("clusterIPs", "primary clusterIP", "secondary clusterIP"),
            ("ipFamilies", "primary ipFamily", "secondary ipFamily"),
        ] {
            // Only such services may have other families than the cluster.
            if key == "ipFamilies", isOpen(old) != isOpen(spec) { continue }
            let (new, before) = (strings(spec[key]), strings(old[key]))
            if before.isEmpty { continue }
            if new.isEmpty {
                check.add(.invalid("spec.\(key)[0]", .strings(new), "\(primary) can not be unset"))
                continue
            }
            for index in new.indices where index < before.count && new[index] != before[index] {
                check.add(.invalid("spec.\(key)[\(index)]", .strings(new), "may not change once set"))
            }
            if new.count < before.count, spec["ipFamilyPolicy"].string != "SingleStack" {
                check.add(
                    .invalid(
                        "spec.ipFamilyPolicy", spec["ipFamilyPolicy"],
                        "must be set to 'SingleStack' when releasing the \(secondary)"))
            }
        }
    }
}
