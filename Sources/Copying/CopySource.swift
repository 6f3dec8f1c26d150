package import Hypervisor

/// One file to be copied.
package struct FileToCopy: Hashable, Sendable {
    /// The export's name, by which people are told of the file too.
    package var name: String
    /// Exact; the export is rounded up to whole sectors.
    package var sizeBytes: Int64
    /// Tells one content of the file from another, such as its time of change.
    package var identity: String
    /// Where it shall stand. Until the copy is whole it stands there with `.partial` behind its name.
    package var path: String
    /// Stands before `.partial`, where several copies of one file may be under way.
    package var tag: String
    /// It is a base image, whose name is made of its content: it gets that name only when it has that content. One that is there already is
    /// left alone.
    package var isNamedByContent: Bool

    package init(name: String, sizeBytes: Int64, identity: String, path: String, tag: String = "", isNamedByContent: Bool = false) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.identity = identity
        self.path = path
        self.tag = tag
        self.isNamedByContent = isNamedByContent
    }
}

/// Where files come from.
package struct CopySource: Sendable {
    package var server: NBDServer
    /// Digests of chunks of a file (by name) as the source's own host computes them from its disk; nil for a chunk that is a hole.
    package var digests: @Sendable (_ file: String, _ chunkBytes: Int, _ chunks: [Range<Int>]) async throws -> [Digest?]

    package init(
        server: NBDServer,
        digests: @escaping @Sendable (_ file: String, _ chunkBytes: Int, _ chunks: [Range<Int>]) async throws -> [Digest?]
    ) {
        self.server = server
        self.digests = digests
    }
}

/// How copies are made.
package struct CopyOptions: Hashable, Sendable {
    /// Bytes of the unit that is fetched, checked and repaired.
    package var chunkBytes = 1 << 20
    /// Whether what stands on the target is compared with the source before the copy counts.
    package var verifies = true
    /// How often chunks that differ are fetched again before the copy is given up.
    package var repairs = 3
    /// Connections, each with a read under way, for one file.
    package var connections = 4
    /// How often what stands on the target is made durable, and the journal says so.
    package var checkpoint = Duration.seconds(1)

    package init() {}
}
