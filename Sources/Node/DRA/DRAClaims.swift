internal import Codecs
internal import KubeAPI
internal import Linux

/// A ResourceClaim that drivers of this node know of, and whose pods those are.
struct PreparedClaim: Sendable, Equatable {
    struct Device: Sendable, Equatable {
        var pool: String
        var name: String
        /// Of the claim; none: all.
        var requests: [String]
        /// "vendor.com/class=name"
        var cdi: [String]
    }

    var uid: String
    var key: ObjectKey
    var pods: Set<String> = []
    /// All that have devices of the claim.
    var drivers: [String: [Device]] = [:]
    /// All drivers have said so, in this or an earlier life of this process.
    var isPrepared = false

    init(uid: String, key: ObjectKey, drivers: [String]) {
        (self.uid, self.key) = (uid, key)
        for driver in drivers { self.drivers[driver] = [] }
    }

    init(_ claim: KubeObject) {
        let results = claim.status["allocation"]["devices"]["results"].elements
        self.init(uid: claim.uid, key: claim.key, drivers: results.compactMap { $0["driver"].string })
    }

    /// What a request of the claim brings to a container; an empty name stands for all of it.
    func devices(for request: String) -> [String] {
        drivers.sorted { $0.key < $1.key }.flatMap { _, devices in
            devices.filter { device in
                request.isEmpty || device.requests.isEmpty
                    || device.requests.contains { $0 == request || $0.hasPrefix(request + "/") }
            }.flatMap(\.cdi)
        }
    }
}

/// The file `dra_manager_state`, in upstream's form: a node that was the original's keeps what was prepared.
/// Source: pkg/kubelet/cm/dra/checkpoint.
enum DRACheckpoint {
    static let fileName = "dra_manager_state"

    static func encode(_ claims: [PreparedClaim]) -> [UInt8] {
        let entries = claims.sorted { $0.key < $1.key }.map { claim -> JSON in
            var drivers = JSONObject()
            for (name, devices) in claim.drivers.sorted(by: { $0.key < $1.key }) {
                let list = devices.map { device -> JSON in
                    [
                        "PoolName": .string(device.pool), "DeviceName": .string(device.name),
                        "RequestNames": .strings(device.requests), "CDIDeviceIDs": .strings(device.cdi),
                    ]
                }
                drivers.append(name, ["Devices": list.isEmpty ? .null : .array(list)])
            }
            // A set of Go.
            let pods = JSONObject(members: claim.pods.sorted().map { ($0, [:]) })
            return [
                "ClaimUID": .string(claim.uid), "ClaimName": .string(claim.key.name),
                "Namespace": .string(claim.key.namespace), "PodUIDs": .object(pods), "DriverState": .object(drivers),
            ]
        }
        let data: JSON = [
            "kind": "DRACheckpoint", "apiVersion": "checkpoint.dra.kubelet.k8s.io/v1", "Entries": .array(entries),
        ]
        let bytes = data.encode()
        let file: JSON = [
            "Data": .string(String(decoding: bytes, as: UTF8.self)), "Checksum": .int(Int64(crc32(bytes))),
        ]
        return file.encode()
    }

    /// Whether a claim was prepared is not in the file: devices say so. Throws with what is wrong with it.
    static func decode(_ bytes: [UInt8]) throws(DeviceError) -> [PreparedClaim] {
        guard let file = try? JSON.parse(bytes), let text = file["Data"].string,
            let data = try? JSON.parse(Array(text.utf8))
        else { throw DeviceError("expected JSON with a text Data that is JSON itself") }
        guard file["Checksum"].int == Int64(crc32(Array(text.utf8))) else {
            throw DeviceError("checkpoint is corrupted: the checksum is not that of the data")
        }
        return data["Entries"].elements.compactMap { entry in
            guard let uid = entry["ClaimUID"].string, let name = entry["ClaimName"].string,
                let namespace = entry["Namespace"].string
            else { return nil }
            var claim = PreparedClaim(uid: uid, key: ObjectKey(namespace: namespace, name: name), drivers: [])
            claim.pods = Set(entry["PodUIDs"].object?.keys ?? [])
            for (driver, state) in entry["DriverState"].object ?? JSONObject() {
                claim.drivers[driver] = state["Devices"].elements.map { device in
                    PreparedClaim.Device(
                        pool: device["PoolName"].string ?? "", name: device["DeviceName"].string ?? "",
                        requests: device["RequestNames"].elements.compactMap(\.string),
                        cdi: device["CDIDeviceIDs"].elements.compactMap(\.string))
                }
            }
            claim.isPrepared = !claim.drivers.isEmpty && claim.drivers.values.allSatisfy { !$0.isEmpty }
            return claim
        }
    }

    /// As zip and Ethernet have it (IEEE 802.3).
    static func crc32(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32.max) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
    }
}
