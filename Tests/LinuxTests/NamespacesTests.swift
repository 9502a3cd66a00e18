import Linux
import Testing

@Suite struct CapabilitySetTests {
    @Test func namesAndBits() {
        #expect(CapabilitySet(name: "CAP_NET_ADMIN")?.rawValue == 1 << 12)
        #expect(CapabilitySet(name: "net_admin")?.rawValue == 1 << 12)
        #expect(CapabilitySet(name: "CHECKPOINT_RESTORE")?.rawValue == 1 << 40)
        #expect(CapabilitySet(name: "NOPE") == nil)
        #expect(CapabilitySet.containerDefault.rawValue == 0xa804_25fb)
        #expect(CapabilitySet(rawValue: 1 << 12 | 1).description == "CAP_CHOWN,CAP_NET_ADMIN")
    }

    @Test func ownSetsAreWithinTheBoundingSet() throws {
        let own = try CapabilitySet.ofThisThread()
        #expect(own.permitted.isSuperset(of: own.effective))
        let text = try Proc.status("CapBnd", pid: getpid())
        #expect(text.flatMap { UInt64($0, radix: 16) } == CapabilitySet.bounding().rawValue)
    }
}

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct NamespacesTests {
    @Test func namespaceOutlivesItsThreadByABindMount() async throws {
        try await withTemporaryDirectory { directory in
            defer { _ = try? Mounts.unmountTree(directory) }
            try await Namespaces.make([.net, .uts], in: directory) { () throws(SysError) in
                try checked("lo") { k3s_interface_up("lo") }
                try syscall("sethostname") { sethostname("inside", 6) }
            }
            let link = try await Namespaces.inside(.net, path: directory + "/net") { () throws(SysError) in
                try Files.readLink("/proc/thread-self/ns/net")
            }
            #expect(try link != Files.readLink("/proc/self/ns/net"))
            let name = try await Namespaces.inside(.uts, path: directory + "/uts") { () throws(SysError) in
                try Files.readString("/proc/sys/kernel/hostname")
            }
            #expect(name == "inside\n")
            #expect(try MountInfo.current().contains { $0.mountPoint == directory + "/net" && $0.type == "nsfs" })
            #expect(try Mounts.unmountTree(directory).count == 2)
            #expect(try !MountInfo.current().contains { $0.mountPoint.hasPrefix(directory) })
        }
    }

    @Test func detachedOverlayShowsTheUpperOfTwoFiles() throws {
        try withTemporaryDirectory { directory in
            for (layer, text) in [("low", "low"), ("high", "high")] {
                try Directories.make(directory + "/" + layer)
                try Files.write(directory + "/\(layer)/both", Array(text.utf8))
            }
            try Files.write(directory + "/low/below", Array("b".utf8))
            let root = try Mounts.detachedOverlay(layers: [directory + "/high", directory + "/low"])
            #expect(
                try !MountInfo.current().contains { mount in mount.superOptions.contains { $0.contains(directory) } })
            #expect(try Files.read(FileDescriptor.open(inRoot: root, "/both", O_RDONLY)) == Array("high".utf8))
            #expect(try Files.read(FileDescriptor.open(inRoot: root, "below", O_RDONLY)) == Array("b".utf8))
            #expect(throws: SysError.self) {
                _ = try FileDescriptor.open(inRoot: root, "/new", O_WRONLY | O_CREAT, mode: 0o600)
            }
        }
    }

    @Test func removeTreeStopsAtAMount() throws {
        try withTemporaryDirectory { directory in
            try Directories.make(directory + "/tree/mounted")
            try Mounts.mountFilesystem("tmpfs", at: directory + "/tree/mounted")
            try Files.write(directory + "/tree/mounted/kept", [1])
            let error = #expect(throws: SysError.self) { try Directories.removeTree(directory + "/tree") }
            #expect(error?.code == EBUSY)
            #expect(Files.exists(directory + "/tree/mounted/kept"))
            try Mounts.unmount(directory + "/tree/mounted")
        }
    }
}

@Suite struct UnixSocketTests {
    @Test func packetsAndDescriptorsPassThroughALongPath() throws {
        try withTemporaryDirectory { directory in
            let long = directory + "/" + String(repeating: "x", count: 150)
            try Directories.make(long)
            let listener = try UnixSocket.listen(long + "/s", .packets)
            #expect(try Files.status(long + "/s").st_mode & 0o777 == 0o600)
            let client = try UnixSocket.connect(long + "/s", .packets)
            let server = FileDescriptor(owning: accept(listener.raw, nil, nil))
            let (read, write) = try FileDescriptor.pipe().takeBoth()
            let sent = k3s_send_fds(client.raw, "hello", 5, [write], 1, 0)
            #expect(sent == 5)
            close(write)
            var buffer = [UInt8](repeating: 0, count: 64), fds: [Int32] = [-1, -1], count: Int32 = 2
            #expect(k3s_recv_fds(server.raw, &buffer, buffer.count, &fds, &count, 0) == 5)
            #expect(count == 1)
            let passed = FileDescriptor(owning: fds[0])
            try passed.writeAll([42])
            let reader = FileDescriptor(owning: read)
            var byte: [UInt8] = [0]
            #expect(try byte.withUnsafeMutableBytes { try reader.read(into: $0) } == 1)
            #expect(byte == [42])
            // Longer than the buffer: told, not cut.
            #expect(k3s_send_fds(client.raw, "0123456789", 10, [], 0, 0) == 10)
            count = 2
            #expect(k3s_recv_fds(server.raw, &buffer, 4, &fds, &count, 0) == -Int64(EMSGSIZE))
            var pid: pid_t = 0, uid: uid_t = 1, gid: gid_t = 1
            #expect(k3s_peer_credentials(server.raw, &pid, &uid, &gid) == 0)
            #expect(pid == getpid() && uid == geteuid())
        }
    }

    @Test func missingSocketIsAnError() {
        let error = #expect(throws: SysError.self) { _ = try UnixSocket.connect("/nonexistent/s", .stream) }
        #expect(error?.code == ENOENT)
    }
}

@Suite struct ProcTests {
    @Test func ownMemoryIsKnown() throws {
        let memory = try Proc.memory()
        #expect(memory.resident > 1 << 20)
        #expect(memory.proportional <= memory.resident)
        #expect(memory.anonymous > 0)
    }

    @Test func wallClockIsNow() {
        // After the first release of this code, before it can matter to anybody.
        #expect(WallClock.now() > 1_700_000_000_000_000_000)
        let first = MonotonicClock.now()
        #expect(MonotonicClock.now() >= first)
        #expect(Duration.milliseconds(1500).nanoseconds == 1_500_000_000)
        #expect(Duration.seconds(Int64.max).nanoseconds == .max)
    }
}
