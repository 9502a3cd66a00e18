/// Device rules as a BPF program of type CGROUP_DEVICE: what devices.allow was in version 1.
package enum DeviceFilter {
    // Opcodes of linux/bpf.h.
    private static let loadWord: UInt8 = 0x61  // BPF_LDX | BPF_MEM | BPF_W
    private static let moveRegister: UInt8 = 0xbf  // BPF_ALU64 | BPF_MOV | BPF_X
    private static let moveConstant: UInt8 = 0xb7  // BPF_ALU64 | BPF_MOV | BPF_K
    private static let and32: UInt8 = 0x54  // BPF_ALU | BPF_AND | BPF_K
    private static let shiftRight32: UInt8 = 0x74  // BPF_ALU | BPF_RSH | BPF_K
    private static let jumpNotEqualConstant: UInt8 = 0x55  // BPF_JMP | BPF_JNE | BPF_K
    private static let jumpNotEqualRegister: UInt8 = 0x5d  // BPF_JMP | BPF_JNE | BPF_X
    private static let exit: UInt8 = 0x95

    private struct Instruction {
        var code: UInt8
        var destination: UInt8 = 0
        var source: UInt8 = 0
        var offset: Int16 = 0
        var constant: Int32 = 0

        func append(to bytes: inout [UInt8]) {
            bytes.append(code)
            // Two 4 bit fields, destination in the low one on little-endian machines.
            bytes.append(destination | source << 4)
            withUnsafeBytes(of: offset) { bytes.append(contentsOf: $0) }
            withUnsafeBytes(of: constant) { bytes.append(contentsOf: $0) }
        }
    }

    /// struct bpf_insn[], 8 bytes each. The context is { u32 access << 16 | type; u32 major; u32 minor }.
    package static func program(_ rules: [DeviceRule]) -> [UInt8] {
        var program: [Instruction] = [
            // r2: type, r3: access, r4: major, r5: minor
            Instruction(code: loadWord, destination: 2, source: 1, offset: 0),
            Instruction(code: moveRegister, destination: 3, source: 2),
            Instruction(code: and32, destination: 2, constant: 0xffff),
            Instruction(code: shiftRight32, destination: 3, constant: 16),
            Instruction(code: loadWord, destination: 4, source: 1, offset: 4),
            Instruction(code: loadWord, destination: 5, source: 1, offset: 8),
        ]
        // The kernel refuses a program with instructions that are never reached: nothing may follow a rule for everything.
        let last = rules.firstIndex { $0.kind == .all && $0.mask == 7 && $0.major == nil && $0.minor == nil }
        for rule in rules[..<(last.map { $0 + 1 } ?? rules.endIndex)] { program += block(rule) }
        if last == nil {
            program.append(Instruction(code: moveConstant, destination: 0, constant: 0))
            program.append(Instruction(code: exit))
        }
        var bytes: [UInt8] = []
        for instruction in program { instruction.append(to: &bytes) }
        return bytes
    }

    /// Allows and leaves when the rule fits; falls through to the next block otherwise.
    private static func block(_ rule: DeviceRule) -> [Instruction] {
        var tests: [Instruction] = []
        switch rule.kind {
        case .all: break
        case .block: tests.append(Instruction(code: jumpNotEqualConstant, destination: 2, constant: 1))
        case .char: tests.append(Instruction(code: jumpNotEqualConstant, destination: 2, constant: 2))
        }
        // All that is asked for must be allowed.
        let mask = rule.mask
        if mask != 7 {
            tests.append(Instruction(code: moveRegister, destination: 1, source: 3))
            tests.append(Instruction(code: and32, destination: 1, constant: mask))
            tests.append(Instruction(code: jumpNotEqualRegister, destination: 1, source: 3))
        }
        if let major = rule.major {
            tests.append(Instruction(code: jumpNotEqualConstant, destination: 4, constant: Int32(bitPattern: major)))
        }
        if let minor = rule.minor {
            tests.append(Instruction(code: jumpNotEqualConstant, destination: 5, constant: Int32(bitPattern: minor)))
        }
        let end = tests.count + 2
        for index in tests.indices
        where tests[index].code == jumpNotEqualConstant || tests[index].code == jumpNotEqualRegister {
            tests[index].offset = Int16(end - index - 1)
        }
        tests.append(Instruction(code: moveConstant, destination: 0, constant: 1))
        tests.append(Instruction(code: exit))
        return tests
    }
}

extension DeviceRule {
    /// BPF_DEVCG_ACC_MKNOD 1, READ 2, WRITE 4.
    fileprivate var mask: Int32 { (mknod ? 1 : 0) | (read ? 2 : 0) | (write ? 4 : 0) }
}
