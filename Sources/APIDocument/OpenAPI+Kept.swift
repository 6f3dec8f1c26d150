extension OpenAPI {
    static let keptPaths = #"""
        "/v1/kept": {
              "get": {
                "operationId": "listKept", "summary": "What failed attempts left on their targets and was kept, newest first",
                "parameters": [ { "name": "host", "in": "query", "description": "Id or name", "schema": { "type": "string" } } ],
                "responses": {
                  "200": { "description": "What is kept", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/KeptPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/hosts/{host}/kept/{kept}": {
              "delete": {
                "operationId": "deleteKept", "summary": "Deletes what was kept of a failed attempt",
                "parameters": [
                  { "$ref": "#/components/parameters/Host" },
                  { "name": "kept", "in": "path", "required": true, "description": "Its id", "schema": { "type": "string" } }
                ],
                "responses": {
                  "204": { "description": "Nothing of it is left" },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let keptSchemas = #"""
        "Kept": {
                "type": "object",
                "required": [ "id", "host", "server", "migration", "attempt", "reason", "kept_at", "bytes", "folders" ],
                "properties": {
                  "id": { "type": "string", "description": "Unique on its host" },
                  "host": { "$ref": "#/components/schemas/Named" },
                  "server": { "$ref": "#/components/schemas/Named" },
                  "migration": { "type": "string" },
                  "attempt": { "type": "integer" },
                  "reason": { "$ref": "#/components/schemas/Reason", "description": "Why the attempt ended" },
                  "kept_at": { "type": "string", "format": "date-time" },
                  "bytes": { "type": "integer", "description": "What its files take on the host" },
                  "folders": { "type": "array", "items": { "type": "string" }, "description": "Where they are on the host" }
                }
              },
              "KeptPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Kept" } } } }
        """#
}
