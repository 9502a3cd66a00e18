package import Codecs
package import KubeAPI

/// What is particular to a kind beside its schema: what the server fills in, what it refuses, and how it is deleted.
///
/// Everything has a default, so that a plain kind needs none of it. Validation adds to a list of field errors with
/// upstream's paths and texts; preparation never fails. `subresource` is "" for the object itself.
package protocol ResourceStrategy: Sendable {
    var nameRule: NameRule { get }
    /// `metadata.generation` counts changes of anything but metadata and status.
    var tracksGeneration: Bool { get }
    /// What of the metadata counts as such a change too.
    var metadataCounted: [String] { get }
    /// A deletion answers with the object rather than with a Status.
    var returnsDeletedObject: Bool { get }
    /// What becomes of dependents when the request does not say.
    var orphansDependents: Bool { get }
    /// Field selectors beside `metadata.name` and `metadata.namespace`.
    var selectableFields: [SelectableField] { get }
    /// Whether an unchanged object's heartbeat fields may reach the disk later.
    func durability(of object: KubeObject, old: KubeObject, subresource: String) -> WriteUrgency

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope)
    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope)
    func validateCreate(_ object: KubeObject, _ check: inout Validation)
    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation)
    func warnings(for object: KubeObject) -> [String]

    /// Seconds that the object stays after it is asked to go; nil where the kind does not know graceful deletion.
    func gracePeriod(of object: KubeObject, requested: Int64?) -> Int64?
    /// Called when the deletion mark is set.
    func markDeleted(_ object: inout KubeObject)
    /// Whether an object that is marked deleted has nothing left to wait for.
    func isReadyToGo(_ object: KubeObject) -> Bool
}

package enum WriteUrgency: Sendable { case durable, deferred }

package enum NameRule: Sendable {
    case subdomain, label, rfc1035Label, pathSegment

    func problem(_ name: String) -> String? {
        switch self {
        case .subdomain: LabelSyntax.subdomainProblem(name)
        case .label: LabelSyntax.labelProblem(name)
        case .rfc1035Label: LabelSyntax.rfc1035LabelProblem(name)
        case .pathSegment: LabelSyntax.pathSegmentProblem(name)
        }
    }

    /// A prefix of names: a trailing dash is fine.
    func prefixProblem(_ prefix: String) -> String? {
        problem(prefix.hasSuffix("-") ? prefix.dropLast() + "a" : prefix)
    }
}

package struct SelectableField: Sendable {
    package var name: String
    package var path: [String]
    /// What an absent field counts as.
    package var absent: String
    package init(_ name: String, path: [String]? = nil, absent: String = "") {
        self.name = name
        self.path = path ?? name.split(separator: ".").map(String.init)
        self.absent = absent
    }
}

extension ResourceStrategy {
    package var nameRule: NameRule { .subdomain }
    package var tracksGeneration: Bool { false }
    package var metadataCounted: [String] { [] }
    package var returnsDeletedObject: Bool { false }
    package var orphansDependents: Bool { false }
    package var selectableFields: [SelectableField] { [] }

    package func durability(of object: KubeObject, old: KubeObject, subresource: String) -> WriteUrgency { .durable }
    package func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {}
    package func prepareForUpdate(
        _ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope
    ) {}
    package func validateCreate(_ object: KubeObject, _ check: inout Validation) {}
    package func validateUpdate(
        _ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation
    ) {
        if subresource.isEmpty { validateCreate(object, &check) }
    }
    package func warnings(for object: KubeObject) -> [String] { [] }
    package func gracePeriod(of object: KubeObject, requested: Int64?) -> Int64? { nil }
    package func markDeleted(_ object: inout KubeObject) {}
    package func isReadyToGo(_ object: KubeObject) -> Bool {
        object.finalizers.isEmpty && (object.metadata["deletionGracePeriodSeconds"].int ?? 0) == 0
    }
}

/// A kind without anything of its own.
package struct PlainStrategy: ResourceStrategy {
    package let nameRule: NameRule
    package let tracksGeneration: Bool
    package init(nameRule: NameRule = .subdomain, tracksGeneration: Bool = false) {
        (self.nameRule, self.tracksGeneration) = (nameRule, tracksGeneration)
    }
}

/// Gathers what is wrong with an object.
package struct Validation: Sendable {
    package var errors: [FieldError] = []

    package init() {}

    package mutating func add(_ error: FieldError) { errors.append(error) }

    package mutating func require(_ condition: Bool, _ error: @autoclosure () -> FieldError) {
        if !condition { errors.append(error()) }
    }

    /// "field is immutable" where two values differ.
    package mutating func immutable(_ new: JSON, _ old: JSON, _ path: String, _ why: String = "field is immutable") {
        if new != old { errors.append(.invalid(path, new, why)) }
    }

    package mutating func nonNegative(_ value: JSON, _ path: String) {
        guard let number = value.int, number < 0 else { return }
        errors.append(.invalid(path, value, "must be greater than or equal to 0"))
    }

    package mutating func oneOf(_ value: JSON, _ allowed: [String], _ path: String, required: Bool = false) {
        guard let text = value.string, !text.isEmpty else {
            if required { errors.append(.required(path)) }
            return
        }
        if !allowed.contains(text) { errors.append(.notSupported(path, value, allowed)) }
    }
}
