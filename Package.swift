// swift-tools-version: 6.2
import PackageDescription

/// One settings array for every Swift target: Swift 6 mode with the strict features that catch what the compiler
/// would otherwise let through (implicit existentials, members that arrive by a transitive import).
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Regular expressions weigh 1 MB in a static binary, and `contains("text")` would bring them in.
let product: [SwiftSetting] =
    strict + [.unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"])]

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")

/// A module of the product and the modules below it. Arrows point down only (ARCHITECTURE.md has the map).
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: product)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: [.byName(name: name)] + dependencies,
        swiftSettings: strict)
}

func clib(_ name: String) -> Target {
    .systemLibrary(name: name, path: "Sources/CLibraries/" + name)
}

let package = Package(
    name: "k3s",
    products: [.executable(name: "k3s", targets: ["k3s"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    ],
    targets: [
        // Debian's C libraries, as module maps; each is imported by one module only.
        clib("CSQLite"), clib("COpenSSL"), clib("CSeccomp"), clib("CZlib"), clib("CZstd"), clib("CYaml"),
        clib("CNghttp2"),
        .target(name: "CShims", cSettings: [.define("_GNU_SOURCE")]),

        // Kernel side: no Kubernetes type in here.
        module("Linux", ["CShims"]),
        module("Netlink", ["Linux"]),
        module("Iptables", ["Netlink", "Linux"]),
        module("Containers", ["Linux", "CShims", "Codecs", "CSeccomp", "CZlib", "CZstd", log]),
        module("PodNetwork", ["Linux", "Netlink", "Iptables", "Codecs"]),
        module("ClusterDNS", ["Linux", "Netlink"]),
        // Tools of the host (iptables, conntrack ...) under the names that links give the binary.
        module("HostTools", ["Linux", "Netlink"]),

        // API side.
        module("Codecs", ["CYaml"]),
        module("GRPC", ["Codecs", "Linux", "CShims", "CNghttp2"]),
        module("KubeAPI", ["Codecs", "Linux"]),
        module("Store", ["Codecs", "Linux", "CSQLite"]),
        module("Transport", ["Codecs", "KubeAPI", "Linux", "COpenSSL", "CZlib", nioCore, nioPosix, log]),
        module("ControlPlane", ["Codecs", "KubeAPI", "Store", "Transport", "Linux", log]),
        module(
            "Node",
            [
                "Codecs", "KubeAPI", "Transport", "Containers", "PodNetwork", "ClusterDNS", "Iptables", "Netlink",
                "Linux", "GRPC",
                log,
            ]),
        // The command line client, over the API side alone.
        module("Kubectl", ["Codecs", "KubeAPI", "Transport", "Linux", "CShims", nioCore, nioPosix]),
        .executableTarget(
            name: "k3s",
            dependencies: [
                "Codecs", "KubeAPI", "Kubectl", "Store", "Transport", "ControlPlane", "Node", "Containers",
                "PodNetwork",
                "ClusterDNS", "GRPC", "HostTools", "Iptables", "Netlink", "Linux", "CShims", nioCore, nioPosix, log,
            ],
            swiftSettings: product),

        // The process that the store's crash test kills in the midst of writing; with "bench" it measures the store.
        .executableTarget(
            name: "store-exerciser", dependencies: ["Store"], path: "Tests/StoreExerciser", swiftSettings: strict),
        // Measures the API server over TLS.
        .executableTarget(
            name: "api-exerciser", dependencies: ["COpenSSL"], path: "Tests/APIExerciser", swiftSettings: strict),
        // Measures service proxy and name server.
        .executableTarget(
            name: "network-exerciser",
            dependencies: ["ClusterDNS", "Iptables", "Netlink", "Linux", "PodNetwork", "NetworkTesting"],
            path: "Tests/NetworkExerciser",
            swiftSettings: strict),
        // Measures how images are unpacked.
        .executableTarget(
            name: "image-exerciser", dependencies: ["Containers", "Linux", "COpenSSL", log],
            path: "Tests/ImageExerciser", swiftSettings: strict),
        // Measures the scheduler.
        .executableTarget(
            name: "scheduler-exerciser", dependencies: ["ControlPlane", "KubeAPI", "Store", "Codecs", "Linux"],
            path: "Tests/SchedulerExerciser", swiftSettings: strict),
        // Namespaces, `nft list ruleset` and small TCP/UDP probes for the tests of the network modules.
        .target(
            name: "NetworkTesting", dependencies: ["Netlink", "Linux"], path: "Tests/NetworkTesting",
            swiftSettings: strict),
        // Bytes that nobody would send on purpose, for every decoder of untrusted input (hack/fuzz.sh).
        .target(name: "CFuzz", path: "Tests/Fuzzing/CFuzz"),
        .executableTarget(
            name: "fuzzer",
            dependencies: [
                "CFuzz", "Codecs", "KubeAPI", "ControlPlane", "Transport", "Containers", "ClusterDNS", "HostTools",
                "Netlink", "Linux", "GRPC", "CShims",
                nioCore,
            ], path: "Tests/Fuzzing/Fuzzer", swiftSettings: strict),
        // A shim and a killable client for the runtime's tests, without the rest of the product.
        .executableTarget(
            name: "RuntimeProbe", dependencies: ["Containers", "Linux"], path: "Tests/RuntimeProbe",
            swiftSettings: strict),
        tests("Linux"), tests("Netlink", ["Linux", "NetworkTesting"]),
        tests("Iptables", ["Netlink", "Linux", "NetworkTesting"]),
        tests("Containers", ["Linux", "CShims", "Codecs", "RuntimeProbe", log]),
        tests("PodNetwork", ["Netlink", "Linux", "Iptables", "Codecs", "NetworkTesting"]),
        tests("ClusterDNS", ["Netlink", "Linux", "NetworkTesting"]),
        tests("HostTools", ["Netlink", "Linux", "NetworkTesting"]),
        tests("GRPC", ["Codecs", "Linux"]),
        tests("Codecs"), tests("KubeAPI", ["Codecs", "Linux"]), tests("Store", ["Linux", "store-exerciser"]),
        tests(
            "k3s",
            ["Codecs", "GRPC", "KubeAPI", "Store", "Transport", "ControlPlane", "Netlink", "Linux", nioPosix, log]),
        tests("Kubectl", ["Codecs", "KubeAPI", "Linux"]),
        tests("Transport", ["Codecs", "COpenSSL", "KubeAPI", "Linux", nioCore, nioPosix]),
        tests("ControlPlane", ["Codecs", "KubeAPI", "Store", "Transport", "Linux", nioPosix, log]),
        tests(
            "Node",
            [
                "Codecs", "KubeAPI", "Transport", "Containers", "PodNetwork", "ClusterDNS", "Iptables", "Netlink",
                "Linux", "GRPC", log,
            ]),
    ]
)
