import Codecs
import Linux

/// `logs`: the text of CRI log lines ("time stream tag text"), stdout to stdout and stderr to stderr.
struct CrictlLogs {
    static let verb = CrictlVerb(
        "logs", "CONTAINER-ID", "Fetch the logs of a container",
        """
        +|follow|f||b|||Follow log output
        +|limit-bytes|||s|||Maximum bytes of logs to return
        +|previous|p||b|||If true, print the logs for the previous instance of the container
        +|reopen|r||b|||Reopen the container log file instead of printing it
        +|since|||s|||Show logs since timestamp (e.g. 2018-10-12T10:00:00Z) or relative (e.g. 42m for 42 minutes)
        +|tail|||s|-1||Number of lines to show from the end of the logs
        +|timestamps|t||b|||Show timestamps
        """
    ) { session in
        guard session.arguments.count == 1 else { throw UsageError("ID cannot be empty") }
        let id = session.arguments[0]
        if session.values.bool("reopen") {
            _ = try session.call("ReopenContainerLog", ["container_id": .string(id)], "reopening log")
            return 0
        }
        var logs = try CrictlLogs(session, id)
        try logs.run()
        return 0
    }

    private let session: CrictlSession
    private var id: String
    private let path: String
    private let since: Int64?
    private var left: Int
    /// The beginning of a line whose end has not come yet.
    private var rest: [UInt8] = []

    private init(_ session: CrictlSession, _ id: String) throws {
        self.session = session
        var status = try Self.status(session, id)
        if session.values.bool("previous") { status = try Self.previous(session, status) }
        self.id = status["id"].string ?? id
        path = status["log_path"].string ?? ""
        guard !path.isEmpty else { throw UsageError("container \"\(id)\" has no log") }
        left = Int(clamping: try session.number("limit-bytes") ?? .max)
        since = try session.values.string("since").map { text in
            if let age = GoDuration.parse(text) { return WallClock.now() - age }
            guard let time = Timestamp(text) else {
                throw UsageError("failed parse for flag since \"\(text)\": expected a time or a duration")
            }
            return time.nanoseconds
        }
    }

    private static func status(_ session: CrictlSession, _ id: String) throws -> JSON {
        try session.call("ContainerStatus", ["container_id": .string(id)], "getting container status")["status"]
    }

    /// The container of the same name and pod with the attempt before.
    private static func previous(_ session: CrictlSession, _ status: JSON) throws -> JSON {
        let attempt = (status["metadata"]["attempt"].int ?? 0) - 1
        let selector = status["labels"].stringMap.filter { $0.key.hasPrefix("io.kubernetes.") }
        let filter: JSON = ["label_selector": .map(selector)]
        let list = try session.call("ListContainers", ["filter": filter], "listing containers")["containers"].elements
        guard
            let found = list.first(where: {
                $0["metadata"]["name"] == status["metadata"]["name"] && ($0["metadata"]["attempt"].int ?? 0) == attempt
            }), let id = found["id"].string
        else { throw UsageError("Failed to find the previous container") }
        return try Self.status(session, id)
    }

    private mutating func run() throws {
        var file = try FileDescriptor.open(path, O_RDONLY)
        if let lines = try session.number("tail"), lines >= 0 {
            lseek(file.raw, off_t(try Self.start(of: file, lines: Int(clamping: lines))), SEEK_SET)
        }
        try copy(file)
        guard session.values.bool("follow") else { return }
        var asked = MonotonicClock.now()
        while left > 0 {
            usleep(200_000)
            try copy(file)
            // A rotated log has another file under its name.
            if let now = try? Files.status(path), try now.st_ino != file.status().st_ino {
                try copy(file)
                file = try FileDescriptor.open(path, O_RDONLY)
            } else if MonotonicClock.now() - asked > 1_000_000_000 {
                asked = MonotonicClock.now()
                if try Self.status(session, id)["state"].int != 1 { return try copy(file) }
            }
        }
    }

    /// Where the last lines begin: read backwards, a chunk at a time.
    static func start(of file: borrowing FileDescriptor, lines: Int) throws -> Int64 {
        let size = Int64(try file.status().st_size)
        var last: UInt8 = 0
        guard lines > 0, size > 0, pread(file.raw, &last, 1, off_t(size - 1)) == 1 else { return size }
        // The end of the last line begins none.
        var wanted = last == UInt8(ascii: "\n") ? lines + 1 : lines
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        var end = size
        while end > 0 {
            let begin = max(0, end - Int64(chunk.count))
            let count = pread(file.raw, &chunk, Int(end - begin), off_t(begin))
            guard count == Int(end - begin) else { return 0 }
            for index in stride(from: count - 1, through: 0, by: -1) where chunk[index] == UInt8(ascii: "\n") {
                wanted -= 1
                if wanted == 0 { return begin + Int64(index) + 1 }
            }
            end = begin
        }
        return 0
    }

    private mutating func copy(_ file: borrowing FileDescriptor) throws {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while left > 0 {
            let count = try chunk.withUnsafeMutableBytes { try file.read(into: $0) }
            guard count > 0 else { return }
            rest += chunk.prefix(count)
            var begin = rest.startIndex
            while let end = rest[begin...].firstIndex(of: UInt8(ascii: "\n")) {
                write(rest[begin..<end])
                begin = end + 1
            }
            rest.removeFirst(begin)
        }
    }

    private mutating func write(_ line: ArraySlice<UInt8>) {
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4, left > 0 else { return }
        if let since {
            guard let time = Timestamp(String(decoding: fields[0], as: UTF8.self)), time.nanoseconds >= since else {
                return
            }
        }
        var text = Array(fields[3])
        if fields[2].first == UInt8(ascii: "F") { text.append(UInt8(ascii: "\n")) }
        if session.values.bool("timestamps") { text = Array(fields[0]) + [UInt8(ascii: " ")] + text }
        text = Array(text.prefix(left))
        left -= text.count
        Terminal.write(text, to: fields[1].elementsEqual("stderr".utf8) ? STDERR_FILENO : STDOUT_FILENO)
    }
}
