import Testing

@testable import Store

@Suite struct EncryptedLogTests {
    /// Turns the bits of what lies below "/secret/".
    struct Inverting: ValueCipher {
        static let prefix = Array("k8s:enc:test:v1:".utf8)
        func seal(_ value: [UInt8], key: String) throws -> [UInt8] {
            key.hasPrefix("/secret/") ? Self.prefix + value.map { ~$0 } : value
        }
        func open(_ sealed: [UInt8], key: String) throws -> [UInt8] { sealed.dropFirst(Self.prefix.count).map { ~$0 } }
    }

    private func put(_ store: LogStore, _ key: String, _ value: String) async throws {
        _ = try await store.create(key) { _ in Array(value.utf8) }
    }

    @Test func valuesAreSealedOnDiskOnly() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        var options = StoreOptions()
        options.cipher = Inverting()
        var store = try LogStore.sqlite(path: path, options: options)
        try await put(store, "/secret/a", "hidden text")
        try await put(store, "/plain/a", "visible text")
        #expect(store.get("/secret/a").map { String(decoding: $0.value, as: UTF8.self) } == "hidden text")
        await store.close()

        let log = try SQLiteLog(path: path)
        var rows: [String: [UInt8]] = [:]
        _ = try log.load { rows[$0.key] = $0.value }
        log.close(try log.load { _ in })
        #expect(rows["/plain/a"] == Array("visible text".utf8))
        #expect(rows["/secret/a"]?.starts(with: Inverting.prefix) == true)

        // Without the cipher it is not opened at all.
        let failure = #expect(throws: StoreError.self) { try LogStore.sqlite(path: path) }
        #expect(
            failure == .unavailable("/secret/a is encrypted and cannot be read: there is no encryption configuration"))
        store = try LogStore.sqlite(path: path, options: options)
        #expect(store.get("/secret/a").map { String(decoding: $0.value, as: UTF8.self) } == "hidden text")
        await store.close()
    }
}
