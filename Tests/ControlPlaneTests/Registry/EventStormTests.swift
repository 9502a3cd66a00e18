import Testing

@testable import ControlPlane

@Suite struct EventStormTests {
    private let start = ContinuousClock.now

    @Test func singleEventsAreTakenAtOnce() {
        var storm = EventStorm()
        for i in 0..<1_000 {
            storm.add(1, at: start + .milliseconds(5 * i))
            #expect(!storm.rests)
        }
    }

    @Test func aShortBurstIsTakenAtOnce() {
        var storm = EventStorm()
        for i in 0..<16 { storm.add(1, at: start + .microseconds(500 * i)) }
        #expect(!storm.rests)
        storm.add(1, at: start + .seconds(1))
        for i in 0..<15 { storm.add(1, at: start + .seconds(1) + .microseconds(500 * i)) }
        #expect(!storm.rests)
    }

    @Test func whoRestsGoesOnWhileThatGathersEvents() {
        var storm = EventStorm()
        for i in 0..<17 { storm.add(1, at: start + .microseconds(500 * i)) }
        #expect(storm.rests)
        storm.add(20, at: start + .milliseconds(20))
        #expect(storm.rests)
        storm.add(2, at: start + .milliseconds(30))
        #expect(!storm.rests)
    }
}
