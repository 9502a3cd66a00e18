internal import Codecs
internal import KubeAPI

/// A deployment's strategy.
enum RollingUpdate {
    static func check(_ strategy: JSON, _ check: inout Validation) {
        let type = strategy["type"].string ?? ""
        let update = strategy["rollingUpdate"]
        switch type {
        case "Recreate":
            if !update.isNull {
                check.add(
                    .forbidden(
                        "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
            }
        case "RollingUpdate":
            guard !update.isNull else {
                check.add(.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil"))
                return
            }
            let path = "spec.strategy.rollingUpdate"
            IntOrPercent.check(update["maxUnavailable"], "\(path).maxUnavailable", &check)
            IntOrPercent.check(update["maxSurge"], "\(path).maxSurge", &check)
            if IntOrPercent.value(update["maxUnavailable"]) == 0, IntOrPercent.value(update["maxSurge"]) == 0 {
                check.add(
                    .invalid(
                        "\(path).maxUnavailable", update["maxUnavailable"], "may not be 0 when `maxSurge` is 0"))
            }
            IntOrPercent.checkAtMostAll(update["maxUnavailable"], "\(path).maxUnavailable", &check)
        default: check.add(.notSupported("spec.strategy.type", .string(type), ["Recreate", "RollingUpdate"]))
        }
    }
}

/// A number, or a part of one: 3, "25%".
enum IntOrPercent {
    static func percent(_ value: JSON) -> Int64? {
        guard let text = value.string, text.hasSuffix("%") else { return nil }
        let digits = text.dropLast()
        return digits.utf8.allSatisfy { $0 &- 48 < 10 } ? Int64(digits) : nil
    }

    static func value(_ amount: JSON) -> Int64? { amount.int ?? percent(amount) }

    static func check(_ amount: JSON, _ path: String, _ check: inout Validation) {
        if let text = amount.string {
            if percent(amount) == nil {
                check.add(
                    .invalid(
                        path, .string(text),
                        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                            + "regex used for validation is '[0-9]+%')"))
            }
        } else {
            check.nonNegative(amount, path)
        }
    }

    static func checkAtMostAll(_ amount: JSON, _ path: String, _ check: inout Validation) {
        if let percent = percent(amount), percent > 100 {
            check.add(.invalid(path, amount, "must not be greater than 100%"))
        }
    }
}
