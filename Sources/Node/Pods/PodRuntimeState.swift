package import Containers
internal import Codecs

/// One container instance as the runtime knows it, without what only its creation needed.
package struct ContainerRecord: Sendable, Equatable {
    package var id: String
    package var sandbox: String
    package var name: String
    package var attempt: UInt32
    package var state: ContainerStatus.State
    /// Reference by which people know the image, and "repository@sha256:..." (or the image's id where it has no digest).
    package var image = ""
    package var imageID = ""
    /// Nanoseconds since the epoch.
    package var createdAt: Int64 = 0
    package var startedAt: Int64 = 0
    package var finishedAt: Int64 = 0
    package var exitCode: Int32 = 0
    package var reason = ""
    /// Of the runtime, or what the container left as its termination message.
    package var message = ""
    /// Of the spec it was made from (`ContainerSpec.hash`); "" for a container whose origin is not known.
    package var hash = ""
    package var messageRead = false

    package init(_ status: ContainerStatus) {
        id = status.id
        sandbox = status.sandbox
        name = status.labels[RuntimeLabels.containerName] ?? status.name
        attempt = status.attempt
        state = status.state
        image = status.image
        imageID = status.imageID
        hash = status.annotations[RuntimeLabels.hash] ?? ""
        update(status)
    }

    package mutating func update(_ status: ContainerStatus) {
        state = status.state
        createdAt = status.createdAt
        startedAt = status.startedAt
        finishedAt = status.finishedAt
        exitCode = status.exitCode
        reason = status.reason
        if !messageRead { message = status.message }
    }

    package var isRunning: Bool { state == .running }
    package var hasExited: Bool { state == .exited }
}

package enum RuntimeLabels {
    package static let podUID = "io.kubernetes.pod.uid"
    package static let podName = "io.kubernetes.pod.name"
    package static let podNamespace = "io.kubernetes.pod.namespace"
    package static let containerName = "io.kubernetes.container.name"
    /// Annotations.
    package static let hash = "io.kubernetes.container.hash"
    package static let restartCount = "io.kubernetes.container.restartCount"
    package static let terminationMessagePath = "io.kubernetes.container.terminationMessagePath"
    package static let terminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
    package static let gracePeriod = "io.kubernetes.pod.terminationGracePeriod"
}

package struct SandboxRecord: Sendable, Equatable {
    package var id: String
    package var attempt: UInt32
    package var isReady: Bool
    /// Of the pod, the primary one first; of the host for a pod in the host's network.
    package var addresses: [String]
    package var createdAt: Int64

    package init(id: String, attempt: UInt32, isReady: Bool, addresses: [String] = [], createdAt: Int64 = 0) {
        self.id = id
        self.attempt = attempt
        self.isReady = isReady
        self.addresses = addresses
        self.createdAt = createdAt
    }
}

/// What there is of a pod in the runtime.
package struct PodRuntimeState: Sendable, Equatable {
    package var sandbox: SandboxRecord?
    /// In the order of their creation.
    package var containers: [ContainerRecord] = []

    package init() {}

    package func latest(_ name: String) -> ContainerRecord? { containers.last { $0.name == name } }
    /// The one before the latest.
    package func previous(_ name: String) -> ContainerRecord? {
        var seen = false
        for record in containers.reversed() where record.name == name {
            if seen { return record }
            seen = true
        }
        return nil
    }
    package var running: [ContainerRecord] { containers.filter(\.isRunning) }
}
