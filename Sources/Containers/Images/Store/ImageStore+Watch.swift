import Linux
import Logging

extension ImageStore {
    /// Imports `directory`, and again after each change below it, until the task is cancelled: a file written, moved or
    /// removed, two quiet seconds later (an archive being copied is not read half-way). The directory is made if it is
    /// missing. Nothing runs while nothing changes.
    package func watchDirectory(_ directory: String, settle: Duration = .seconds(2)) async throws(ImageError) {
        try ImageFS.makeDirectory(directory, 0o755)
        while !Task.isCancelled {
            // Watched before it is read, anew each time: no change is missed, and new directories are included.
            do throws(SysError) {
                let changes = try DirectoryWatch([directory])
                defer { changes.close() }
                _ = await importDirectory(directory)
                try await changes.wait()
                while try await changes.wait(atMost: settle) {}
            } catch {
                if Task.isCancelled { return }
                throw ImageError(.io, error.description)
            }
        }
    }
}

extension DirectoryWatch {
    /// false: the time is over.
    fileprivate func wait(atMost limit: Duration) async throws(SysError) -> Bool {
        let answer = await timed(max(limit, .milliseconds(1))) { [self] () -> Result<Void, SysError> in
            do throws(SysError) { return .success(try await wait()) } catch { return .failure(error) }
        }
        guard let answer else { return false }
        do throws(SysError) { try answer.get() } catch {
            if Task.isCancelled { throw error }
            return false
        }
        return true
    }
}
