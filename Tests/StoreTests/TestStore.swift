import Glibc
import Testing

@testable import Store

/// The stores that answer to the same contract.
enum Twin: String, CaseIterable, CustomTestStringConvertible {
    case memory, sqlite

    var testDescription: String { rawValue }
}

/// A directory that is removed at the end.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/k3s-store-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw StoreError.unavailable("mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? run(["/bin/rm", "-rf", path]) }
}

func withStore(
    _ twin: Twin, options: StoreOptions = StoreOptions(), _ body: (any Store) async throws -> Void
) async throws {
    switch twin {
    case .memory:
        let store = MemoryStore(options: options)
        try await body(store)
        await store.close()
    case .sqlite:
        let directory = try TemporaryDirectory()
        let store = try LogStore.sqlite(path: directory.path + "/server/db/state.db", options: options)
        try await body(store)
        await store.close()
    }
}

func text(_ string: String) -> StoreValue { { _ in Array(string.utf8) } }

extension StoreEntry {
    var text: String { String(decoding: value, as: UTF8.self) }
}

extension Store {
    @discardableResult
    func put(_ key: String, _ value: String) async throws -> StoreEntry {
        guard let entry = get(key) else { return try await create(key, value: encode(value)) }
        return try await update(key, expected: entry.modRevision, value: encode(value))
    }

    func keys(_ prefix: String) throws -> [String] { try range(prefix: prefix).entries.map(\.key) }
}

private func encode(_ string: String) -> StoreValue { text(string) }

/// What a failing operation throws.
func error(_ body: () async throws -> Void) async -> StoreError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? StoreError
    }
}
