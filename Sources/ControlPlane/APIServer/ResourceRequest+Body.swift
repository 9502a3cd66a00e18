internal import Codecs
internal import KubeAPI
internal import Transport

/// Request bodies. Texts of k8s.io/apiserver/pkg/endpoints/handlers and its codecs.
extension ResourceRequest {
    static let bodyTypes = ["application/json", "application/yaml", Schema.protobufType]

    struct Document {
        var json: JSON
        var duplicates: [String] = []
        var yamlDuplicates: [String] = []
    }

    /// The body as an object of `kind`, decoded and with its defaults; what it does not say about its kind is filled in.
    func decodeBody(
        as kind: GroupVersionKind, validation: FieldValidation, scope: RequestScope
    ) throws(APIError) -> KubeObject {
        var document = try parseBody(kind)
        guard case .object(let members) = document.json else {
            throw unrecognized(
                kind,
                "couldn't get version/kind; json parse error: json: cannot unmarshal \(Self.goKind(document.json)) into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"
            )
        }
        let name = members["kind"]?.string ?? ""
        let version = members["apiVersion"]?.string ?? ""
        if name.isEmpty { document.json["kind"] = .string(kind.kind) }
        if version.isEmpty { document.json["apiVersion"] = .string(kind.groupVersion.description) }
        let given = GroupVersionKind(
            GroupVersion(version) ?? kind.groupVersion, name.isEmpty ? kind.kind : name)
        if given != kind { throw mismatch(given, kind) }
        let decoded = try registry.schema.decode(
            document.json, as: kind, validation: validation, duplicates: document.duplicates,
            yamlDuplicates: document.yamlDuplicates, defaults: true, clock: configuration.clock)
        for warning in decoded.warnings { scope.warn(warning) }
        return KubeObject(decoded.json)
    }

    private func mismatch(_ given: GroupVersionKind, _ kind: GroupVersionKind) -> APIError {
        let prefix = "\(given.kind) in version \"\(given.groupVersion)\" cannot be handled as a \(kind.kind): "
        guard registry.schema.kind(given) != nil else {
            return .badRequest(
                prefix + "no kind \"\(given.kind)\" is registered for version \"\(given.groupVersion)\" in scheme "
                    + "\"pkg/api/legacyscheme/scheme.go:30\"")
        }
        if given.groupVersion != kind.groupVersion, given.kind == kind.kind {
            return .badRequest(
                "the API version in the data (\(given.groupVersion)) does not match the expected API version "
                    + "(\(kind.groupVersion))")
        }
        return .badRequest(
            prefix
                + "converting (\(given.version).\(given.kind)) to (\(kind.group.isEmpty ? "core" : kind.group.prefix { $0 != "." }.description).\(kind.kind)): unknown conversion"
        )
    }

    func parseBody(_ kind: GroupVersionKind) throws(APIError) -> Document {
        let type = MediaType(request.headers["Content-Type"] ?? "application/json").name
        var duplicates: [String] = []
        switch type {
        case "application/json", "":
            do throws(JSONError) {
                return Document(
                    json: try JSON.parse(request.body, duplicates: &duplicates), duplicates: duplicates)
            } catch {
                throw unrecognized(kind, "couldn't get version/kind; json parse error: \(error.message)")
            }
        case "application/yaml":
            do throws(YAMLError) {
                let json = try YAML.parse(request.body, duplicates: &duplicates)
                return Document(json: json, yamlDuplicates: duplicates)
            } catch {
                throw unrecognized(kind, error.message)
            }
        case Schema.protobufType:
            do throws(ProtobufError) {
                return Document(json: try registry.schema.decodeProtobuf(request.body, expecting: kind))
            } catch {
                throw unrecognized(kind, error.message)
            }
        default: throw .unsupportedMediaType(Self.bodyTypes)
        }
    }

    private func unrecognized(_ kind: GroupVersionKind, _ why: String) -> APIError {
        .badRequest("the object provided is unrecognized (must be of type \(kind.kind)): \(why) (\(summary()))")
    }

    /// The begin of the body: as text where it is JSON, else as hexadecimal digits.
    private func summary() -> String {
        let body = request.body
        guard let first = body.first else { return "<empty>" }
        let head = body.prefix(30)
        let tail = body.count > 30 ? " ..." : ""
        if first == UInt8(ascii: "{") { return String(decoding: head, as: UTF8.self) + tail }
        return head.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() + tail
    }

    private static func goKind(_ json: JSON) -> String {
        switch json {
        case .array: "array"
        case .string: "string"
        case .bool: "bool"
        case .int, .double: "number"
        default: "null"
        }
    }

    /// The options of a deletion: body, then query.
    func deleteOptions() throws(APIError) -> (DeleteOptions, JSON) {
        var json: JSON = [:]
        if !request.body.isEmpty {
            let kind = GroupVersionKind("meta.k8s.io", "v1", "DeleteOptions")
            json = try parseBody(kind).json
            let given = json["kind"].string ?? ""
            if !given.isEmpty, given != "DeleteOptions" {
                throw .badRequest("decoded object cannot be converted to DeleteOptions")
            }
            json = try registry.schema.decode(json, as: GroupVersionKind(.core, "DeleteOptions")).json
        }
        if let text = request.query["gracePeriodSeconds"], !text.isEmpty {
            guard let seconds = Int64(text) else {
                throw .badRequest("strconv.ParseInt: parsing \(JSON.string(text).text): invalid syntax")
            }
            json["gracePeriodSeconds"] = .int(seconds)
        }
        if let policy = request.query["propagationPolicy"], !policy.isEmpty {
            json["propagationPolicy"] = .string(policy)
        }
        if let orphan = request.query["orphanDependents"], !orphan.isEmpty {
            json["orphanDependents"] = .bool(APIServer.isTrue(orphan))
        }
        return (try DeleteOptions(json: json), json)
    }
}
