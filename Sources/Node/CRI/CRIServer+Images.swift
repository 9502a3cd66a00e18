internal import Codecs
internal import Containers
internal import GRPC
internal import Linux

extension CRIServer {
    private static func json(_ image: ImageInfo) -> JSON {
        var json: JSON = [
            "id": .string(image.id), "repo_tags": .strings(image.tags), "repo_digests": .strings(image.digests),
            "size": .int(image.sizeBytes), "pinned": .bool(image.pinned),
        ]
        // A number is a user id; without one root is meant.
        let user = image.config.user.prefix { $0 != ":" }
        if let uid = Int64(user) {
            json["uid"] = ["value": .int(uid)]
        } else if user.isEmpty {
            json["uid"] = ["value": 0]
        } else {
            json["username"] = .string(String(user))
        }
        return json
    }

    func listImages(_ request: JSON) async -> JSON {
        if let wanted = request["filter"]["image"]["image"].string, !wanted.isEmpty {
            let image = await runtime.images.image(wanted)
            return ["images": .array(image.map { [Self.json($0)] } ?? [])]
        }
        return ["images": .array(await runtime.images.images().map(Self.json))]
    }

    func imageStatus(_ request: JSON) async -> JSON {
        guard let image = await runtime.images.image(request["image"]["image"].string ?? "") else { return [:] }
        var answer: JSON = ["image": Self.json(image)]
        if request["verbose"].bool == true {
            let config = image.config
            let info: JSON = [
                "imageSpec": [
                    "config": [
                        "Entrypoint": .strings(config.entrypoint), "Cmd": .strings(config.cmd),
                        "Env": .strings(config.environment), "WorkingDir": .string(config.workingDirectory),
                        "User": .string(config.user), "StopSignal": .string(config.stopSignal),
                        "Labels": .map(config.labels),
                        "Volumes": .object(JSONObject(members: config.volumes.map { ($0, [:]) })),
                    ]
                ]
            ]
            answer["info"] = ["info": .string(String(decoding: info.encode(), as: UTF8.self))]
        }
        return answer
    }

    func pullImage(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let reference = request["image"]["image"].string ?? ""
        let credentials = try Self.credentials(request["auth"])
        do throws(ImageError) {
            let image = try await runtime.images.pull(reference, credentials: credentials)
            return ["image_ref": .string(image.id)]
        } catch {
            let code: GRPCStatus.Code =
                switch error.code {
                case .notFound: .notFound
                case .invalidReference: .invalidArgument
                case .registryUnavailable: .unavailable
                default: .unknown
                }
            let what =
                error.code == .invalidReference ? "failed to parse image reference" : "failed to pull and unpack image"
            throw GRPCStatus(code, "\(what) \"\(reference)\": \(error.message)")
        }
    }

    /// Source: containerd's ParseAuth.
    private static func credentials(_ auth: JSON) throws(GRPCStatus) -> RegistryCredentials? {
        guard auth.object?.isEmpty == false else { return nil }
        if let username = auth["username"].string {
            return RegistryCredentials(username: username, password: auth["password"].string ?? "")
        }
        if let token = auth["identity_token"].string { return RegistryCredentials(identityToken: token) }
        if let encoded = auth["auth"].string, let bytes = Base64.decode(encoded) {
            let text = String(decoding: bytes, as: UTF8.self)
            guard let colon = text.firstIndex(of: ":") else {
                throw GRPCStatus(.unknown, "invalid decoded auth: expected \"user:password\"")
            }
            let password = text[text.index(after: colon)...].filter { $0 != "\0" }
            return RegistryCredentials(username: String(text[..<colon]), password: String(password))
        }
        // Nothing but the registry's address.
        if auth.object?.keys == ["server_address"] { return nil }
        throw GRPCStatus(.unknown, "invalid auth config")
    }

    func removeImage(_ request: JSON) async throws(GRPCStatus) -> JSON {
        guard let image = await runtime.images.image(request["image"]["image"].string ?? "") else { return [:] }
        do throws(ImageError) { try await runtime.images.remove(image.id) } catch {
            throw GRPCStatus(error.code == .inUse ? .failedPrecondition : .unknown, error.message)
        }
        return [:]
    }

    func imageFsInfo() async throws(GRPCStatus) -> JSON {
        let root = runtime.configuration.root
        let now = WallClock.now()
        let walks = runtime.walks
        func usage(_ path: String) async throws(GRPCStatus) -> JSON {
            do throws(SysError) {
                let used = try await BlockingPool.shared.run { () throws(SysError) in try walks.measure(path) }
                return [
                    "timestamp": .int(now), "fs_id": ["mountpoint": .string(path)],
                    "used_bytes": ["value": .int(used.bytes)], "inodes_used": ["value": .int(used.files)],
                ]
            } catch { throw GRPCStatus(.unknown, "\(error)") }
        }
        return [
            "image_filesystems": [try await usage(root + "/images")],
            "container_filesystems": [try await usage(root + "/containers")],
        ]
    }
}
