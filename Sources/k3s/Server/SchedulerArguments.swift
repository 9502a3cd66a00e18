import ControlPlane

/// `--kube-scheduler-arg=config=...`: a KubeSchedulerConfiguration.
enum SchedulerArguments {
    /// - Parameter arguments: each "name=value"; the last one holds.
    static func profiles(_ arguments: [String]) throws -> (profiles: [SchedulerProfile], idle: [String]) {
        var path: String?
        var idle: [String] = []
        for argument in arguments {
            let (name, value) = ComponentArgument.parse(argument)
            if name == "config", let value { path = value } else { idle.append(name) }
        }
        guard let path, !path.isEmpty else { return ([SchedulerProfile()], idle) }
        let profiles = try ComponentArgument.file("kube-scheduler-arg=config", path) {
            try SchedulerProfile.read($0, path: path)
        }
        return (profiles, idle)
    }
}
