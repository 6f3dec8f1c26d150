/// Questions to the history of all migrations.
extension OpenAPI {
    static let historyPaths = #"""
            "/v1/history": {
              "get": {
                "operationId": "listHistory", "summary": "Rows of the history by time, newest first unless ordered otherwise; page by page with after",
                "parameters": [
                  { "name": "server", "in": "query", "description": "Id or name; the id also of a server that is gone", "schema": { "type": "string" } },
                  { "name": "host", "in": "query", "description": "Id or name, as source or target", "schema": { "type": "string" } },
                  { "name": "migration", "in": "query", "description": "Id or its unique beginning", "schema": { "type": "string" } },
                  { "name": "batch", "in": "query", "description": "Id, unique beginning of an id, or unique name", "schema": { "type": "string" } },
                  { "name": "state", "in": "query", "description": "States that rows lead to, with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "$ref": "#/components/schemas/MigrationState" } } },
                  { "name": "mode", "in": "query", "description": "Modes with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string", "enum": [ "cold", "live", "rescue" ] } } },
                  { "name": "reason", "in": "query", "description": "Codes of reasons with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string" } } },
                  { "name": "actor", "in": "query", "description": "The worker or person it is owed to", "schema": { "type": "string" } },
                  { "name": "since", "in": "query", "description": "Written from then on", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "until", "in": "query", "description": "Written before then", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 20 } },
                  { "name": "order", "in": "query", "schema": { "type": "string", "enum": [ "asc", "desc" ], "default": "desc" } },
                  { "name": "after", "in": "query", "description": "The next of the page before", "schema": { "type": "integer", "minimum": 1 } }
                ],
                "responses": {
                  "200": { "description": "One page of transitions", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/TransitionPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/history/statistics": {
              "get": {
                "operationId": "showStatistics", "summary": "Finished migrations counted and measured; percentiles are by nearest rank, of those that were ready",
                "parameters": [
                  { "name": "by", "in": "query", "description": "What they are counted by, in this order; all in one when left out. day is of the end, in UTC", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string", "enum": [ "day", "source", "target", "mode", "state", "reason" ] } } },
                  { "name": "server", "in": "query", "description": "Id or name; the id also of a server that is gone", "schema": { "type": "string" } },
                  { "name": "host", "in": "query", "description": "Id or name, as source or target", "schema": { "type": "string" } },
                  { "name": "migration", "in": "query", "description": "Id or its unique beginning", "schema": { "type": "string" } },
                  { "name": "batch", "in": "query", "description": "Id, unique beginning of an id, or unique name", "schema": { "type": "string" } },
                  { "name": "state", "in": "query", "description": "How they ended: ready or failed, with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "$ref": "#/components/schemas/MigrationState" } } },
                  { "name": "mode", "in": "query", "description": "Modes with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string", "enum": [ "cold", "live", "rescue" ] } } },
                  { "name": "reason", "in": "query", "description": "Codes of reasons with commas between them", "style": "form", "explode": false, "schema": { "type": "array", "items": { "type": "string" } } },
                  { "name": "actor", "in": "query", "description": "Who submitted them", "schema": { "type": "string" } },
                  { "name": "since", "in": "query", "description": "Ended from then on", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "until", "in": "query", "description": "Ended before then", "schema": { "type": "string", "format": "date-time" } }
                ],
                "responses": {
                  "200": { "description": "One item a kind", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/StatisticsPage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/history/verification": {
              "get": {
                "operationId": "verifyHistory", "summary": "Goes through the history, or one migration's, and names every row that was altered or is missing. Of a long history it takes its time",
                "parameters": [ { "name": "migration", "in": "query", "description": "Id or its unique beginning", "schema": { "type": "string" } } ],
                "responses": {
                  "200": { "description": "What was looked at, and what was found", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Verification" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/history/prunable": {
              "get": {
                "operationId": "listPrunable", "summary": "Finished migrations whose history may be archived and pruned; one of finished_before and keep is needed",
                "parameters": [
                  { "name": "finished_before", "in": "query", "description": "Of those that ended before then", "schema": { "type": "string", "format": "date-time" } },
                  { "name": "keep", "in": "query", "description": "Of all but so many that ended last", "schema": { "type": "integer", "minimum": 0, "maximum": 2147483647 } },
                  { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 } },
                  { "name": "after", "in": "query", "description": "The next of the page before", "schema": { "type": "string" } }
                ],
                "responses": {
                  "200": { "description": "One page", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/PrunablePage" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            },
            "/v1/migrations/{migration}/prune-history": {
              "post": {
                "operationId": "pruneHistory", "summary": "Takes the rows of a finished migration's history away that were archived, all or none, and leaves a mark in their place that goes on from the last one's hash",
                "parameters": [ { "$ref": "#/components/parameters/Migration" } ],
                "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/PruneHistory" } } } },
                "responses": {
                  "200": { "description": "The mark", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Transition" } } } },
                  "default": { "$ref": "#/components/responses/Problem" }
                }
              }
            }
        """#

    static let historySchemas = #"""
              "Percentiles": { "type": "object", "required": [ "p50", "p95", "p99" ], "properties": { "p50": { "type": "integer" }, "p95": { "type": "integer" }, "p99": { "type": "integer" } } },
              "Statistics": {
                "type": "object", "required": [ "key", "count", "ready", "failed" ],
                "properties": {
                  "key": { "type": "object", "description": "What they have in common, by the names of what was asked for; what they have not is left out", "additionalProperties": { "type": "string" } },
                  "count": { "type": "integer" },
                  "ready": { "type": "integer" },
                  "failed": { "type": "integer" },
                  "total_ms": { "$ref": "#/components/schemas/Percentiles" },
                  "blackout_us": { "$ref": "#/components/schemas/Percentiles" },
                  "bytes": { "$ref": "#/components/schemas/Percentiles" }
                }
              },
              "StatisticsPage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Statistics" } } } },
              "Flaw": {
                "type": "object", "required": [ "migration", "kind", "message" ],
                "properties": {
                  "migration": { "type": "string" },
                  "kind": { "type": "string", "enum": [ "altered", "missing", "unknown", "contradicted" ] },
                  "sequence": { "type": "integer", "description": "The row, where it is one" },
                  "message": { "type": "string" }
                }
              },
              "Verification": {
                "type": "object", "required": [ "migrations", "rows", "pruned", "unproven", "flaws" ],
                "properties": {
                  "migrations": { "type": "integer" },
                  "rows": { "type": "integer" },
                  "pruned": { "type": "integer", "description": "Rows that were archived and taken away" },
                  "unproven": { "type": "integer", "description": "Rows from before there were hashes" },
                  "flaws": { "type": "array", "items": { "$ref": "#/components/schemas/Flaw" } }
                }
              },
              "Prunable": {
                "type": "object", "required": [ "migration", "rows", "last_sequence" ],
                "properties": {
                  "migration": { "type": "string" },
                  "rows": { "type": "integer" },
                  "last_sequence": { "type": "integer", "description": "Of its last row" }
                }
              },
              "PrunablePage": { "$ref": "#/components/schemas/Page", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/Prunable" } } } },
              "PruneHistory": {
                "type": "object", "required": [ "rows", "last_sequence", "archive" ], "additionalProperties": false,
                "properties": {
                  "rows": { "type": "integer", "minimum": 1, "description": "How many were archived; when there are others by now nothing goes" },
                  "last_sequence": { "type": "integer", "minimum": 1, "description": "Of the last one of them" },
                  "archive": { "type": "string", "description": "What the archive is called, for the mark" }
                }
              }
        """#
}
