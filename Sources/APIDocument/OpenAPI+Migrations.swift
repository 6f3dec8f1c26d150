/// Migrations and their history.
extension OpenAPI {
    static let migrationsPaths = #"""
            "/v1/migrations": {
              "get": {
                "operationId": "listMigrations", "summary": "Migrations, newest first unless ordered otherwise, by created_at or, only those that have ended, finished_at; page by page with before",
                "parameters": [
                  { "name": "server", "in": "query", "description": "Id or name; the id also of a server that is gone", "schema": { "type": "string" } },
                  { "name": "host", "in": "query", "description": "Id or name, as source or target", "schema": { "type": "string" } },
                  { "name": "batch", "in": "query", "description": "Id or name of a batch", "schema": { "type": "string" } },
                  { "name": "state", "in": "query", "description": "States with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "$ref": "#/components/schemas/MigrationState" } } },
                  { "name": "mode", "in": "query", "description": "Modes with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string", "enum": [ "cold", "live", "rescue" ] } } },
                  { "name": "reason", "in": "query", "description": "Codes of reasons with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string" } } },
                  { "name": "actor", "in": "query", "description": "Who submitted them", "schema": { "type": "string" } },
                  { "name": "since", "in": "query", "description": "Submitted from then on", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "until", "in": "query", "description": "Submitted before then", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 20 } },
                  { "name": "offset", "in": "query", "description": "Passed over first; dearer than before", "schema": { "type": "integer", "minimum": 0, "maximum": 10000, "default": 0 } },
                  { "$ref": "#/components/parameters/OrderBy" }, { "$ref": "#/components/parameters/Order" },
                  { "$ref": "#/components/parameters/Filter" }, { "$ref": "#/components/parameters/FilterAny" }, { "$ref": "#/components/parameters/Search" },
                  { "name": "before", "in": "query", "description": "The next of the page before", "schema": { "type": "string" } }
                ],
                "responses": {
                  "200": { "description": "One page of migrations", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/MigrationPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations/{migration}": {
              "get": {
                "operationId": "showMigration", "summary": "One migration",
                "parameters": [ { "$ref": "#/components/parameters/Migration" } ],
                "responses": {
                  "200": { "description": "The migration", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations/{migration}/history": {
              "get": {
                "operationId": "showHistory", "summary": "A migration's story, oldest first",
                "parameters": [ { "$ref": "#/components/parameters/Migration" } ],
                "responses": {
                  "200": { "description": "Its transitions", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/TransitionPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations/{migration}/events": {
              "get": {
                "operationId": "watchMigration",
                "summary": "The migration as it moves: server-sent events named migration, each with the whole migration, until it is finished",
                "parameters": [ { "$ref": "#/components/parameters/Migration" } ],
                "responses": {
                  "200": { "description": "Events; the data of each is a migration", "content": { "text/event-stream": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let migrationsSchemas = #"""
              "MigrationState": {
                "type": "string", "enum": [ "pending", "scheduling", "syncing-disk", "syncing-memory", "switching", "ready", "failed" ]
              },
              "Migration": {
                "type": "object",
                "required": [ "id", "server", "mode", "state", "direction", "attempt", "max_attempts", "source_host", "options", "cancel_requested", "actor", "priority", "created_at" ],
                "properties": {
                  "id": { "type": "string" },
                  "server": { "$ref": "#/components/schemas/Named" },
                  "mode": { "type": "string", "enum": [ "cold", "live", "rescue" ] },
                  "state": { "$ref": "#/components/schemas/MigrationState" },
                  "direction": { "type": "string", "enum": [ "forward", "rollback" ] },
                  "attempt": { "type": "integer" },
                  "max_attempts": { "type": "integer" },
                  "source_host": { "$ref": "#/components/schemas/Named" },
                  "target_host": { "$ref": "#/components/schemas/Named" },
                  "options": { "$ref": "#/components/schemas/Options" },
                  "reason": { "$ref": "#/components/schemas/Reason" },
                  "cancel_requested": { "type": "boolean" },
                  "awaiting": { "type": "string" },
                  "progress": { "$ref": "#/components/schemas/Progress" },
                  "blackout": { "$ref": "#/components/schemas/Blackout" },
                  "actor": { "type": "string" },
                  "priority": { "type": "integer" },
                  "created_at": { "type": "string", "format": "date-time" },
                  "finished_at": { "type": "string", "format": "date-time" },
                  "deadline_at": { "type": "string", "format": "date-time", "description": "When the attempt under way is given up" },
                  "batch": { "type": "string", "description": "Id of the batch that it was submitted in" },
                  "total_ms": { "type": "integer" }
                }
              },
              "Options": {
                "type": "object",
                "required": [ "auto_start", "confirm_host_down", "cpu_check", "skip_cpu_check", "skip_kernel_check", "enable_tls", "downtime_limit_ms", "quickly_finish", "max_downtime_ms", "auto_converge", "post_copy", "keep_dest_guest_on_failed", "eject_cdrom", "stall_timeout_s" ],
                "properties": {
                  "prefer_host": { "$ref": "#/components/schemas/Named" },
                  "max_bandwidth_mb": { "type": "integer" },
                  "auto_start": { "type": "boolean" },
                  "confirm_host_down": { "type": "boolean" },
                  "proven_by_lease": { "type": "integer", "description": "A rescue of a host that is proven dead: the number of its lease that ended for good" },
                  "cpu_check": { "type": "string", "enum": [ "exact", "features" ] },
                  "skip_cpu_check": { "type": "boolean" },
                  "skip_kernel_check": { "type": "boolean" },
                  "enable_tls": { "type": "boolean" },
                  "downtime_limit_ms": { "type": "integer" },
                  "quickly_finish": { "type": "boolean" },
                  "max_downtime_ms": { "type": "integer" },
                  "auto_converge": { "type": "boolean" },
                  "post_copy": { "type": "boolean" },
                  "multifd": { "type": "integer" },
                  "keep_dest_guest_on_failed": { "type": "boolean" },
                  "eject_cdrom": { "type": "boolean" },
                  "stall_timeout_s": { "type": "integer" },
                  "timeout_s": { "type": "integer" }
                }
              },
              "Progress": {
                "type": "object",
                "required": [ "disk_total_bytes", "disk_done_bytes", "memory_total_bytes", "memory_remaining_bytes", "memory_transferred_bytes", "rate_bytes_per_second", "dirty_rate_bytes_per_second", "round", "throttle_percent" ],
                "properties": {
                  "disk_total_bytes": { "type": "integer" },
                  "disk_done_bytes": { "type": "integer" },
                  "memory_total_bytes": { "type": "integer" },
                  "memory_remaining_bytes": { "type": "integer" },
                  "memory_transferred_bytes": { "type": "integer" },
                  "rate_bytes_per_second": { "type": "integer" },
                  "dirty_rate_bytes_per_second": { "type": "integer" },
                  "round": { "type": "integer" },
                  "throttle_percent": { "type": "integer" },
                  "eta_ms": { "type": "integer" }
                }
              },
              "Blackout": {
                "type": "object", "description": "Microseconds in which neither guest ran, by what they went to",
                "required": [ "last_pass_us", "disk_drain_us", "device_state_us", "handover_us", "resume_us", "total_us" ],
                "properties": {
                  "last_pass_us": { "type": "integer" },
                  "disk_drain_us": { "type": "integer" },
                  "device_state_us": { "type": "integer" },
                  "handover_us": { "type": "integer" },
                  "resume_us": { "type": "integer" },
                  "total_us": { "type": "integer" }
                }
              },
              "Transition": {
                "type": "object", "required": [ "sequence", "migration", "server", "mode", "at", "to", "direction", "attempt", "epoch", "source_host", "actor", "numbers" ],
                "properties": {
                  "sequence": { "type": "integer" },
                  "migration": { "type": "string" },
                  "server": { "$ref": "#/components/schemas/Named" },
                  "mode": { "type": "string", "enum": [ "cold", "live", "rescue" ] },
                  "at": { "type": "string", "format": "date-time" },
                  "from": { "$ref": "#/components/schemas/MigrationState" },
                  "to": { "$ref": "#/components/schemas/MigrationState" },
                  "direction": { "type": "string", "enum": [ "forward", "rollback" ] },
                  "attempt": { "type": "integer" },
                  "epoch": { "type": "integer" },
                  "source_host": { "$ref": "#/components/schemas/Named" },
                  "target_host": { "$ref": "#/components/schemas/Named" },
                  "actor": { "type": "string" },
                  "step": { "type": "string" },
                  "reason": { "$ref": "#/components/schemas/Reason" },
                  "numbers": { "type": "object", "additionalProperties": { "type": "integer" } },
                  "hash": { "type": "string", "description": "SHA-256 in hexadecimal over the row and the one before it of its migration; rows from before there were hashes have none" }
                }
              },
              "MigrationPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Migration" } } } },
              "TransitionPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Transition" } } } }
        """#
}
