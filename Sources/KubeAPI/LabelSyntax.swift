internal import Codecs

/// Syntax of names, label keys and label values, with the texts of k8s.io/apimachinery/pkg/util/validation.
package enum LabelSyntax {
    private static func alphanumeric(_ b: UInt8) -> Bool { lowerAlphanumeric(b) || (65...90).contains(b) }
    private static func lowerAlphanumeric(_ b: UInt8) -> Bool { (97...122).contains(b) || (48...57).contains(b) }

    /// A label's or annotation's key: an optional DNS subdomain and a slash, then a qualified name. nil: fine.
    package static func keyProblem(_ key: String) -> String? {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        let name: Substring
        switch parts.count {
        case 1: name = parts[0]
        case 2:
            if parts[0].isEmpty { return "prefix part must be non-empty" }
            if let problem = subdomainProblem(String(parts[0])) { return "prefix part " + problem }
            name = parts[1]
        default:
            return
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        }
        if name.isEmpty { return "name part must be non-empty" }
        if name.utf8.count > 63 { return "name part must be no more than 63 bytes" }
        guard qualified(name) else {
            return
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        }
        return nil
    }

    package static func valueProblem(_ value: String) -> String? {
        if value.utf8.count > 63 { return "must be no more than 63 bytes" }
        guard value.isEmpty || qualified(value[...]) else {
            return
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        }
        return nil
    }

    private static func qualified(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, alphanumeric(first), alphanumeric(last) else {
            return false
        }
        return text.utf8.allSatisfy { alphanumeric($0) || $0 == 45 || $0 == 95 || $0 == 46 }
    }

    /// RFC 1123 label: most names of namespaces, services, containers.
    package static func labelProblem(_ name: String) -> String? {
        if name.utf8.count > 63 { return "must be no more than 63 bytes" }
        guard isLabel(name[...]) else {
            return
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        }
        return nil
    }

    /// RFC 1123 subdomain: most names of objects.
    package static func subdomainProblem(_ name: String) -> String? {
        if name.utf8.count > 253 { return "must be no more than 253 bytes" }
        guard !name.isEmpty,
            name.utf8.split(separator: 46, omittingEmptySubsequences: false).allSatisfy({ isLabel(Substring($0)) })
        else {
            return
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        }
        return nil
    }

    /// RFC 1035 label: names of services.
    package static func rfc1035LabelProblem(_ name: String) -> String? {
        if name.utf8.count > 63 { return "must be no more than 63 bytes" }
        guard isLabel(name[...]), let first = name.utf8.first, (97...122).contains(first) else {
            return
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        }
        return nil
    }

    private static func isLabel(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, lowerAlphanumeric(first), lowerAlphanumeric(last)
        else { return false }
        return text.utf8.allSatisfy { lowerAlphanumeric($0) || $0 == 45 }
    }

    /// Names that are path segments only (RBAC roles): anything but ".", "..", and without "/" and "%".
    package static func pathSegmentProblem(_ name: String) -> String? {
        if name == "." || name == ".." { return "may not be '\(name)'" }
        for bad in ["/", "%"] where name.contains(bad) { return "may not contain '\(bad)'" }
        return nil
    }
}
