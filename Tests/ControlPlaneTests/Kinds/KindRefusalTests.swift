import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

/// What each kind refuses, in upstream's words.
@Suite struct KindRefusalTests {
    static let apps = "/apis/apps/v1/namespaces/default/"
    static let batch = "/apis/batch/v1/namespaces/default/"
    static let core = "/api/v1/namespaces/default/"

    static let template =
        #""template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}"#
    static let selected = #""selector":{"matchLabels":{"a":"b"}},"# + template

    /// A spec with these members first.
    static func spec(_ members: String, _ rest: String = selected) -> String {
        #"{"metadata":{"name":"x"},"spec":{"# + members + (members.isEmpty || rest.isEmpty ? "" : ",") + rest + "}}"
    }

    static let job =
        #""template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}"#
    static func cron(_ members: String, _ job: String = job) -> String {
        #"{"metadata":{"name":"x"},"spec":{"# + members + #","jobTemplate":{"spec":{"# + job + "}}}}"
    }

    static let workloads: [(String, String, [String])] = [
        (apps + "daemonsets", spec("", template), ["spec.selector: Required value"]),
        (
            apps + "daemonsets", spec(#""selector":{}"#, template),
            ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]
        ),
        (
            apps + "daemonsets", spec(#""selector":{"matchLabels":{"x":"y"}}"#, template),
            ["spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"]
        ),
        (
            apps + "daemonsets", spec(#""updateStrategy":{"type":"Sometimes"},"minReadySeconds":-1"#),
            [
                "spec.updateStrategy.type: Unsupported value: \"Sometimes\": supported values: \"OnDelete\", \"RollingUpdate\"",
                "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            ]
        ),
        (
            apps + "daemonsets", spec(#""updateStrategy":{"rollingUpdate":{"maxUnavailable":1,"maxSurge":"10%"}}"#),
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set when maxUnavailable is non-zero"
            ]
        ),
        (
            apps + "daemonsets", spec(#""updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}"#),
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]
        ),
        (
            apps + "daemonsets", spec(#""updateStrategy":{"rollingUpdate":{"maxUnavailable":"110%"}}"#),
            ["must not be greater than 100%"]
        ),
        (
            apps + "statefulsets", spec(#""podManagementPolicy":"Any","updateStrategy":{"type":"Any"}"#),
            [
                "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'",
                "must be 'RollingUpdate' or 'OnDelete'",
            ]
        ),
        (
            apps + "statefulsets", spec(#""updateStrategy":{"type":"OnDelete","rollingUpdate":{"partition":1}}"#),
            ["only allowed for updateStrategy 'RollingUpdate'"]
        ),
        (
            apps + "statefulsets",
            spec(
                #""replicas":-1,"ordinals":{"start":-1},"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Maybe"}"#),
            [
                "spec.replicas: Invalid value: -1", "spec.ordinals.start: Invalid value: -1",
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Maybe\": supported values: \"Retain\", \"Delete\"",
            ]
        ),
        (
            core + "replicationcontrollers", #"{"metadata":{"name":"x"},"spec":{"replicas":1}}"#,
            ["spec.selector: Required value", "spec.template: Required value"]
        ),
        (
            core + "replicationcontrollers", spec(#""selector":{"x":"y"}"#, template),
            ["`selector` does not match template `labels`"]
        ),
        (
            batch + "jobs", spec(#""template":{"spec":{"containers":[{"name":"c","image":"i"}]}}"#, ""),
            ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
        ),
        (
            batch + "jobs", spec(#""parallelism":-1,"completionMode":"Indexed","backoffLimit":-1"#, job),
            [
                "spec.parallelism: Invalid value: -1", "spec.backoffLimit: Invalid value: -1",
                "spec.completions: Required value: when completion mode is Indexed",
            ]
        ),
        (
            batch + "jobs", spec(#""selector":{"matchLabels":{"x":"y"}}"#, job),
            ["`selector` does not match template `labels`", "`selector` not auto-generated"]
        ),
        (
            batch + "jobs", spec(#""manualSelector":true"#, job), ["spec.selector: Required value"]
        ),
        (
            batch + "jobs",
            spec(
                #""podFailurePolicy":{"rules":[{"action":"FailJob","onExitCodes":{"operator":"In","values":[0,2,1]}},{"action":"Ignore"}]}"#,
                job),
            [
                "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,2,1]: must be ordered",
                "spec.podFailurePolicy.rules[1]: Invalid value: \"\": specifying one of OnExitCodes and OnPodConditions is required",
            ]
        ),
        (
            batch + "jobs", spec(#""backoffLimitPerIndex":1,"managedBy":"me""#, job),
            [
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ]
        ),
        (
            batch + "cronjobs", cron(#""schedule":"""#), ["spec.schedule: Required value"]
        ),
        (
            batch + "cronjobs", cron(#""schedule":"* * *""#),
            ["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"]
        ),
        (
            batch + "cronjobs", cron(#""schedule":"TZ=UTC 0 * * * *""#),
            ["cannot use TZ or CRON_TZ in schedule, use timeZone field instead"]
        ),
        (
            batch + "cronjobs", cron(#""schedule":"@daily","timeZone":"Local","concurrencyPolicy":"Queue""#),
            [
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone",
                "spec.concurrencyPolicy: Unsupported value: \"Queue\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ]
        ),
        (
            batch + "cronjobs", cron(#""schedule":"@daily""#, #""manualSelector":true,"# + job),
            ["spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\""]
        ),
    ]

    static let storage: [(String, String, [String])] = [
        (
            "/api/v1/persistentvolumes", #"{"metadata":{"name":"v"},"spec":{}}"#,
            [
                "spec.accessModes: Required value", "spec.capacity: Required value",
                "spec: Required value: must specify a volume type",
            ]
        ),
        (
            "/api/v1/persistentvolumes",
            #"{"metadata":{"name":"v"},"spec":{"capacity":{"storage":"0"},"accessModes":["ReadWriteOncePod","Any"],"hostPath":{"path":"/a/../b"},"nfs":{"server":"s","path":"/"}}}"#,
            [
                "spec.accessModes: Unsupported value: \"Any\"",
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
                "may not specify more than 1 volume type",
            ]
        ),
        (
            "/api/v1/persistentvolumes",
            #"{"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"local":{"path":"/a"},"persistentVolumeReclaimPolicy":"Burn"}}"#,
            [
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ]
        ),
        (
            core + "persistentvolumeclaims", #"{"metadata":{"name":"c"},"spec":{}}"#,
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        ),
        (
            core + "persistentvolumeclaims",
            #"{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"-1"}},"volumeMode":"Tape"}}"#,
            [
                "spec.resources[storage]: Invalid value: \"-1\": must be greater than zero",
                "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
            ]
        ),
        (
            core + "resourcequotas",
            #"{"metadata":{"name":"q"},"spec":{"hard":{"pods":"1500m","cpu":"-1","gold":"1"},"scopes":["BestEffort","NotBestEffort"]}}"#,
            [
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.hard[gold]: Invalid value: \"gold\": must be a standard resource type or fully qualified",
                "spec.scopes: Invalid value: \"BestEffort\": unsupported scope applied to resource",
                "conflicting scopes",
            ]
        ),
        (
            core + "limitranges",
            #"{"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","min":{"cpu":"2"},"max":{"cpu":"1"}},{"type":"Container"},{"type":"Any"}]}}"#,
            [
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[1].type: Duplicate value: \"Container\"",
                "spec.limits[2].type: Invalid value: \"Any\": must be a standard limit type or fully qualified",
            ]
        ),
        (
            core + "limitranges",
            #"{"metadata":{"name":"l"},"spec":{"limits":[{"type":"Pod","default":{"cpu":"1"},"maxLimitRequestRatio":{"cpu":"500m"}},{"type":"PersistentVolumeClaim"}]}}"#,
            [
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
                "either minimum or maximum storage value is required, but neither was provided",
            ]
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            #"{"metadata":{"name":"b"},"spec":{"minAvailable":1,"maxUnavailable":"110%","unhealthyPodEvictionPolicy":"Never"}}"#,
            [
                "minAvailable and maxUnavailable cannot be both set",
                "spec.maxUnavailable: Invalid value: \"110%\": must not be greater than 100%",
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ]
        ),
    ]

    static let flow = "/apis/flowcontrol.apiserver.k8s.io/v1/"
    static let flows: [(String, String, [String])] = [
        (
            flow + "flowschemas",
            spec(
                #""matchingPrecedence":1,"distinguisherMethod":{"type":"ByPod"},"rules":[{"subjects":[{"kind":"Robot"},{"kind":"User","group":{"name":"g"}}]},{"subjects":[],"resourceRules":[{"verbs":["*","get"],"resources":["a"],"apiGroups":[""]}]}]"#,
                ""),
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.distinguisherMethod.type: Unsupported value: \"ByPod\": supported values: \"ByNamespace\", \"ByUser\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
                "spec.rules[0].subjects[1].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[1].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
                "spec.rules[1].subjects: Required value: subjects must contain at least one value",
                "spec.rules[1].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
                "spec.rules[1].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ]
        ),
        (
            flow + "prioritylevelconfigurations", spec(#""type":"Exempt","limited":{}"#, ""),
            [
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                "spec.limited: Forbidden: must be nil if the type is not Limited",
            ]
        ),
        (
            flow + "prioritylevelconfigurations",
            spec(
                #""type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{"queues":2,"handSize":3,"queueLengthLimit":-1}}}"#,
                ""),
            [
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)",
            ]
        ),
    ]

    @Test(arguments: workloads + storage + flows)
    func whatIsInvalidIsNamed(_ target: String, _ body: String, _ messages: [String]) async throws {
        let cluster = try await Cluster()
        let revision = cluster.store.revision
        let answer = try await cluster.send("POST", target, Array(body.utf8))
        #expect(answer.code == 422 && answer.reason == "Invalid", "\(answer.text)")
        for message in messages { #expect(answer.message.contains(message), "\(answer.message)") }
        #expect(cluster.store.revision == revision)
    }

    static let schedules: [(String, Bool)] = [
        ("* * * * *", true), ("*/5 0-6 1,15 jan-mar MON-fri", true), ("0 0 ? * ?", true), ("59 23 31 12 6", true),
        ("@hourly", true), ("@every 1h30m", true), ("30-40/2 * * * *", true), ("5/10 * * * *", true),
        ("60 * * * *", false), ("* 24 * * *", false), ("* * 0 * *", false), ("* * * 13 *", false),
        ("* * * * 7", false), ("5-1 * * * *", false), ("*/0 * * * *", false), ("1-2-3 * * * *", false),
        ("a * * * *", false), ("@fortnightly", false), ("@every soon", false), ("* * * * * *", false),
        (", * * * *", true),
    ]

    @Test(arguments: schedules)
    func schedulesHaveFiveFields(_ schedule: String, _ isValid: Bool) async throws {
        let cluster = try await Cluster()
        let answer = try await cluster.send(
            "POST", Self.batch + "cronjobs", Array(Self.cron("\"schedule\":\"\(schedule)\"").utf8))
        #expect(answer.code == (isValid ? 201 : 422), "\(answer.text)")
    }
}
