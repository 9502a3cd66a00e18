/// Writes tar archives byte by byte, including ones that no sane tool would write.
struct TarBuilder {
    private(set) var bytes: [UInt8] = []

    mutating func file(_ path: String, _ content: String, mode: Int = 0o644, uid: Int = 0, gid: Int = 0, mtime: Int = 1)
    {
        file(path, Array(content.utf8), mode: mode, uid: uid, gid: gid, mtime: mtime)
    }

    mutating func file(
        _ path: String, _ content: [UInt8], mode: Int = 0o644, uid: Int = 0, gid: Int = 0, mtime: Int = 1
    ) {
        header(path, type: "0", size: content.count, mode: mode, uid: uid, gid: gid, mtime: mtime)
        data(content)
    }

    mutating func directory(_ path: String, mode: Int = 0o755, uid: Int = 0, gid: Int = 0, mtime: Int = 1) {
        header(path, type: "5", mode: mode, uid: uid, gid: gid, mtime: mtime)
    }

    mutating func symlink(_ path: String, _ target: String) { header(path, type: "2", link: target, mode: 0o777) }
    mutating func hardLink(_ path: String, _ target: String) { header(path, type: "1", link: target) }
    mutating func whiteout(_ path: String) { file(path, "") }

    mutating func pax(_ records: [(String, String)]) {
        var body: [UInt8] = []
        for (key, value) in records {
            let rest = " \(key)=\(value)\n".utf8.count
            var length = rest + 1
            while String(length).utf8.count + rest != length { length = String(length).utf8.count + rest }
            body += Array("\(length) \(key)=\(value)\n".utf8)
        }
        header("PaxHeader", type: "x", size: body.count)
        data(body)
    }

    mutating func header(
        _ path: String, type: Character, size: Int = 0, link: String = "", mode: Int = 0o644, uid: Int = 0,
        gid: Int = 0,
        mtime: Int = 1, major: Int = 0, minor: Int = 0, prefix: String = "", magic: String = "ustar\u{0}00"
    ) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int, _ width: Int) {
            for (index, byte) in text.utf8.prefix(width).enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, _ offset: Int, _ width: Int) {
            let digits = String(value, radix: 8)
            put(String(repeating: "0", count: max(0, width - 1 - digits.count)) + digits, offset, width - 1)
        }
        put(path, 0, 100)
        octal(mode, 100, 8)
        octal(uid, 108, 8)
        octal(gid, 116, 8)
        octal(size, 124, 12)
        octal(mtime, 136, 12)
        put(String(type), 156, 1)
        put(link, 157, 100)
        put(magic, 257, 8)
        octal(major, 329, 8)
        octal(minor, 337, 8)
        put(prefix, 345, 155)
        block[148..<156] = [UInt8](repeating: 0x20, count: 8)[...]
        let sum = block.reduce(0) { $0 + Int($1) }
        octal(sum, 148, 7)
        block[154] = 0
        block[155] = 0x20
        bytes += block
    }

    mutating func data(_ content: [UInt8]) {
        bytes += content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    mutating func raw(_ more: [UInt8]) { bytes += more }

    func finished() -> [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}
