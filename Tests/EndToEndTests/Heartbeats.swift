import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// Listens to a guest's heartbeats from outside: the only place from which a blackout can be seen.
final class Heartbeats: Sendable {
    private let arrivals = Mutex<[ContinuousClock.Instant]>([])
    private let channel: any Channel

    private init(channel: any Channel) {
        self.channel = channel
    }

    /// Listens on a port of the kernel's choice for as long as the body runs.
    static func listening<T: Sendable>(_ body: @Sendable (Heartbeats) async throws -> T) async throws -> T {
        let channel = try await DatagramBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .bind(host: "127.0.0.1", port: 0).get()
        let beats = Heartbeats(channel: channel)
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(Arrival { now in beats.arrivals.withLock { $0.append(now) } })
        }.get()
        do {
            let value = try await body(beats)
            try await channel.close()
            return value
        } catch {
            try await channel.close()
            throw error
        }
    }

    var port: Int { channel.localAddress?.port ?? 0 }

    var count: Int { arrivals.withLock { $0.count } }

    /// The longest time between two beats, from the given moment on; counts the time since the last one.
    func longestGap(since start: ContinuousClock.Instant) -> Duration {
        let times = arrivals.withLock { $0 }.filter { $0 >= start } + [.now]
        return zip(times, times.dropFirst()).map { $0.duration(to: $1) }.max() ?? .zero
    }

    private final class Arrival: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private let note: (ContinuousClock.Instant) -> Void

        init(note: @escaping (ContinuousClock.Instant) -> Void) {
            self.note = note
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            note(.now)
        }
    }
}
