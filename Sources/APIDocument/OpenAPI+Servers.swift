/// Servers.
extension OpenAPI {
    static let serversPaths = #"""
            "/v1/servers": {
              "get": {
                "operationId": "listServers", "summary": "Servers, newest first unless ordered otherwise; all of them without a limit",
                "parameters": [
                  { "$ref": "#/components/parameters/Limit" }, { "$ref": "#/components/parameters/Offset" }, { "$ref": "#/components/parameters/OrderBy" }, { "$ref": "#/components/parameters/Order" },
                  { "$ref": "#/components/parameters/Filter" }, { "$ref": "#/components/parameters/FilterAny" }, { "$ref": "#/components/parameters/Search" },
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
            }
        """#

    static let serversSchemas = #"""
              "ServerStatus": {
                "type": "string",
                "enum": [ "deploying", "ready", "starting", "running", "suspend", "stopping", "deleting", "start_migrate", "migrating", "live_migrating" ]
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
              "ServerPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Server" } } } }
        """#
}
