internal import Codecs
internal import Containers
internal import KubeAPI

/// Volumes whose content is an image. Source: KEP-4639 and k8s.io/kubernetes/pkg/kubelet/images.
struct ImageVolumes: Sendable {
    let client: any KubeClient
    let runtime: any ContainerRuntime

    /// nil: it is there. Otherwise why not; the pod's volumes are set up again later.
    @Sendable func mount(_ pod: Pod, _ source: JSON, _ path: String) async -> String? {
        guard let reference = source["reference"].string, !reference.isEmpty else {
            return "image volume: reference is required"
        }
        let images = runtime.images
        let present = await images.image(reference)
        // As for containers: "latest" is looked for each time.
        let last = reference.split(separator: "/").last ?? ""
        let isLatest = !reference.contains("@") && (!last.contains(":") || last.hasSuffix(":latest"))
        let policy = source["pullPolicy"].string ?? (isLatest ? "Always" : "IfNotPresent")
        var image = present
        if policy == "Always" || present == nil {
            if policy == "Never" {
                return "Container image \"\(reference)\" is not present with pull policy of Never"
            }
            image = nil
            var failure = "no attempt was made"
            for candidate in await PullSecrets(client: client).credentials(pod, image: reference) {
                do throws(ImageError) {
                    image = try await images.pull(reference, credentials: candidate)
                } catch {
                    failure = error.message
                    if error.code == .unauthorized { continue }
                }
                break
            }
            if image == nil { return "Failed to pull image \"\(reference)\": \(failure)" }
        }
        guard let image else { return "Failed to pull image \"\(reference)\"" }
        do throws(RuntimeError) {
            try await runtime.mountImage(image.id, at: path)
            return nil
        } catch { return error.message }
    }
}
