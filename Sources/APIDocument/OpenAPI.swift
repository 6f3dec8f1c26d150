/// The description of the API for programs (OpenAPI 3.1), as it is served. Tests hold it against the routes and the wire types.
package enum OpenAPI {
    package static let document = #"""
        {
          "openapi": "3.1.0",
          "info": {
            "title": "Godwit controller",
            "version": "1",
            "summary": "Servers, hosts and their migrations.",
            "description": "Servers and hosts are named by id, name or the unique beginning of an id (8 characters or more), migrations by id or its unique beginning. Unknown fields and parameters are refused. Every refusal is a problem (RFC 9457) with a code for programs and a sentence for people.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
          },
          "security": [ { "bearer": [] } ],
          "paths": {
        \#(placementPaths)
        \#([controllerPaths, serversPaths, movesPaths, hostsPaths, migrationsPaths].joined(separator: ",\n"))
        , \#([batchesPaths, historyPaths, keptPaths, diagnosisPaths].joined(separator: ",\n"))
          },
          "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "parameters": {
              "Server": { "name": "server", "in": "path", "required": true, "description": "Id, name, or unique beginning of the id", "schema": { "type": "string" } },
              "Host": { "name": "host", "in": "path", "required": true, "description": "Id, name, or unique beginning of the id", "schema": { "type": "string" } },
              "Group": { "name": "group", "in": "path", "required": true, "description": "Id or name", "schema": { "type": "string" } },
              "Migration": { "name": "migration", "in": "path", "required": true, "description": "Id or its unique beginning", "schema": { "type": "string" } },
              "Batch": { "name": "batch", "in": "path", "required": true, "description": "Id, its unique beginning (8 characters or more), or unique name", "schema": { "type": "string" } },
              "Limit": { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000 } },
              "Offset": { "name": "offset", "in": "query", "description": "Passed over first", "schema": { "type": "integer", "minimum": 0, "default": 0 } },
              "OrderBy": { "name": "order_by", "in": "query", "description": "Fields with commas between them; an unknown one is refused with the list of all", "schema": { "type": "string" } },
              "Order": { "name": "order", "in": "query", "schema": { "type": "string", "enum": [ "asc", "desc" ] } },
              "Filter": { "name": "filter", "in": "query", "description": "A condition on a field; all must hold", "style": "form", "explode": true, "schema": { "type": "array", "items": { "type": "string", "examples": [ "status.equals(running)", "name.contains(vm)", "vcpu_count.gt(2)", "host.in(host1,host2)", "status=running" ] } } },
              "FilterAny": { "name": "filter_any", "in": "query", "description": "One condition is enough", "schema": { "type": "boolean", "default": false } },
              "Search": { "name": "search", "in": "query", "description": "Part of a name or id", "schema": { "type": "string" } }
            },
            "responses": {
              "Problem": { "description": "Refused or failed", "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } }
            },
            "schemas": {
        \#(placementSchemas)
        \#([controllerSchemas, serversSchemas, movesSchemas, hostsSchemas, migrationsSchemas].joined(separator: ",\n"))
        , \#([batchesSchemas, historySchemas, keptSchemas, diagnosisSchemas].joined(separator: ",\n"))
            }
          }
        }

        """#
}
