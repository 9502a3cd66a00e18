internal import Codecs
internal import KubeAPI

/// What a field of a simple kind has to be like. Paths are dotted: "spec.controller".
enum FieldRule: Sendable {
    case required(String, String = "")
    /// One of these words where it is set.
    case oneOf(String, [String])
    /// A name where it is set and not empty.
    case name(String, NameRule)
    case nonNegative(String)
    case selector(String)
    /// "acme.io/foo"
    case domainPath(String)
    case quantity(String)
    /// Texts by text, none of whose keys is empty.
    case keyed(String)
    /// Stays as it was made: "field is immutable".
    case immutable(String)
    /// Stays as it was made, in other words.
    case fixed(String, String)
}

/// A kind whose peculiarities are a list of rules about its fields.
struct RuleStrategy: ResourceStrategy {
    let nameRule: NameRule
    let tracksGeneration: Bool
    let returnsDeletedObject: Bool
    let rules: [FieldRule]

    init(
        _ rules: [FieldRule], nameRule: NameRule = .subdomain, tracksGeneration: Bool = false,
        returnsDeletedObject: Bool = false
    ) {
        (self.rules, self.nameRule, self.tracksGeneration) = (rules, nameRule, tracksGeneration)
        self.returnsDeletedObject = returnsDeletedObject
    }

    static func value(_ object: KubeObject, _ path: String) -> JSON {
        path.split(separator: ".").reduce(object.json) { $0[String($1)] }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        for rule in rules {
            switch rule {
            case .required(let path, let why):
                let value = Self.value(object, path)
                if value.isNull || value == "" || value == .array([]) || value.object?.isEmpty == true {
                    check.add(.required(path, why))
                }
            case .oneOf(let path, let words): check.oneOf(Self.value(object, path), words, path)
            case .name(let path, let rule):
                guard let text = Self.value(object, path).string, !text.isEmpty, let problem = rule.problem(text) else {
                    continue
                }
                check.add(.invalid(path, .string(text), problem))
            case .nonNegative(let path): check.nonNegative(Self.value(object, path), path)
            case .selector(let path):
                let value = Self.value(object, path)
                if !value.isNull { Selectors.validate(value, path, &check) }
            case .domainPath(let path):
                guard let text = Self.value(object, path).string, !text.isEmpty else { continue }
                let slash = text.utf8.firstIndex(of: UInt8(ascii: "/"))
                let domain = slash.map { String(text[..<$0]) } ?? ""
                if text.hasSuffix("/") || LabelSyntax.subdomainProblem(domain) != nil {
                    check.add(
                        .invalid(path, .string(text), "must be a domain-prefixed path (such as \"acme.io/foo\")"))
                }
            case .quantity(let path):
                let value = Self.value(object, path)
                if let amount = value.quantity, amount < .zero {
                    check.add(.invalid(path, value, "must be greater than or equal to 0"))
                }
            case .keyed(let path):
                if Self.value(object, path).object?.keys.contains("") == true {
                    check.add(.invalid(path, "", "field can not be empty."))
                }
            case .immutable, .fixed: continue
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        for rule in rules {
            switch rule {
            case .immutable(let path): check.immutable(Self.value(object, path), Self.value(old, path), path)
            case .fixed(let path, let why):
                if Self.value(object, path) != Self.value(old, path) { check.add(.forbidden(path, why)) }
            default: continue
            }
        }
    }
}

/// The kinds that are rules only. Sources: pkg/apis/storage/validation, pkg/apis/node/validation,
/// pkg/apis/networking/validation, pkg/apis/resource/validation.
enum SimpleKinds {
    static func strategy(_ gvr: GroupVersionResource) -> (any ResourceStrategy)? {
        switch (gvr.group, gvr.resource) {
        case ("storage.k8s.io", let resource): storage(resource)
        case ("node.k8s.io", "runtimeclasses"): RuntimeClassStrategy()
        case ("networking.k8s.io", "ingressclasses"): IngressClassStrategy()
        case ("flowcontrol.apiserver.k8s.io", "flowschemas"): FlowSchemaStrategy()
        case ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): PriorityLevelStrategy()
        case ("resource.k8s.io", let resource): devices(resource)
        default: nil
        }
    }

    private static func storage(_ resource: String) -> (any ResourceStrategy)? {
        switch resource {
        case "storageclasses": StorageClassStrategy()
        case "csidrivers": CSIDriverStrategy()
        case "csinodes": CSINodeStrategy()
        case "csistoragecapacities":
            RuleStrategy([
                .required("storageClassName"), .name("storageClassName", .subdomain), .selector("nodeTopology"),
                .quantity("capacity"), .quantity("maximumVolumeSize"), .immutable("storageClassName"),
                .immutable("nodeTopology"),
            ])
        case "volumeattachments": VolumeAttachmentStrategy()
        case "volumeattributesclasses":
            RuleStrategy(
                [
                    .required("driverName"), .name("driverName", .subdomain),
                    .required("parameters", "must contain at least one key/value pair"), .keyed("parameters"),
                    .fixed("driverName", "updates to driverName are forbidden."),
                    .fixed("parameters", "updates to parameters are forbidden."),
                ], returnsDeletedObject: true)
        default: nil
        }
    }

    private static func devices(_ resource: String) -> (any ResourceStrategy)? {
        switch resource {
        case "deviceclasses": DeviceClassStrategy()
        case "resourceclaims": ResourceClaimStrategy()
        case "resourceclaimtemplates": ResourceClaimTemplateStrategy()
        case "resourceslices": ResourceSliceStrategy()
        default: nil
        }
    }
}
