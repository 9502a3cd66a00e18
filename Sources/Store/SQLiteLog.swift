import CSQLite
import Linux

/// The log in an SQLite database (WAL mode, synchronous FULL): one row per write, appended at the end of the one table,
/// which needs no index because the store holds the keys in memory. The database is locked for as long as it is open: a
/// second server on the same data directory gets an error.
final class SQLiteLog: CommitLog, @unchecked Sendable {
    // Used by one thread at a time: by the opener, then by the writer thread (see CommitLog).
    private var database: OpaquePointer?
    private var statements: [OpaquePointer] = []
    private let path: String
    private var marks = LogMarks()

    /// "k3sS": tells our databases from those of others.
    static let applicationID: Int64 = 0x6B33_7353
    static let schemaVersion: Int64 = 1

    private enum Statement: Int, CaseIterable {
        case begin, commit, rollback, insert, remove, mark

        var text: String {
            switch self {
            case .begin: "BEGIN IMMEDIATE"
            case .commit: "COMMIT"
            case .rollback: "ROLLBACK"
            case .insert: "INSERT INTO log (revision, key, created, value) VALUES (?1, ?2, ?3, ?4)"
            case .remove: "DELETE FROM log WHERE revision = ?1"
            case .mark: "INSERT OR REPLACE INTO marks (name, value) VALUES (?1, ?2)"
            }
        }
    }

    /// Opens or makes the database, and checks it.
    init(path: String) throws(StoreError) {
        self.path = path
        try createFile()
        guard sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil) == SQLITE_OK else {
            defer { release() }
            throw failure("open")
        }
        do throws(StoreError) {
            try configure()
            try checkOwner()
            try checkIntegrity()
            try prepare()
        } catch {
            release()
            throw error
        }
    }

    deinit { release() }

    // MARK: Opening

    /// Makes the directories (0700) and the file (0600, which the WAL inherits) if they are missing.
    private func createFile() throws(StoreError) {
        var directory = ""
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        for part in parts {
            directory += part + "/"
            guard !part.isEmpty, mkdir(directory, 0o700) != 0, errno != EEXIST else { continue }
            throw .unavailable("cannot make the datastore's directory: \(SysError(errno, "mkdir", path: directory))")
        }
        do throws(SysError) {
            _ = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        } catch {
            throw .unavailable("cannot open the datastore: \(error)")
        }
    }

    private func configure() throws(StoreError) {
        sqlite3_busy_timeout(database, 5_000)
        try execute("PRAGMA locking_mode = EXCLUSIVE")
        try execute("PRAGMA journal_mode = WAL")
        try execute("PRAGMA synchronous = FULL")
        try execute("PRAGMA cache_size = -512")
        try execute("PRAGMA wal_autocheckpoint = 1000")
        try execute("PRAGMA journal_size_limit = 4194304")
        try execute("PRAGMA temp_store = MEMORY")
    }

    private func checkOwner() throws(StoreError) {
        let owner = try number("PRAGMA application_id")
        let tables = try number("SELECT count(*) FROM sqlite_master")
        if owner == 0, tables == 0 {
            try execute(
                """
                BEGIN IMMEDIATE;
                CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER, value BLOB) STRICT;
                CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                PRAGMA application_id = \(Self.applicationID);
                PRAGMA user_version = \(Self.schemaVersion);
                COMMIT
                """)
            return
        }
        guard owner == Self.applicationID else {
            let kine = try number("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'kine'")
            throw .unavailable(
                kine > 0
                    ? "\(path) is a kine database of another k3s; move it away or choose another data directory"
                    : "\(path) is an SQLite database of another program")
        }
        let version = try number("PRAGMA user_version")
        guard version == Self.schemaVersion else {
            throw .unavailable(
                "\(path) has schema version \(version), made by a newer k3s; this one reads \(Self.schemaVersion)")
        }
    }

    private func checkIntegrity() throws(StoreError) {
        var problem: String?
        try query("PRAGMA quick_check(1)") { row in
            let text = sqlite3_column_text(row, 0).map { String(cString: $0) } ?? ""
            if text != "ok", problem == nil { problem = text }
        }
        guard let problem else { return }
        throw .unavailable("the datastore \(path) is damaged (\(problem)); restore it from a backup")
    }

    private func prepare() throws(StoreError) {
        for statement in Statement.allCases {
            var prepared: OpaquePointer?
            let flags = UInt32(SQLITE_PREPARE_PERSISTENT)
            guard sqlite3_prepare_v3(database, statement.text, -1, flags, &prepared, nil) == SQLITE_OK, let prepared
            else { throw failure("prepare \"\(statement.text)\" in") }
            statements.append(prepared)
        }
    }

    // MARK: CommitLog

    func load(_ take: (LogRow) -> Void) throws(StoreError) -> LogMarks {
        try query("SELECT name, value FROM marks") { row in
            let value = sqlite3_column_int64(row, 1)
            switch sqlite3_column_text(row, 0).map({ String(cString: $0) }) {
            case "reserved": marks.reserved = value
            case "compacted": marks.compacted = value
            default: break
            }
        }
        try query("SELECT revision, key, created, value FROM log ORDER BY revision") { row in
            take(
                LogRow(
                    revision: sqlite3_column_int64(row, 0),
                    key: String(decoding: Self.bytes(row, 1), as: UTF8.self),
                    created: sqlite3_column_type(row, 2) == SQLITE_NULL ? nil : sqlite3_column_int64(row, 2),
                    value: sqlite3_column_type(row, 3) == SQLITE_NULL ? nil : [UInt8](Self.bytes(row, 3))))
        }
        return marks
    }

    func append(_ batch: LogBatch) throws(StoreError) {
        do throws(StoreError) {
            try step(.begin)
            for row in batch.rows { try insert(row) }
            for revision in batch.garbage {
                sqlite3_bind_int64(statements[Statement.remove.rawValue], 1, revision)
                try step(.remove)
            }
            try write(batch.marks)
            try step(.commit)
        } catch {
            // SQLite ends the transaction by itself after some errors.
            if sqlite3_get_autocommit(database) == 0 { sqlite3_step(statements[Statement.rollback.rawValue]) }
            sqlite3_reset(statements[Statement.rollback.rawValue])
            // Hand the log's own space back, so that a full disk does not stay full on its account.
            sqlite3_wal_checkpoint_v2(database, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
            throw error
        }
        marks = batch.marks
    }

    func rest() { sqlite3_db_release_memory(database) }

    func close(_ marks: LogMarks) {
        // Without it the next start skips the revisions that are reserved: harmless.
        try? write(marks)
        release()
    }

    // MARK: Statements

    private func insert(_ row: LogRow) throws(StoreError) {
        let statement = statements[Statement.insert.rawValue]
        sqlite3_bind_int64(statement, 1, row.revision)
        if let created = row.created {
            sqlite3_bind_int64(statement, 3, created)
        } else {
            sqlite3_bind_null(statement, 3)
        }
        // The pointers hold while the statement steps; reset and clear follow at once.
        var key = row.key
        let code = key.withUTF8 { key in
            sqlite3_bind_text64(
                statement, 2, UnsafeRawPointer(key.baseAddress)?.assumingMemoryBound(to: CChar.self),
                sqlite3_uint64(key.count), nil, UInt8(SQLITE_UTF8))
            return (row.value ?? []).withUnsafeBytes { value in
                if row.value == nil {
                    sqlite3_bind_null(statement, 4)
                } else if value.isEmpty {
                    sqlite3_bind_zeroblob(statement, 4, 0)
                } else {
                    sqlite3_bind_blob64(statement, 4, value.baseAddress, sqlite3_uint64(value.count), nil)
                }
                return sqlite3_step(statement)
            }
        }
        let error = code == SQLITE_DONE ? nil : failure("write to")
        sqlite3_reset(statement)
        sqlite3_clear_bindings(statement)
        if let error { throw error }
    }

    /// Writes the marks that differ from those on disk.
    private func write(_ new: LogMarks) throws(StoreError) {
        if new.reserved != marks.reserved { try write("reserved", new.reserved) }
        if new.compacted != marks.compacted { try write("compacted", new.compacted) }
    }

    private func write(_ name: StaticString, _ value: Int64) throws(StoreError) {
        let statement = statements[Statement.mark.rawValue]
        let text = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        sqlite3_bind_text(statement, 1, text, Int32(name.utf8CodeUnitCount), nil)
        sqlite3_bind_int64(statement, 2, value)
        try step(.mark)
    }

    private func step(_ statement: Statement) throws(StoreError) {
        let pointer = statements[statement.rawValue]
        defer { sqlite3_reset(pointer) }
        guard sqlite3_step(pointer) == SQLITE_DONE else { throw failure("write to") }
    }

    private func execute(_ text: String) throws(StoreError) {
        guard sqlite3_exec(database, text, nil, nil, nil) == SQLITE_OK else { throw failure("set up") }
    }

    private func number(_ text: String) throws(StoreError) -> Int64 {
        var value: Int64 = 0
        try query(text) { value = sqlite3_column_int64($0, 0) }
        return value
    }

    private func query(_ text: String, _ take: (OpaquePointer) -> Void) throws(StoreError) {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v2(database, text, -1, &statement, nil) == SQLITE_OK, let statement else {
            throw failure("read")
        }
        defer { sqlite3_finalize(statement) }
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: take(statement)
            case SQLITE_DONE: return
            default: throw failure("read")
            }
        }
    }

    private static func bytes(_ row: OpaquePointer, _ column: Int32) -> UnsafeRawBufferPointer {
        // The pointer first: it settles the type, which the count then refers to.
        let start = sqlite3_column_blob(row, column)
        return UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(row, column)))
    }

    private func release() {
        for statement in statements { sqlite3_finalize(statement) }
        statements = []
        sqlite3_close_v2(database)
        database = nil
    }

    // MARK: Errors

    /// The last error of the database in words that say what to do.
    private func failure(_ action: String) -> StoreError {
        let code = database == nil ? SQLITE_NOMEM : sqlite3_extended_errcode(database)
        let reason: String
        switch code & 0xFF {
        case SQLITE_FULL:
            reason = "no space is left on the disk"
        case SQLITE_BUSY, SQLITE_LOCKED:
            reason = "another process uses it; is another k3s server running on this data directory?"
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            reason = "it is damaged (\(message)); restore it from a backup"
        case SQLITE_IOERR:
            let cause = sqlite3_system_errno(database)
            reason = cause == 0 ? "I/O error \(code)" : "I/O error \(code): \(SysError.text(cause))"
        case SQLITE_READONLY:
            reason = "it is read-only"
        default:
            reason = message
        }
        return .unavailable("cannot \(action) the datastore \(path): \(reason)")
    }

    private var message: String { sqlite3_errmsg(database).map { String(cString: $0) } ?? "unknown error" }
}

extension LogStore {
    /// Opens the store of a server at `path`, by custom `<data-dir>/server/db/state.db`; makes it if it is missing.
    /// - Throws: `.unavailable`, with what is wrong with the database.
    package static func sqlite(path: String, options: StoreOptions = StoreOptions()) throws(StoreError) -> LogStore {
        try LogStore(log: EncryptedLog(SQLiteLog(path: path), cipher: options.cipher), options: options)
    }
}
