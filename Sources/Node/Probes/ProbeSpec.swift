package import Codecs

package enum ProbeKind: String, Sendable, CaseIterable {
    case startup = "Startup"
    case liveness = "Liveness"
    case readiness = "Readiness"

    var field: String {
        switch self {
        case .startup: "startupProbe"
        case .liveness: "livenessProbe"
        case .readiness: "readinessProbe"
        }
    }
}

/// A probe or hook action, compact: what stays in memory for a running container.
package enum ProbeAction: Sendable, Equatable {
    case exec([String])
    /// host nil: the pod's address.
    case http(host: String?, port: PortReference, path: String, https: Bool, headers: [Header])
    case tcp(host: String?, port: PortReference)
    case grpc(port: UInt16, service: String)
    case sleep(seconds: Int64)

    package struct Header: Sendable, Equatable {
        package var name: String
        package var value: String
        package init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
    }

    /// A number, or the name of one of the container's ports.
    package enum PortReference: Sendable, Equatable {
        case number(UInt16)
        case name(String)

        init?(_ json: JSON) {
            if let number = json.int {
                guard let port = UInt16(exactly: number), port > 0 else { return nil }
                self = .number(port)
            } else if let text = json.string, !text.isEmpty {
                self = UInt16(text).map(PortReference.number) ?? .name(text)
            } else {
                return nil
            }
        }

        /// nil: the container has no port of that name.
        func resolved(in container: ContainerSpec) -> UInt16? {
            switch self {
            case .number(let port): return port
            case .name(let name):
                let port = container.json["ports"].elements.first { $0["name"].string == name }
                return port?["containerPort"].int.flatMap { UInt16(exactly: $0) }
            }
        }
    }

    /// nil: no action that this node knows.
    package init?(_ json: JSON) {
        if !json["exec"].isNull {
            self = .exec(json["exec"]["command"].elements.compactMap(\.string))
        } else if !json["httpGet"].isNull {
            let get = json["httpGet"]
            guard let port = PortReference(get["port"]) else { return nil }
            self = .http(
                host: get["host"].string.flatMap { $0.isEmpty ? nil : $0 }, port: port, path: get["path"].string ?? "/",
                https: get["scheme"].string?.uppercased() == "HTTPS",
                headers: get["httpHeaders"].elements.map { Header($0["name"].string ?? "", $0["value"].string ?? "") })
        } else if !json["tcpSocket"].isNull {
            guard let port = PortReference(json["tcpSocket"]["port"]) else { return nil }
            self = .tcp(host: json["tcpSocket"]["host"].string.flatMap { $0.isEmpty ? nil : $0 }, port: port)
        } else if !json["grpc"].isNull {
            guard let port = json["grpc"]["port"].int.flatMap({ UInt16(exactly: $0) }) else { return nil }
            self = .grpc(port: port, service: json["grpc"]["service"].string ?? "")
        } else if !json["sleep"].isNull {
            self = .sleep(seconds: json["sleep"]["seconds"].int ?? 0)
        } else {
            return nil
        }
    }
}

/// core/v1.Probe with its defaults.
package struct ProbeSpec: Sendable, Equatable {
    package var action: ProbeAction
    package var initialDelay: Int64 = 0
    package var timeout: Int64 = 1
    package var period: Int64 = 10
    package var successThreshold: Int64 = 1
    package var failureThreshold: Int64 = 3
    /// Seconds; nil: the pod's.
    package var terminationGracePeriod: Int64?

    package init(_ action: ProbeAction) { self.action = action }

    package init?(_ json: JSON) {
        guard let action = ProbeAction(json) else { return nil }
        self.action = action
        initialDelay = max(json["initialDelaySeconds"].int ?? 0, 0)
        timeout = max(json["timeoutSeconds"].int ?? 1, 1)
        period = max(json["periodSeconds"].int ?? 10, 1)
        successThreshold = max(json["successThreshold"].int ?? 1, 1)
        failureThreshold = max(json["failureThreshold"].int ?? 3, 1)
        terminationGracePeriod = json["terminationGracePeriodSeconds"].int
    }
}
