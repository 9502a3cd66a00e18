import Codecs
import KubeAPI
import Linux

/// How far a rollout is, what its revisions were, and going back to one.
enum RolloutHistory {
    /// What `rollout status` says, and whether it has come to its end.
    static func progress(_ resource: Catalog.Resource, _ object: JSON, _ revision: Int64) throws -> (String, Bool) {
        let (spec, status) = (object["spec"], object["status"])
        let name = GoText.quoted(object["metadata"]["name"].string ?? "")
        func count(_ key: String) -> Int64 { status[key].int ?? 0 }
        let isObserved = object["metadata"]["generation"].int ?? 0 <= count("observedGeneration")
        switch resource.qualified {
        case "deployments.apps":
            if revision > 0,
                object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].string != String(revision)
            {
                throw CommandError(
                    "desired revision (\(revision)) is different from the running revision (\(object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].string ?? ""))"
                )
            }
            guard isObserved else { return ("Waiting for deployment spec update to be observed...\n", false) }
            if status["conditions"].elements.contains(where: {
                $0["type"].string == "Progressing" && $0["reason"].string == "ProgressDeadlineExceeded"
            }) {
                throw CommandError("deployment \(name) exceeded its progress deadline")
            }
            let wanted = spec["replicas"].int ?? 1
            let (updated, available) = (count("updatedReplicas"), count("availableReplicas"))
            let waiting = "Waiting for deployment \(name) rollout to finish: "
            if updated < wanted {
                return (waiting + "\(updated) out of \(wanted) new replicas have been updated...\n", false)
            }
            if count("replicas") > updated {
                return (waiting + "\(count("replicas") - updated) old replicas are pending termination...\n", false)
            }
            if available < updated {
                return (waiting + "\(available) of \(updated) updated replicas are available...\n", false)
            }
            return ("deployment \(name) successfully rolled out\n", true)
        case "daemonsets.apps":
            guard spec["updateStrategy"]["type"].string == "RollingUpdate" else {
                throw CommandError("rollout status is only available for RollingUpdate strategy type")
            }
            guard isObserved else { return ("Waiting for daemon set spec update to be observed...\n", false) }
            let wanted = count("desiredNumberScheduled")
            let waiting = "Waiting for daemon set \(name) rollout to finish: "
            if count("updatedNumberScheduled") < wanted {
                return (
                    waiting + "\(count("updatedNumberScheduled")) out of \(wanted) new pods have been updated...\n",
                    false
                )
            }
            if count("numberAvailable") < wanted {
                return (waiting + "\(count("numberAvailable")) of \(wanted) updated pods are available...\n", false)
            }
            return ("daemon set \(name) successfully rolled out\n", true)
        case "statefulsets.apps":
            guard spec["updateStrategy"]["type"].string == "RollingUpdate" else {
                throw CommandError("rollout status is only available for RollingUpdate strategy type")
            }
            guard isObserved, count("observedGeneration") > 0 else {
                return ("Waiting for statefulset spec update to be observed...\n", false)
            }
            let wanted = spec["replicas"].int ?? 1
            if count("readyReplicas") < wanted {
                return ("Waiting for \(wanted - count("readyReplicas")) pods to be ready...\n", false)
            }
            if let partition = spec["updateStrategy"]["rollingUpdate"]["partition"].int, partition > 0 {
                if count("updatedReplicas") < wanted - partition {
                    return (
                        "Waiting for partitioned roll out to finish: \(count("updatedReplicas")) out of \(wanted - partition) new pods have been updated...\n",
                        false
                    )
                }
                return (
                    "partitioned roll out complete: \(count("updatedReplicas")) new pods have been updated...\n", true
                )
            }
            let revision = status["updateRevision"].string ?? ""
            if revision != status["currentRevision"].string {
                return (
                    "waiting for statefulset rolling update to complete \(count("updatedReplicas")) pods at revision \(revision)...\n",
                    false
                )
            }
            return (
                "statefulset rolling update complete \(count("currentReplicas")) pods at revision \(revision)...\n",
                true
            )
        default: throw CommandError("no status viewer has been implemented for {\(resource.group) \(resource.kind)}")
        }
    }

    struct Revision {
        var number: Int64
        var object: JSON
        var cause: String
    }

    /// In ascending order.
    static func revisions(_ session: Session, _ found: Session.Found) throws -> [Revision] {
        let isDeployment = found.resource.qualified == "deployments.apps"
        guard isDeployment || ["daemonsets.apps", "statefulsets.apps"].contains(found.resource.qualified) else {
            throw CommandError(
                "no history viewer has been implemented for {\(found.resource.group) \(found.resource.kind)}")
        }
        let path =
            "/apis/apps/v1/namespaces/\(found.namespace)/" + (isDeployment ? "replicasets" : "controllerrevisions")
        let uid = found.object["metadata"]["uid"].string ?? ""
        return try session.api.get(path)["items"].elements.compactMap { item -> Revision? in
            guard item["metadata"]["ownerReferences"].elements.contains(where: { $0["uid"].string == uid }) else {
                return nil
            }
            let annotations = item["metadata"]["annotations"]
            let number =
                isDeployment
                ? annotations["deployment.kubernetes.io/revision"].string.flatMap { Int64($0) } ?? 0
                : item["revision"].int ?? 0
            return Revision(
                number: number, object: item, cause: annotations["kubernetes.io/change-cause"].string ?? "<none>")
        }.sorted { $0.number < $1.number }
    }

    static func history(_ session: Session) throws {
        if session.arguments.isEmpty, !session.options.isSet("filename") {
            throw CommandError("required resource not specified")
        }
        let wanted = try session.options.int("revision")
        for found in try session.findAll(session.arguments) {
            let all = try revisions(session, found)
            let name = "\(found.resource.singularName)/\(found.name)"
            if wanted > 0 {
                guard let revision = all.first(where: { $0.number == wanted }) else {
                    throw CommandError("unable to find the specified revision")
                }
                if session.options.isSet("output") {
                    try session.printer.print(revision.object)
                } else {
                    Terminal.line("\(name) with revision #\(wanted)")
                    let template =
                        revision.object["spec"]["template"].isNull
                        ? revision.object["data"]["spec"]["template"] : revision.object["spec"]["template"]
                    Terminal.write(YAML.encode(["Pod Template": template]), to: STDOUT_FILENO)
                }
                continue
            }
            var rows = [["REVISION", "CHANGE-CAUSE"]]
            rows += all.map { [String($0.number), $0.cause] }
            Terminal.out("\(name) \n" + TabText.format(rows, minimum: 0, padding: 2) + "\n")
        }
    }

    static func undo(_ session: Session) throws {
        if session.arguments.isEmpty, !session.options.isSet("filename") {
            throw CommandError("required resource not specified")
        }
        let wanted = try session.options.int("to-revision")
        guard wanted >= 0 else { throw CommandError("to-revision must be greater than or equal to 0") }
        for found in try session.findAll(session.arguments) {
            let all = try revisions(session, found)
            let isDeployment = found.resource.qualified == "deployments.apps"
            if found.object["spec"]["paused"].bool ?? false {
                throw CommandError(
                    "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again"
                )
            }
            if !found.object["metadata"]["annotations"][ApplyCommands.annotation].isNull {
                Terminal.error(
                    "Warning: resource \(found.resource.plural)/\(found.name) was previously managed with 'kubectl apply'. Rolling back will not update the \(ApplyCommands.annotation) annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file instead."
                )
            }
            let chosen: Revision
            if wanted == 0 {
                guard all.count > 1 else {
                    throw CommandError(
                        "no rollout history found for \(found.resource.kind.lowercased()) \(GoText.quoted(found.name))")
                }
                chosen = all[all.count - 2]
            } else {
                guard let found = all.first(where: { $0.number == wanted }) else {
                    throw CommandError("unable to find specified revision \(wanted) in history")
                }
                chosen = found
            }
            var template = isDeployment ? chosen.object["spec"]["template"] : chosen.object["data"]["spec"]["template"]
            if isDeployment { template["metadata"]["labels"]["pod-template-hash"] = .null }
            template["$patch"] = .null
            var before = found.object["spec"]["template"]
            before["metadata"]["creationTimestamp"] = .null
            template["metadata"]["creationTimestamp"] = .null
            if before == template {
                try session.report(
                    found.object, found.resource,
                    "skipped rollback (current template already matches revision \(chosen.number))")
                continue
            }
            if try session.dryRun() == .client {
                try session.report(found.object, found.resource, "rolled back")
                continue
            }
            let patch: JSON = [["op": "replace", "path": "/spec/template", "value": template]]
            let after = try session.api.call(
                "PATCH", found.path, query: try session.writeQuery(manager: "kubectl-rollout"), body: patch,
                type: PatchType.json.rawValue)
            try session.report(after, found.resource, "rolled back")
        }
    }
}
