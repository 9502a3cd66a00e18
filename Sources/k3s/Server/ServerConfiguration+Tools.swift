import HostTools
import Linux
import Logging

extension ServerConfiguration {
    /// PATH of the programs that the node starts.
    var searchPath: String {
        BundledTools.searchPath(
            dataDirectory: dataDirectory, inherited: getenv("PATH").map { String(cString: $0) },
            isPreferred: prefersBundledTools)
    }

    /// Makes the tools' links and sets PATH, before there is a second thread. A folder that cannot be written to is no reason
    /// not to start: what needs it says so itself.
    func installTools(_ logger: Logger) {
        setenv("PATH", searchPath, 1)
        do throws(SysError) {
            try BundledTools.install(dataDirectory: dataDirectory, program: Proc.executable())
        } catch { logger.warning("links of the bundled tools: \(error)") }
    }
}
