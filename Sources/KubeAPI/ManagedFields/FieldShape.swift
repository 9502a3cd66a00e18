internal import Codecs

/// How a value is owned: as a whole (a leaf), by member, or by element. What the schema says about merging, per place.
struct FieldShape {
    enum Form {
        /// Scalars, and whatever belongs to one manager as a whole.
        case leaf
        case object(TypeID)
        /// String keys.
        case map(ValueType)
        case keyedList([String], ValueType)
        case setList(ValueType)
        /// Without a schema: objects by member, everything else whole.
        case deduced
    }
    let form: Form

    init(_ form: Form) { self.form = form }

    /// A value without a field of its own: an element of a list or map.
    init(element type: ValueType) {
        switch type {
        case .object(let id): form = AtomicTypes.shared.contains(id) ? .leaf : .object(id)
        case .map(let element): form = .map(element)
        default: form = .leaf
        }
    }

    init(_ field: FieldSchema) {
        switch field.type {
        case .array(let element):
            if field.flags.contains(.mapList) {
                form = .keyedList(field.listMapKeys, element)
            } else {
                form = field.flags.contains(.setList) ? .setList(element) : .leaf
            }
        // The one reference that is granular where its type is not (mapType=granular).
        case .object(let id) where !field.flags.contains(.atomicMap) || field.name == "claimRef": form = .object(id)
        case .map(let element) where !field.flags.contains(.atomicMap): form = .map(element)
        default: form = .leaf
        }
    }

    /// The shape below a step.
    func child(_ element: PathElement, _ schema: Schema) -> FieldShape {
        switch form {
        case .object(let id): schema.type(id).field(element.text).map { FieldShape($0) } ?? FieldShape(.deduced)
        case .map(let type), .keyedList(_, let type), .setList(let type): FieldShape(element: type)
        case .deduced: FieldShape(.deduced)
        case .leaf: FieldShape(.leaf)
        }
    }

    /// Whether a member is a field of a struct, not a key of a map.
    func names(_ member: String, _ schema: Schema) -> Bool {
        guard case .object(let id) = form else { return false }
        return schema.type(id).index(of: member) != nil
    }

    /// The step to an element of a list; nil where it has no key.
    func step(to element: JSON, _ schema: Schema) -> PathElement? {
        switch form {
        case .setList: return .value(element)
        case .keyedList(let keys, let type):
            guard case .object(let object) = element else { return nil }
            var members: [(String, JSON)] = []
            members.reserveCapacity(keys.count)
            for key in keys {
                if let value = object[key] {
                    members.append((key, value))
                } else if case .object(let id) = type, let value = schema.type(id).field(key)?.defaultValue {
                    members.append((key, value))
                }
            }
            return .key(members)
        default: return nil
        }
    }

    var isList: Bool {
        switch form {
        case .keyedList, .setList: true
        default: false
        }
    }

    /// Whether a value is owned by its parts here; a value of another kind than the schema has is a leaf.
    func isGranular(_ value: JSON) -> Bool {
        switch (form, value) {
        case (.object, .object), (.map, .object), (.deduced, .object), (.keyedList, .array), (.setList, .array): true
        default: false
        }
    }
}

/// Structs that belong to one manager as a whole wherever they stand (+structType=atomic): references and selectors.
struct AtomicTypes {
    static let shared = AtomicTypes(.shared)
    private let ids: Set<TypeID>

    private static let names = [
        "admissionregistration/v1.MatchResources", "admissionregistration/v1.NamedRuleWithOperations",
        "admissionregistration/v1.ParamKind", "admissionregistration/v1.ParamRef", "admissionregistration/v1.Variable",
        "admissionregistration/v1beta1.MatchResources", "admissionregistration/v1beta1.NamedRuleWithOperations",
        "admissionregistration/v1beta1.ParamKind", "admissionregistration/v1beta1.ParamRef",
        "admissionregistration/v1beta1.Variable", "autoscaling/v1.CrossVersionObjectReference",
        "core/v1.ConfigMapKeySelector", "core/v1.EndpointAddress", "core/v1.EndpointPort", "core/v1.FileKeySelector",
        "core/v1.LocalObjectReference", "core/v1.NodeSelector", "core/v1.NodeSelectorTerm",
        "core/v1.ObjectFieldSelector", "core/v1.ObjectReference", "core/v1.ResourceFieldSelector",
        "core/v1.ScopeSelector", "core/v1.SecretKeySelector", "core/v1.SecretReference",
        "core/v1.TopologySelectorTerm", "core/v1.TypedLocalObjectReference", "discovery/v1.EndpointPort",
        "meta/v1.LabelSelector", "meta/v1.OwnerReference", "networking/v1.ServiceBackendPort", "rbac/v1.RoleRef",
        "rbac/v1.Subject",
    ]

    init(_ schema: Schema) { ids = Set(Self.names.compactMap { schema.id(named: $0) }) }
    func contains(_ id: TypeID) -> Bool { ids.contains(id) }
}
