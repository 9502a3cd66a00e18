internal import Codecs

/// The OpenAPI 2 document as protobuf (message `openapi.v2.Document`), the only form that Go's discovery client
/// asks for.
///
/// Every path and every definition is written as a `Paths` or `Definitions` message of its own: a reader of protobuf
/// merges messages of one field, so the document needs no length before its end is known.
/// What the message has no field for (`oneOf`, `nullable` and the rest of OpenAPI 3) is left out.
/// Source: github.com/google/gnostic-models/openapiv2/OpenAPIv2.proto.
enum OpenAPIProtobuf {
    /// Document.swagger, Document.info.
    static func head(version: String) -> [UInt8] {
        var out = ProtobufWriter()
        out.string(1, "2.0")
        out.message(2) { info in
            info.string(1, "Kubernetes")
            info.string(2, version)
        }
        return out.bytes
    }

    /// Document.security, Document.security_definitions.
    static func tail() -> [UInt8] {
        var out = ProtobufWriter()
        out.message(12) { requirement in
            requirement.message(1) { named in
                named.string(1, "BearerToken")
                named.message(2) { _ in }
            }
        }
        out.message(13) { definitions in
            definitions.message(1) { named in
                named.string(1, "BearerToken")
                named.message(2) { item in
                    item.message(2) { key in
                        key.string(1, "apiKey")
                        key.string(2, "authorization")
                        key.string(3, "header")
                        key.string(4, "Bearer Token authentication")
                    }
                }
            }
        }
        return out.bytes
    }

    /// One of Document.paths.
    static func path(_ name: String, _ item: JSON) -> [UInt8] {
        var out = ProtobufWriter()
        out.message(8) { paths in
            paths.message(2) { named in
                named.string(1, name)
                named.message(2) { pathItem(item, &$0) }
            }
        }
        return out.bytes
    }

    /// One of Document.definitions.
    static func definition(_ name: String, _ schema: JSON) -> [UInt8] {
        var out = ProtobufWriter()
        out.message(9) { $0.message(1) { namedSchema(name, schema, &$0) } }
        return out.bytes
    }

    // MARK: - Paths

    private static func pathItem(_ item: JSON, _ out: inout ProtobufWriter) {
        let methods: [(UInt32, String)] = [
            (2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch"),
        ]
        for (number, name) in methods where !item[name].isNull { out.message(number) { operation(item[name], &$0) } }
        for value in item["parameters"].elements { out.message(9) { parameter(value, &$0) } }
        extensions(10, item, &out)
    }

    private static func operation(_ operation: JSON, _ out: inout ProtobufWriter) {
        out.string(3, operation["description"].string)
        out.string(5, operation["operationId"].string)
        for type in operation["produces"].elements { out.element(6, type.string ?? "") }
        for type in operation["consumes"].elements { out.element(7, type.string ?? "") }
        for value in operation["parameters"].elements { out.message(8) { parameter(value, &$0) } }
        out.message(9) { responses in
            for (code, response) in operation["responses"].object ?? [:] {
                responses.message(1) { named in
                    named.string(1, code)
                    named.message(2) { value in
                        value.message(1) { message in
                            message.string(1, response["description"].string)
                            if !response["schema"].isNull {
                                message.message(2) { $0.message(1) { schema(response["schema"], &$0) } }
                            }
                        }
                    }
                }
            }
        }
        extensions(13, operation, &out)
    }

    /// A ParametersItem: what it is a parameter of decides on the message.
    private static func parameter(_ value: JSON, _ out: inout ProtobufWriter) {
        out.message(1) { parameter in
            if value["in"] == "body" {
                parameter.message(1) { body in
                    body.string(1, value["description"].string)
                    body.string(2, value["name"].string)
                    body.string(3, "body")
                    body.bool(4, value["required"].bool ?? false)
                    if !value["schema"].isNull { body.message(5) { schema(value["schema"], &$0) } }
                    extensions(6, value, &body)
                }
                return
            }
            let isPath = value["in"] == "path"
            parameter.message(2) { other in
                other.message(isPath ? 4 : 3) { simple in
                    simple.bool(1, value["required"].bool ?? false)
                    simple.string(2, value["in"].string)
                    simple.string(3, value["description"].string)
                    simple.string(4, value["name"].string)
                    simple.string(isPath ? 5 : 6, value["type"].string)
                    simple.string(isPath ? 6 : 7, value["format"].string)
                    extensions(isPath ? 22 : 23, value, &simple)
                }
            }
        }
    }

    // MARK: - Schemas

    private static func namedSchema(_ name: String, _ value: JSON, _ out: inout ProtobufWriter) {
        out.string(1, name)
        out.message(2) { schema(value, &$0) }
    }

    private static func schema(_ value: JSON, _ out: inout ProtobufWriter) {
        // OpenAPI 2 cannot say that a value may be null, nor that it may be a number or text: then nothing is said, or
        // clients would refuse what the server takes.
        let isOpen = value["nullable"] == true || value["x-kubernetes-int-or-string"] == true
        for (key, member) in value.object ?? [:] {
            switch key {
            case "$ref": out.string(1, member.string)
            case "format": out.string(2, member.string)
            case "title": out.string(3, member.string)
            case "description": out.string(4, member.string)
            case "default": any(5, member, &out)
            case "multipleOf": number(6, member, &out)
            case "maximum": number(7, member, &out)
            case "exclusiveMaximum": out.bool(8, member.bool ?? false)
            case "minimum": number(9, member, &out)
            case "exclusiveMinimum": out.bool(10, member.bool ?? false)
            case "maxLength": out.int(11, member.int ?? 0)
            case "minLength": out.int(12, member.int ?? 0)
            case "pattern": out.string(13, member.string)
            case "maxItems": out.int(14, member.int ?? 0)
            case "minItems": out.int(15, member.int ?? 0)
            case "uniqueItems": out.bool(16, member.bool ?? false)
            case "maxProperties": out.int(17, member.int ?? 0)
            case "minProperties": out.int(18, member.int ?? 0)
            case "required": for name in member.elements { out.element(19, name.string ?? "") }
            case "enum" where !isOpen: for value in member.elements { any(20, value, &out) }
            case "additionalProperties" where !isOpen:
                out.message(21) { item in
                    if let flag = member.bool {
                        item.bool(2, flag)
                    } else {
                        item.message(1) { schema(member, &$0) }
                    }
                }
            case "type" where !isOpen:
                if let name = member.string, !name.isEmpty { out.message(22) { $0.element(1, name) } }
            case "items" where !isOpen: out.message(23) { $0.message(1) { schema(member, &$0) } }
            case "allOf": for value in member.elements { out.message(24) { schema(value, &$0) } }
            case "properties" where !isOpen:
                out.message(25) { properties in
                    for (name, value) in member.object ?? [:] {
                        properties.message(1) { namedSchema(name, value, &$0) }
                    }
                }
            case "readOnly": out.bool(27, member.bool ?? false)
            case "externalDocs":
                out.message(29) { docs in
                    docs.string(1, member["description"].string)
                    docs.string(2, member["url"].string)
                }
            case "example": any(30, member, &out)
            default: break
            }
        }
        extensions(31, value, &out)
    }

    private static func number(_ field: UInt32, _ value: JSON, _ out: inout ProtobufWriter) {
        if let value = value.double { out.double(field, value) }
    }

    // MARK: - Any values

    private static func any(_ number: UInt32, _ value: JSON, _ out: inout ProtobufWriter) {
        out.message(number) { $0.string(2, YAML.text(value)) }
    }

    /// All of "x-...", as YAML text.
    private static func extensions(_ number: UInt32, _ value: JSON, _ out: inout ProtobufWriter) {
        for (key, member) in value.object ?? [:] where key.hasPrefix("x-") {
            out.message(number) { named in
                named.string(1, key)
                any(2, member, &named)
            }
        }
    }
}
