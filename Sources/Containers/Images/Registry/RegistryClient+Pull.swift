import Logging

/// A manifest as a registry gave it.
struct ResolvedManifest: Sendable {
    var bytes: [UInt8]
    var mediaType: String?
    var digest: Digest
    /// Position of the endpoint that had it: the content is asked for there first.
    var endpoint: Int
}

extension RegistryClient {
    /// The manifest or index behind a tag or digest, from the first endpoint that has it.
    ///
    /// Of several failures the first that is not "not found" is reported: it is the one to be repaired.
    func manifest(
        _ object: String, of reference: ImageReference, expecting digest: Digest?, _ endpoints: [RegistryEndpoint],
        startingWith first: Int = 0
    ) async throws(ImageError) -> ResolvedManifest {
        var failure: RegistryFailure?
        for index in Self.order(endpoints.count, first) {
            do throws(RegistryFailure) {
                return try await retrying { () async throws(RegistryFailure) in
                    try await manifest(object, reference, digest, endpoints[index], index)
                }
            } catch {
                logger.debug("\(reference): \(endpoints[index].base.hostAndPort): \(error.message)")
                if failure == nil || (failure?.code == .notFound && error.code != .notFound) { failure = error }
            }
        }
        guard let failure else {
            throw ImageError(
                .registryUnavailable, "no endpoint to ask: the default endpoint is disabled and no mirror is set")
        }
        if failure.code == .notFound { throw ImageError(.notFound, "\(reference): not found") }
        throw failure.error
    }

    static func order(_ count: Int, _ first: Int) -> [Int] {
        guard (0..<count).contains(first) else { return Array(0..<count) }
        return [first] + (0..<count).filter { $0 != first }
    }

    /// The digest of a tag without its manifest; nil where no endpoint tells. Registries that count pulls do not count this.
    func head(_ reference: ImageReference, _ endpoints: [RegistryEndpoint]) async -> Digest? {
        for endpoint in endpoints {
            guard
                let response = try? await request(
                    "HEAD", endpoint, reference.repository, "manifests/\(reference.object)",
                    [("Accept", MediaType.acceptManifests)])
            else { continue }
            await response.body.cancel()
            return response.header("docker-content-digest").flatMap { try? Digest($0) }
        }
        return nil
    }

    private func manifest(
        _ object: String, _ reference: ImageReference, _ expected: Digest?, _ endpoint: RegistryEndpoint, _ index: Int
    ) async throws(RegistryFailure) -> ResolvedManifest {
        let response = try await authorized(
            "GET", endpoint, reference.repository, "manifests/\(object)", [("Accept", MediaType.acceptManifests)])
        guard response.status == 200 else {
            await response.body.cancel()
            throw RegistryFailure(
                .registryUnavailable,
                "unexpected status from GET request to \(endpoint.base.hostAndPort): "
                    + HTTPStatus.text(response.status))
        }
        let bytes = try await read(response, ManifestDocument.maxBytes)
        let digest = Digest.of(bytes, sha256)
        var claimed = expected
        if claimed == nil, let text = response.header("docker-content-digest") {
            claimed = try? Digest(text)
        }
        if let claimed, claimed != digest {
            throw RegistryFailure(
                .digestMismatch,
                "failed commit on ref \"manifest-\(claimed)\": unexpected commit digest \(digest), expected \(claimed): "
                    + "failed precondition")
        }
        let type = response.header("content-type").map { header in
            String(header.prefix { $0 != ";" }).filter { $0 != " " }
        }
        if let type, MediaType.isSchema1(type) {
            throw RegistryFailure(
                .unsupported,
                "\(reference): Docker image manifest schema 1 is not supported: rebuild or push the image again")
        }
        return ResolvedManifest(bytes: bytes, mediaType: type, digest: digest, endpoint: index)
    }

    /// Downloads a blob into `ingest` and verifies it; endpoints are tried in turn, `first` before the others.
    func blob(
        _ descriptor: Descriptor, of reference: ImageReference, _ endpoints: [RegistryEndpoint],
        startingWith first: Int,
        kind: String, into ingest: Ingest
    ) async throws(ImageError) {
        var failure: RegistryFailure?
        for index in Self.order(endpoints.count, first) {
            do throws(RegistryFailure) {
                try await download(descriptor, reference, endpoints[index], kind, ingest)
                return
            } catch {
                if failure == nil || (failure?.code == .notFound && error.code != .notFound) { failure = error }
                if Task.isCancelled || error.code == .io { break }
            }
            try await ingest.restart()
        }
        var error = (failure ?? RegistryFailure(.registryUnavailable, "no endpoint to ask")).error
        if error.code == .notFound {
            error.message = "content at \(reference.name)/blobs/\(descriptor.digest) not found: not found"
        }
        throw error
    }

    /// Resumes by Range where a connection breaks, as long as there is progress; a body that stops short or runs over,
    /// or has the wrong digest, is never taken.
    private func download(
        _ descriptor: Descriptor, _ reference: ImageReference, _ endpoint: RegistryEndpoint, _ kind: String,
        _ ingest: Ingest
    ) async throws(RegistryFailure) {
        let label = "\(kind)-\(descriptor.digest)"
        var failures = 0
        var restarts = 0
        while true {
            let start = ingest.count
            do throws(RegistryFailure) {
                try await transfer(descriptor, reference, endpoint, label, ingest, &restarts)
                break
            } catch {
                guard error.transient, !Task.isCancelled else { throw error }
                failures = ingest.count - start >= 1 << 20 ? 1 : failures + 1
                guard failures < timing.attempts, restarts <= 3 else { throw error }
                logger.debug("\(label): \(error.message); resuming at byte \(ingest.count)")
                try? await Task.sleep(for: timing.pause(failures, retryAfter: error.retryAfter))
            }
        }
        do throws(ImageError) { try await ingest.verify(descriptor, label) } catch { throw RegistryFailure(error) }
    }

    private func transfer(
        _ descriptor: Descriptor, _ reference: ImageReference, _ endpoint: RegistryEndpoint, _ label: String,
        _ ingest: Ingest, _ restarts: inout Int
    ) async throws(RegistryFailure) {
        if ingest.count == descriptor.size { return }
        let offset = ingest.count
        let response = try await request(
            "GET", endpoint, reference.repository, "blobs/\(descriptor.digest)",
            offset > 0 ? [("Range", "bytes=\(offset)-")] : [])
        let partial = response.status == 206
        if offset > 0, !partial || Self.rangeStart(response) != offset {
            // The server does not resume. What is there may be wrong, too: begin again.
            restarts += 1
            do throws(ImageError) { try await ingest.restart() } catch { throw RegistryFailure(error) }
            if partial || response.status == 416 {
                await response.body.cancel()
                throw RegistryFailure(.registryUnavailable, "failed to copy: server does not resume", transient: true)
            }
        }
        guard partial || response.status == 200 else {
            await response.body.cancel()
            throw RegistryFailure(
                .registryUnavailable, "failed to copy: unexpected status \(HTTPStatus.text(response.status))")
        }
        do throws(RegistryFailure) {
            while let chunk = try await next(response.body) {
                guard Int64(chunk.count) <= descriptor.size - ingest.count else {
                    throw RegistryFailure(
                        .digestMismatch,
                        "failed commit on ref \"\(label)\": failed size validation: more than the \(descriptor.size) bytes "
                            + "of the manifest: failed precondition")
                }
                do throws(ImageError) { try await ingest.append(chunk) } catch { throw RegistryFailure(error) }
            }
        } catch {
            await response.body.cancel()
            throw error
        }
        guard ingest.count == descriptor.size else {
            throw RegistryFailure(
                .registryUnavailable,
                "failed to copy: unexpected EOF after \(ingest.count) of \(descriptor.size) bytes",
                transient: true)
        }
    }

    /// N of "Content-Range: bytes N-M/total".
    private static func rangeStart(_ response: RegistryResponse) -> Int64? {
        guard let header = response.header("content-range"), header.hasPrefix("bytes ") else { return nil }
        return Int64(header.dropFirst(6).prefix { $0 != "-" })
    }
}
