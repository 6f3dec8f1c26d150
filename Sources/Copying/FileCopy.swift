import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor
import Synchronization

/// The copy of one file: only data travels, what stands is checkpointed, and what was copied is compared with the source.
///
/// It goes on where an earlier one ended, be it in this process or in one that died: nothing before the last checkpoint is fetched again, and
/// what was written beyond it is fetched only where its digest differs from the source's.
actor FileCopy {
    nonisolated let file: FileToCopy
    private let options: CopyOptions
    private let budget: Budget
    private let note: @Sendable (Reason) -> Void
    private nonisolated let meter = Mutex(CopyFigures())
    private nonisolated let fetched = Mutex<ContinuousClock.Instant?>(nil)

    private let chunkCount: Int
    /// Where the source has data.
    private var data: [Range<Int64>] = []
    /// Chunks with data.
    private var wanted: ChunkSet
    /// Chunks that stand on the target.
    private var written: ChunkSet
    private var verified: ChunkSet
    /// Chunks to be fetched from end to end, holes included.
    private var whole: ChunkSet
    private var isTakenUp = false
    private(set) var isFinished = false

    // Of the pass under way:
    private var cursor = 0
    private var pending: [Int] = []
    private var pendingHead = 0
    private var fetchers = 0
    private var differing: [Int] = []
    private let bell = Bell()

    /// - Parameter note: called with what an operator should know, such as a chunk that differed.
    init(_ file: FileToCopy, options: CopyOptions, budget: Budget, note: @escaping @Sendable (Reason) -> Void) {
        self.file = file
        self.options = options
        self.budget = budget
        self.note = note
        chunkCount = Int((file.sizeBytes + Int64(options.chunkBytes) - 1) / Int64(options.chunkBytes))
        wanted = ChunkSet(capacity: chunkCount)
        written = wanted
        verified = wanted
        whole = wanted
    }

    nonisolated var figures: CopyFigures { meter.withLock { $0 } }

    /// When the last byte was written, not yet verified; nil before.
    nonisolated var fetchedAt: ContinuousClock.Instant? { fetched.withLock { $0 } }

    nonisolated var partialPath: String { file.path + file.tag + ".partial" }
    nonisolated var journalPath: String { file.path + file.tag + ".copy" }

    /// Copies what is not there yet. Can be called again after it failed.
    ///
    /// - Throws: ``AgentProblem``: `connection-lost`, `disk-full`, `disk-error`, `verify-failed`, `tls-refused`; what the source's digests
    ///   throw; `CancellationError`.
    func run(from source: CopySource) async throws {
        guard !isFinished else { return }
        let switchboard = Switchboard()
        try await withTaskCancellationHandler {
            do {
                try await copy(source, switchboard)
            } catch {
                switchboard.abort()
                try Task.checkCancellation()
                throw error
            }
        } onCancel: {
            switchboard.abort()
        }
    }

    private func copy(_ source: CopySource, _ switchboard: Switchboard) async throws {
        let lane = Lane("main")
        let (journalPath, path, partialPath) = (journalPath, file.path, partialPath)
        let found = try await lane.run { () -> CopyJournal? in
            try DurableFile.makeFolder((path as NSString).deletingLastPathComponent)
            return try CopyJournal.read(journalPath)
        }
        let journal = found.flatMap { found in
            found.identity == file.identity && found.chunkBytes == options.chunkBytes && found.sizeBytes == file.sizeBytes ? found : nil
        }
        if let journal, journal.isComplete, access(path, F_OK) == 0 || access(partialPath, F_OK) == 0 {
            meter.withLock { $0.bytesFetched = journal.fetchedBytes }
            isFinished = true
            noteFetched()
            return
        }
        let target = try await lane.run { try TargetFile(partialPath) }
        if file.sizeBytes > 0 {
            let first = try await Fetcher.connect(source.server, file, chunkBytes: options.chunkBytes, switchboard)
            try await plan(first)
            if !isTakenUp { try await takeUp(journal, target, lane, source) }
            var repairs = 0
            while true {
                let bad = try await pass(source, target, lane, first, switchboard)
                guard !bad.isEmpty else { break }
                try repair(bad, &repairs)
            }
        }
        try await finish(target, lane)
    }

    // MARK: What there is to do

    private var length: Int64 { file.sizeBytes }

    private func range(of chunk: Int) -> Range<Int64> {
        let begin = Int64(chunk) * Int64(options.chunkBytes)
        return begin..<min(length, begin + Int64(options.chunkBytes))
    }

    /// Asks the source where it has data.
    private func plan(_ fetcher: Fetcher) async throws {
        // What lies closer together than this is fetched in one go: a request costs more than so many zeroes.
        data = try await fetcher.data(gap: 16 << 10, expecting: length)
        wanted = ChunkSet(capacity: chunkCount)
        for extent in data where extent.lowerBound < length {
            let last = (min(extent.upperBound, length) - 1) / Int64(options.chunkBytes)
            for chunk in Int(extent.lowerBound / Int64(options.chunkBytes))...Int(last) { wanted.insert(chunk) }
        }
        count()
    }

    /// What of a chunk is to be fetched, in whole blocks.
    private func segments(of chunk: Int) -> [Range<Int64>] {
        let range = range(of: chunk)
        if whole.contains(chunk) { return [range] }
        var low = 0
        var high = data.count
        while low < high {
            let middle = (low + high) / 2
            if data[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        var segments: [Range<Int64>] = []
        while low < data.count, data[low].lowerBound < range.upperBound {
            segments.append(data[low].clamped(to: range))
            low += 1
        }
        return segments
    }

    private func bytes(of chunk: Int) -> Int64 { segments(of: chunk).reduce(0) { $0 + $1.upperBound - $1.lowerBound } }

    /// Takes the figures anew from what is known.
    private func count() {
        var (total, done, seen): (Int64, Int64, Int64) = (0, 0, 0)
        var chunk = wanted.first(from: 0, notIn: ChunkSet(capacity: chunkCount))
        let none = ChunkSet(capacity: chunkCount)
        while let now = chunk {
            let bytes = bytes(of: now)
            total += bytes
            if written.contains(now) { done += bytes }
            if verified.contains(now) { seen += bytes }
            chunk = wanted.first(from: now + 1, notIn: none)
        }
        meter.withLock {
            $0.bytesTotal = total
            $0.bytesDone = done
            $0.bytesVerified = seen
        }
    }

    /// Takes over what an earlier copy left, as far as it is known or found to equal the source.
    private func takeUp(_ journal: CopyJournal?, _ target: TargetFile, _ lane: Lane, _ source: CopySource) async throws {
        let block = Int64(AlignedBuffer.alignment)
        let working = (length + block - 1) / block * block
        guard var known = journal else {
            let empty = self.journal(of: ChunkSet(capacity: chunkCount), isComplete: false)
            let path = journalPath
            try await lane.run {
                unlink(path)
                try target.setLength(0)
                try target.setLength(working)
                try empty.write(to: path)
            }
            isTakenUp = true
            return
        }
        meter.withLock { $0.bytesFetched = known.fetchedBytes }
        known.done.formIntersection(wanted)
        written = known.done
        let (wanted, done, chunkBytes, chunkCount, length) = (wanted, known.done, options.chunkBytes, chunkCount, length)
        // What stands beyond the checkpoint, and what should be a hole.
        let candidates = try await lane.run {
            try target.setLength(working)
            var candidates: [Int] = []
            for chunk in 0..<chunkCount where !done.contains(chunk) {
                let begin = Int64(chunk) * Int64(chunkBytes)
                let range = begin..<min(working, begin + Int64(chunkBytes))
                guard target.hasData(range) else { continue }
                if wanted.contains(chunk) { candidates.append(chunk) } else { try target.clear(range) }
            }
            return candidates
        }
        for start in stride(from: 0, to: candidates.count, by: Self.batch) {
            try Task.checkCancellation()
            let chunks = Array(candidates[start..<min(candidates.count, start + Self.batch)])
            async let theirs = digests(of: source, Self.runs(chunks))
            let ours = try await lane.run { try Self.digests(target, chunks, chunkBytes: chunkBytes, length: length) }
            for (chunk, pair) in zip(chunks, zip(ours, try await theirs)) {
                let bytes = bytes(of: chunk)
                // It came over the wire, and the journal does not know of it.
                meter.withLock { $0.bytesFetched += bytes }
                guard pair.0 == pair.1 else { continue }
                written.insert(chunk)
                verified.insert(chunk)
                meter.withLock { $0.bytesCompared += bytes }
            }
        }
        isTakenUp = true
        count()
    }

    // MARK: One pass over what is missing

    private static let batch = 16

    /// Fetches what is missing and compares what was not compared, until both are done. Returns the chunks that differ.
    private func pass(
        _ source: CopySource, _ target: TargetFile, _ lane: Lane, _ first: Fetcher, _ switchboard: Switchboard
    ) async throws -> [Int] {
        cursor = 0
        differing = []
        pending = options.verifies ? chunks(in: written, notIn: verified) : []
        pendingHead = 0
        let missing = wanted.count - written.count
        let count = max(1, min(options.connections, missing / 4))
        fetchers = count
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                group.addTask {
                    let fetcher =
                        try await number == 0
                        ? first : Fetcher.connect(source.server, self.file, chunkBytes: self.options.chunkBytes, switchboard)
                    try await self.fetch(fetcher, target)
                }
            }
            if options.verifies {
                for _ in 0..<2 { group.addTask { try await self.verify(source, target) } }
            }
            group.addTask { try await self.keepCheckpoints(target, lane) }
            do {
                while try await group.next() != nil {}
            } catch {
                // Whoever waits for the peer would wait on.
                switchboard.abort()
                throw error
            }
        }
        if options.verifies { try await verifyHoles(source, target, lane) }
        return differing.sorted()
    }

    private func chunks(in set: ChunkSet, notIn other: ChunkSet) -> [Int] {
        var result: [Int] = []
        var next = set.first(from: 0, notIn: other)
        while let chunk = next {
            result.append(chunk)
            next = set.first(from: chunk + 1, notIn: other)
        }
        return result
    }

    private func fetch(_ fetcher: Fetcher, _ target: TargetFile) async throws {
        defer {
            fetchers -= 1
            if fetchers == 0, written.count == wanted.count { noteFetched() }
            bell.ring()
        }
        while let chunk = wanted.first(from: cursor, notIn: written) {
            cursor = chunk + 1
            let segments = segments(of: chunk)
            let bytes = segments.reduce(0) { $0 + $1.upperBound - $1.lowerBound }
            await budget.take(Int(bytes))
            try Task.checkCancellation()
            try await fetcher.fetch(segments, into: target)
            written.insert(chunk)
            meter.withLock {
                $0.bytesDone += bytes
                $0.bytesFetched += bytes
            }
            if options.verifies {
                pending.append(chunk)
                if pending.count - pendingHead >= Self.batch { bell.ring() }
            }
        }
    }

    private func noteFetched() { fetched.withLock { if $0 == nil { $0 = .now } } }

    private func verify(_ source: CopySource, _ target: TargetFile) async throws {
        let lane = Lane("verify")
        let (chunkBytes, length) = (options.chunkBytes, length)
        while true {
            let rings = bell.rings
            let left = pending.count - pendingHead
            guard left >= Self.batch || (left > 0 && fetchers == 0) else {
                if fetchers == 0 { return }
                await bell.wait(after: rings, until: .now.advanced(by: .seconds(1)))
                try Task.checkCancellation()
                continue
            }
            let chunks = pending[pendingHead..<min(pending.count, pendingHead + Self.batch)].sorted()
            pendingHead += chunks.count
            async let theirs = digests(of: source, Self.runs(chunks))
            let ours = try await lane.run { try Self.digests(target, chunks, chunkBytes: chunkBytes, length: length) }
            for (chunk, pair) in zip(chunks, zip(ours, try await theirs)) {
                if let digest = pair.1, digest == pair.0 {
                    verified.insert(chunk)
                    let bytes = bytes(of: chunk)
                    meter.withLock { $0.bytesVerified += bytes }
                } else {
                    differing.append(chunk)
                }
            }
        }
    }

    /// The source must call holes what was taken for holes.
    private func verifyHoles(_ source: CopySource, _ target: TargetFile, _ lane: Lane) async throws {
        for run in wanted.gaps(atMost: 16_384) {
            try Task.checkCancellation()
            let digests = try await digests(of: source, [run])
            for (chunk, digest) in zip(run, digests) where digest != nil { differing.append(chunk) }
        }
    }

    /// The source's digests, one for each chunk of the runs: none may be missing, or its chunk would count as compared.
    private func digests(of source: CopySource, _ runs: [Range<Int>]) async throws -> [Digest?] {
        let digests = try await source.digests(file.name, options.chunkBytes, runs)
        guard digests.count == runs.reduce(0, { $0 + $1.count }) else {
            throw AgentProblem(
                .failed, .agentError, "the source's agent gave another number of digests of \(file.name) than was asked for")
        }
        return digests
    }

    private func repair(_ bad: [Int], _ repairs: inout Int) throws {
        let places = bad.prefix(8).map { "\(Int64($0) * Int64(options.chunkBytes))" }.joined(separator: ", ")
        let more = bad.count > 8 ? " and \(bad.count - 8) more" : ""
        let chunks = bad.count == 1 ? "1 chunk" : "\(bad.count) chunks"
        let what = "\(chunks) of \(options.chunkBytes >> 10) KiB of \(file.name), at byte \(places)\(more)"
        guard repairs < options.repairs else {
            throw AgentProblem(
                .failed, .verifyFailed,
                "\(what), still differ\(bad.count == 1 ? "s" : "") from the source after being copied again \(repairs) times: look at the disks and memory of both hosts"
            )
        }
        repairs += 1
        note(Reason(.verifyFailed, "\(what), differed from the source and \(bad.count == 1 ? "is" : "are") copied again"))
        for chunk in bad {
            wanted.insert(chunk)
            written.remove(chunk)
            verified.remove(chunk)
            whole.insert(chunk)
        }
        count()
        meter.withLock { $0.chunksRepaired += Int64(bad.count) }
    }

    /// Digests of what stands on the target, read back.
    private static func digests(_ target: TargetFile, _ chunks: [Int], chunkBytes: Int, length: Int64) throws -> [Digest] {
        let buffer = AlignedBuffer(count: chunkBytes)
        let block = Int64(AlignedBuffer.alignment)
        return try chunks.map { chunk in
            let begin = Int64(chunk) * Int64(chunkBytes)
            let count = min(length - begin, Int64(chunkBytes))
            let whole = (count + block - 1) / block * block
            try target.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(whole)]), at: begin)
            return Digest(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.bytes)[..<Int(count)]))
        }
    }

    /// Ascending numbers as runs.
    private static func runs(_ chunks: [Int]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for chunk in chunks {
            if let last = runs.last, last.upperBound == chunk {
                runs[runs.count - 1] = last.lowerBound..<chunk + 1
            } else {
                runs.append(chunk..<chunk + 1)
            }
        }
        return runs
    }

    // MARK: Checkpoints

    private func journal(of done: ChunkSet, isComplete: Bool) -> CopyJournal {
        CopyJournal(
            identity: file.identity, sizeBytes: file.sizeBytes, chunkBytes: options.chunkBytes, done: done,
            fetchedBytes: figures.bytesFetched, isComplete: isComplete)
    }

    private func keepCheckpoints(_ target: TargetFile, _ lane: Lane) async throws {
        var last = written
        var letGo = verified
        while fetchers > 0 {
            let end = ContinuousClock.now.advanced(by: options.checkpoint)
            while fetchers > 0, ContinuousClock.now < end {
                let rings = bell.rings
                if fetchers > 0 { await bell.wait(after: rings, until: end) }
                try Task.checkCancellation()
            }
            guard written != last else { continue }
            last = written
            // Taken before the flush: what is written during it counts the next time.
            let journal = journal(of: written, isComplete: false)
            let path = journalPath
            let read = chunks(in: verified, notIn: letGo).map(range(of:))
            letGo = verified
            try await lane.run {
                try target.flush()
                try journal.write(to: path)
                // Nobody looks at them again.
                for range in read { target.letGo(range) }
            }
        }
    }

    private func finish(_ target: TargetFile, _ lane: Lane) async throws {
        let journal = journal(of: written, isComplete: true)
        let (path, length) = (journalPath, length)
        try await lane.run {
            try target.setLength(length)
            try target.flush()
            try journal.write(to: path)
            target.letGo(0..<length)
        }
        isFinished = true
        noteFetched()
    }
}
