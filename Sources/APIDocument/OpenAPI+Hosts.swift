/// Hosts.
extension OpenAPI {
    static let hostsPaths = #"""
            "/v1/hosts": {
              "get": {
                "operationId": "listHosts", "summary": "Hosts, by name unless ordered otherwise; all of them without a limit",
                "parameters": [
                  { "$ref": "#/components/parameters/Limit" }, { "$ref": "#/components/parameters/Offset" }, { "$ref": "#/components/parameters/OrderBy" }, { "$ref": "#/components/parameters/Order" },
                  { "$ref": "#/components/parameters/Filter" }, { "$ref": "#/components/parameters/FilterAny" }, { "$ref": "#/components/parameters/Search" },
                  { "name": "host_status", "in": "query", "description": "online, offline", "schema": { "type": "string" } },
                  { "name": "hypervisor", "in": "query", "description": "Every host has kvm: for any other word the list is empty", "schema": { "type": "string" } }
                ],
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
            "/v1/hosts/{host}/auto-migrate-on-host-down": {
              "post": {
                "operationId": "autoMigrateOnHostDown", "summary": "Whether the host's servers on shared storage are started elsewhere when it is proven dead",
                "parameters": [ { "$ref": "#/components/parameters/Host" } ],
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/AutoMigrate" } } } },
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
            }
        """#

    static let hostsSchemas = #"""
              "RegisterHost": {
                "type": "object", "required": [ "name", "agent_url" ], "additionalProperties": false,
                "properties": {
                  "name": { "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" },
                  "agent_url": { "type": "string", "format": "uri" }
                }
              },
              "AutoMigrate": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "auto_migrate_on_host_down": { "type": "string", "enum": [ "enable", "disable" ], "description": "While it is enabled the host's guard ends the guests of those servers when no controller has heard of the host for the time of a lease" },
                  "auto_migrate_on_host_shutdown": { "type": "string", "enum": [ "enable", "disable" ], "description": "Also after an orderly shutdown; needs the other" }
                }
              },
              "Host": {
                "type": "object",
                "required": [ "id", "name", "status", "host_status", "enabled", "maintenance", "auto_migrate_on_host_down", "auto_migrate_on_host_shutdown", "guard", "vcpus_overcommit", "memory_overcommit", "inbound_slots", "outbound_slots", "agent_url", "vcpus_taken", "memory_taken_mb", "storages", "networks", "inbound_migrations", "outbound_migrations", "recent_failures", "warnings" ],
                "properties": {
                  "id": { "type": "string" },
                  "name": { "type": "string" },
                  "status": { "type": "string", "enum": [ "init", "running", "maintaining" ], "description": "init until its agent has answered once" },
                  "host_status": { "type": "string", "enum": [ "online", "offline" ], "description": "Whether its agent answered lately" },
                  "enabled": { "type": "boolean", "description": "Whether anything new is placed here" },
                  "maintenance": { "type": "boolean", "description": "Nothing is placed here" },
                  "auto_migrate_on_host_down": { "type": "boolean", "description": "Whether its servers on shared storage are started elsewhere when it is proven dead" },
                  "auto_migrate_on_host_shutdown": { "type": "boolean", "description": "Also after an orderly shutdown" },
                  "guard": { "type": "string", "enum": [ "absent", "serving", "leaving", "confirmed", "lease-over" ], "description": "How its guard stood when the agent answered last. Only with confirmed can the host's death be proven; lease-over: nothing of those servers is started there before the lease is renewed" },
                  "watchdog": { "type": "boolean", "description": "Whether the guard's own death ends the host" },
                  "down_note": { "type": "string", "description": "What came of its going offline" },
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
                  "running_guests": { "type": "integer" },
                  "kept": { "type": "array", "items": { "type": "string" }, "description": "Ids of what failed attempts left and was kept" },
                  "inbound_migrations": { "type": "integer" },
                  "outbound_migrations": { "type": "integer" },
                  "recent_failures": { "type": "integer", "description": "Within the last hour" },
                  "warnings": { "type": "array", "items": { "type": "string" } },
                  "drain": { "$ref": "#/components/schemas/Drain" }
                }
              },
              "BeginMaintenance": {
                "type": "object", "additionalProperties": false,
                "properties": { "drain": { "type": "boolean", "default": true, "description": "Its servers are migrated elsewhere: live where they run, cold where they are off" } }
              },
              "Drain": {
                "type": "object", "required": [ "staying" ], "description": "What became of the servers; only in the answer to the beginning of a maintenance",
                "properties": {
                  "batch": { "$ref": "#/components/schemas/Batch" },
                  "staying": { "type": "array", "items": { "$ref": "#/components/schemas/BatchLine" }, "description": "Servers, by their names, that cannot be migrated now, and why" }
                }
              },
              "HostPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Host" } } } }
        """#
}
