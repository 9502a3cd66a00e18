import Codecs
import KubeAPI
import Linux

/// One run of a command: its options, the server, and what the server offers.
final class Session {
    let command: String
    let options: Options
    private var known = Once<(settings: ClientSettings, connection: Connection)>()
    private var offered = Once<Catalog>()
    private var madePrinter = Once<ObjectPrinter>()

    init(command: String, options: Options) { (self.command, self.options) = (command, options) }

    private func reach() throws -> (settings: ClientSettings, connection: Connection) {
        try known.value {
            let settings = try ClientSettings(options)
            return (settings, try Connection(settings))
        }
    }

    var api: Connection { get throws { try reach().connection } }
    var settings: ClientSettings { get throws { try reach().settings } }
    var namespace: String { get throws { try reach().settings.namespace } }
    var catalog: Catalog { get throws { try offered.value { try Catalog(api) } } }

    var arguments: [String] { options.arguments }

    // MARK: - Dry runs

    enum DryRun { case none, client, server }

    func dryRun() throws -> DryRun {
        switch options.given("dry-run") {
        case nil, "none", "false": return .none
        case "client", "true": return .client
        case "server": return .server
        case "unchanged":
            throw CommandError(
                "--dry-run flag without a value was specified. A value must be set: \"none\", \"server\", or \"client\"."
            )
        case let other?:
            throw CommandError(
                "Invalid dry-run value (\(other)). Must be \"none\", \"server\", or \"client\".")
        }
    }

    /// The query of a write.
    func writeQuery(manager: String, validate: Bool = false) throws -> [(String, String)] {
        var query: [(String, String)] = []
        if try dryRun() == .server { query.append(("dryRun", "All")) }
        query.append(("fieldManager", options.given("field-manager") ?? manager))
        if validate {
            switch options.string("validate") {
            case "", "true", "strict": query.append(("fieldValidation", "Strict"))
            case "warn": query.append(("fieldValidation", "Warn"))
            case "false", "ignore": query.append(("fieldValidation", "Ignore"))
            case let other:
                throw CommandError("invalid - validate option \(GoText.quoted(other))")
            }
        }
        return query
    }

    // MARK: - What was done

    /// `pod/x created (server dry run)`, or the object in the format of `-o`.
    func report(_ object: JSON, _ resource: Catalog.Resource, _ verb: String) throws {
        let output = options.given("output") ?? ""
        if output.isEmpty || output == "name" {
            var line = "\(resource.singularName)/\(object["metadata"]["name"].string ?? "")"
            if output.isEmpty {
                line += " \(verb)"
                switch try dryRun() {
                case .none: break
                case .client: line += " (dry run)"
                case .server: line += " (server dry run)"
                }
            }
            Terminal.line(line)
            return
        }
        try printer.print(object)
    }

    var printer: ObjectPrinter { get throws { try madePrinter.value { try ObjectPrinter(options) } } }
}

/// What is made when it is first asked for.
private struct Once<Value> {
    private var made: Value?

    mutating func value(_ make: () throws -> Value) throws -> Value {
        if let made { return made }
        let value = try make()
        made = value
        return value
    }
}

/// Errors of several objects: the command goes on with the others and fails in the end.
struct ErrorList {
    private(set) var errors: [any Error] = []

    mutating func collect(_ body: () throws -> Void) {
        do { try body() } catch { errors.append(error) }
    }
    mutating func add(_ error: any Error) { errors.append(error) }

    func throwIfAny() throws {
        if errors.count == 1, let first = errors.first { throw first }
        guard errors.isEmpty else {
            // Each in full, on a line of its own.
            let code = errors.lazy.compactMap { ($0 as? CommandError)?.code }.max() ?? 1
            throw CommandError(
                errors.map { ErrorText.of($0) }.filter { !$0.isEmpty }.joined(separator: "\n"), code: code, plain: true)
        }
    }
}

/// How kubectl words what went wrong (k8s.io/kubectl/pkg/cmd/util checkErr).
enum ErrorText {
    static func of(_ error: any Error) -> String {
        switch error {
        case let error as CommandError:
            return error.isPlain || error.description.hasPrefix("error: ")
                ? error.description : "error: " + error.description
        case let error as APIError:
            if error.isInvalid {
                let subject =
                    error.kind.isEmpty && error.name.isEmpty
                    ? "The request is invalid" : "The \(error.kind) \(GoText.quoted(error.name)) is invalid"
                let causes = error.causes.map { $0.field.isEmpty ? $0.message : "\($0.field): \($0.message)" }
                if causes.isEmpty { return error.kind.isEmpty ? "\(subject): \(error.message)" : subject }
                return causes.count == 1
                    ? "\(subject): \(causes[0])"
                    : "\(subject): \n" + causes.map { "* \($0)" }.joined(separator: "\n")
            }
            if error.reason == "Unauthorized" { return "error: You must be logged in to the server (\(error.message))" }
            return error.reason.isEmpty
                ? "Error from server: \(error.message)" : "Error from server (\(error.reason)): \(error.message)"
        default: return "error: \(error)"
        }
    }

    /// `error when creating "x.yaml": ` in front.
    static func when(_ verb: String, _ source: String, _ error: any Error) -> any Error {
        guard !source.isEmpty else { return error }
        if var api = error as? APIError {
            api.message = "error when \(verb) \(GoText.quoted(source)): \(api.message)"
            return api
        }
        if let command = error as? CommandError, !command.isPlain {
            return CommandError("error when \(verb) \(GoText.quoted(source)): \(command)")
        }
        return error
    }
}
