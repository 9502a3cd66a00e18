/// Encrypts the values of some keys before they reach the disk. In memory they are plain.
package protocol ValueCipher: Sendable {
    /// What is written instead of a value; the value itself where the key's kind is not encrypted.
    func seal(_ value: [UInt8], key: String) throws -> [UInt8]
    /// The value behind what was written. Called only for what begins as `seal` makes it: "k8s:enc:".
    func open(_ sealed: [UInt8], key: String) throws -> [UInt8]
}

/// A log whose values may be encrypted. Without a cipher plain values pass, and an encrypted one is an error at start
/// rather than an object that nobody can read.
final class EncryptedLog: CommitLog {
    private let log: any CommitLog
    private let cipher: (any ValueCipher)?

    /// What kube-apiserver puts before every encrypted value: "k8s:enc:aescbc:v1:KEY:".
    private static let prefix = Array("k8s:enc:".utf8)

    init(_ log: any CommitLog, cipher: (any ValueCipher)?) { (self.log, self.cipher) = (log, cipher) }

    private struct NoCipher: Error, CustomStringConvertible {
        var description: String { "there is no encryption configuration" }
    }

    func load(_ take: (LogRow) -> Void) throws(StoreError) -> LogMarks {
        var problem: StoreError?
        let marks = try log.load { row in
            guard problem == nil else { return }
            guard let value = row.value, value.starts(with: Self.prefix) else { return take(row) }
            do {
                guard let cipher else { throw NoCipher() }
                var row = row
                row.value = try cipher.open(value, key: row.key)
                take(row)
            } catch {
                problem = .unavailable("\(row.key) is encrypted and cannot be read: \(error)")
            }
        }
        if let problem { throw problem }
        return marks
    }

    func append(_ batch: LogBatch) throws(StoreError) {
        guard let cipher else { return try log.append(batch) }
        var batch = batch
        for i in batch.rows.indices {
            guard let value = batch.rows[i].value else { continue }
            do {
                batch.rows[i].value = try cipher.seal(value, key: batch.rows[i].key)
            } catch {
                throw .unavailable("cannot encrypt \(batch.rows[i].key): \(error)")
            }
        }
        try log.append(batch)
    }

    func rest() { log.rest() }

    func close(_ marks: LogMarks) { log.close(marks) }
}
