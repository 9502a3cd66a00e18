internal import Codecs
internal import KubeAPI

/// Expressions that choose devices: `device.driver == "gpu.acme.io" && device.attributes["gpu.acme.io"].memory > 4`.
/// Source: k8s.io/dynamic-resource-allocation/cel, KEP-4381.
enum DeviceExpression {
    /// Steps that one expression may take with one device.
    static let limit: Int64 = 1_000_000

    private static let variables = [
        CELField(
            "device",
            .object(
                "kubernetes.DRADevice",
                [
                    CELField("driver", .string),
                    CELField("attributes", .map(.string, .map(.string, .dyn))),
                    CELField("capacity", .map(.string, .map(.string, .quantity))),
                    CELField("allowMultipleAllocations", .bool),
                ]))
    ]

    static func compile(_ source: String) throws(CELError) -> CELProgram {
        let program: CELProgram
        do throws(CELError) {
            program = try CELProgram.compile(source, variables: variables)
        } catch { throw CELError("compilation failed: " + error.message) }
        guard program.type == .bool || program.type == .dyn else {
            throw CELError("must evaluate to bool or the unknown type, not \(program.type.text)")
        }
        return program
    }

    /// What an expression sees of a device. Names without a domain are of the driver's.
    static func value(of device: JSON, driver: String) throws(CELError) -> CELValue {
        var (attributes, capacity) = ([(String, String, CELValue)](), [(String, String, CELValue)]())
        for (name, attribute) in device["attributes"].object ?? JSONObject() {
            let (domain, id) = Self.split(name, driver)
            guard let value = attributeValue(attribute) else {
                throw CELError("attribute \(name): unsupported attribute value")
            }
            attributes.append((domain, id, value))
        }
        for (name, entry) in device["capacity"].object ?? JSONObject() {
            let (domain, id) = Self.split(name, driver)
            guard let amount = entry["value"].quantity else { continue }
            capacity.append((domain, id, .quantity(amount)))
        }
        return .map(
            CELMap([
                (.string("driver"), .string(driver)),
                (.string("attributes"), byDomain(attributes)),
                (.string("capacity"), byDomain(capacity)),
                (.string("allowMultipleAllocations"), .bool(device["allowMultipleAllocations"].bool ?? false)),
            ]))
    }

    static func matches(_ program: CELProgram, _ device: CELValue) throws(CELError) -> Bool {
        guard case .bool(let flag) = try program.evaluate([("device", device)], limit: limit) else {
            throw CELError("CEL result could not be converted to bool")
        }
        return flag
    }

    static func split(_ name: String, _ driver: String) -> (domain: String, id: String) {
        guard let slash = name.firstIndex(of: "/") else { return (driver, name) }
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }

    /// Exactly one of its fields is set; lists belong to a feature that is off.
    static func attributeValue(_ attribute: JSON) -> CELValue? {
        if let value = attribute["int"].int { return .int(value) }
        if let value = attribute["bool"].bool { return .bool(value) }
        if let value = attribute["string"].string { return .string(value) }
        return attribute["version"].string.flatMap { SemanticVersion($0) }.map { .version($0) }
    }

    /// A domain that is not there has no names, which is no error.
    private static func byDomain(_ list: [(String, String, CELValue)]) -> CELValue {
        var domains: [(name: String, map: CELMap)] = []
        for (domain, id, value) in list {
            let at = domains.firstIndex { $0.name == domain } ?? domains.count
            if at == domains.count { domains.append((domain, CELMap())) }
            domains[at].map.entries.append((.string(id), value))
        }
        var outer = CELMap(domains.map { (.string($0.name), .map($0.map)) })
        outer.missing = [.map(CELMap())]
        return .map(outer)
    }
}
