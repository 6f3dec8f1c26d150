extension OpenAPI {
    static let diagnosisPaths = #"""
        "/v1/diagnosis": {
              "get": {
                "operationId": "diagnose", "summary": "Compares the store with what every host's agent tells; what two looks agree on is answered, the gravest first. Takes some seconds",
                "responses": {
                  "200": { "description": "What was found", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Diagnosis" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/diagnosis/fix": {
              "post": {
                "operationId": "fixDiagnosed", "summary": "The same, and does about it what is safe: no running guest is ended, no only copy of a disk removed",
                "responses": {
                  "200": { "description": "What was found, and what was done about it", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Diagnosis" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let diagnosisSchemas = #"""
        "Diagnosis": {
                "type": "object", "required": [ "hosts", "servers", "findings" ],
                "properties": {
                  "hosts": { "type": "integer", "description": "How many there are" },
                  "servers": { "type": "integer", "description": "How many there are" },
                  "findings": { "type": "array", "items": { "$ref": "#/components/schemas/Finding" } }
                }
              },
              "Finding": {
                "type": "object", "required": [ "severity", "kind", "message", "remedy", "is_fixable", "is_fixed" ],
                "properties": {
                  "severity": { "type": "string", "enum": [ "critical", "warning", "note" ] },
                  "kind": { "type": "string", "enum": [ "guest-unknown", "guest-elsewhere", "server-without-guest", "server-not-expected-running", "server-in-two-places", "pause-differs", "disk-missing", "leftover-disk", "stale-lease", "migration-awaiting", "reservation-leaked", "cleanup-overdue", "host-silent", "host-unclear", "version-behind", "certificate-ending", "certificate-ended", "clock-off" ] },
                  "server": { "$ref": "#/components/schemas/Named" },
                  "host": { "$ref": "#/components/schemas/Named" },
                  "migration": { "type": "string" },
                  "subject": { "type": "string", "description": "What else tells it from others, such as a path" },
                  "message": { "type": "string", "description": "What is the matter" },
                  "remedy": { "type": "string", "description": "A command, or what somebody must do" },
                  "is_fixable": { "type": "boolean", "description": "A fix can be asked for" },
                  "is_fixed": { "type": "boolean", "description": "It was mended just now" },
                  "outcome": { "type": "string", "description": "What was done, or why it could not be" }
                }
              }
        """#
}
