internal import Codecs
internal import KubeAPI
internal import Transport

extension APIServer {
    /// Discovery and OpenAPI; nil for any other path.
    func documents(_ request: HTTPRequest) throws(APIError) -> HTTPResponse? { nil }
}
