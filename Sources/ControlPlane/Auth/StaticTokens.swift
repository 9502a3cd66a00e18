package import KubeAPI
internal import Transport

/// Bearer tokens from a file, as `--token-auth-file` has it: lines `token,user,uid,"group1,group2"`, the groups optional.
/// Read once; only the tokens' digests are kept. Source: k8s.io/apiserver/pkg/authentication/token/tokenfile.
package struct StaticTokens: Sendable {
    private let users: [[UInt8]: UserInfo]
    /// Lines whose token is empty or was there before, for the log.
    package let warnings: [String]

    /// - Parameter path: names the file in errors.
    package init(_ bytes: [UInt8], path: String) throws(APIError) {
        var users: [[UInt8]: UserInfo] = [:]
        var warnings: [String] = []
        for (line, columns) in try CSV.records(bytes, path: path) {
            guard columns.count >= 3 else {
                throw .badRequest(
                    "\(path): line \(line): expected at least 3 columns (token, user name, user uid), found "
                        + "\(columns.count)")
            }
            if columns[0].isEmpty {
                warnings.append("\(path): line \(line): empty token")
                continue
            }
            var user = UserInfo(columns[1], uid: columns[2])
            if columns.count > 3, !columns[3].isEmpty {
                user.groups = columns[3].split(separator: ",").map(String.init)
            }
            let digest = SHA256.digest(Array(columns[0].utf8))
            if users[digest] != nil { warnings.append("\(path): line \(line): the token was there before") }
            users[digest] = user
        }
        (self.users, self.warnings) = (users, warnings)
    }

    /// Compares digests, so that the time it takes says nothing about a token.
    package func authenticate(_ token: String) -> UserInfo? {
        users.isEmpty ? nil : users[SHA256.digest(Array(token.utf8))]
    }
}

/// Comma-separated values with quoted fields (RFC 4180), as much of it as a token file needs.
enum CSV {
    static func records(_ bytes: [UInt8], path: String) throws(APIError) -> [(line: Int, columns: [String])] {
        let text = String(decoding: bytes, as: UTF8.self)
        var records: [(Int, [String])] = []
        var number = 0
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            var rest = line
            if rest.last == UInt8(ascii: "\r") { rest = rest.dropLast() }
            if rest.isEmpty { continue }
            guard let columns = columns(Array(rest)) else {
                throw .badRequest("\(path): line \(number): a quote is out of place, or the closing one is missing")
            }
            records.append((number, columns))
        }
        return records
    }

    private static func columns(_ line: [UInt8]) -> [String]? {
        var columns: [String] = []
        var field: [UInt8] = []
        var at = 0
        while true {
            if at < line.count, line[at] == UInt8(ascii: "\"") {
                at += 1
                while true {
                    guard at < line.count else { return nil }
                    if line[at] != UInt8(ascii: "\"") {
                        field.append(line[at])
                    } else if at + 1 < line.count, line[at + 1] == UInt8(ascii: "\"") {
                        field.append(line[at])
                        at += 1
                    } else {
                        break
                    }
                    at += 1
                }
                at += 1
                guard at == line.count || line[at] == UInt8(ascii: ",") else { return nil }
            } else {
                while at < line.count, line[at] != UInt8(ascii: ",") {
                    if line[at] == UInt8(ascii: "\"") { return nil }
                    field.append(line[at])
                    at += 1
                }
            }
            columns.append(String(decoding: field, as: UTF8.self))
            field = []
            if at == line.count { return columns }
            at += 1
        }
    }
}
