/// What is written to the store on a migration's way.
package enum StoreWrite: String, CaseIterable, Sendable {
    case submit
    case submitBatch = "submit-batch"
    case claim
    case apply
    case claimCleanup = "claim-cleanup"
    case finishCleanup = "finish-cleanup"
    case requestCancel = "request-cancel"
}

/// Orders to an agent that change something.
package enum AgentOrder: String, CaseIterable, Sendable {
    case define
    case start
    case stop
    case pause
    case setCDROM = "set-cdrom"
    case delete
    case prove
    case adopt
    case prepare
    case mirror
    case sendMemory = "send-memory"
    case handOver = "hand-over"
    case abort
    case refuse
    case discard
    case lend
    case yield
    case takeBack = "take-back"
    case receive
    case deleteKept = "delete-kept"
    case obeyGuard = "obey-guard"
}

/// What an agent's record of a server says after a change that it did not say before.
package enum RecordedFact: String, CaseIterable, Sendable {
    case handedOver = "handed-over"
    case owned
    case refused
    case aborted
    case takenBack = "taken-back"
    case forgotten
    case lost
    case adopting
    case adopted
    case awaited
    case incomingBegun = "incoming-begun"
    case incomingPhase = "incoming-phase"
    case incomingDetail = "incoming-detail"
    case outgoingBegun = "outgoing-begun"
    case outgoingMirrored = "outgoing-mirrored"
    case leave
    case outgoingMemory = "outgoing-memory"
    case outgoingConfirmed = "outgoing-confirmed"
    case unwinding
    case outgoingEnded = "outgoing-ended"
    case postCopy = "post-copy"
    case outgoingDetail = "outgoing-detail"
    case lent
    case loanPhase = "loan-phase"
    case loanDetail = "loan-detail"
    case kept
    case desired
    case described
    case epoch
    case other
}

/// Small files besides the records of servers that an agent, or its guard, writes durably.
package enum DurableContent: String, CaseIterable, Sendable {
    case copyJournal = "copy-journal"
    case ownerRecord = "owner-record"
    case storageProof = "storage-proof"
    case guestMark = "guest-mark"
    case pid
    case keptNote = "kept-note"
    case tpmState = "tpm-state"
    case leaseBook = "lease-book"
    case shutdownNote = "shutdown-note"
    case probe
    case address
    case nvram
    case record
    case slotLayout = "slot-layout"
}

/// Commands that change something in QEMU or in a storage daemon (QMP).
package enum MonitorCommand: String, CaseIterable, Sendable {
    case announceSelf = "announce-self"
    case blockExportAdd = "block-export-add"
    case blockExportDelete = "block-export-del"
    case blockJobCancel = "block-job-cancel"
    case blockJobSetSpeed = "block-job-set-speed"
    case blockdevAdd = "blockdev-add"
    case blockdevCloseTray = "blockdev-close-tray"
    case blockdevDelete = "blockdev-del"
    case blockdevInsertMedium = "blockdev-insert-medium"
    case blockdevMirror = "blockdev-mirror"
    case blockdevOpenTray = "blockdev-open-tray"
    case blockdevRemoveMedium = "blockdev-remove-medium"
    case calculateDirtyRate = "calc-dirty-rate"
    case closeDescriptor = "closefd"
    case cont
    case getDescriptor = "getfd"
    case jobDismiss = "job-dismiss"
    case migrate
    case migrateCancel = "migrate_cancel"
    case migrateContinue = "migrate-continue"
    case migrateIncoming = "migrate-incoming"
    case migratePause = "migrate-pause"
    case migrateRecover = "migrate-recover"
    case migrateSetCapabilities = "migrate-set-capabilities"
    case migrateSetParameters = "migrate-set-parameters"
    case migrateStartPostCopy = "migrate-start-postcopy"
    case nbdServerStart = "nbd-server-start"
    case nbdServerStop = "nbd-server-stop"
    case objectAdd = "object-add"
    case objectDelete = "object-del"
    case quit
    case setLink = "set_link"
    case stop
    case systemPowerdown = "system_powerdown"
    case yank
    /// One that is missing here: nothing on a migration's way may be.
    case other
}
