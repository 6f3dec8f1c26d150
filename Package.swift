// swift-tools-version: 6.2
import PackageDescription

/// Swift 6 language mode with explicit imports everywhere: what a module uses is what it names.
let house: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let grdbSQLite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let hummingbirdTesting = Target.Dependency.product(name: "HummingbirdTesting", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioFoundation = Target.Dependency.product(name: "NIOFoundationCompat", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let swiftASN1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

func room(_ name: String, path: String? = nil, exclude: [String] = [], _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: path, exclude: exclude, swiftSettings: house)
}

func program(_ name: String, path: String? = nil, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, path: path, swiftSettings: house)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: house)
}

let package = Package(
    name: "godwit",
    products: [
        .executable(name: "godwit", targets: ["godwit"]),
        .executable(name: "godwit-controller", targets: ["godwit-controller"]),
        .executable(name: "godwit-agent", targets: ["godwit-agent"]),
        .executable(name: "godwit-worker", targets: ["godwit-worker"]),
        .executable(name: "godwit-guard", targets: ["godwit-guard"]),
        .executable(name: "simulate", targets: ["simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        // Without traits: with Hummingbird's default ones SwiftPM rebuilds it at about every other planning.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        room("Fleet"),
        room("Failpoints"),
        room("Placement", ["Fleet", "Convergence"]),
        room("Convergence", ["Fleet"]),
        room("QMP", ["Failpoints", logging]),
        room("SQL", path: "Sources/SQL/Interface"),
        room("SQLite", path: "Sources/SQL/SQLite", ["SQL", grdb, grdbSQLite]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        room("PostgreSQL", path: "Sources/SQL/PostgreSQL", ["SQL", "CLibPQ"]),
        room("Databases", path: "Sources/SQL/Databases", ["SQL", "SQLite", "PostgreSQL"]),
        room("Recording", path: "Sources/SQL/Recording", ["SQL"]),
        .target(name: "CSchema", path: "schema", exclude: ["sqlite", "postgres"]),
        room("Store", ["Failpoints", "Fleet", "SQL", "CSchema", crypto, logging]),
        room("StoreCopy", ["SQL", "Store", crypto]),
        room("Identity", [x509, crypto, swiftASN1]),
        room("AgentAPI", ["Fleet", asyncHTTPClient, nioCore, nioPosix, nioFoundation, nioHTTP1, nioSSL, logging]),
        .systemLibrary(name: "CLibNBD", pkgConfig: "libnbd", providers: [.apt(["libnbd-dev"])]),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        room("Hypervisor", exclude: ["firmware.asm"], ["Failpoints", "Fleet", "QMP", "AgentAPI", "CXXHash", subprocess, logging]),
        room("Copying", ["Failpoints", "Fleet", "AgentAPI", "Hypervisor", "CLibNBD"]),
        room("Measuring", ["Fleet", "QMP", "AgentAPI", "Hypervisor"]),
        room("Sharing", ["Failpoints", "Fleet", "AgentAPI", "Hypervisor"]),
        room("Attempts", ["Failpoints", "Fleet", "Convergence", "AgentAPI", "Hypervisor", "Sharing"]),
        room("Guarding", ["Failpoints", "Fleet", "AgentAPI", "Hypervisor"]),
        room("AgentSettings", ["Fleet", "AgentAPI", "Hypervisor", yams]),
        room(
            "Agent",
            [
                "Failpoints", "Fleet", "Convergence", "QMP", "AgentAPI", "Hypervisor", "Copying", "Measuring", "Sharing", "Attempts",
                "Guarding",
                logging,
            ]),
        room(
            "AgentHTTP",
            [
                "Failpoints", "Fleet", "AgentAPI", "Hypervisor", "Agent", hummingbird, hummingbirdTLS, nioCore, nioFoundation, nioSSL,
                swiftASN1, x509,
                logging,
            ]),
        room("Client", ["Fleet", asyncHTTPClient, nioCore, nioPosix, nioFoundation, nioHTTP1, nioSSL]),
        room("APIDocument"),
        room("Diagnosis", ["Fleet", "AgentAPI"]),
        room(
            "Controller",
            [
                "Fleet", "Placement", "Diagnosis", "Store", "APIDocument", "AgentAPI", "Client", crypto, hummingbird, hummingbirdTLS,
                nioCore, nioFoundation, nioSSL,
                serviceLifecycle, logging,
            ]),
        room("Engine", path: "workers/Engine", ["Failpoints", "Fleet", "Store", "AgentAPI", logging]),
        room("Steps", path: "workers/Steps", ["Fleet", "Placement", "Store", "AgentAPI", "Engine", logging]),
        room("Live", path: "workers/Live", ["Fleet", "Store", "AgentAPI", "Engine", "Steps", logging]),
        room("Cold", path: "workers/Cold", ["Fleet", "Store", "AgentAPI", "Engine", "Steps"]),
        room("Rescue", path: "workers/Rescue", ["Fleet", "Store", "AgentAPI", "Engine", "Steps", logging]),
        room("Output", ["Fleet", "Client", argumentParser, yams]),
        room("LocalFleet", ["Fleet", "Client", "Identity", "Output", subprocess, systemPackage, unixSignals]),
        program(
            "godwit",
            [
                "Failpoints", "Fleet", "Client", "Identity", "Output", "LocalFleet", "SQL", "Databases", "Store", "StoreCopy",
                argumentParser, yams,
            ]),
        program(
            "godwit-controller",
            [
                "Controller", "Client", "Fleet", "SQL", "Databases", "Store", "AgentAPI", argumentParser, nioCore, nioSSL, serviceLifecycle,
                unixSignals, logging,
            ]),
        program(
            "godwit-agent",
            [
                "Hypervisor", "Agent", "AgentAPI", "AgentHTTP", "AgentSettings", "Guarding", "Fleet", argumentParser, serviceLifecycle,
                unixSignals,
                logging,
            ]),
        program("godwit-guard", ["Guarding", "Hypervisor", "AgentAPI", "AgentSettings", "Fleet", argumentParser]),
        program(
            "godwit-worker", path: "workers/godwit-worker",
            [
                "Engine", "Live", "Cold", "Rescue", "SQL", "Databases", "Store", "AgentAPI", argumentParser, serviceLifecycle, unixSignals,
                logging,
            ]),
        program("placement-bench", ["Fleet", "Placement"]),
        program("store-bench", ["Fleet", "SQL", "Databases", "Recording", "Store", "CLibPQ", grdbSQLite, argumentParser]),

        // What several rooms of tests stand on.
        room("Backends", path: "Tests/Backends", ["SQL", "SQLite", "PostgreSQL"]),
        room("AgentFakes", path: "Tests/AgentFakes", ["AgentAPI", "Fleet"]),
        room(
            "Staging", path: "Tests/Staging",
            ["Failpoints", "AgentFakes", "AgentAPI", "Engine", "Steps", "Store", "SQL", "SQLite", "Fleet", logging]),
        .target(name: "CSimulationLoop", path: "Tests/SimulationLoop"),
        room(
            "Simulation", path: "Tests/Simulation",
            [
                "CSimulationLoop", "AgentFakes", "Engine", "Steps", "Live", "Cold", "Rescue", "Store", "SQL", "AgentAPI", "Attempts",
                "Sharing", "Fleet", grdbSQLite, logging,
            ]),
        program("simulate", path: "Tests/simulate", ["Simulation", argumentParser]),

        tests("FleetTests", ["Fleet"]),
        tests("FailpointsTests", ["Failpoints", subprocess]),
        tests("PlacementTests", ["Placement", "Fleet"]),
        tests("DiagnosisTests", ["Diagnosis", "AgentAPI", "Fleet"]),
        tests("ConvergenceTests", ["Convergence", "Fleet"]),
        tests("QMPTests", ["QMP", subprocess]),
        tests("SQLTests", ["Backends", "Databases", "SQL", "SQLite", "PostgreSQL"]),
        tests("StoreTests", ["Backends", "Recording", "Store", "StoreCopy", "SQL", "Fleet"]),
        tests("IdentityTests", ["Identity", x509, crypto, swiftASN1, nioCore, nioSSL, subprocess]),
        tests("GuardingTests", ["Guarding", "Hypervisor", "AgentAPI", "Fleet"]),
        tests("CopyingTests", ["Copying", "Hypervisor", "AgentAPI", "Fleet", subprocess]),
        tests("CommandTests", ["godwit", "Output", "LocalFleet", "Client", "Fleet", argumentParser]),
        tests(
            "AgentTests",
            [
                "Agent", "Attempts", "Hypervisor", "Copying", "Measuring", "Sharing", "Guarding", "AgentAPI", "AgentHTTP", "Identity",
                "QMP", "Fleet",
                subprocess,
                logging, serviceLifecycle,
            ]),
        tests(
            "EngineTests",
            ["Backends", "Staging", "AgentFakes", "Steps", "Engine", "Store", "PostgreSQL", "SQL", "AgentAPI", "Fleet", logging]),
        tests("LiveTests", ["Live", "Staging", "AgentFakes", "Steps", "Engine", "Store", "AgentAPI", "Fleet"]),
        tests("ColdTests", ["Cold", "Staging", "AgentFakes", "Steps", "Engine", "Store", "AgentAPI", "Fleet"]),
        tests("RescueTests", ["Rescue", "Staging", "AgentFakes", "Steps", "Engine", "Store", "AgentAPI", "Fleet"]),
        tests(
            "ControllerTests",
            [
                "AgentFakes", "Controller", "APIDocument", "Diagnosis", "Client", "Store", "SQL", "SQLite", "Fleet", "AgentAPI",
                hummingbird, hummingbirdTesting,
                nioCore, nioPosix,
                nioFoundation, nioSSL, serviceLifecycle, subprocess, logging,
            ]),
        tests("SimulationTests", ["Simulation"]),
        tests("EndToEndTests", ["Backends", "Client", "Failpoints", "Fleet", subprocess, nioCore, nioPosix]),
    ],
    swiftLanguageModes: [.v6]
)
