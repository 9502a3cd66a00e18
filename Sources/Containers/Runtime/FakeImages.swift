import Synchronization

/// Images in memory, for tests: present are those that were added, pulls find those that were offered.
package final class FakeImages: ImageService, Snapshotter {
    private struct State {
        var present: [ImageInfo] = []
        var offered: [String: ImageInfo] = [:]
        var layers: [String: [String]] = [:]
        var failures: [String: ImageError] = [:]
        var pulls: [String] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// `layers`: directories, topmost first (lowest last).
    package func add(_ image: ImageInfo, layers: [String] = []) {
        state.withLock { state in
            state.present.removeAll { $0.id == image.id }
            state.present.append(image)
            state.layers[image.id] = layers
        }
    }

    /// An image that a pull of its tags finds.
    package func offer(_ image: ImageInfo, layers: [String] = []) {
        state.withLock { state in
            for tag in image.tags { state.offered[tag] = image }
            state.layers[image.id] = layers
        }
    }

    /// Pulls of the reference fail from now on; nil: no longer.
    package func failPull(_ reference: String, _ error: ImageError?) {
        state.withLock { $0.failures[reference] = error }
    }

    /// References pulled so far.
    package var pulls: [String] { state.withLock { $0.pulls } }

    package func image(_ reference: String) async -> ImageInfo? {
        state.withLock { state in
            state.present.first { $0.id == reference || $0.tags.contains(reference) || $0.digests.contains(reference) }
        }
    }

    package func images() async -> [ImageInfo] { state.withLock { $0.present } }

    package func pull(
        _ reference: String, credentials: RegistryCredentials?
    ) async throws(ImageError) -> ImageInfo {
        try state.withLock { state throws(ImageError) -> ImageInfo in
            state.pulls.append(reference)
            if let error = state.failures[reference] { throw error }
            guard let image = state.offered[reference] ?? state.present.first(where: { $0.tags.contains(reference) })
            else {
                throw ImageError(.notFound, "\(reference): not found")
            }
            if !state.present.contains(where: { $0.id == image.id }) { state.present.append(image) }
            return image
        }
    }

    package func remove(_ reference: String) async throws(ImageError) {
        state.withLock { state in
            state.present.removeAll {
                $0.id == reference || $0.tags.contains(reference) || $0.digests.contains(reference)
            }
        }
    }

    package func lowerDirectories(imageID: String) async throws(ImageError) -> [String] {
        guard let layers = state.withLock({ $0.layers[imageID] }) else {
            throw ImageError(.notFound, "\(imageID): not found")
        }
        return layers
    }
}
