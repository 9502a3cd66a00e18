import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

/// What is refused in the spec of a pod, and of what it warns, in upstream's words.
@Suite struct PodRefusalTests {
    /// Members of the spec, and every complaint.
    static let placement: [(JSON, [String])] = [
        (
            [
                "affinity": [
                    "nodeAffinity": [
                        "requiredDuringSchedulingIgnoredDuringExecution": ["nodeSelectorTerms": []],
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            ["weight": 101, "preference": ["matchExpressions": [["key": "a", "operator": "In"]]]]
                        ],
                    ]
                ]
            ],
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100",
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ]
        ),
        (
            [
                "affinity": [
                    "nodeAffinity": [
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            "nodeSelectorTerms": [
                                [
                                    "matchExpressions": [
                                        ["key": "a", "operator": "Exists", "values": ["b"]],
                                        ["key": "a", "operator": "Gt"], ["key": "a", "operator": "Near"],
                                    ],
                                    "matchFields": [["key": "spec.x", "operator": "In", "values": ["a", "b"]]],
                                ]
                            ]
                        ]
                    ]
                ]
            ],
            [
                "matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                "matchExpressions[2].operator: Invalid value: \"Near\": not a valid selector operator",
                "matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                "matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key",
            ]
        ),
        (
            [
                "affinity": [
                    "podAntiAffinity": [
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            ["labelSelector": ["matchLabels": ["a": "b"]], "namespaces": ["Bad"]],
                            ["matchLabelKeys": ["a"], "topologyKey": "zone"],
                        ],
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            ["weight": 0, "podAffinityTerm": ["topologyKey": "a b"]]
                        ],
                    ]
                ]
            ],
            [
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: \"Bad\"",
                "requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
                "requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: \"\"",
                "requiredDuringSchedulingIgnoredDuringExecution[1].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
                "preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
                "preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: \"a b\"",
            ]
        ),
        (
            [
                "topologySpreadConstraints": [
                    ["maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"],
                    ["maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"],
                    ["maxSkew": 1, "whenUnsatisfiable": "Never", "nodeTaintsPolicy": "Maybe"],
                    ["maxSkew": 1, "topologyKey": "y", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 0],
                ]
            ],
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\"",
                "spec.topologySpreadConstraints[2].topologyKey: Required value: can not be empty",
                "spec.topologySpreadConstraints[2].whenUnsatisfiable: Unsupported value: \"Never\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                "spec.topologySpreadConstraints[2].nodeTaintsPolicy: Unsupported value: \"Maybe\": supported values: \"Honor\", \"Ignore\"",
                "spec.topologySpreadConstraints[3].minDomains: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[3].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ]
        ),
    ]

    static let settings: [(JSON, [String])] = [
        (
            [
                "dnsConfig": [
                    "nameservers": ["1.1.1.1", "x", "1.1.1.2", "::1"], "searches": ["a_b.test.", ".", "-a"],
                    "options": [["value": "1"]],
                ], "hostAliases": [["ip": "1.2.3", "hostnames": ["A"]]],
            ],
            [
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"x\",\"1.1.1.2\",\"::1\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[1]: Invalid value: \"x\": must be a valid IP address",
                "spec.dnsConfig.searches[2]: Invalid value: \"-a\": a lowercase RFC 1123 subdomain",
                "spec.dnsConfig.options[0]: Required value: must not be empty",
                "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address",
                "spec.hostAliases[0].hostnames: Invalid value: \"A\"",
            ]
        ),
        (
            [
                "readinessGates": [["conditionType": "a b"]], "schedulingGates": [["name": "a"], ["name": "a"]],
                "os": ["name": "plan9"],
            ],
            [
                "spec.readinessGates[0].conditionType: Invalid value: \"a b\"",
                "spec.schedulingGates[1]: Duplicate value: \"a\"",
                "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
            ]
        ),
        (
            ["resourceClaims": [["name": "a"], ["name": "a", "resourceClaimName": "x"], ["name": "B"]]],
            [
                "spec.resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                "spec.resourceClaims[1].name: Duplicate value: \"a\"",
                "spec.resourceClaims[2].name: Invalid value: \"B\"", "spec.resourceClaims[2]: Invalid value",
            ]
        ),
        (
            [
                "hostNetwork": true,
                "securityContext": [
                    "fsGroup": -1, "supplementalGroups": [2_147_483_648], "fsGroupChangePolicy": "Never",
                    "seccompProfile": ["type": "Localhost"],
                    "appArmorProfile": ["type": "RuntimeDefault", "localhostProfile": "x"],
                    "sysctls": [
                        ["name": "kernel.shm_rmid_forced", "value": "1"], ["name": "kernel/shm_rmid_forced"],
                        ["name": "a..b"], ["name": "net.core.somaxconn"],
                    ],
                ],
            ],
            [
                "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "spec.securityContext.supplementalGroups[0]: Invalid value: 2147483648",
                "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
                "spec.securityContext.appArmorProfile.localhostProfile: Invalid value: \"x\": can only be set when AppArmor type is Localhost",
                "spec.securityContext.sysctls[1].name: Duplicate value: \"kernel/shm_rmid_forced\"",
                "spec.securityContext.sysctls[2].name: Invalid value: \"a..b\": must have at most 253 characters",
                "spec.securityContext.sysctls[3].name: Invalid value: \"net.core.somaxconn\": may not be specified when `hostNetwork` is true",
            ]
        ),
        (
            [
                "volumes": [
                    ["name": "a", "csi": ["driver": "Bad_Driver"]], ["name": "b", "nfs": ["server": "s"]],
                    ["name": "c", "ephemeral": [:]],
                    ["name": "d", "ephemeral": ["volumeClaimTemplate": ["spec": ["accessModes": ["ReadWriteOnce"]]]]],
                    ["name": "e", "downwardAPI": ["items": [["path": "p", "resourceFieldRef": ["resource": "x"]]]]],
                ]
            ],
            [
                "spec.volumes[0].csi.driver: Invalid value: \"Bad_Driver\"",
                "spec.volumes[1].nfs.path: Required value",
                "spec.volumes[2].ephemeral.volumeClaimTemplate: Required value",
                "spec.volumes[3].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
                "spec.volumes[4].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
                "spec.volumes[4].downwardAPI.items[0].resourceFieldRef.resource: Unsupported value: \"x\": supported values: \"limits.cpu\"",
            ]
        ),
    ]

    /// Members of the container "main".
    static let containers: [(JSON, [String])] = [
        (
            [
                "ports": [
                    ["containerPort": 1, "hostPort": 80], ["containerPort": 2, "hostPort": 80],
                    ["containerPort": 2, "hostPort": 80, "protocol": "UDP"],
                ], "volumeDevices": [["name": "v", "devicePath": "/dev/x"], ["devicePath": ""]],
            ],
            [
                "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"",
                "spec.containers[0].volumeDevices[0].name: Not found: \"v\"",
                "spec.containers[0].volumeDevices[1].name: Required value",
                "spec.containers[0].volumeDevices[1].devicePath: Required value",
            ]
        ),
        (
            [
                "resizePolicy": [
                    ["resourceName": "cpu", "restartPolicy": "NotRequired"],
                    ["resourceName": "cpu", "restartPolicy": "Maybe"],
                ], "securityContext": ["procMount": "None", "seccompProfile": ["type": "Strict"]],
                "resources": ["claims": [["name": "gpu"]]],
            ],
            [
                "spec.containers[0].resizePolicy[1].restartPolicy: Unsupported value: \"Maybe\": supported values: \"NotRequired\", \"RestartContainer\"",
                "spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\"",
                "spec.containers[0].securityContext.procMount: Unsupported value: \"None\": supported values: \"Default\", \"Unmasked\"",
                "spec.containers[0].securityContext.seccompProfile.type: Unsupported value: \"Strict\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
                "spec.containers[0].resources.claims[0].name: Not found: \"gpu\"",
            ]
        ),
        (
            [
                "lifecycle": ["preStop": ["sleep": ["seconds": 31]]],
                "livenessProbe": ["httpGet": ["path": "/", "port": 80, "httpHeaders": [["name": "a b"]]]],
                "env": [["name": "A", "valueFrom": ["resourceFieldRef": ["resource": "cpu"]]]],
            ],
            [
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                "spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of",
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"cpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\"",
            ]
        ),
    ]

    private func create(_ cluster: Cluster, _ spec: JSON, _ container: JSON = [:]) async throws -> Cluster.Answer {
        var pod = cluster.pod("p").json
        for (key, value) in spec.object?.members ?? [] { pod["spec"][key] = value }
        for (key, value) in container.object?.members ?? [] {
            pod["spec"]["containers"] = .array(
                pod["spec"]["containers"].elements.map {
                    var container = $0
                    container[key] = value
                    return container
                })
        }
        return try await cluster.call("POST", "/api/v1/namespaces/default/pods", pod)
    }

    @Test(arguments: placement + settings) func badSpecsAreRefused(_ spec: JSON, _ texts: [String]) async throws {
        try expect(try await create(try await Cluster(), spec), texts)
    }

    @Test(arguments: containers) func badContainersAreRefused(_ container: JSON, _ texts: [String]) async throws {
        try expect(try await create(try await Cluster(), [:], container), texts)
    }

    private static func warnings(_ answer: Cluster.Answer) -> [String] {
        answer.headers.fields.filter { $0.name == "Warning" }.map(\.value)
    }

    private func expect(_ answer: Cluster.Answer, _ texts: [String]) throws {
        #expect(answer.code == 422 && answer.reason == "Invalid", "\(answer.text)")
        for text in texts { #expect(answer.message.contains(text), "\(text)\nis not in\n\(answer.message)") }
        #expect(answer.json["details"]["causes"].elements.count == texts.count, "\(answer.message)")
    }

    @Test func whatIsUnusualIsAccepted() async throws {
        let cluster = try await Cluster()
        let made = try await create(
            cluster,
            [
                "affinity": [
                    "nodeAffinity": [
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            "nodeSelectorTerms": [
                                ["matchExpressions": [["key": "cpus", "operator": "Gt", "values": ["3"]]]],
                                ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["n.test"]]]],
                            ]
                        ]
                    ]
                ],
                "topologySpreadConstraints": [
                    [
                        "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2,
                        "labelSelector": [:],
                    ],
                    [
                        "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": [:],
                    ],
                ], "dnsConfig": ["searches": ["_tcp.x.test", "."], "options": [["name": "ndots", "value": "2"]]],
                "securityContext": ["sysctls": [["name": "net.ipv4.conf.eth0/1.arp_ignore", "value": "1"]]],
                "volumes": [["name": "e", "emptyDir": [:]], ["name": "i", "image": ["reference": "r"]]],
            ],
            [
                "ports": [
                    ["containerPort": 53, "hostPort": 53, "protocol": "UDP"], ["containerPort": 53, "hostPort": 53],
                ]
            ])
        #expect(made.code == 201 && made.headers["Warning"] == nil, "\(made.text)")
    }

    @Test func whatIsBetterNotDoneIsWarnedOf() async throws {
        let cluster = try await Cluster()
        let spec: JSON = [
            "nodeSelector": ["beta.kubernetes.io/os": "linux"], "imagePullSecrets": [["name": ""]],
            "terminationGracePeriodSeconds": -1,
        ]
        let container: JSON = [
            "env": [["name": "A", "value": "1"], ["name": "A", "value": "2"], ["name": "A", "value": "$(A)3"]],
            "ports": [["containerPort": 80], ["containerPort": 80, "name": "x"]],
            "resources": ["limits": ["memory": "1500m"]],
        ]
        let made = try await create(cluster, spec, container)
        #expect(made.code == 201, "\(made.text)")
        let warnings = Self.warnings(made).joined(separator: "\n")
        for text in [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" instead",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            "spec.imagePullSecrets[0].name: invalid empty name \\\"\\\"",
            "spec.containers[0].env[1]: hides previous definition of \\\"A\\\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].resources.requests[memory]: fractional byte value",
            "spec.containers[0].resources.limits[memory]: fractional byte value \\\"1500m\\\" is invalid, must be an integer",
        ] { #expect(warnings.contains(text), "\(warnings)") }
        #expect(Self.warnings(made).count == 7, "\(warnings)")
    }

    @Test func anUnchangedTemplateWarnsOnce() async throws {
        let cluster = try await Cluster()
        var deployment = Sample.workload("d", replicas: 1)
        deployment["spec"]["template"]["spec"]["nodeSelector"] = ["beta.kubernetes.io/os": "linux"]
        let target = "/apis/apps/v1/namespaces/default/deployments"
        let made = try await cluster.call("POST", target, deployment)
        #expect(
            made.headers["Warning"]?.contains("spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated")
                == true, "\(made.headers)")
        let merge = "application/merge-patch+json"
        let labelled = try await cluster.call(
            "PATCH", target + "/d", ["metadata": ["labels": ["a": "b"]]], type: merge)
        #expect(labelled.code == 200 && labelled.headers["Warning"] == nil)
        let scaled = try await cluster.call("PATCH", target + "/d", ["spec": ["replicas": 2]], type: merge)
        #expect(scaled.code == 200 && scaled.headers["Warning"] != nil)
    }
}
