/// The description of the API for programs (OpenAPI 3.1), as it is served. Tests hold it against the routes and the wire types.
package enum OpenAPI {
    package static let document = #"""
        {
          "openapi": "3.1.0",
          "info": {
            "title": "Godwit controller",
            "version": "1",
            "summary": "Servers, hosts and their migrations.",
            "description": "Servers and hosts are named by id or name, migrations by id or its unique beginning. Unknown fields and parameters are refused. Every refusal is a problem (RFC 9457) with a code for programs and a sentence for people.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
          },
          "security": [ { "bearer": [] } ],
          "paths": {
            "/healthz": {
              "get": {
                "operationId": "health", "summary": "Whether the controller is up", "security": [],
                "responses": { "200": { "description": "It is", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Health" } } } } }
              }
            },
            "/openapi.json": {
              "get": {
                "operationId": "openapi", "summary": "This document", "security": [],
                "responses": { "200": { "description": "This document", "content": { "application/json": { "schema": { "type": "object" } } } } }
              }
            },
            "/v1/servers": {
              "get": {
                "operationId": "listServers", "summary": "Servers, newest first",
                "parameters": [
                  { "name": "search", "in": "query", "description": "Part of a name or id", "schema": { "type": "string" } },
                  { "name": "host", "in": "query", "description": "Id or name of the host that they are on", "schema": { "type": "string" } },
                  { "name": "status", "in": "query", "schema": { "$ref": "#/components/schemas/ServerStatus" } }
                ],
                "responses": {
                  "200": { "description": "The servers", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ServerPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              },
              "post": {
                "operationId": "createServer", "summary": "Creates a server and its disks; answered when both are there",
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/CreateServer" } } } },
                "responses": {
                  "201": { "description": "The server, off", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}": {
              "get": {
                "operationId": "showServer", "summary": "One server",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "200": { "description": "The server", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              },
              "delete": {
                "operationId": "deleteServer", "summary": "Deletes a server that is off, with its disks",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "204": { "description": "Nothing of it is left" },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/start": {
              "post": {
                "operationId": "startServer", "summary": "Starts a server that is off; answered when its guest runs",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "200": { "description": "The server, running", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/stop": {
              "post": {
                "operationId": "stopServer", "summary": "Stops a running server by its power button, then by force; answered when it is off",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "requestBody": { "required": false, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/StopServer" } } } },
                "responses": {
                  "200": { "description": "The server, off", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/suspend": {
              "post": {
                "operationId": "suspendServer", "summary": "Has a running server stand still in memory; answered when its vCPUs do",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "200": { "description": "The server, suspended", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/servers/{server}/resume": {
              "post": {
                "operationId": "resumeServer", "summary": "Has a suspended server go on; answered when its guest runs",
                "parameters": [ { "$ref": "#/components/parameters/Server" } ],
                "responses": {
                  "200": { "description": "The server, running", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Server" } } } },
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
            \#(placementPaths)
            "/v1/hosts": {
              "get": {
                "operationId": "listHosts", "summary": "All hosts, by name",
                "responses": {
                  "200": { "description": "The hosts", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/HostPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              },
              "post": {
                "operationId": "registerHost", "summary": "Adds a host, or moves the host of that name to another agent address",
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/RegisterHost" } } } },
                "responses": {
                  "201": { "description": "The host", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Host" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/hosts/{host}": {
              \#(hostPatch)
              "get": {
                "operationId": "showHost", "summary": "One host",
                "parameters": [ { "$ref": "#/components/parameters/Host" } ],
                "responses": {
                  "200": { "description": "The host", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Host" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/hosts/{host}/enable": {
              "post": {
                "operationId": "enableHost", "summary": "Lets servers be placed on the host again",
                "parameters": [ { "$ref": "#/components/parameters/Host" } ],
                "responses": {
                  "200": { "description": "The host", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Host" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/hosts/{host}/disable": {
              "post": {
                "operationId": "disableHost", "summary": "Has nothing new placed on the host",
                "parameters": [ { "$ref": "#/components/parameters/Host" } ],
                "responses": {
                  "200": { "description": "The host", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Host" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations": {
              "get": {
                "operationId": "listMigrations", "summary": "Migrations, newest first",
                "parameters": [
                  { "name": "server", "in": "query", "description": "Id or name; the id also of a server that is gone", "schema": { "type": "string" } },
                  { "name": "host", "in": "query", "description": "Id or name, as source or target", "schema": { "type": "string" } },
                  { "name": "state", "in": "query", "description": "States with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "$ref": "#/components/schemas/MigrationState" } } },
                  { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 20 } },
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
            },
            "/v1/cleanups": {
              "get": {
                "operationId": "listCleanups", "summary": "What is left on hosts and will be removed",
                "responses": {
                  "200": { "description": "The cleanups", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/CleanupPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
          },
          "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "parameters": {
              "Server": { "name": "server", "in": "path", "required": true, "description": "Id or name", "schema": { "type": "string" } },
              "Host": { "name": "host", "in": "path", "required": true, "description": "Id or name", "schema": { "type": "string" } },
              "Group": { "name": "group", "in": "path", "required": true, "description": "Id or name", "schema": { "type": "string" } },
              "Migration": { "name": "migration", "in": "path", "required": true, "description": "Id or its unique beginning", "schema": { "type": "string" } }
            },
            "responses": {
              "Problem": { "description": "Refused or failed", "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } }
            },
            "schemas": {
              "Problem": {
                "type": "object", "required": [ "type", "title", "status", "detail", "code" ],
                "properties": {
                  "type": { "type": "string", "format": "uri" },
                  "title": { "type": "string" },
                  "status": { "type": "integer" },
                  "detail": { "type": "string", "description": "A sentence that names the thing and the remedy" },
                  "code": { "type": "string", "examples": [ "not-found", "busy", "invalid-request", "not-supported" ] },
                  "field": { "type": "string", "description": "The field or parameter to blame", "examples": [ "disks[1].size_bytes" ] }
                }
              },
              "Reason": {
                "type": "object", "required": [ "code", "message" ],
                "properties": { "code": { "type": "string" }, "message": { "type": "string" } }
              },
              "Named": {
                "type": "object", "required": [ "id", "name" ],
                "properties": { "id": { "type": "string" }, "name": { "type": "string", "description": "Empty when the thing is gone" } }
              },
              "Health": {
                "type": "object", "required": [ "status", "controller" ],
                "properties": { "status": { "type": "string" }, "controller": { "type": "string" } }
              },
              "ServerStatus": {
                "type": "string",
                "enum": [ "deploying", "ready", "starting", "running", "suspend", "stopping", "deleting", "start_migrate", "migrating", "live_migrating" ]
              },
              "MigrationState": {
                "type": "string", "enum": [ "pending", "scheduling", "syncing-disk", "syncing-memory", "switching", "ready", "failed" ]
              },
              "Boot": {
                "type": "object", "required": [ "kernel" ], "additionalProperties": false,
                "properties": {
                  "kernel": { "type": "string", "description": "Path on the host" },
                  "initrd": { "type": "string", "description": "Path on the host" },
                  "command_line": { "type": "string" }
                }
              },
              "CreateServer": {
                "type": "object", "required": [ "name" ], "additionalProperties": false,
                "properties": {
                  "name": { "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" },
                  "vcpus": { "type": "integer", "minimum": 1, "maximum": 255, "default": 1 },
                  "memory_mb": { "type": "integer", "minimum": 16, "maximum": 16777216, "default": 512, "description": "MiB" },
                  "cpu_model": { "type": "string", "description": "QEMU's name; pinned to a versioned one" },
                  "machine": { "type": "string", "description": "QEMU's name; pinned to a versioned one" },
                  "accelerator": { "type": "string", "enum": [ "auto", "kvm", "tcg" ], "default": "auto" },
                  "firmware": { "type": "string", "enum": [ "bios", "uefi" ], "default": "bios" },
                  "boot": { "$ref": "#/components/schemas/Boot" },
                  "disks": { "type": "array", "maxItems": 16, "items": { "$ref": "#/components/schemas/CreateDisk" } },
                  "cdrom": { "type": "string", "description": "Path on the host of an ISO image" },
                  "tpm": { "type": "string", "enum": [ "2.0" ], "description": "A trusted platform module of that version; none where left out" },
                  "nics": { "type": "array", "maxItems": 8, "items": { "$ref": "#/components/schemas/CreateNIC" } },
                  "prefer_host": { "type": "string", "description": "Id or name of the host that it must be on" },
                  "group": { "type": "string", "description": "Id or name of the server group that it shall be in" }
                }
              },
              "CreateDisk": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "size_bytes": { "type": "integer", "minimum": 1048576, "maximum": 70368744177664, "multipleOf": 512, "description": "The image's where left out" },
                  "format": { "type": "string", "enum": [ "qcow2", "raw" ], "default": "qcow2" },
                  "bus": { "type": "string", "enum": [ "virtio-blk", "virtio-scsi" ], "default": "virtio-blk" },
                  "storage": { "type": "string" },
                  "image": { "type": "string", "description": "Path on the host of an image to start from" },
                  "base": { "type": "string", "description": "Path on the host of an image to rest on, copy on write; not with image" }
                }
              },
              "CreateNIC": {
                "type": "object", "required": [ "network" ], "additionalProperties": false,
                "properties": { "network": { "type": "string" }, "mac": { "type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$" } }
              },
              "StopServer": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "grace_ms": { "type": "integer", "minimum": 0, "maximum": 600000, "default": 15000, "description": "Until its QEMU is ended; 0 at once" }
                }
              },
              "LiveMigrate": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "prefer_host": { "type": "string", "description": "Id or name of the only host to be considered" },
                  "max_bandwidth_mb": { "type": "integer", "minimum": 1, "maximum": 1000000, "description": "MB/s over disk and memory together" },
                  "skip_cpu_check": { "type": "boolean", "default": false },
                  "skip_kernel_check": { "type": "boolean", "default": false },
                  "enable_tls": { "type": "boolean", "default": false, "description": "true is refused: not supported yet" },
                  "quickly_finish": { "type": "boolean", "default": false, "description": "true is refused: not supported yet" },
                  "keep_dest_guest_on_failed": { "type": "boolean", "default": false, "description": "true is refused: not supported yet" }
                }
              },
              "RegisterHost": {
                "type": "object", "required": [ "name", "agent_url" ], "additionalProperties": false,
                "properties": {
                  "name": { "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" },
                  "agent_url": { "type": "string", "format": "uri" }
                }
              },
              "Server": {
                "type": "object",
                "required": [ "id", "name", "status", "host", "vcpus", "memory_mb", "cpu_model", "machine", "accelerator", "firmware", "disks", "nics", "epoch", "created_at" ],
                "properties": {
                  "id": { "type": "string" },
                  "name": { "type": "string" },
                  "status": { "$ref": "#/components/schemas/ServerStatus" },
                  "host": { "$ref": "#/components/schemas/Named" },
                  "vcpus": { "type": "integer" },
                  "memory_mb": { "type": "integer", "description": "MiB" },
                  "cpu_model": { "type": "string" },
                  "machine": { "type": "string" },
                  "accelerator": { "type": "string", "enum": [ "auto", "kvm", "tcg" ] },
                  "firmware": { "type": "string", "enum": [ "bios", "uefi" ] },
                  "boot": { "$ref": "#/components/schemas/Boot" },
                  "disks": { "type": "array", "items": { "$ref": "#/components/schemas/Disk" } },
                  "cdrom": { "type": "string", "description": "Path on the host of the medium; empty for an empty drive" },
                  "tpm": { "type": "string", "enum": [ "2.0" ] },
                  "nics": { "type": "array", "items": { "$ref": "#/components/schemas/NIC" } },
                  "console_log": { "type": "string", "description": "Path on the host; only where one server is shown" },
                  "epoch": { "type": "integer" },
                  "note": { "$ref": "#/components/schemas/Reason" },
                  "migration": { "type": "string", "description": "Id of its unfinished migration" },
                  "created_at": { "type": "string", "format": "date-time" }
                }
              },
              "Disk": {
                "type": "object", "required": [ "name", "size_bytes", "format", "bus", "storage" ],
                "properties": {
                  "name": { "type": "string" },
                  "size_bytes": { "type": "integer" },
                  "format": { "type": "string", "enum": [ "qcow2", "raw" ] },
                  "bus": { "type": "string", "enum": [ "virtio-blk", "virtio-scsi" ] },
                  "storage": { "type": "string" },
                  "base": { "type": "string", "description": "Name of the base image that it rests on, made of that one's content" }
                }
              },
              "NIC": {
                "type": "object", "required": [ "name", "network", "mac" ],
                "properties": { "name": { "type": "string" }, "network": { "type": "string" }, "mac": { "type": "string" } }
              },
              "Host": {
                "type": "object",
                "required": [ "id", "name", "status", "enabled", "maintenance", "vcpus_overcommit", "memory_overcommit", "inbound_slots", "outbound_slots", "agent_url", "vcpus_taken", "memory_taken_mb", "storages", "networks", "inbound_migrations", "outbound_migrations", "recent_failures", "warnings" ],
                "properties": {
                  "id": { "type": "string" },
                  "name": { "type": "string" },
                  "status": { "type": "string", "enum": [ "online", "offline" ] },
                  "enabled": { "type": "boolean", "description": "Whether anything new is placed here" },
                  "maintenance": { "type": "boolean", "description": "Nothing is placed here" },
                  "vcpus_overcommit": { "type": "number", "description": "vCPUs that may be promised for each processor" },
                  "memory_overcommit": { "type": "number", "description": "How often each byte of memory may be promised" },
                  "inbound_slots": { "type": "integer", "description": "Migrations that may be on their way in at once" },
                  "outbound_slots": { "type": "integer", "description": "Migrations that may be on their way out at once" },
                  "agent_url": { "type": "string" },
                  "architecture": { "type": "string" },
                  "cpu_model": { "type": "string" },
                  "microcode": { "type": "string" },
                  "kernel": { "type": "string" },
                  "qemu_version": { "type": "string" },
                  "machine_types": { "type": "array", "items": { "type": "string" } },
                  "accelerator": { "type": "string", "enum": [ "auto", "kvm", "tcg" ] },
                  "cpus": { "type": "integer" },
                  "vcpus_taken": { "type": "integer" },
                  "memory_total_mb": { "type": "integer", "description": "MiB" },
                  "memory_taken_mb": { "type": "integer", "description": "MiB" },
                  "storages": { "type": "array", "items": { "$ref": "#/components/schemas/Storage" } },
                  "networks": { "type": "array", "items": { "$ref": "#/components/schemas/Network" } },
                  "guests": { "type": "integer" },
                  "inbound_migrations": { "type": "integer" },
                  "outbound_migrations": { "type": "integer" },
                  "recent_failures": { "type": "integer", "description": "Within the last hour" },
                  "warnings": { "type": "array", "items": { "type": "string" } }
                }
              },
              "Migration": {
                "type": "object",
                "required": [ "id", "server", "mode", "state", "direction", "attempt", "max_attempts", "source_host", "options", "actor", "created_at" ],
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
                  "awaiting": { "type": "string" },
                  "progress": { "$ref": "#/components/schemas/Progress" },
                  "blackout": { "$ref": "#/components/schemas/Blackout" },
                  "actor": { "type": "string" },
                  "created_at": { "type": "string", "format": "date-time" },
                  "finished_at": { "type": "string", "format": "date-time" },
                  "total_ms": { "type": "integer" }
                }
              },
              "Options": {
                "type": "object", "required": [ "skip_cpu_check", "skip_kernel_check", "downtime_limit_ms" ],
                "properties": {
                  "prefer_host": { "$ref": "#/components/schemas/Named" },
                  "max_bandwidth_mb": { "type": "integer" },
                  "skip_cpu_check": { "type": "boolean" },
                  "skip_kernel_check": { "type": "boolean" },
                  "downtime_limit_ms": { "type": "integer" }
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
                "type": "object", "required": [ "sequence", "at", "to", "direction", "attempt", "epoch", "source_host", "actor", "numbers" ],
                "properties": {
                  "sequence": { "type": "integer" },
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
                  "numbers": { "type": "object", "additionalProperties": { "type": "integer" } }
                }
              },
              "Cleanup": {
                "type": "object", "required": [ "id", "kind", "migration", "server", "host", "attempt", "tries", "due_at" ],
                "properties": {
                  "id": { "type": "string" },
                  "kind": { "type": "string", "enum": [ "source", "target" ] },
                  "migration": { "type": "string" },
                  "server": { "$ref": "#/components/schemas/Named" },
                  "host": { "$ref": "#/components/schemas/Named" },
                  "attempt": { "type": "integer" },
                  "tries": { "type": "integer" },
                  "due_at": { "type": "string", "format": "date-time" },
                  "last_error": { "type": "string" }
                }
              },
              \#(placementSchemas)
              "ServerPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Server" } } } },
              "HostPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Host" } } } },
              "MigrationPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Migration" } } } },
              "TransitionPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Transition" } } } },
              "CleanupPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Cleanup" } } } },
              "Page": {
                "type": "object", "required": [ "items" ],
                "properties": {
                  "items": { "type": "array" },
                  "total": { "type": "integer", "description": "On all pages, where that is cheap to know" },
                  "next": { "type": "string", "description": "To be given as before for the next page; absent on the last" }
                }
              }
            }
          }
        }

        """#
}
