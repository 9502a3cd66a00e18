import Linux

/// `findmnt` of util-linux 2.38 over the kernel's table (and fstab with -s): which file system, as tree, list, pairs or JSON.
enum Findmnt {
    private static let known =
        "s,fstab m,mtab k,kernel A,all a,ascii b,bytes C,nocanonicalize c,canonicalize D,df d,direction= e,evaluate F,tab-file= f,first-only i,invert J,json l,list N,task= n,noheadings O,options= o,output= output-all P,pairs pseudo shadowed R,submounts r,raw real S,source= T,target= tree M,mountpoint= t,types= U,uniq u,notruncate v,nofsroot y,shell verbose vfs-all h,help V,version"

    static let help = """

        Usage:
         findmnt [options]
         findmnt [options] <device> | <mountpoint>
         findmnt [options] <device> <mountpoint>
         findmnt [options] [--source <device>] [--target <path> | --mountpoint <dir>]

        Find a (mounted) filesystem.

        Options:
         -s, --fstab            search in static table of filesystems
         -m, --mtab             search in table of mounted filesystems
         -k, --kernel           search in kernel table of mounted
                                  filesystems (default)

         -A, --all              disable all built-in filters, print all filesystems
         -a, --ascii            use ASCII chars for tree formatting
         -b, --bytes            print sizes in bytes rather than in human readable format
         -D, --df               imitate the output of df(1)
         -d, --direction <word> direction of search, 'forward' or 'backward'
         -F, --tab-file <path>  alternative file for -s, -m or -k options
         -f, --first-only       print the first found filesystem only
         -i, --invert           invert the sense of matching
         -J, --json             use JSON output format
         -l, --list             use list format output
         -N, --task <tid>       use alternative namespace (/proc/<tid>/mountinfo file)
         -n, --noheadings       don't print column headings
         -O, --options <list>   limit the set of filesystems by mount options
         -o, --output <list>    the output columns to be shown
             --output-all       output all available columns
         -P, --pairs            use key="value" output format
             --pseudo           print only pseudo-filesystems
         -R, --submounts        print all submounts for the matching filesystems
         -r, --raw              use raw output format
             --real             print only real filesystems
         -S, --source <string>  the device to mount (by name, maj:min,
                                  LABEL=, UUID=, PARTUUID=, PARTLABEL=)
         -T, --target <path>    the path to the filesystem to use
             --tree             enable tree format output if possible
         -M, --mountpoint <dir> the mountpoint directory
         -t, --types <list>     limit the set of filesystems by FS types
         -U, --uniq             ignore filesystems with duplicate target
         -u, --notruncate       don't truncate text in columns
         -v, --nofsroot         don't print [/dir] for bind or btrfs mounts

         -h, --help             display this help
         -V, --version          display version

        For more details see findmnt(8).

        """

    enum Form { case tree, list, pairs, raw, json }

    struct Plan {
        var form: Form?
        /// -l and --tree; nil: a tree where that makes sense.
        var isTree: Bool?
        /// Names of columns as a shell's variables.
        var isForShell = false
        var columns: [String] = []
        var ascii = false
        var bytes = false
        var fstab = false
        var file: String?
        var isBackward = false
        var firstOnly = false
        var inverts = false
        var headings = true
        var submounts = false
        var unique = false
        var showsRoot = true
        var isDf = false
        var all = false
        var types: String?
        var options: String?
        var source: String?
        var target: String?
        /// A path anywhere in a file system (-T), not only its mount point.
        var isInside = false
        var isMountPoint = false
        var real: Bool?
        var canonicalizes = true
        /// The only operand: a source or a mount point.
        var either: String?
    }

    static func run(_ call: ToolCall) -> Int32 {
        let options: CommandOptions
        do throws(CommandOptions.Failure) { options = try CommandOptions(call.arguments, known: known) } catch {
            call.usage(error)
            return 1
        }
        var plan = Plan()
        var added: [String] = []
        for option in options.given {
            let value = option.value ?? ""
            switch option.name {
            case "h": call.write(help); return 0
            case "V": call.line("findmnt from util-linux 2.38.1 (k3s)"); return 0
            case "s": plan.fstab = true
            case "a": plan.ascii = true
            case "A": plan.all = true
            case "b": plan.bytes = true
            case "C": plan.canonicalizes = false
            case "D": plan.isDf = true
            case "d":
                guard value == "forward" || value == "backward" else {
                    call.complain("findmnt: unknown direction '\(value)'")
                    return 1
                }
                plan.isBackward = value == "backward"
            case "F": plan.file = value
            case "f": plan.firstOnly = true
            case "i": plan.inverts = true
            case "J": plan.form = .json
            case "l": plan.isTree = false
            case "N":
                guard Int32(value) != nil else {
                    call.complain("findmnt: invalid TID argument: '\(value)'")
                    return 1
                }
                plan.file = "/proc/\(value)/mountinfo"
            case "n": plan.headings = false
            case "O": plan.options = value
            case "o":
                if value.hasPrefix("+") { added.append(String(value.dropFirst())) } else { plan.columns = [value] }
            case "output-all": plan.columns = [FindmntColumn.names.joined(separator: ",")]
            case "P": plan.form = .pairs
            case "pseudo": plan.real = false
            case "real": plan.real = true
            case "R": plan.submounts = true
            case "r": plan.form = .raw
            case "S": plan.source = value
            case "T": (plan.target, plan.isInside) = (value, true)
            case "tree": plan.isTree = true
            case "y": plan.isForShell = true
            case "M": (plan.target, plan.isMountPoint) = (value, true)
            case "t": plan.types = value
            case "U": plan.unique = true
            case "v": plan.showsRoot = false
            default: break
            }
        }
        if plan.columns.isEmpty {
            plan.columns = plan.isDf ? ["SOURCE,FSTYPE,SIZE,USED,AVAIL,USE%,TARGET"] : ["TARGET,SOURCE,FSTYPE,OPTIONS"]
        }
        plan.columns += added
        return run(plan, options.operands, call)
    }

    private static func run(_ given: Plan, _ operands: [String], _ call: ToolCall) -> Int32 {
        var plan = given
        var columns: [FindmntColumn] = []
        for name in plan.columns.flatMap({ $0.split(separator: ",").map(String.init) }) {
            guard let column = FindmntColumn(name) else {
                call.complain("findmnt: unknown column: \(name)")
                return 1
            }
            columns.append(column)
        }
        switch operands.count {
        case 0: break
        case 1 where plan.source != nil && plan.target == nil: plan.target = operands[0]
        case 1 where plan.source == nil && plan.target != nil: plan.source = operands[0]
        case 1: plan.either = operands[0]
        case 2 where plan.source == nil && plan.target == nil: (plan.source, plan.target) = (operands[0], operands[1])
        default: return 1
        }
        if columns.isEmpty { return 1 }
        guard let mounts = table(plan, call) else { return 1 }
        return show(plan, mounts, columns, call)
    }

    static func show(_ plan: Plan, _ all: [MountInfo], _ columns: [FindmntColumn], _ call: ToolCall) -> Int32 {
        var mounts = all
        if plan.unique, !plan.fstab { mounts = unique(mounts) }
        var form = plan.form ?? .tree
        // What one looks for by name is a list, unless all below it was asked for.
        let isSearch = plan.source != nil || plan.target != nil || plan.either != nil
        let makesTree =
            (form == .tree || form == .json) && !plan.fstab && !plan.isDf
            && (plan.isTree ?? (plan.submounts || !isSearch))
        if form == .tree, !makesTree { form = .list }
        var rows: [FindmntRow] = []
        let matched = FindmntSearch(plan: plan, mounts: mounts).matches()
        if plan.submounts {
            rows = tree(matched, mounts)
            if !makesTree { rows = flat(rows) }
        } else if makesTree {
            // What does not match is left out, and what is below it hangs on what is above it.
            let wanted = Set(matched.map(\.id))
            rows = tree(roots(mounts), mounts).flatMap { pruned($0, wanted) }
        } else {
            rows = matched.map { FindmntRow(mount: $0) }
        }
        if rows.isEmpty { return 1 }
        let printer = FindmntPrinter(
            columns: columns, form: form, bytes: plan.bytes, headings: plan.headings, showsRoot: plan.showsRoot,
            isForShell: plan.isForShell, isASCII: plan.ascii, speaksUTF8: call.speaksUTF8)
        printer.print(rows, call)
        return 0
    }

    private static func table(_ plan: Plan, _ call: ToolCall) -> [MountInfo]? {
        let path = plan.file ?? (plan.fstab ? "/etc/fstab" : "/proc/self/mountinfo")
        let text: String
        do throws(SysError) { text = try Files.readString(path) } catch {
            call.complain("findmnt: can't read \(path): \(errorText(error.code))")
            return nil
        }
        let mounts = plan.fstab ? [] : MountInfo.parse(text)
        if !mounts.isEmpty { return mounts }
        return FstabEntry.parse(text).compactMap { entry in
            var mount = MountInfo.parse("0 0 0:0 / / rw - none none rw").first
            mount?.mountPoint = entry.target
            mount?.options = entry.options.split(separator: ",").map(String.init)
            mount?.type = entry.type
            mount?.source = entry.source
            mount?.superOptions = []
            return mount
        }
    }

    /// What hangs on nothing else that is visible, the real root first.
    private static func roots(_ mounts: [MountInfo]) -> [MountInfo] {
        let ids = Set(mounts.map(\.id))
        let tops = mounts.filter { !ids.contains($0.parent) || $0.parent == $0.id }
        guard let first = tops.min(by: { $0.parent < $1.parent }) else { return [] }
        return [first] + tops.filter { $0.id != first.id }
    }

    private static func tree(_ tops: [MountInfo], _ mounts: [MountInfo]) -> [FindmntRow] {
        var children: [Int64: [MountInfo]] = [:]
        for mount in mounts where mount.id != mount.parent { children[mount.parent, default: []].append(mount) }
        var shown: Set<Int64> = []
        func build(_ mount: MountInfo, _ depth: Int) -> FindmntRow {
            shown.insert(mount.id)
            var row = FindmntRow(mount: mount)
            // A table that somebody else wrote may lead in circles.
            if depth > 256 { return row }
            for child in (children[mount.id] ?? []).sorted(by: { $0.id < $1.id }) where !shown.contains(child.id) {
                row.children.append(build(child, depth + 1))
            }
            return row
        }
        return tops.compactMap { shown.contains($0.id) ? nil : build($0, 0) }
    }

    private static func pruned(_ row: FindmntRow, _ wanted: Set<Int64>) -> [FindmntRow] {
        let children = row.children.flatMap { pruned($0, wanted) }
        return wanted.contains(row.mount.id) ? [FindmntRow(mount: row.mount, children: children)] : children
    }

    /// Without mounts that later ones hide; what is mounted in them hangs on what they were mounted in.
    private static func unique(_ mounts: [MountInfo]) -> [MountInfo] {
        var last: [String: Int64] = [:]
        for mount in mounts { last[mount.mountPoint] = mount.id }
        var parents: [Int64: Int64] = [:]
        for mount in mounts where last[mount.mountPoint] != mount.id { parents[mount.id] = mount.parent }
        return mounts.filter { last[$0.mountPoint] == $0.id }.map { mount in
            var mount = mount
            // A table that somebody else wrote may lead in circles.
            for _ in mounts {
                guard let above = parents[mount.parent], above != mount.parent else { break }
                mount.parent = above
            }
            return mount
        }
    }

    private static func flat(_ rows: [FindmntRow]) -> [FindmntRow] {
        rows.flatMap { [FindmntRow(mount: $0.mount)] + flat($0.children) }
    }
}

/// One file system to show, and what is mounted in it.
struct FindmntRow {
    var mount: MountInfo
    var children: [FindmntRow] = []
}

/// Which of the mounts are asked for.
struct FindmntSearch {
    let plan: Findmnt.Plan
    let mounts: [MountInfo]

    func matches() -> [MountInfo] {
        var result: [MountInfo] = []
        let inside = plan.isInside ? plan.target.flatMap(holder) : nil
        if plan.isInside, inside == nil { return [] }
        for mount in plan.isBackward || plan.either != nil || plan.isMountPoint ? mounts.reversed() : mounts {
            guard matches(mount, inside: inside) != plan.inverts else { continue }
            if plan.unique, result.contains(where: { $0.mountPoint == mount.mountPoint }) { continue }
            result.append(mount)
            if plan.firstOnly { break }
        }
        return plan.isBackward ? result : plan.either != nil || plan.isMountPoint ? result.reversed() : result
    }

    private func matches(_ mount: MountInfo, inside: MountInfo?) -> Bool {
        if plan.isDf, !plan.all, !FindmntSearch.isReal(mount), mount.type != "tmpfs", mount.type != "devtmpfs" {
            return false
        }
        if let types = plan.types, !TypeFilter(types).matches(mount.type) { return false }
        if let real = plan.real, FindmntSearch.isReal(mount) != real { return false }
        if let wanted = plan.options {
            let options = mount.options + mount.superOptions
            let has = wanted.split(separator: ",").allSatisfy { word in
                word.hasPrefix("no") && !options.contains(String(word))
                    ? !options.contains(String(word.dropFirst(2))) : options.contains(String(word))
            }
            if !has { return false }
        }
        if let source = plan.source, !isSource(source, of: mount) { return false }
        if let inside {
            if mount.mountPoint != inside.mountPoint { return false }
        } else if let target = plan.target, !isTarget(target, of: mount) {
            return false
        }
        if let either = plan.either { return isTarget(either, of: mount) || isSource(either, of: mount) }
        return true
    }

    private func isTarget(_ path: String, of mount: MountInfo) -> Bool {
        mount.mountPoint == path || (plan.canonicalizes && mount.mountPoint == Tags.canonical(path))
    }

    private func isSource(_ source: String, of mount: MountInfo) -> Bool {
        if mount.source == source || mount.device == source { return true }
        guard source.hasPrefix("/") || source.utf8.contains(UInt8(ascii: "=")) else { return false }
        return Tags.device(source).map { Tags.canonical($0) == mount.source } ?? false
    }

    /// The file system that a path lies in: the longest mount point above it, the newest of them.
    private func holder(_ path: String) -> MountInfo? {
        guard Files.exists(path) || plan.fstab else { return nil }
        var directory = Tags.canonical(path)
        while true {
            if let mount = mounts.last(where: { $0.mountPoint == directory }) { return mount }
            if directory == "/" || directory == "." { return nil }
            directory = Path.parent(directory)
        }
    }

    /// Not made of nothing by the kernel.
    static func isReal(_ mount: MountInfo) -> Bool {
        let pseudo =
            " anon_inodefs apparmorfs autofs bdev binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devfs devpts devtmpfs dlmfs dmabuf drm efivarfs fuse fuse.archivemount fuse.avfsd fuse.dumpfs fuse.encfs fuse.gvfs-fuse-daemon fuse.gvfsd-fuse fuse.lxcfs fuse.rofiles-fuse fuse.vmware-vmblock fuse.xwmfs fusectl hugetlbfs ipathfs mqueue nfsd none nsfs overlay pipefs proc pstore ramfs resctrl rootfs rpc_pipefs securityfs selinuxfs smackfs sockfs spufs sysfs tmpfs tracefs vboxsf virtiofs "
        return pseudo.utf8.split(separator: UInt8(ascii: " ")).allSatisfy { !$0.elementsEqual(mount.type.utf8) }
    }
}
