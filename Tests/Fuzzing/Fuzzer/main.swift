// `fuzzer`: feeds the product's decoders with bytes that nobody would send on purpose.
//
//     fuzzer list                                 names of the targets
//     fuzzer smoke <milliseconds> [target...]     corpus, past crashes, then random changes of them; 0: corpus only.
//                                                 The same changes in the same order each time, and no more than 20,000:
//                                                 a faster machine does not get to see others
//     fuzzer guided <target> [libFuzzer options]  coverage guided; only in a program built by hack/fuzz.sh
//
// An input that kills the process is left in the working directory as crash-<target>; put into Tests/Fuzzing/Corpus/<target>
// it is tried in each run of the tests.

import CFuzz
import Linux

let mostChanges = 20_000

/// libFuzzer's callback takes no context.
nonisolated(unsafe) var guidedTarget: FuzzTarget?

func corpus(of target: FuzzTarget) -> [[UInt8]] {
    let folder = "Tests/Fuzzing/Corpus/" + target.name
    let files = ((try? Directories.list(folder)) ?? []).map(\.name).sorted()
    return target.seeds + files.compactMap { try? Files.read(folder + "/" + $0, limit: 1 << 20) }
}

func smoke(_ target: FuzzTarget, milliseconds: Int64) {
    let inputs = corpus(of: target)
    var mutator = Mutator(seed: target.name, words: target.words)
    var tried = 0
    "crash-\(target.name)".withCString { file in
        func attempt(_ input: [UInt8]) {
            input.withUnsafeBufferPointer { fuzz_trying(file, $0.baseAddress, $0.count) }
            target.run(input)
            fuzz_trying(nil, nil, 0)
            tried += 1
        }
        for input in inputs { attempt(input) }
        let end = MonotonicClock.now() + milliseconds * 1_000_000
        while MonotonicClock.now() < end, tried - inputs.count < mostChanges {
            for _ in 0..<16 { attempt(mutator.mutated(inputs)) }
        }
    }
    print("fuzz: \(target.name): \(inputs.count) of the corpus, \(tried - inputs.count) changed")
}

let arguments = CommandLine.arguments.dropFirst()
let usage = "usage: fuzzer list | smoke <milliseconds> [target...] | guided <target> [options]"

func named(_ names: some Sequence<String>) -> [FuzzTarget] {
    names.map { name in
        guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
            print("no fuzz target \(name)")
            exit(2)
        }
        return target
    }
}

switch arguments.first {
case "list":
    for target in FuzzTarget.all { print(target.name) }
case "smoke":
    guard let time = arguments.dropFirst().first.flatMap({ Int64($0) }) else {
        print(usage)
        exit(2)
    }
    let chosen = named(arguments.dropFirst(2))
    fuzz_watch(20)
    for target in chosen.isEmpty ? FuzzTarget.all : chosen { smoke(target, milliseconds: time) }
case "guided":
    guard let target = named(arguments.dropFirst().prefix(1)).first else {
        print(usage)
        exit(2)
    }
    // A folder for what libFuzzer finds worth keeping comes with the options; the seeds go there first.
    guard let folder = arguments.dropFirst(2).first(where: { !$0.hasPrefix("-") }) else {
        print("guided: a folder for the corpus is needed")
        exit(2)
    }
    try Directories.make(folder, mode: 0o755)
    for (index, seed) in corpus(of: target).enumerated() { try Files.write("\(folder)/seed-\(index)", seed) }
    guidedTarget = target
    var argv = (["fuzzer"] + arguments.dropFirst(2)).map { strdup($0) }
    argv.append(nil)
    let result = fuzz_guided(Int32(argv.count - 1), &argv) { data, size in
        guidedTarget?.run(Array(UnsafeBufferPointer(start: data, count: size)))
        return 0
    }
    if result < 0 { print("this program is not linked with libFuzzer: hack/fuzz.sh builds one that is") }
    exit(result < 0 ? 2 : result)
default:
    print(usage)
    exit(2)
}
