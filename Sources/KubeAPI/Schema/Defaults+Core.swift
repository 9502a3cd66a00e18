internal import Codecs

extension Defaulters {
    static func core(_ type: String) -> Defaulter? {
        switch type {
        case "Container", "EphemeralContainer":
            { slots, _ in
                guard slots.isUnset("imagePullPolicy") else { return }
                slots["imagePullPolicy"] = pullPolicy(slots["image"].string ?? "")
            }
        case "ImageVolumeSource":
            { slots, _ in
                guard slots.isUnset("pullPolicy") else { return }
                slots["pullPolicy"] = pullPolicy(slots["reference"].string ?? "")
            }
        case "Volume":
            { slots, _ in
                let sourceless = zip(slots.type.fields, slots.values).allSatisfy { $0.name == "name" || $1 == nil }
                if sourceless { slots["emptyDir"] = [:] }
            }
        case "ResourceRequirements", "VolumeResourceRequirements":
            { slots, _ in roundUp(&slots, ["limits", "requests"]) }
        case "PodSpec": { slots, _ in roundUp(&slots, ["overhead"]) }
        case "NodeStatus":
            { slots, _ in
                roundUp(&slots, ["capacity", "allocatable"])
                if slots["allocatable"].isGoZero { slots["allocatable"] = slots["capacity"] }
            }
        case "PersistentVolumeSpec", "PersistentVolumeClaimStatus": { slots, _ in roundUp(&slots, ["capacity"]) }
        case "ResourceQuotaSpec": { slots, _ in roundUp(&slots, ["hard"]) }
        case "ResourceQuotaStatus": { slots, _ in roundUp(&slots, ["hard", "used"]) }
        case "LimitRangeItem": limitRangeItem
        case "Pod": pod
        case "ServicePort": { slots, _ in if isUnset(slots["targetPort"]) { slots["targetPort"] = slots["port"] } }
        case "ServiceSpec": serviceSpec
        case "Service": { slots, _ in if slots["spec"]["type"] == "LoadBalancer" { ipMode(&slots) } }
        case "Namespace":
            { slots, _ in
                guard let name = slots["metadata"]["name"].string, !name.isEmpty else { return }
                var labels = slots["metadata"]["labels"].stringMap
                labels["kubernetes.io/metadata.name"] = name
                if let metadata = ObjectMetaOrder.with(.map(labels), in: slots["metadata"]) {
                    slots["metadata"] = metadata
                }
            }
        case "PersistentVolume":
            { slots, context in
                guard case .object(var spec) = slots["spec"],
                    let type = context.schema.type(named: "core/v1.PersistentVolumeSpec")
                else { return }
                if spec["persistentVolumeReclaimPolicy"] == nil {
                    type.set("persistentVolumeReclaimPolicy", to: "Retain", in: &spec)
                }
                if spec["volumeMode"] == nil { type.set("volumeMode", to: "Filesystem", in: &spec) }
                slots["spec"] = .object(spec)
            }
        case "ReplicationController":
            { slots, context in
                let labels = slots["spec"]["template"]["metadata"]["labels"]
                if !labels.isGoZero, slots["spec"]["selector"].isGoZero, case .object(var spec) = slots["spec"],
                    let type = context.schema.type(named: "core/v1.ReplicationControllerSpec")
                {
                    type.set("selector", to: labels, in: &spec)
                    slots["spec"] = .object(spec)
                }
                labelsFromTemplate(&slots)
            }
        default: nil
        }
    }

    /// 0, "" or nothing: what an IntOrString is when nobody set it.
    private static func isUnset(_ value: JSON) -> Bool { value.isNull || value == 0 || value == "" }

    /// Always for the tag "latest" and for no tag at all; a digest needs no second look.
    private static func pullPolicy(_ image: String) -> JSON {
        if image.isEmpty || image.utf8.contains(UInt8(ascii: "@")) {
            let name = image.prefix { $0 != "@" }
            return tag(of: name) == "latest" ? "Always" : "IfNotPresent"
        }
        let tag = tag(of: image[...])
        return tag.isEmpty || tag == "latest" ? "Always" : "IfNotPresent"
    }

    private static func tag(of image: Substring) -> Substring {
        let bytes = image.utf8
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { return "" }
        let tag = image[bytes.index(after: colon)...]
        // A colon before the last slash is a registry's port.
        return tag.utf8.contains(UInt8(ascii: "/")) ? "" : tag
    }

    /// Amounts in resource lists have steps of a thousandth.
    private static func roundUp(_ slots: inout FieldSlots, _ names: [String]) {
        for name in names {
            guard case .object(var list) = slots[name] else { continue }
            var changed = false
            list.mapValues { _, value in
                // Only text that ends in "n" or "u", or has a long fraction, can be finer than that.
                guard case .string(let text) = value, let last = text.utf8.last,
                    last == UInt8(ascii: "n") || last == UInt8(ascii: "u"), var quantity = Quantity(text)
                else { return value }
                let step: Int128 = 1_000_000
                let over = quantity.nanos % step
                quantity.nanos += over > 0 ? step - over : -over
                changed = true
                return .string(quantity.description)
            }
            if changed { slots[name] = .object(list) }
        }
    }

    private static let limitRangeItem: Defaulter = { slots, _ in
        roundUp(&slots, ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"])
        guard slots["type"] == "Container" else { return }
        // Max gives the default limit, that the default request; a minimum gives the request where nothing else does.
        var limits = slots["default"].object ?? JSONObject()
        var requests = slots["defaultRequest"].object ?? JSONObject()
        for (key, value) in slots["max"].object ?? [:] where limits[key] == nil { limits[key] = value }
        for (key, value) in limits where requests[key] == nil { requests[key] = value }
        for (key, value) in slots["min"].object ?? [:] where requests[key] == nil { requests[key] = value }
        limits.sort()
        requests.sort()
        slots["default"] = .object(limits)
        slots["defaultRequest"] = .object(requests)
    }

    private static let serviceSpec: Defaulter = { slots, _ in
        slots.setDefault("sessionAffinity", "None")
        slots.setDefault("type", "ClusterIP")
        if slots["sessionAffinity"] == "None" { slots["sessionAffinityConfig"] = .null }
        if slots["sessionAffinity"] == "ClientIP", slots["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].isNull {
            slots["sessionAffinityConfig"] = ["clientIP": ["timeoutSeconds": 10800]]
        }
        let type = slots["type"].string ?? ""
        let external = type == "NodePort" || type == "LoadBalancer" || !slots["externalIPs"].isGoZero
        if external { slots.setDefault("externalTrafficPolicy", "Cluster") }
        if ["ClusterIP", "NodePort", "LoadBalancer"].contains(type) {
            slots.setDefault("internalTrafficPolicy", "Cluster")
        }
        if type == "LoadBalancer" { slots.setDefault("allocateLoadBalancerNodePorts", true) }
    }

    private static func ipMode(_ slots: inout FieldSlots) {
        guard case .array(var ingress) = slots["status"]["loadBalancer"]["ingress"] else { return }
        for i in ingress.indices where !ingress[i]["ip"].isGoZero && ingress[i]["ipMode"].isNull {
            guard let type = Schema.shared.type(named: "core/v1.LoadBalancerIngress"),
                case .object(var entry) = ingress[i]
            else { continue }
            type.set("ipMode", to: "VIP", in: &entry)
            ingress[i] = .object(entry)
        }
        var status = slots["status"]
        status["loadBalancer"]["ingress"] = .array(ingress)
        slots["status"] = status
    }
}
