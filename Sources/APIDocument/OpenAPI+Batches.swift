/// Batches.
extension OpenAPI {
    static let batchesPaths = #"""
            "/v1/batches": {
              "get": {
                "operationId": "listBatches", "summary": "Batches, newest first unless ordered otherwise",
                "parameters": [
                  { "name": "status", "in": "query", "description": "Statuses with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "$ref": "#/components/schemas/BatchStatus" } } },
                  { "$ref": "#/components/parameters/Limit" }, { "$ref": "#/components/parameters/Offset" },
                  { "$ref": "#/components/parameters/OrderBy" }, { "$ref": "#/components/parameters/Order" },
                  { "$ref": "#/components/parameters/Filter" }, { "$ref": "#/components/parameters/FilterAny" }, { "$ref": "#/components/parameters/Search" }
                ],
                "responses": {
                  "200": { "description": "One page of batches", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/BatchPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              },
              "post": {
                "operationId": "submitBatch", "summary": "Accepts up to 100,000 migrations at once, or none: 422 invalid-lines names every line that cannot be taken. The body may have 16 MiB",
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/SubmitBatch" } } } },
                "responses": {
                  "200": { "description": "The batch that this token brought before", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "201": { "description": "The batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/plan": {
              "post": {
                "operationId": "planBatch", "summary": "Where the servers would go and in what order, who cannot and why; submits nothing",
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/SubmitBatch" } } } },
                "responses": {
                  "200": { "description": "The plan", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/BatchPlan" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/{batch}": {
              "get": {
                "operationId": "showBatch", "summary": "One batch, its migrations counted by state and reason",
                "parameters": [ { "$ref": "#/components/parameters/Batch" } ],
                "responses": {
                  "200": { "description": "The batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/{batch}/pause": {
              "post": {
                "operationId": "pauseBatch", "summary": "Has nothing more of the batch begin; what is under way goes on",
                "parameters": [ { "$ref": "#/components/parameters/Batch" } ],
                "responses": {
                  "200": { "description": "The batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/{batch}/resume": {
              "post": {
                "operationId": "resumeBatch", "summary": "Lets a batch go on that was paused, or held for its failures, which are forgiven",
                "parameters": [ { "$ref": "#/components/parameters/Batch" } ],
                "responses": {
                  "200": { "description": "The batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/{batch}/cancel": {
              "post": {
                "operationId": "cancelBatch", "summary": "Ends what has not begun of the batch, and asks what is under way to end",
                "parameters": [ { "$ref": "#/components/parameters/Batch" } ],
                "responses": {
                  "202": { "description": "The batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/batches/{batch}/retry": {
              "post": {
                "operationId": "retryBatch", "summary": "Submits a new batch, like this one, of the servers that failed in it and were in no migration since",
                "parameters": [ { "$ref": "#/components/parameters/Batch" } ],
                "requestBody": { "required": false, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/RetryBatch" } } } },
                "responses": {
                  "200": { "description": "The batch that this token brought before", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "201": { "description": "The new batch", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Batch" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/queue-limits": {
              "get": {
                "operationId": "showQueueLimits", "summary": "How many migrations may be under way at once in the whole cluster, and how many are",
                "responses": {
                  "200": { "description": "The limits", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Queue" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              },
              "put": {
                "operationId": "setQueueLimits", "summary": "Sets the limits, all of them: one left out is taken away. What is under way goes on, also where it is more",
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/SetQueueLimits" } } } },
                "responses": {
                  "200": { "description": "The limits", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Queue" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let batchesSchemas = #"""
              "BatchStatus": {
                "type": "string", "enum": [ "pending", "scheduled", "running", "paused", "held", "cancelling", "cancelled", "done" ]
              },
              "BatchLine": {
                "type": "object", "required": [ "line", "id", "reason" ],
                "properties": {
                  "line": { "type": "integer", "description": "The place in servers, from 1 on" },
                  "id": { "type": "string", "description": "As the line names the server" },
                  "reason": { "$ref": "#/components/schemas/Reason" }
                }
              },
              "Batch": {
                "type": "object",
                "required": [ "id", "name", "status", "total", "running", "ready", "failed", "cancelled", "skipped", "actor", "mode", "priority", "cancel_requested", "created_at" ],
                "properties": {
                  "id": { "type": "string" },
                  "name": { "type": "string" },
                  "status": { "$ref": "#/components/schemas/BatchStatus" },
                  "total": { "type": "integer" },
                  "running": { "type": "integer", "description": "Under way; what is left of total waits" },
                  "ready": { "type": "integer" },
                  "failed": { "type": "integer", "description": "For another reason than a cancellation" },
                  "cancelled": { "type": "integer" },
                  "skipped": { "type": "integer", "description": "Lines of the submit that were left out" },
                  "actor": { "type": "string" },
                  "token": { "type": "string" },
                  "mode": { "type": "string", "enum": [ "auto", "live", "cold" ] },
                  "priority": { "type": "integer" },
                  "max_parallel": { "type": "integer" },
                  "max_failures": { "type": "string" },
                  "start_at": { "type": "string", "format": "date-time" },
                  "paused_by": { "type": "string" },
                  "held": { "$ref": "#/components/schemas/Reason", "description": "Why it begins nothing more by itself" },
                  "cancel_requested": { "type": "boolean" },
                  "retry_of": { "type": "string", "description": "Id of the batch whose failures it tries again" },
                  "created_at": { "type": "string", "format": "date-time" },
                  "finished_at": { "type": "string", "format": "date-time" },
                  "states": { "type": "object", "additionalProperties": { "type": "integer" }, "description": "How many migrations are in which state; not in lists" },
                  "reasons": { "type": "object", "additionalProperties": { "type": "integer" }, "description": "How many failed for which reason; not in lists" },
                  "eta_ms": { "type": "integer", "description": "Milliseconds until the end, at the speed of late; not in lists" },
                  "lines": { "type": "array", "items": { "$ref": "#/components/schemas/BatchLine" }, "description": "Those left out; not in lists" }
                }
              },
              "BatchPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Batch" } } } },
              "SubmitBatch": {
                "type": "object", "additionalProperties": false,
                "description": "Either servers or selection is to be given",
                "properties": {
                  "name": { "type": "string", "minLength": 1, "maxLength": 63, "description": "One that tells the time where left out" },
                  "servers": { "type": "array", "minItems": 1, "maxItems": 100000, "items": { "type": "string" }, "description": "Ids, names or unique beginnings of ids, in the order in which they are to begin" },
                  "selection": { "$ref": "#/components/schemas/BatchSelection" },
                  "mode": { "type": "string", "enum": [ "auto", "live", "cold" ], "default": "auto", "description": "auto: live those that run, cold those that are off" },
                  "priority": { "type": "integer", "minimum": -100, "maximum": 100, "default": 0, "description": "Higher ones begin first; of the same, who has the fewest under way" },
                  "max_parallel": { "type": "integer", "minimum": 1, "maximum": 100000, "description": "How many may be under way at once; as many as the hosts let where left out" },
                  "max_failures": { "type": "string", "pattern": "^[0-9]+%?$", "description": "The rest is held at so many failures, or at such a share of all" },
                  "start_at": { "type": "string", "format": "date-time", "description": "Nothing begins before" },
                  "skip_invalid": { "type": "boolean", "default": false, "description": "Leave lines out that cannot be taken, instead of refusing all" },
                  "token": { "type": "string", "minLength": 1, "maxLength": 200, "description": "Sent again, it brings the same batch back; with another body it is refused" },
                  "live": { "$ref": "#/components/schemas/LiveMigrate" },
                  "cold": { "$ref": "#/components/schemas/Migrate" }
                }
              },
              "BatchSelection": {
                "type": "object", "additionalProperties": false, "minProperties": 1,
                "properties": {
                  "from_host": { "type": "string", "description": "Id or name: servers that are on it" },
                  "filter": { "type": "array", "items": { "type": "string" }, "description": "Conditions as lists of servers take them; all must hold" },
                  "search": { "type": "string", "description": "Part of a name or id" }
                }
              },
              "RetryBatch": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "token": { "type": "string", "description": "As in SubmitBatch" },
                  "skip_invalid": { "type": "boolean", "default": false, "description": "As in SubmitBatch" }
                }
              },
              "BatchPlan": {
                "type": "object", "required": [ "moves", "lines" ],
                "properties": {
                  "moves": { "type": "array", "items": { "$ref": "#/components/schemas/BatchMove" } },
                  "lines": { "type": "array", "items": { "$ref": "#/components/schemas/BatchLine" } }
                }
              },
              "BatchMove": {
                "type": "object", "required": [ "server", "mode", "source_host" ],
                "properties": {
                  "server": { "$ref": "#/components/schemas/Named" },
                  "mode": { "type": "string", "enum": [ "cold", "live" ] },
                  "source_host": { "$ref": "#/components/schemas/Named" },
                  "target_host": { "$ref": "#/components/schemas/Named" },
                  "wave": { "type": "integer", "description": "Those of one wave could be under way at the same time" },
                  "at_most_ms": { "type": "integer", "description": "Where the speed of the way is known" },
                  "reason": { "$ref": "#/components/schemas/Reason", "description": "Why no host could take it" }
                }
              },
              "Queue": {
                "type": "object", "required": [ "running", "waiting" ],
                "properties": {
                  "cluster": { "type": "integer", "description": "At most so many under way at once, single ones and those of batches together; absent: no limit but those of hosts and batches" },
                  "running": { "type": "integer", "description": "Claimed, or holding something on hosts" },
                  "waiting": { "type": "integer", "description": "Not begun yet, or waiting for their next attempt" },
                  "changed_by": { "type": "string", "description": "Who set the limit last" },
                  "changed_at": { "type": "string", "format": "date-time" }
                }
              },
              "SetQueueLimits": {
                "type": "object", "additionalProperties": false,
                "properties": {
                  "cluster": { "type": "integer", "minimum": 0, "maximum": 100000, "description": "0 lets nothing begin; left out, there is no limit" }
                }
              }
        """#
}
