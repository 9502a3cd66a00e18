import Containers
import Logging

/// A store below a temporary directory, with short pauses.
struct TestStore {
    let directory: TestDirectory
    let registry: FakeRegistry
    let store: ImageStore

    init(
        _ directory: TestDirectory = TestDirectory(), registry: FakeRegistry = FakeRegistry(),
        registries: RegistriesConfig = RegistriesConfig(), _ change: (inout ImageStore.Options) -> Void = { _ in }
    ) throws(ImageError) {
        self.directory = directory
        self.registry = registry
        store = try makeStore(directory, registry, registries, change)
    }

    func pull(_ reference: String, _ credentials: RegistryCredentials? = nil) async throws(ImageError) -> ImageInfo {
        try await store.pull(reference, credentials: credentials)
    }

    /// What is left of unfinished work, once work that nobody waits for any more has wound down.
    func leftovers() async throws -> [String] {
        for _ in 0..<200 {
            if names(directory / "store/ingest").isEmpty, names(directory / "store/staging").isEmpty { return [] }
            try await Task.sleep(for: .milliseconds(20))
        }
        return names(directory / "store/ingest") + names(directory / "store/staging")
    }
}

func makeStore(
    _ directory: TestDirectory, _ transport: any RegistryTransport, _ registries: RegistriesConfig = RegistriesConfig(),
    _ change: (inout ImageStore.Options) -> Void = { _ in }
) throws(ImageError) -> ImageStore {
    var options = ImageStore.Options()
    options.platform = Platform(architecture: "amd64")
    options.durable = false
    options.timing.firstPause = .milliseconds(1)
    options.timing.longestPause = .milliseconds(5)
    options.timing.responseTimeout = .seconds(20)
    options.timing.stallTimeout = .seconds(20)
    change(&options)
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return try ImageStore(
        root: directory / "store", registries: registries, transport: transport, sha256: TestSHA256.factory,
        logger: logger, options: options)
}

/// The error of a call that must fail.
func failure<T>(_ work: () async throws(ImageError) -> T) async -> ImageError? {
    do throws(ImageError) {
        _ = try await work()
        return nil
    } catch {
        return error
    }
}
