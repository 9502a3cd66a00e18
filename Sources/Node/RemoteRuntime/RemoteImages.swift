internal import Codecs
package import Containers
internal import GRPC
internal import Linux
internal import Logging
import Synchronization

/// Images of another runtime, which pulls them by its own configuration (registries.yaml is not for it).
final class RemoteImages: ImageService {
    private let images: RemoteService
    private let runtime: RemoteService
    /// The list that was read last: the node's status keeps it while the runtime is away.
    private let last = Mutex<[ImageInfo]>([])

    init(images: RemoteService, runtime: RemoteService) { (self.images, self.runtime) = (images, runtime) }

    static func info(_ json: JSON) -> ImageInfo {
        var info = ImageInfo()
        info.id = json["id"].string ?? ""
        (info.tags, info.digests) = (CRIValues.strings(json["repo_tags"]), CRIValues.strings(json["repo_digests"]))
        info.sizeBytes = json["size"].int ?? 0
        info.pinned = json["pinned"].bool ?? false
        if json["uid"].object != nil {
            info.config.user = String(json["uid"]["value"].int ?? 0)
        } else {
            info.config.user = json["username"].string ?? ""
        }
        return info
    }

    func image(_ reference: String) async -> ImageInfo? {
        let answer = try? await images.call("ImageStatus", ["image": ["image": .string(reference)]])
        guard let image = answer?["image"], image.object != nil, !(image["id"].string ?? "").isEmpty else { return nil }
        return Self.info(image)
    }

    func images() async -> [ImageInfo] {
        guard let answer = try? await images.call("ListImages") else { return last.withLock { $0 } }
        let list = answer["images"].elements.map(Self.info)
        last.withLock { $0 = list }
        return list
    }

    func pull(_ reference: String, credentials: RegistryCredentials?) async throws(ImageError) -> ImageInfo {
        var request: JSON = ["image": ["image": .string(reference)]]
        if let credentials {
            request["auth"] = [
                "username": .string(credentials.username), "password": .string(credentials.password),
                "identity_token": .string(credentials.identityToken),
            ]
        }
        let id: String
        do throws(GRPCStatus) {
            id = try await images.call("PullImage", request, timeout: nil)["image_ref"].string ?? ""
        } catch { throw Self.failure(error) }
        guard let info = await image(id.isEmpty ? reference : id) else {
            throw ImageError(.notFound, "image \"\(reference)\": the runtime has pulled it and does not have it")
        }
        return info
    }

    private static func failure(_ status: GRPCStatus) -> ImageError {
        // The runtime's sentence is all there is; other credentials are tried where it is about these.
        let signs = ["401", "403", "denied", "nauthorized", "authorization failed", "no basic auth credentials"]
        let code: ImageError.Code =
            switch status.code {
            case .notFound: .notFound
            case .invalidArgument: .invalidReference
            case .unauthenticated, .permissionDenied: .unauthorized
            case .unavailable: .registryUnavailable
            default: signs.contains { status.message.contains($0) } ? .unauthorized : .io
            }
        return ImageError(code, status.description)
    }

    /// Runtimes remove what containers use as well: that is looked at here.
    func remove(_ reference: String) async throws(ImageError) {
        guard let image = await image(reference) else { return }
        if await isInUse(image.id) { throw ImageError(.inUse, "image \"\(reference)\" is in use by a container") }
        do throws(GRPCStatus) {
            _ = try await images.call("RemoveImage", ["image": ["image": .string(image.id)]])
        } catch { throw ImageError(.io, error.description) }
    }

    /// Also when that cannot be known.
    func isInUse(_ id: String) async -> Bool {
        guard let answer = try? await runtime.call("ListContainers") else { return true }
        return answer["containers"].elements.contains { container in
            container["image_id"].string == id || container["image_ref"].string == id
                || container["image"]["image"].string == id
        }
    }

    /// Where they are; nil: the runtime does not tell.
    func directory() async -> String? {
        let answer = try? await images.call("ImageFsInfo")
        guard let path = answer?["image_filesystems"][0]["fs_id"]["mountpoint"].string, Files.isDirectory(path) else {
            return nil
        }
        return path
    }
}

extension RemoteRuntime {
    /// Where the runtime has its images; nil: it does not tell.
    package func imageDirectory() async -> String? { await remoteImages.directory() }

    /// Removes images that nobody uses when their disk is full, until the task is cancelled.
    package func collectGarbage(_ policy: ImageGCPolicy) async {
        var uses = ImageUses()
        while !Task.isCancelled {
            if let path = await remoteImages.directory() {
                do throws(ImageError) {
                    let report = try await remoteImages.collectOnce(
                        policy, &uses, now: .now, space: ImageStore.space(of: path), logger: settings.logger
                    ) { await self.remoteImages.isInUse($0) }
                    if let failure = report.failure {
                        settings.logger.warning("image garbage collection: \(failure)")
                    }
                } catch { settings.logger.warning("image garbage collection: \(error.message)") }
            }
            try? await Task.sleep(for: policy.period)
        }
    }
}
