package import Fleet

/// What becomes of the medium in the cdrom of a server that moves.
package enum Medium {
    /// The server as its target is to have it: without the medium, where the migration takes that out.
    package static func described(_ server: Server, after options: MigrationOptions) -> GuestDescription {
        var description = server.description
        if options.ejectCDROM, description.cdrom != nil { description.cdrom = "" }
        return description
    }

    /// The path of the medium that the migration takes out; nil when there is none to take.
    package static func ejected(_ server: Server, _ options: MigrationOptions) -> String? {
        guard options.ejectCDROM, let medium = server.description.cdrom, !medium.isEmpty else { return nil }
        return medium
    }
}
