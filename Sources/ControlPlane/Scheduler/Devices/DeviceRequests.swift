internal import Codecs
internal import KubeAPI

/// One way of meeting a request: a class, how many devices, and which of those that there are would do.
struct DeviceOption: Sendable {
    /// As results name it: "gpu", or "gpu/large" of an alternative.
    var name: String
    /// nil: all that would do.
    var count: Int?
    var isAdministrative: Bool
    var tolerations: JSON
    var deviceClass: KubeObject
    /// Of the inventory, in its order.
    var matching: [Int] = []
    /// Devices whose attributes an expression could not do with, and what was wrong.
    var failures: [Int: String] = [:]
}

struct DeviceRequest: Sendable {
    /// Of the claims that are to be allocated.
    var claim: Int
    var name: String
    /// The first that can be met is taken.
    var options: [DeviceOption]
}

/// What all devices of some requests of a claim must have in common, or must not.
struct DeviceConstraint: Sendable {
    var claim: Int
    /// Empty: all.
    var requests: [String]
    var attribute: String
    var isDistinct: Bool

    init?(_ json: JSON, claim: Int) {
        self.claim = claim
        requests = json["requests"].elements.compactMap(\.string)
        isDistinct = json["matchAttribute"].isNull
        guard let attribute = json["matchAttribute"].string ?? json["distinctAttribute"].string else { return nil }
        self.attribute = attribute
    }

    func concerns(_ request: DeviceRequest, _ option: DeviceOption) -> Bool {
        claim == request.claim
            && (requests.isEmpty || requests.contains(request.name) || requests.contains(option.name))
    }
}

/// Why claims cannot be allocated whatever the node.
struct DeviceError: Error, Sendable {
    var message: String
    init(_ message: String) { self.message = message }
}

extension DeviceOption {
    init(_ json: JSON, name: String, deviceClass: KubeObject, claim: KubeObject) throws(DeviceError) {
        self.name = name
        self.deviceClass = deviceClass
        isAdministrative = json["adminAccess"].bool ?? false
        tolerations = json["tolerations"]
        switch json["allocationMode"].string ?? "ExactCount" {
        case "All": count = nil
        case "ExactCount": count = Int(clamping: json["count"].int ?? 1)
        case let mode:
            throw DeviceError(
                "claim \(claim.namespace)/\(claim.name), request \(name): unsupported count mode \(mode)")
        }
    }

    /// Finds the devices that would do. Expressions are compiled once, and evaluated once for each device.
    mutating func match(
        _ request: JSON, _ inventory: DeviceInventory, _ values: [CELValue?], _ claim: KubeObject
    ) throws(DeviceError) {
        let place = "claim \(claim.namespace)/\(claim.name)"
        var programs: [(CELProgram, String)] = []
        for (list, owner) in [
            (deviceClass.spec["selectors"], "class \(deviceClass.name)"), (request["selectors"], place),
        ] {
            for (i, selector) in list.elements.enumerated() {
                let text = "\(owner): selector #\(i): CEL"
                do throws(CELError) {
                    let source = selector["cel"]["expression"].string ?? ""
                    programs.append((try DeviceExpression.compile(source), "\(text) runtime error: "))
                } catch { throw DeviceError("\(text) compile error: \(error.message)") }
            }
        }
        let tolerated = tolerations.elements.map(Toleration.init)
        devices: for (i, device) in inventory.devices.enumerated() {
            let isTainted = device.taints.contains { taint in
                taint.isHard && !tolerated.contains { $0.tolerates(taint) }
            }
            if isTainted { continue }
            guard let value = values[i] else {
                failures[i] = "\(place): device \(device.id.device): unsupported attribute value"
                continue
            }
            for (program, text) in programs {
                do throws(CELError) {
                    if try !DeviceExpression.matches(program, value) { continue devices }
                } catch {
                    failures[i] = text + error.message
                    continue devices
                }
            }
            matching.append(i)
        }
    }
}
