import Synchronization

/// A value that arrives once, from whoever is first, and one who waits for it.
final class OnceContinuation<T: Sendable>: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<T, Never>)
        case arrived(T)
        case done
    }
    private let state = Mutex(State.empty)

    func resume(_ value: T) {
        let waiting = state.withLock { state -> CheckedContinuation<T, Never>? in
            switch state {
            case .empty: state = .arrived(value)
            case .waiting(let continuation):
                state = .done
                return continuation
            case .arrived, .done: break
            }
            return nil
        }
        waiting?.resume(returning: value)
    }

    /// To be called once.
    func value() async -> T {
        await withCheckedContinuation { continuation in
            let arrived = state.withLock { state -> T? in
                if case .arrived(let value) = state {
                    state = .done
                    return value
                }
                state = .waiting(continuation)
                return nil
            }
            if let arrived { continuation.resume(returning: arrived) }
        }
    }
}
