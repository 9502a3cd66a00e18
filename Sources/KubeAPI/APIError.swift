package import Codecs

/// Why a request was refused: the content of a `Status` (metav1.Status) with `status: Failure`.
/// The texts are kube-apiserver's, because users search for them and clients compare them
/// (k8s.io/apimachinery/pkg/api/errors).
package struct APIError: Error, Sendable, Equatable, CustomStringConvertible {
    package struct Cause: Sendable, Equatable {
        /// FieldValueInvalid, FieldValueRequired, FieldValueDuplicate, FieldValueNotSupported, FieldValueForbidden, ...
        package var reason: String
        package var message: String
        package var field: String
        package init(reason: String, message: String, field: String) {
            (self.reason, self.message, self.field) = (reason, message, field)
        }
    }

    package var code: Int
    package var reason: String
    package var message: String
    package var name = ""
    package var group = ""
    /// The resource's plural name, or the kind in the case of an invalid object, as upstream has it.
    package var kind = ""
    package var uid = ""
    package var causes: [Cause] = []
    package var retryAfterSeconds: Int64 = 0
    /// With an expired list: where to go on, without consistency ("" for nowhere).
    package var continueToken = ""

    package init(code: Int, reason: String, message: String) {
        (self.code, self.reason, self.message) = (code, reason, message)
    }

    private init(
        _ code: Int, _ reason: String, _ message: String, _ resource: GroupVersionResource, _ name: String
    ) {
        self.init(code: code, reason: reason, message: message)
        (self.name, group, kind) = (name, resource.group, resource.resource)
    }

    package var description: String { message }

    package var json: JSON {
        var details: JSON = [:]
        if !name.isEmpty { details["name"] = .string(name) }
        if !group.isEmpty { details["group"] = .string(group) }
        if !kind.isEmpty { details["kind"] = .string(kind) }
        if !uid.isEmpty { details["uid"] = .string(uid) }
        if !causes.isEmpty {
            details["causes"] = .array(
                causes.map { cause in
                    var json: JSON = [:]
                    if !cause.reason.isEmpty { json["reason"] = .string(cause.reason) }
                    if !cause.message.isEmpty { json["message"] = .string(cause.message) }
                    if !cause.field.isEmpty { json["field"] = .string(cause.field) }
                    return json
                })
        }
        if retryAfterSeconds > 0 { details["retryAfterSeconds"] = .int(retryAfterSeconds) }
        var status: JSON = [
            "kind": "Status", "apiVersion": "v1",
            "metadata": continueToken.isEmpty ? [:] : ["continue": .string(continueToken)], "status": "Failure",
            "message": .string(message),
        ]
        if !reason.isEmpty { status["reason"] = .string(reason) }
        if details != [:] { status["details"] = details }
        status["code"] = .int(Int64(code))
        return status
    }

    /// From a Status that a server sent.
    package init(status json: JSON, code: Int) {
        self.init(
            code: json["code"].int.map { Int(truncatingIfNeeded: $0) } ?? code, reason: json["reason"].string ?? "",
            message: json["message"].string ?? "the server answered with status \(code)")
        let details = json["details"]
        name = details["name"].string ?? ""
        group = details["group"].string ?? ""
        kind = details["kind"].string ?? ""
        uid = details["uid"].string ?? ""
        retryAfterSeconds = details["retryAfterSeconds"].int ?? 0
        continueToken = json["metadata"]["continue"].string ?? ""
        causes = details["causes"].elements.map {
            Cause(
                reason: $0["reason"].string ?? "", message: $0["message"].string ?? "", field: $0["field"].string ?? "")
        }
    }
}

extension APIError {
    package var isNotFound: Bool { reason == "NotFound" }
    package var isAlreadyExists: Bool { reason == "AlreadyExists" }
    package var isConflict: Bool { reason == "Conflict" }
    package var isInvalid: Bool { reason == "Invalid" }
    package var isForbidden: Bool { reason == "Forbidden" }
    /// The revision asked for is gone: list again.
    package var isExpired: Bool { reason == "Expired" || reason == "Gone" }

    package static func notFound(_ resource: GroupVersionResource, _ name: String) -> Self {
        Self(404, "NotFound", "\(resource.groupResource) \"\(name)\" not found", resource, name)
    }
    /// For a path that is no resource.
    package static func pathNotFound() -> Self {
        Self(code: 404, reason: "NotFound", message: "the server could not find the requested resource")
    }
    package static func alreadyExists(_ resource: GroupVersionResource, _ name: String) -> Self {
        Self(409, "AlreadyExists", "\(resource.groupResource) \"\(name)\" already exists", resource, name)
    }
    package static func conflict(_ resource: GroupVersionResource, _ name: String, _ why: String) -> Self {
        Self(
            409, "Conflict", "Operation cannot be fulfilled on \(resource.groupResource) \"\(name)\": \(why)", resource,
            name)
    }
    /// The usual optimistic-lock conflict.
    package static func modified(_ resource: GroupVersionResource, _ name: String) -> Self {
        conflict(
            resource, name,
            "the object has been modified; please apply your changes to the latest version and try again")
    }
    package static func forbidden(_ resource: GroupVersionResource, _ name: String, _ why: String) -> Self {
        let object = name.isEmpty ? resource.groupResource : "\(resource.groupResource) \"\(name)\""
        return Self(403, "Forbidden", "\(object) is forbidden: \(why)", resource, name)
    }
    package static func badRequest(_ message: String) -> Self {
        Self(code: 400, reason: "BadRequest", message: message)
    }
    package static func unauthorized() -> Self { Self(code: 401, reason: "Unauthorized", message: "Unauthorized") }
    package static func methodNotAllowed(_ resource: GroupVersionResource, _ verb: String) -> Self {
        Self(
            405, "MethodNotAllowed", "\(verb) is not supported on resources of kind \"\(resource.groupResource)\"",
            resource, "")
    }
    package static func expired(_ message: String) -> Self { Self(code: 410, reason: "Expired", message: message) }
    package static func tooLarge(limit: Int64) -> Self {
        Self(
            code: 413, reason: "RequestEntityTooLarge",
            message: "Request entity too large: limit is \(limit)")
    }
    package static func unsupportedMediaType(_ accepted: [String]) -> Self {
        Self(
            code: 415, reason: "UnsupportedMediaType",
            message: "the body of the request was in an unknown format - accepted media types include: "
                + accepted.joined(separator: ", "))
    }
    package static func notAcceptable(_ accepted: [String]) -> Self {
        Self(
            code: 406, reason: "NotAcceptable",
            message: "only the following media types are accepted: " + accepted.joined(separator: ", "))
    }
    package static func internalError(_ message: String) -> Self {
        Self(code: 500, reason: "InternalError", message: "Internal error occurred: \(message)")
    }
    package static func unavailable(_ message: String) -> Self {
        Self(code: 503, reason: "ServiceUnavailable", message: message)
    }
    package static func timeout(_ message: String) -> Self {
        Self(code: 504, reason: "Timeout", message: "Timeout: \(message)")
    }
    package static func tooManyRequests(_ message: String, retryAfter: Int64) -> Self {
        var error = Self(code: 429, reason: "TooManyRequests", message: message)
        error.retryAfterSeconds = retryAfter
        return error
    }

    /// An object that validation refuses; the causes are its field errors.
    package static func invalid(_ gvk: GroupVersionKind, _ name: String, _ errors: [FieldError]) -> Self {
        let texts = errors.map(\.description)
        let joined = texts.count == 1 ? texts[0] : "[" + texts.joined(separator: ", ") + "]"
        let kind = gvk.group.isEmpty ? gvk.kind : "\(gvk.kind).\(gvk.group)"
        var error = Self(code: 422, reason: "Invalid", message: "\(kind) \"\(name)\" is invalid: \(joined)")
        (error.name, error.group, error.kind) = (name, gvk.group, gvk.kind)
        error.causes = errors.map { Cause(reason: $0.reason.rawValue, message: $0.detail, field: $0.field) }
        return error
    }
}

/// What is wrong with one field, in upstream's words (k8s.io/apimachinery/pkg/util/validation/field).
package struct FieldError: Sendable, Equatable, CustomStringConvertible {
    package enum Reason: String, Sendable {
        case required = "FieldValueRequired"
        case invalid = "FieldValueInvalid"
        case duplicate = "FieldValueDuplicate"
        case notSupported = "FieldValueNotSupported"
        case forbidden = "FieldValueForbidden"
        case notFound = "FieldValueNotFound"
        case tooLong = "FieldValueTooLong"
        case tooMany = "FieldValueTooMany"
        case typeInvalid = "FieldValueTypeInvalid"
        case internalError = "InternalError"
    }
    package var reason: Reason
    /// "spec.containers[0].image"
    package var field: String
    /// Without the field: "Required value", `Invalid value: "x": must be ...`
    package var detail: String

    package init(_ reason: Reason, _ field: String, _ detail: String) {
        (self.reason, self.field, self.detail) = (reason, field, detail)
    }
    package var description: String { "\(field): \(detail)" }

    /// A text as Go quotes it, anything else as JSON.
    private static func text(_ value: JSON) -> String { value.string.map { GoText.quoted($0) } ?? value.text }

    package static func required(_ field: String, _ detail: String = "") -> Self {
        Self(.required, field, detail.isEmpty ? "Required value" : "Required value: \(detail)")
    }
    package static func invalid(_ field: String, _ value: JSON, _ detail: String) -> Self {
        Self(.invalid, field, "Invalid value: \(text(value))" + (detail.isEmpty ? "" : ": \(detail)"))
    }
    package static func duplicate(_ field: String, _ value: JSON) -> Self {
        Self(.duplicate, field, "Duplicate value: \(text(value))")
    }
    package static func notSupported(_ field: String, _ value: JSON, _ supported: [String]) -> Self {
        let list = supported.map { "\"\($0)\"" }.joined(separator: ", ")
        return Self(
            .notSupported, field,
            "Unsupported value: \(text(value))" + (list.isEmpty ? "" : ": supported values: \(list)"))
    }
    package static func forbidden(_ field: String, _ detail: String) -> Self {
        Self(.forbidden, field, detail.isEmpty ? "Forbidden" : "Forbidden: \(detail)")
    }
    package static func tooLong(_ field: String, limit: Int) -> Self {
        Self(.tooLong, field, "Too long: may not be more than \(limit) bytes")
    }
}
