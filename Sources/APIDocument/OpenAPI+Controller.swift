/// The controller itself, and what everything is told with.
extension OpenAPI {
    static let controllerPaths = #"""
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
            "/v1/cleanups": {
              "get": {
                "operationId": "listCleanups", "summary": "What is left on hosts and will be removed",
                "responses": {
                  "200": { "description": "The cleanups", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/CleanupPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let controllerSchemas = #"""
              "Problem": {
                "type": "object", "required": [ "type", "title", "status", "detail", "code" ],
                "properties": {
                  "type": { "type": "string", "format": "uri" },
                  "title": { "type": "string" },
                  "status": { "type": "integer" },
                  "detail": { "type": "string", "description": "A sentence that names the thing and the remedy" },
                  "code": { "type": "string", "examples": [ "not-found", "busy", "invalid-request" ] },
                  "field": { "type": "string", "description": "The field or parameter to blame", "examples": [ "disks[1].size_bytes" ] },
                  "lines": { "type": "array", "items": { "$ref": "#/components/schemas/BatchLine" }, "description": "The lines of a batch to blame, all of them" }
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
              "CleanupPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Cleanup" } } } },
              "Page": {
                "type": "object", "required": [ "items" ],
                "properties": {
                  "items": { "type": "array" },
                  "total": { "type": "integer", "description": "On all pages, where that is cheap to know" },
                  "next": { "type": "string", "description": "To be given as before for the next page; absent on the last" }
                }
              }
        """#
}
