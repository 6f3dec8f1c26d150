package import Hummingbird

/// What is known of a request beside its bytes.
package struct APIContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// Who asks: the name of the token they showed. Empty on routes that need none.
    package var actor = ""

    package init(source: Source) {
        self.coreContext = CoreRequestContextStorage(source: source)
    }
}
