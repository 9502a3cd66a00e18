import Linux

extension LaunchPlan {
    /// The message for a failed step, worded as runc words it: that is what users of Kubernetes search for.
    package func failure(step: Int, errno code: Int32, detail: Int32) -> String {
        let reason = SysError.text(code)
        guard steps.indices.contains(step) else { return "unable to start container process: clone: \(reason)" }
        let text: String
        switch steps[step].op {
        case .execute(let arguments, _):
            let name = arguments.first ?? ""
            text = executeFailure(name, code, reason, detail)
        case .changeDirectory(let path): text = "chdir to cwd (\"\(path)\") set in config.json failed: \(reason)"
        case .bind(let source, let target, _, _, _):
            text = mountFailure(source, target, code, reason, detail)
        case .mount(let type, let target, _, _): text = mountFailure(type, target, code, reason, detail)
        case .overlay(let lower, _, _, _) where UInt32(detail) == K3S_DETAIL_IDMAP.rawValue:
            text =
                "user namespaces are not supported by the file system of \(lower.first ?? ""): idmapped mounts: \(reason)"
        case .overlay(_, let upper, _, _):
            let hint = code == EINVAL ? " (is \(Path.parent(upper)) on a file system that overlayfs can write to?)" : ""
            text = "error mounting overlay root file system: \(reason)\(hint)"
        case .joinCgroup(let file): text = "unable to join cgroup \(file): \(reason)"
        case .enterNamespace(let kind, let path): text = "unable to join \(kind.rawValue) namespace \(path): \(reason)"
        case .enterTarget: text = "unable to join the container's namespaces: \(reason)"
        case .device(let node): text = "error creating device node \(node.path): \(reason)"
        case .openUsers(let path): text = "unable to open user namespace \(path): \(reason)"
        case .enterUsers: text = "unable to enter the pod's user namespace: \(reason)"
        case .write(let file, let profile) where file == ContainerLaunch.appArmorFile:
            text = "apply apparmor profile: apparmor failed to apply profile: write \(file) \"\(profile)\": \(reason)"
        case .seccomp: text = "error loading seccomp filter: \(reason)"
        case .mask(let path): text = "can't mask path \"\(path)\": \(reason)"
        case .readOnly(let path): text = "can't make \"\(path)\" read-only: \(reason)"
        case .identity(let uid, let gid, _): text = "setuid/setgid to \(uid):\(gid): \(reason)"
        case .terminal: text = "unable to set up console: \(reason)"
        default: text = "\(steps[step].op): \(reason)"
        }
        return "unable to start container process: " + text
    }

    private func executeFailure(_ name: String, _ code: Int32, _ reason: String, _ detail: Int32) -> String {
        switch UInt32(detail) {
        case K3S_DETAIL_NOT_IN_PATH.rawValue: "exec: \"\(name)\": executable file not found in $PATH"
        case K3S_DETAIL_LOOKUP.rawValue:
            code == EACCES || code == EISDIR
                ? "exec: \"\(name)\": \(reason)" : "exec: \"\(name)\": stat \(name): \(reason)"
        default: "exec \(name): \(reason)"
        }
    }

    private func mountFailure(
        _ source: String, _ target: String, _ code: Int32, _ reason: String, _ detail: Int32
    ) -> String {
        if UInt32(detail) == K3S_DETAIL_SOURCE.rawValue { return "error mounting \"\(source)\": \(reason)" }
        let hint =
            code == ENOTDIR
            ? ": Are you trying to mount a directory onto a file (or vice-versa)? "
                + "Check if the specified host path exists and is the expected type" : ""
        return "error mounting \"\(source)\" to rootfs at \"\(target)\": \(reason)\(hint)"
    }
}
