import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct SchedulerProfileTests {
    static let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

    func read(_ text: String) throws -> [SchedulerProfile] {
        try SchedulerProfile.read(Array((Self.head + text).utf8), path: "/etc/sched.yaml")
    }

    @Test func strategiesWeightsAndDefaultsAreRead() throws {
        let profiles = try read(
            """
            percentageOfNodesToScore: 70
            profiles:
            - schedulerName: default-scheduler
            - schedulerName: packing
              plugins:
                score:
                  disabled: [{name: ImageLocality}]
                  enabled: [{name: NodeResourcesFit, weight: 5}]
              pluginConfig:
              - name: NodeResourcesFit
                args:
                  scoringStrategy:
                    type: MostAllocated
                    resources: [{name: cpu, weight: 3}, {name: nvidia.com/gpu}]
              - name: InterPodAffinity
                args: {hardPodAffinityWeight: 7}
              - name: PodTopologySpread
                args: {defaultingType: List, defaultConstraints: []}
            """)
        #expect(profiles.map(\.name) == ["default-scheduler", "packing"])
        #expect(profiles[0].strategy == .leastAllocated && profiles[0].weights == SchedulerProfile.defaultWeights)
        let packing = profiles[1]
        #expect(packing.strategy == .mostAllocated && packing.hardAffinityWeight == 7)
        #expect(
            packing.resources.map(\.name) == ["cpu", "nvidia.com/gpu"] && packing.resources.map(\.weight) == [3, 1])
        #expect(packing.weights["NodeResourcesFit"] == 5 && packing.weights["ImageLocality"] == nil)
        #expect(packing.defaultConstraints == [] && packing.percentageOfNodes == 70)
    }

    @Test(arguments: [
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", "profiles[1].schedulerName"),
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore"),
        ("extenders: [{urlPrefix: x}]", "extenders"),
        ("profiles: [{plugins: {filter: {disabled: [{name: '*'}]}}}]", "profiles[0].plugins.filter"),
        ("profiles: [{plugins: {score: {enabled: [{name: Mine}]}}}]", "profiles[0].plugins.score.enabled"),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Odd}}}]}]",
            "profiles[0].pluginConfig[0].args.scoringStrategy.type"
        ),
        ("profiles: [{pluginConfig: [{name: Mine}]}]", "profiles[0].pluginConfig[0].name"),
    ]) func whatIsWrongIsNamed(_ text: String, _ path: String) {
        do {
            _ = try read(text)
            Issue.record("was taken: \(text)")
        } catch {
            #expect("\((error as? APIError)?.message ?? "")".contains("/etc/sched.yaml: " + path))
        }
    }

    @Test func inLargeClustersNotEveryNodeIsAsked() {
        let profile = SchedulerProfile()
        #expect([50, 100, 1000, 6000].map(profile.enough) == [50, 100, 420, 300])
        var all = profile
        all.percentageOfNodes = 100
        #expect(all.enough(of: 1000) == 1000)
    }
}
