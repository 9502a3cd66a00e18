extension HTTPProbe {
    func secureExchange() async -> Result<Answer, Failure> {
        .failure(Failure(message: "https is not available"))
    }
}
