import Glibc

/// How many files and connections this process may have open.
package enum OpenFiles {
    /// Takes as many as the system lets it have: what idle connections hold must not be wanting where a guest is looked after.
    package static func takeAll() {
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(files, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        // Refused, it is what it was.
        setrlimit(files, &limit)
    }
}
