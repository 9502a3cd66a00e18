/// One member of a tar archive. Names are bytes: they need not be UTF-8.
package struct TarEntry: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case file, directory, symlink, hardLink, characterDevice, blockDevice, fifo
    }

    package var kind: Kind = .file
    package var path: [UInt8] = []
    /// Target of a symbolic or hard link.
    package var link: [UInt8] = []
    /// The lower twelve bits: permissions, setuid, setgid, sticky.
    package var mode: UInt32 = 0
    package var uid: UInt32 = 0
    package var gid: UInt32 = 0
    /// Bytes of data that follow; 0 for everything but files.
    package var size: Int64 = 0
    /// Seconds and nanoseconds since the epoch.
    package var modified: Int64 = 0
    package var modifiedNanoseconds: Int64 = 0
    package var deviceMajor: UInt32 = 0
    package var deviceMinor: UInt32 = 0
    package var xattrs: [(name: [UInt8], value: [UInt8])] = []

    package init() {}

    /// For messages.
    package var name: String { String(decoding: path, as: UTF8.self) }

    package static func == (a: Self, b: Self) -> Bool {
        a.kind == b.kind && a.path == b.path && a.link == b.link && a.mode == b.mode && a.uid == b.uid
            && a.gid == b.gid && a.size == b.size && a.modified == b.modified
            && a.modifiedNanoseconds == b.modifiedNanoseconds && a.deviceMajor == b.deviceMajor
            && a.deviceMinor == b.deviceMinor
            && a.xattrs.elementsEqual(b.xattrs, by: { $0.name == $1.name && $0.value == $1.value })
    }
}
