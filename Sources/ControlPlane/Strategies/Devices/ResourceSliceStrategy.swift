internal import Codecs
internal import KubeAPI

/// The devices of a pool that a driver tells of. Source: ValidateResourceSlice of pkg/apis/resource/validation.
struct ResourceSliceStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    var selectableFields: [SelectableField] { [SelectableField("spec.nodeName"), SelectableField("spec.driver")] }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) { spec(object.spec, .null, &check) }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        spec(object.spec, old.spec, &check)
    }

    private func spec(_ spec: JSON, _ old: JSON, _ check: inout Validation) {
        DeviceRules.driver(spec["driver"], "spec.driver", &check)
        DeviceRules.pool(spec["pool"]["name"], "spec.pool.name", &check)
        let (count, generation) = (spec["pool"]["resourceSliceCount"].int ?? 0, spec["pool"]["generation"].int ?? 0)
        if count <= 0 {
            check.add(.invalid("spec.pool.resourceSliceCount", .int(count), "must be greater than zero"))
        }
        if generation < 0 {
            check.add(
                .invalid("spec.pool.generation", .int(generation), "must be greater than or equal to zero"))
        }
        if !old.isNull {
            check.immutable(spec["pool"]["name"], old["pool"]["name"], "spec.pool.name")
            check.immutable(spec["driver"], old["driver"], "spec.driver")
            check.immutable(spec["nodeName"], old["nodeName"], "spec.nodeName")
        }
        placement(spec, &check)
        if !spec["sharedCounters"].isNull, !spec["devices"].isNull {
            check.add(.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
        }
        devices(spec, old, &check)
        let sets = DeviceRules.members(spec["sharedCounters"], 8, "spec.sharedCounters", &check)
        for (i, set) in sets.enumerated() {
            counters(set, name: "name", "spec.sharedCounters[\(i)]", &check)
        }
        DeviceRules.unique(sets, "spec.sharedCounters", &check) { $0["name"] }
    }

    /// Which nodes see the devices: exactly one way of saying it.
    private func placement(_ spec: JSON, _ check: inout Validation) {
        var set: [String] = []
        if let name = spec["nodeName"].string {
            if name.isEmpty {
                check.add(.invalid("spec.nodeName", "", "must be either unset or set to a non-empty string"))
            } else {
                set.append("`nodeName`")
                DeviceRules.name(spec["nodeName"], "spec.nodeName", .subdomain, &check)
            }
        }
        if !spec["nodeSelector"].isNull {
            set.append("`nodeSelector`")
            NodeSelectorValidation.check(spec["nodeSelector"], "spec.nodeSelector", &check)
            let terms = spec["nodeSelector"]["nodeSelectorTerms"].elements
            if terms.count != 1 {
                check.add(
                    .invalid(
                        "spec.nodeSelector.nodeSelectorTerms", .array(terms), "must have exactly one node selector term"
                    ))
            }
        }
        for key in ["allNodes", "perDeviceNodeSelection"] {
            guard let value = spec[key].bool else { continue }
            if value { set.append("`\(key)`") }
            if !value { check.add(.invalid("spec.\(key)", false, "must be either unset or set to true")) }
        }
        let text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
        if set.isEmpty { check.add(.required("spec", text)) }
        if set.count > 1 {
            check.add(
                .invalid(
                    "spec", .string("{\(set.joined(separator: ", "))}"), text + ", but multiple fields are set"))
        }
    }

    // MARK: - Devices

    private func devices(_ spec: JSON, _ old: JSON, _ check: inout Validation) {
        // Slices whose devices are more than names and numbers are shorter.
        let isRich = spec["devices"].elements.contains { device in
            !device["taints"].elements.isEmpty || !device["consumesCounters"].elements.isEmpty
        }
        let devices = DeviceRules.members(spec["devices"], isRich ? 64 : 128, "spec.devices", &check)
        let isPerDevice = spec["perDeviceNodeSelection"].bool ?? false
        var known: [String: JSON] = [:]
        for device in old["devices"].elements { known[device["name"].string ?? ""] = device }
        for (i, device) in devices.enumerated() {
            let place = "spec.devices[\(i)]"
            let before = known[device["name"].string ?? ""] ?? .null
            DeviceRules.name(device["name"], "\(place).name", .label, &check)
            attributes(device, before, place, &check)
            if before.isNull || before["taints"] != device["taints"] {
                DeviceRules.taints(device["taints"], "\(place).taints", &check)
            }
            let uses = DeviceRules.members(device["consumesCounters"], 2, "\(place).consumesCounters", &check)
            for (j, use) in uses.enumerated() {
                counters(use, name: "counterSet", "\(place).consumesCounters[\(j)]", &check)
            }
            DeviceRules.unique(uses, "\(place).consumesCounters", &check) { $0["counterSet"] }
            self.placement(of: device, isPerDevice, place, &check)
            DeviceRules.bindingConditions(device, place, &check)
        }
        DeviceRules.unique(devices, "spec.devices", &check) { $0["name"] }
    }

    private func attributes(_ device: JSON, _ before: JSON, _ path: String, _ check: inout Validation) {
        let (attributes, capacity) = (device["attributes"].object ?? .init(), device["capacity"].object ?? .init())
        let count = attributes.count + capacity.count
        if count > 32 {
            check.add(
                .invalid(
                    path, .int(Int64(count)), "the total number of attributes and capacities must not exceed 32"))
        }
        for (name, value) in attributes.members {
            DeviceRules.qualified(name, "\(path).attributes", &check)
            attribute(value, "\(path).attributes[\(name)]", &check)
        }
        if !before.isNull, before["capacity"] == device["capacity"] { return }
        for (name, value) in capacity.members {
            DeviceRules.qualified(name, "\(path).capacity", &check)
            let place = "\(path).capacity[\(name)].requestPolicy"
            if value["requestPolicy"].isNull { continue }
            if device["allowMultipleAllocations"].bool ?? false {
                policy(value, place, &check)
            } else {
                check.add(.forbidden(place, "allowMultipleAllocations must be true"))
            }
        }
    }

    private static let kinds = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"]

    private func attribute(_ value: JSON, _ path: String, _ check: inout Validation) {
        let set = Self.kinds.filter { !value[$0].isNull }
        for kind in set where ["string", "version"].contains(kind) || kind.hasSuffix("s") {
            let isList = kind.hasSuffix("s")
            let items = isList ? value[kind].elements : [value[kind]]
            if isList, items.isEmpty {
                check.add(.invalid("\(path).\(kind)", .array([]), "must not be empty if specified"))
            }
            for (i, item) in items.enumerated() {
                guard let text = item.string else { continue }
                let place = isList ? "\(path).\(kind)[\(i)]" : "\(path).\(kind)"
                if kind.hasPrefix("version"), SemanticVersion(text) == nil {
                    check.add(
                        .invalid(place, item, "must be a string compatible with semver.org spec 2.0.0"))
                }
                if text.utf8.count > 64 { check.add(.tooLong(place, limit: 64)) }
            }
        }
        if set.count != 1 {
            check.add(.invalid(path, set.isEmpty ? "" : value, "exactly one value must be specified"))
        }
    }

    /// What a share of a device's capacity may be.
    private func policy(_ capacity: JSON, _ path: String, _ check: inout Validation) {
        let policy = capacity["requestPolicy"]
        let values = policy["validValues"].elements
        let range = policy["validRange"]
        if !values.isEmpty, !range.isNull {
            check.add(
                .forbidden(
                    path,
                    "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time"
                ))
            return
        }
        guard !values.isEmpty || !range.isNull else { return }
        guard let usual = policy["default"].quantity else {
            let kind = values.isEmpty ? "validRange" : "validValues"
            check.add(.required("\(path).default", "required when \(kind) is defined"))
            return
        }
        guard let most = capacity["value"].quantity else { return }
        if values.isEmpty {
            self.range(range, usual, most, "\(path).validRange", &check)
            return
        }
        let place = "\(path).validValues"
        let amounts = values.compactMap(\.quantity)
        for i in amounts.indices.dropFirst() where amounts[i - 1] > amounts[i] {
            check.add(.invalid("\(place)[\(i)]", values[i], "values must be sorted in ascending order"))
        }
        for (i, amount) in amounts.enumerated() where amount > most {
            check.add(.invalid("\(place)[\(i)]", values[i], "option is larger than capacity value: \(most)"))
        }
        if !amounts.contains(where: { $0 == usual }) {
            check.add(
                .invalid(place, policy["default"], "default value is not valid according to the requestPolicy"))
        }
    }

    private func range(
        _ range: JSON, _ usual: Quantity, _ most: Quantity, _ path: String, _ check: inout Validation
    ) {
        func bad(_ key: String, _ value: Quantity, _ text: String) {
            check.add(.invalid("\(path).\(key)", .string(value.description), text))
        }
        guard let low = range["min"].quantity else {
            check.add(.required("\(path).min", "required when validRange is defined"))
            return
        }
        if low > most { bad("min", low, "min is larger than capacity value: \(most)") }
        if usual < low { bad("default", usual, "default is less than min: \(low)") }
        if let high = range["max"].quantity {
            if low > high { bad("max", low, "min is larger than max: \(high)") }
            if high > most { bad("max", high, "max is larger than capacity value: \(most)") }
            if usual > high { bad("default", usual, "default is more than max: \(high)") }
        }
        guard let step = range["step"].quantity else { return }
        if step <= .zero { bad("step", step, "must be greater than zero") }
        if step > .zero, low + step > most {
            bad("step", step, "one step \(low + step) is larger than capacity value: \(most)")
        }
    }

    /// Counters by name: of a set that devices share, or what a device takes of one.
    private func counters(_ set: JSON, name key: String, _ path: String, _ check: inout Validation) {
        DeviceRules.requiredName(set[key], "\(path).\(key)", .label, &check)
        let counters = set["counters"].object ?? .init()
        if counters.isEmpty { check.add(.required("\(path).counters")) }
        if counters.count > 32 {
            check.add(.init(.tooMany, "\(path).counters", "Too many: \(counters.count): must have at most 32 items"))
            return
        }
        for name in counters.keys { DeviceRules.name(.string(name), "\(path).counters", .label, &check) }
    }

    private func placement(of device: JSON, _ isPerDevice: Bool, _ path: String, _ check: inout Validation) {
        let keys = ["nodeName", "nodeSelector", "allNodes"].filter { !device[$0].isNull }
        guard isPerDevice else {
            if !keys.isEmpty {
                check.add(
                    .invalid(
                        path, .null,
                        "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
                    ))
            }
            return
        }
        if device["nodeName"] == "" { check.add(.invalid("\(path).nodeName", "", "must not be empty")) }
        if device["allNodes"] == false {
            check.add(.invalid("\(path).allNodes", false, "must be either unset or set to true"))
        }
        if !device["nodeSelector"].isNull {
            NodeSelectorValidation.check(device["nodeSelector"], "\(path).nodeSelector", &check)
        }
        let set = keys.filter { device[$0] != "" && device[$0] != false }.map { "`\($0)`" }
        let text =
            "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
        if set.isEmpty { check.add(.required(path, text)) }
        if set.count > 1 {
            check.add(.invalid(path, .string("{\(set.joined(separator: ", "))}"), text))
        }
    }
}
