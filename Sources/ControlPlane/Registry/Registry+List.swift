package import Codecs
package import KubeAPI
internal import Store

/// What a list or watch is asked for, beside the place.
package struct ListParameters: Sendable {
    package enum VersionMatch: String, Sendable {
        case exact = "Exact"
        case notOlderThan = "NotOlderThan"
    }
    package var labels = LabelSelector.everything
    package var fields = FieldSelector.everything
    /// nil: the most recent; 0: any.
    package var resourceVersion: Int64?
    package var match: VersionMatch?
    /// 0: all.
    package var limit = 0
    package var continueToken: String?
    /// `ListOptions.claimant`
    var claimant: String?
    package init() {}
    package init(_ options: ListOptions) {
        (labels, fields, resourceVersion) = (options.labelSelector, options.fieldSelector, options.resourceVersion)
        claimant = options.claimant
    }
}

package struct ListPage: Sendable {
    package var items: [EncodedObject]
    package var resourceVersion: Int64
    /// "" on the last page.
    package var continueToken: String
    /// Only known where no selector is given.
    package var remaining: Int64?
}

/// Decides which objects a list or watch means, looking at encoded bytes only.
struct ObjectFilter: Sendable {
    let labels: LabelSelector
    private let terms: [(field: SelectableField, value: String, negated: Bool)]
    /// Set where the selector says which one object is meant.
    let name: String?
    let namespace: String?
    let isEverything: Bool
    private static let labelsPath = ["metadata", "labels"]

    init(_ parameters: ListParameters, _ resource: ServedResource) throws(APIError) {
        labels = parameters.labels
        var terms: [(SelectableField, String, Bool)] = []
        var name: String?
        var namespace: String?
        for term in parameters.fields.terms {
            if !term.negated, term.field == "metadata.name" { name = term.value }
            if !term.negated, term.field == "metadata.namespace" { namespace = term.value }
            let stored = resource.view.map { $0.field(term.field) } ?? term.field
            guard let field = Self.field(stored, resource) else {
                throw .badRequest(
                    "Unable to find \"\(resource.gvr.groupVersion), Resource=\(resource.gvr.resource)\" that match label "
                        + "selector \"\(parameters.labels.text)\", field selector \"\(parameters.fields.text)\": "
                        + Self.unknown(term.field, resource))
            }
            terms.append((field, term.value, term.negated))
        }
        (self.terms, self.name, self.namespace) = (terms, name, namespace)
        isEverything = terms.isEmpty && parameters.labels.isEverything
    }

    private static func field(_ name: String, _ resource: ServedResource) -> SelectableField? {
        switch name {
        case "metadata.name": SelectableField(name)
        case "metadata.namespace": resource.namespaced ? SelectableField(name) : nil
        default: resource.strategy.selectableFields.first { $0.name == name }
        }
    }

    private static func unknown(_ name: String, _ resource: ServedResource) -> String {
        resource.strategy.selectableFields.isEmpty
            ? "\"\(name)\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            : "field label not supported: \(name)"
    }

    func matches(_ bytes: [UInt8]) -> Bool {
        if isEverything { return true }
        for term in terms {
            var value = RawJSON.text(of: term.field.path, in: bytes) ?? ""
            if value.isEmpty { value = term.field.absent }
            if (value == term.value) == term.negated { return false }
        }
        if labels.isEverything { return true }
        guard let place = RawJSON.range(of: Self.labelsPath, in: bytes) else { return labels.matches { _ in nil } }
        return labels.matches { RawJSON.text(of: [$0], in: bytes, from: place.lowerBound) }
    }
}

extension Registry {
    private static let chunk = 500

    package func list(
        _ resource: ServedResource, namespace: String?, _ parameters: ListParameters
    ) throws(APIError) -> ListPage {
        let filter = try ObjectFilter(parameters, resource)
        let namespace = filter.namespace ?? namespace
        let prefix = resource.prefix(namespace: namespace)
        var start: String?
        var revision = try exactRevision(parameters)
        if let token = parameters.continueToken, !token.isEmpty {
            let position = try ContinueToken(token)
            guard position.key.hasPrefix(prefix) else { throw .badRequest("continue key is not valid: out of range") }
            start = position.key
            revision = position.revision < 0 ? nil : position.revision
        }
        do throws(StoreError) {
            if let name = filter.name, start == nil, revision == nil,
                !resource.namespaced || namespace?.isEmpty == false
            {
                return try single(resource, namespace ?? "", name, filter)
            }
            if let claimant = parameters.claimant, start == nil, revision == nil, resource.view == nil {
                return claimable(by: claimant, prefix, filter)
            }
            return try pages(resource, prefix, filter, start: start, revision: revision, limit: parameters.limit)
        } catch {
            throw listError(error, resource, parameters, start: start)
        }
    }

    private func exactRevision(_ parameters: ListParameters) throws(APIError) -> Int64? {
        guard let asked = parameters.resourceVersion, asked > 0 else { return nil }
        let current = store.revision
        if asked > current { throw Self.tooLargeResourceVersion(asked, current: current) }
        // A page of a version that was asked for is of that version, also where nothing more was said.
        return parameters.match == .exact || parameters.match == nil && parameters.limit > 0 ? asked : nil
    }

    private func single(
        _ resource: ServedResource, _ namespace: String, _ name: String, _ filter: ObjectFilter
    ) throws(StoreError) -> ListPage {
        let revision = store.revision
        var page = ListPage(items: [], resourceVersion: revision, continueToken: "", remaining: nil)
        if let entry = store.get(resource.key(namespace, name)), filter.matches(entry.value) {
            let object = EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)
            page.items = [(try? show(object, resource)) ?? object]
            page.resourceVersion = max(revision, entry.modRevision)
        }
        return page
    }

    private func claimable(by claimant: String, _ prefix: String, _ filter: ObjectFilter) -> ListPage {
        let range = store.tagged(ControllerTag.of(uid: claimant), prefix: prefix)
        let items = range.entries.lazy.filter { filter.matches($0.value) }.map {
            EncodedObject(bytes: $0.value, resourceVersion: $0.modRevision)
        }
        return ListPage(items: Array(items), resourceVersion: range.revision, continueToken: "", remaining: nil)
    }

    private func pages(
        _ resource: ServedResource, _ prefix: String, _ filter: ObjectFilter, start: String?, revision: Int64?,
        limit: Int
    ) throws(StoreError) -> ListPage {
        var page = ListPage(items: [], resourceVersion: 0, continueToken: "", remaining: nil)
        var (start, revision) = (start, revision)
        while true {
            let want = limit == 0 ? 0 : filter.isEverything ? limit : max(limit, Self.chunk)
            let range = try store.range(prefix: prefix, startAfter: start, limit: want, revision: revision)
            page.resourceVersion = range.revision
            revision = range.revision
            if limit == 0 { page.items.reserveCapacity(range.entries.count) }
            for (i, entry) in range.entries.enumerated() where filter.matches(entry.value) {
                let object = EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)
                page.items.append(resource.view == nil ? object : (try? show(object, resource)) ?? object)
                if limit > 0, page.items.count == limit {
                    let left = Int64(range.entries.count - 1 - i) + (range.more ? max(range.remaining, 1) : 0)
                    if left > 0 {
                        page.continueToken = ContinueToken(key: entry.key, revision: range.revision).text
                        if filter.isEverything { page.remaining = left }
                    }
                    return page
                }
            }
            guard range.more, let last = range.entries.last else { return page }
            start = last.key
        }
    }

    private func listError(
        _ error: StoreError, _ resource: ServedResource, _ parameters: ListParameters, start: String?
    ) -> APIError {
        guard case .compacted = error else { return apiError(error, resource, "") }
        guard let start else {
            return .expired(
                "The resourceVersion for the provided list is too old.")
        }
        var expired = APIError.expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
                + "without the continue parameter, or use the continue token in this response to retrieve the remainder "
                + "of the results. Continuing with the provided token results in an inconsistent list - objects that "
                + "were created, modified, or deleted between the time the first chunk was returned and now may show "
                + "up in the list.")
        expired.continueToken = ContinueToken(key: start, revision: -1).text
        return expired
    }
}

/// Where a list goes on: the last key of the page before and the revision that the list shows (-1: whatever is there).
struct ContinueToken {
    let key: String
    let revision: Int64

    init(key: String, revision: Int64) { (self.key, self.revision) = (key, revision) }

    init(_ text: String) throws(APIError) {
        guard let bytes = Base64.decodeURL(text), let json = try? JSON.parse(bytes),
            json["v"].string == "meta.k8s.io/v1",
            let revision = json["rv"].int, let key = json["start"].string, revision != 0, !key.isEmpty
        else { throw .badRequest("continue key is not valid: \(JSON.string(text).text)") }
        self.init(key: key, revision: revision)
    }

    var text: String {
        Base64.encodeURL((["v": "meta.k8s.io/v1", "rv": .int(revision), "start": .string(key)] as JSON).encode())
    }
}
