import NIOCore
import NIOPosix

/// Channels that are read only when somebody wants bytes, one small buffer at a time, and whose ends close one by one:
/// back-pressure reaches the peer, and an idle connection holds no memory.
extension ClientBootstrap {
    func readingOnDemand() -> ClientBootstrap {
        channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: SmallReadAllocator())
    }
}

extension ServerBootstrap {
    /// For the connections that are accepted.
    func acceptedReadingOnDemand() -> ServerBootstrap {
        childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: SmallReadAllocator())
    }
}
