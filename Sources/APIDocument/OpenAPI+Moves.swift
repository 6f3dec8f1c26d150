/// What is asked of a server's migration.
extension OpenAPI {
    static let movesPaths = #"""
            "/v1/servers/{server}/migrate": {
              "post": {
                "operationId": "migrate", "summary": "Accepts a cold migration of a server that is off, or with rescue_mode one away from a host that is down; workers carry it out",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "requestBody": { "required": false, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migrate" } } } },
                "responses": {
                  "202": { "description": "The migration, pending", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/live-migrate": {
              "post": {
                "operationId": "liveMigrate", "summary": "Accepts a live migration of a running server; workers carry it out",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "requestBody": { "required": false, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/LiveMigrate" } } } },
                "responses": {
                  "202": { "description": "The migration, pending", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/cancel-live-migrate": {
              "post": {
                "operationId": "cancelLiveMigrate", "summary": "Asks the server's live migration to end, in whatever state it is; the server runs on where it was",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "202": { "description": "The migration as it is now; it is over when it is failed (cancelled)", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/set-live-migrate-params": {
              "post": {
                "operationId": "setLiveMigrateParams", "summary": "Changes the migration that the server is in, in flight; what is left out stays",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/SetLiveMigrateParams" } } } },
                "responses": {
                  "200": { "description": "The migration with its options as they are now", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations/{migration}/cancel": {
              "post": {
                "operationId": "cancelMigration", "summary": "Asks a migration of any mode to end, in whatever state it is",
                "parameters": [ { "$ref": "#/components/parameters/Migration" } ],
                "responses": {
                  "202": { "description": "The migration as it is now; it is over when it is failed (cancelled), or ready where this came too late", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Migration" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let movesSchemas = #"""
              "Migrate": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "prefer_host": { "type": "string", "description": "Id or name of the only host to be considered" },
                  "auto_start": { "type": "boolean", "default": false, "description": "The server is started on its new host" },
                  "rescue_mode": { "type": "boolean", "default": false, "description": "Only the placement moves: the source host is down and every disk is on a shared storage" },
                  "confirm_host_down": { "type": "boolean", "default": false, "description": "Somebody vouches that the source host is off; a rescue needs it" },
                  "max_bandwidth_mb": { "type": "integer", "minimum": 1, "maximum": 1000000, "description": "Cold only: MB/s (10^6 bytes a second) over all disks; no limit where left out" },
                  "enable_tls": { "type": "boolean", "default": false, "description": "Cold only: disks travel under TLS" },
                  "stall_timeout_s": { "type": "integer", "minimum": 5, "maximum": 86400, "default": 60, "description": "Cold only: seconds in which no byte moves until an attempt is given up" },
                  "timeout_s": { "type": "integer", "minimum": 1, "maximum": 2592000, "description": "Seconds that an attempt may take; by what there is to move where left out" },
                  "priority": { "type": "integer", "minimum": -100, "maximum": 100, "default": 0, "description": "Of those that wait, higher ones begin first" }
                }
              },
              "LiveMigrate": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "prefer_host": { "type": "string", "description": "Id or name of the only host to be considered" },
                  "max_bandwidth_mb": { "type": "integer", "minimum": 1, "maximum": 1000000, "description": "MB/s (10^6 bytes a second) over disk and memory together; no limit where left out" },
                  "cpu_check": { "type": "string", "enum": [ "exact", "features" ], "default": "exact", "description": "exact: same CPU model and microcode; features: the target offers all that the guest was given" },
                  "skip_cpu_check": { "type": "boolean", "default": false },
                  "skip_kernel_check": { "type": "boolean", "default": false },
                  "enable_tls": { "type": "boolean", "default": false, "description": "Disks and memory travel under TLS" },
                  "quickly_finish": { "type": "boolean", "default": false, "description": "Where memory does not converge, the downtime limit is raised" },
                  "max_downtime_ms": { "type": "integer", "minimum": 1, "maximum": 2000000, "description": "The highest downtime limit; 300, or 5000 with quickly_finish, where left out" },
                  "auto_converge": { "type": "boolean", "default": true, "description": "The guest is slowed down when it dirties memory faster than that is sent" },
                  "post_copy": { "type": "boolean", "default": false, "description": "Where memory does not converge, the target runs the guest and fetches the rest" },
                  "multifd": { "type": "integer", "minimum": 2, "maximum": 16, "description": "Parallel memory streams; not together with post_copy" },
                  "keep_dest_guest_on_failed": { "type": "boolean", "default": false, "description": "What a failed attempt left on its target is kept" },
                  "eject_cdrom": { "type": "boolean", "default": false, "description": "The medium is taken out of the cdrom first" },
                  "stall_timeout_s": { "type": "integer", "minimum": 5, "maximum": 86400, "default": 60, "description": "Seconds in which no byte moves until an attempt is given up" },
                  "timeout_s": { "type": "integer", "minimum": 1, "maximum": 2592000, "description": "Seconds that an attempt may take; by what there is to move where left out" },
                  "priority": { "type": "integer", "minimum": -100, "maximum": 100, "default": 0, "description": "Of those that wait, higher ones begin first" }
                }
              },
              "SetLiveMigrateParams": {
                "type": "object", "additionalProperties": false, "minProperties": 1,
                "properties": {
                  "max_bandwidth_mb": { "type": "integer", "minimum": 0, "maximum": 1000000, "description": "MB/s over disk and memory together; 0 lifts the limit" },
                  "downtime_limit_ms": { "type": "integer", "minimum": 1, "maximum": 2000000, "description": "Live only: the downtime limit, at once and for the rest of the migration" },
                  "confirm_host_down": { "type": "boolean", "default": false, "description": "Somebody vouches that the source host is off for good: a migration that waits for it ends, and the memory that only that host has is lost; for a post-copy, and for a server whose disks are all shared" }
                }
              }
        """#
}
