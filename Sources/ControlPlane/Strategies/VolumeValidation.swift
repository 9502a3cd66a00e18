internal import Codecs
internal import KubeAPI

/// What a pod's volumes have to be like.
enum VolumeValidation {
    static func check(_ volumes: [JSON], _ path: String, _ check: inout Validation) {
        var names: Set<String> = []
        for (i, volume) in volumes.enumerated() {
            let place = "\(path)[\(i)]"
            let name = volume["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(place).name"))
            } else if let problem = LabelSyntax.labelProblem(name) {
                check.add(.invalid("\(place).name", .string(name), problem))
            } else if !names.insert(name).inserted {
                check.add(.duplicate("\(place).name", .string(name)))
            }
            var sources = 0
            // The first that upstream looks at is the one that counts.
            let members = (volume.object ?? JSONObject()).members.filter { $0.key != "name" }
            for (kind, source) in members.filter({ $0.key == "emptyDir" }) + members.filter({ $0.key != "emptyDir" }) {
                sources += 1
                if sources > 1 {
                    check.add(.forbidden("\(place).\(kind)", "may not specify more than 1 volume type"))
                } else {
                    self.source(kind, source, "\(place).\(kind)", &check)
                }
            }
            if sources == 0 { check.add(.required(place, "must specify a volume type")) }
        }
    }

    private static let hostPathTypes = [
        "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
    ]

    /// Of the kinds that need nothing else checked.
    private static let requiredFields: [String: [String]] = [
        "nfs": ["server", "path"], "iscsi": ["targetPortal", "iqn"], "csi": ["driver"], "image": ["reference"],
        "awsElasticBlockStore": ["volumeID"], "gcePersistentDisk": ["pdName"], "cinder": ["volumeID"],
        "azureDisk": ["diskName", "diskURI"], "azureFile": ["secretName", "shareName"],
        "glusterfs": ["endpoints", "path"], "flexVolume": ["driver"], "rbd": ["image"], "gitRepo": ["repository"],
        "vsphereVolume": ["volumePath"], "quobyte": ["registry", "volume"],
    ]

    private static func source(_ kind: String, _ source: JSON, _ path: String, _ check: inout Validation) {
        func required(_ key: String) {
            if (source[key].string ?? "").isEmpty { check.add(.required("\(path).\(key)")) }
        }
        switch kind {
        case "hostPath": hostPath(source, path, &check)
        case "emptyDir":
            if let text = source["sizeLimit"].string, let size = Quantity(text), size < .zero {
                check.add(.forbidden("\(path).sizeLimit", "SizeLimit field must be a valid resource quantity"))
            }
        case "configMap":
            required("name")
            items(source, path, &check)
        case "secret":
            required("secretName")
            items(source, path, &check)
        case "downwardAPI":
            mode(source["defaultMode"], "\(path).defaultMode", &check)
            downward(source["items"].elements, "\(path).items", &check)
        case "persistentVolumeClaim": required("claimName")
        case "projected":
            mode(source["defaultMode"], "\(path).defaultMode", &check)
            projected(source["sources"].elements, "\(path).sources", &check)
            checkPaths(source["sources"].elements, path, &check)
        case "ephemeral":
            let claim = source["volumeClaimTemplate"]
            if claim.isNull {
                check.add(.required("\(path).volumeClaimTemplate"))
            } else {
                PersistentVolumeClaimStrategy.check(claim["spec"], "\(path).volumeClaimTemplate.spec", &check)
            }
        default:
            checkRequired(kind, source, path, &check)
            if kind == "csi", let driver = source["driver"].string, !driver.isEmpty {
                if driver.utf8.count > 63 { check.add(.tooLong("\(path).driver", limit: 63)) }
                if let problem = LabelSyntax.subdomainProblem(driver.lowercased()) {
                    check.add(.invalid("\(path).driver", .string(driver), problem))
                }
            }
            if kind == "csi", !source["nodePublishSecretRef"].isNull,
                (source["nodePublishSecretRef"]["name"].string ?? "").isEmpty
            {
                check.add(.required("\(path).nodePublishSecretRef.name"))
            }
            if kind == "image" {
                check.oneOf(source["pullPolicy"], ["Always", "IfNotPresent", "Never"], "\(path).pullPolicy")
            }
        }
    }

    static func hostPath(_ source: JSON, _ path: String, _ check: inout Validation) {
        let text = source["path"].string ?? ""
        if text.isEmpty { check.add(.required("\(path).path")) }
        if text.split(separator: "/").contains("..") {
            check.add(.invalid("\(path).path", .string(text), "must not contain '..'"))
        }
        if let type = source["type"].string, !hostPathTypes.contains(type) {
            check.add(.notSupported("\(path).type", .string(type), hostPathTypes))
        }
    }

    /// Of a pod's volume and of a persistent one of the same kind.
    static func checkRequired(_ kind: String, _ source: JSON, _ path: String, _ check: inout Validation) {
        for key in requiredFields[kind] ?? [] where (source[key].string ?? "").isEmpty {
            check.add(.required("\(path).\(key)"))
        }
        if kind == "nfs", let text = source["path"].string, !text.isEmpty, !text.hasPrefix("/") {
            check.add(.invalid("\(path).path", .string(text), "must be an absolute path"))
        }
    }

    private static func projected(_ sources: [JSON], _ path: String, _ check: inout Validation) {
        for (i, source) in sources.enumerated() {
            let place = "\(path)[\(i)]"
            if (source.object ?? JSONObject()).members.count(where: { !$0.value.isNull }) > 1 {
                check.add(.forbidden(place, "may not specify more than 1 volume type"))
            }
            for key in ["configMap", "secret"] where !source[key].isNull {
                if (source[key]["name"].string ?? "").isEmpty { check.add(.required("\(place).\(key).name")) }
                items(source[key], "\(place).\(key)", &check)
            }
            if !source["downwardAPI"].isNull {
                downward(source["downwardAPI"]["items"].elements, "\(place).downwardAPI.items", &check)
            }
            let token = source["serviceAccountToken"]
            if !token.isNull {
                let seconds = token["expirationSeconds"].int ?? 3600
                if seconds < 600 {
                    check.add(
                        .invalid(
                            "\(place).serviceAccountToken.expirationSeconds", .int(seconds),
                            "may not specify a duration less than 10 minutes"))
                }
                file(token["path"], "\(place).serviceAccountToken.path", &check)
            }
        }
    }

    /// No two sources of a projected volume may write one file.
    private static func checkPaths(_ sources: [JSON], _ path: String, _ check: inout Validation) {
        var seen: Set<String> = []
        for source in sources {
            for (kind, part) in source.object ?? JSONObject() {
                var paths = part["items"].elements.compactMap { $0["path"].string }
                if kind != "configMap", kind != "secret", kind != "downwardAPI" { paths += [part["path"].string ?? ""] }
                for name in paths where !name.isEmpty && !seen.insert(name).inserted {
                    let value = part["name"].string ?? name
                    check.add(.invalid(path, .string(value), "conflicting duplicate paths"))
                }
            }
        }
    }

    private static func items(_ source: JSON, _ path: String, _ check: inout Validation) {
        mode(source["defaultMode"], "\(path).defaultMode", &check)
        for (i, item) in source["items"].elements.enumerated() {
            let place = "\(path).items[\(i)]"
            if (item["key"].string ?? "").isEmpty { check.add(.required("\(place).key")) }
            file(item["path"], "\(place).path", &check)
            mode(item["mode"], "\(place).mode", &check)
        }
    }

    private static func downward(_ items: [JSON], _ path: String, _ check: inout Validation) {
        let fields = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"]
        for (i, item) in items.enumerated() {
            let place = "\(path)[\(i)]"
            file(item["path"], "\(place).path", &check)
            mode(item["mode"], "\(place).mode", &check)
            if !item["fieldRef"].isNull {
                ContainerValidation.checkField(item["fieldRef"], "\(place).fieldRef", fields, &check)
            } else if !item["resourceFieldRef"].isNull {
                let (field, place) = (item["resourceFieldRef"], "\(place).resourceFieldRef")
                for key in ["containerName", "resource"] where (field[key].string ?? "").isEmpty {
                    check.add(.required("\(place).\(key)"))
                }
                if let name = field["resource"].string, !name.isEmpty, !ContainerValidation.isResourceField(name) {
                    check.add(
                        .notSupported("\(place).resource", .string(name), ContainerValidation.resourceFields))
                }
            } else {
                check.add(.required(place, "one of fieldRef and resourceFieldRef is required"))
            }
        }
    }

    private static func mode(_ mode: JSON, _ path: String, _ check: inout Validation) {
        guard let bits = mode.int, !(0...0o777).contains(bits) else { return }
        check.add(.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive"))
    }

    /// A file's place within a volume.
    private static func file(_ path: JSON, _ place: String, _ check: inout Validation) {
        let text = path.string ?? ""
        if text.isEmpty {
            check.add(.required(place))
            return
        }
        Paths.checkLocal(text, place, &check)
        if text.hasPrefix(".."), !text.hasPrefix("../"), text != ".." {
            check.add(.invalid(place, path, "must not start with '..'"))
        }
    }
}

/// Paths below a directory that is not theirs to leave.
enum Paths {
    static func checkLocal(_ path: String, _ place: String, _ check: inout Validation) {
        if path.hasPrefix("/") { check.add(.invalid(place, .string(path), "must be a relative path")) }
        if path.split(separator: "/").contains("..") {
            check.add(.invalid(place, .string(path), "must not contain '..'"))
        }
    }
}

/// Port numbers and names (IANA service names).
enum Ports {
    static func problem(_ number: Int64) -> String? {
        (1...65535).contains(number) ? nil : "must be between 1 and 65535, inclusive"
    }

    static func nameProblem(_ name: String) -> String? {
        let bytes = Array(name.utf8)
        if bytes.count > 15 { return "must be no more than 15 characters" }
        func isLetter(_ b: UInt8) -> Bool { (97...122).contains(b) }
        guard bytes.allSatisfy({ isLetter($0) || (48...57).contains($0) || $0 == 45 }) else {
            return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        }
        if !bytes.contains(where: isLetter) { return "must contain at least one letter (a-z)" }
        if name.contains("--") { return "must not contain consecutive hyphens" }
        if bytes.first == 45 || bytes.last == 45 { return "must not begin or end with a hyphen" }
        return nil
    }

    static func checkNameOrNumber(_ port: JSON, _ path: String, _ check: inout Validation) {
        if let name = port.string {
            if let problem = nameProblem(name) { check.add(.invalid(path, port, problem)) }
        } else if let problem = problem(port.int ?? 0) {
            check.add(.invalid(path, .int(port.int ?? 0), problem))
        }
    }
}
