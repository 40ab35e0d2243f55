//! The OpenAPI document, made from the tables of routes and from the types of the views. `coffer openapi` prints it;
//! it lies in `api-ref/openapi.json`, and a test holds the two together.
//!
//! What every route of a kind can answer is told once, in [`codes`]: the order of refusals is that of `front`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::api::doc::{Gives, Shape};
use crate::api::request::Route;
use crate::api::{ha, identity, routes};

/// What a client may find in a fault.
const FAULTS: [&str; 13] = [
    "badRequest",
    "unauthorized",
    "forbidden",
    "itemNotFound",
    "badMethod",
    "overLimit",
    "badMediaType",
    "unprocessableEntity",
    "notImplemented",
    "serviceUnavailable",
    "instanceFault",
    "conflict",
    "computeFault",
];

/// Bodies of requests that take keys which they do not know, as their pages tell.
const OPEN: [&str; 9] = [
    "CreateRequest",
    "CreateInstance",
    "TokenRequest",
    "Auth",
    "AuthIdentity",
    "AuthUser",
    "AuthDomain",
    "AuthProject",
    "AuthToken",
];

/// The document.
pub fn document() -> Value {
    let mut schemas = BTreeMap::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let of_path = paths.entry(route.path).or_insert_with(|| parameters(route.path));
        of_path.insert(route.method.to_lowercase(), operation(route, &mut schemas));
    }
    close(&mut schemas);
    schemas.insert("Fault".to_owned(), fault());
    schemas.insert("KeystoneFault".to_owned(), keystone_fault());
    let pages: BTreeSet<&str> = routes().map(|route| route.doc.page).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coffer",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A database service for private clouds that upgrades databases without losing a write",
            "description": "OpenStack Trove v1.0, the upgrade action of Rackspace Cloud Databases, and routes of its \
                            own. Each tag is a page of api-ref.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8779"}],
        "tags": pages.iter().map(|page| json!({"name": page})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                    "description": "A token scoped to the project in the path.",
                },
            },
        },
    })
}

/// The names in a path.
fn parameters(path: &str) -> Map<String, Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let list: Vec<Value> = names
        .map(|name| {
            let mut schema = json!({"type": "string", "minLength": 1});
            if name == "project" {
                schema["pattern"] = "^[A-Za-z0-9_-]{1,64}$".into();
            }
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    let mut item = Map::new();
    if !list.is_empty() {
        item.insert("parameters".to_owned(), list.into());
    }
    item
}

fn operation(route: &Route, schemas: &mut BTreeMap<String, Value>) -> Value {
    let doc = route.doc;
    let mut operation = json!({
        "operationId": doc.id,
        "summary": doc.summary,
        "tags": [doc.page],
        "responses": responses(route, schemas),
        "security": if wants_token(route) { json!([{"token": []}]) } else { json!([]) },
    });
    if !doc.query.is_empty() {
        let keys = doc.query.iter().map(|(name, what)| {
            let schema = if *name == "limit" {
                json!({"type": "integer", "minimum": 1})
            } else {
                json!({"type": "string"})
            };
            json!({"name": name, "in": "query", "required": false, "description": what, "schema": schema})
        });
        operation["parameters"] = keys.collect();
    }
    if let Some((takes, sample)) = doc.takes {
        // A sample that is no JSON is seen by the test that sends it.
        let sample: Value = serde_json::from_str(sample).unwrap_or_default();
        let content = json!({"schema": refer(takes, schemas), "examples": {"sample": {"value": sample}}});
        operation["requestBody"] = json!({"required": true, "content": {"application/json": content}});
    }
    operation
}

fn responses(route: &Route, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut responses = Map::new();
    let fault = if is_identity(route) { "KeystoneFault" } else { "Fault" };
    for code in codes(route) {
        let schema = json!({"$ref": format!("#/components/schemas/{fault}")});
        responses.insert(
            code.to_string(),
            json!({"description": reason(code), "content": {"application/json": {"schema": schema}}}),
        );
    }
    for (code, gives) in [Some(route.doc.gives), route.doc.or].into_iter().flatten() {
        let mut answer = json!({"description": reason(code)});
        if let Some(content) = content(gives, schemas) {
            answer["content"] = content;
        }
        responses.insert(code.to_string(), answer);
    }
    Value::Object(responses)
}

fn content(gives: Gives, schemas: &mut BTreeMap<String, Value>) -> Option<Value> {
    let closed = |properties: Value, required: Value| {
        json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        })
    };
    let schema = match gives {
        Gives::Nothing => return None,
        Gives::Fault => json!({"$ref": "#/components/schemas/Fault"}),
        Gives::Text => return Some(json!({"text/plain": {"schema": {"type": "string"}}})),
        Gives::Events(name, shape) => {
            let data = json!({"type": "string", "contentMediaType": "application/json",
                              "contentSchema": refer(shape, schemas)});
            let event = json!({"type": "object", "properties": {"event": {"const": name}, "data": data},
                               "required": ["event", "data"]});
            return Some(json!({"text/event-stream": {"schema": event}}));
        }
        Gives::Whole(shape) => refer(shape, schemas),
        Gives::One(key, shape) => closed(json!({key: refer(shape, schemas)}), json!([key])),
        Gives::Many(key, shape) => {
            closed(json!({key: {"type": "array", "items": refer(shape, schemas)}}), json!([key]))
        }
        Gives::Page(key, shape) => {
            let link = refer(crate::api::doc::shape::<crate::api::links::Link>, schemas);
            let links = json!({"type": "array", "items": link, "minItems": 1, "maxItems": 1});
            let mut properties = json!({"links": links});
            properties[format!("{key}_links")] = links;
            properties[key] = json!({"type": "array", "items": refer(shape, schemas)});
            closed(properties, json!([key]))
        }
    };
    Some(json!({"application/json": {"schema": schema}}))
}

/// Adds the schemas that a shape needs, and gives the reference to it.
fn refer(shape: Shape, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut needed = Vec::new();
    let reference = shape(&mut needed);
    for (name, schema) in needed {
        schemas.insert(name, json!(schema));
    }
    json!(reference)
}

/// Closes every object: a key that is not documented is a mistake. Of an object in parts the whole is closed.
fn close(schemas: &mut BTreeMap<String, Value>) {
    let mut parts = BTreeSet::new();
    for schema in schemas.values_mut() {
        for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
            // A part that is all there or not there at all.
            if let Some(optional) = part["oneOf"][0]["$ref"].as_str().map(str::to_owned) {
                *part = json!({"anyOf": [{"$ref": optional}, true]});
                parts.extend(optional.rsplit('/').next().map(str::to_owned));
            } else if let Some(name) = part["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
                parts.insert(name.to_owned());
            }
        }
    }
    for (name, schema) in schemas.iter_mut().filter(|(name, _)| !OPEN.contains(&name.as_str())) {
        if schema.get("allOf").is_some() && !parts.contains(name) {
            schema["unevaluatedProperties"] = false.into();
        } else if schema.get("properties").is_some()
            && schema.get("additionalProperties").is_none()
            && !parts.contains(name)
        {
            schema["additionalProperties"] = false.into();
        }
    }
}

fn is_identity(route: &Route) -> bool {
    identity::ROUTES.iter().any(|it| it.path == route.path)
}

fn wants_token(route: &Route) -> bool {
    route.needs_project() || route.doc.refuses.contains(&401)
}

/// Every refusal that the route can answer with.
pub fn codes(route: &Route) -> BTreeSet<u16> {
    // Trouble of ours, and a path whose method is another's.
    let mut codes = BTreeSet::from([500]);
    codes.extend(route.doc.refuses);
    if route.needs_project() {
        // No token, another project's or too low a role, too many requests, the store away or maintenance.
        codes.extend([401, 403, 413, 503]);
    }
    let names = route.path.split('/').filter(|part| part.starts_with('{') && *part != "{project}").count();
    if names > 0 {
        codes.insert(404);
    }
    if matches!(route.method, "POST" | "PUT" | "PATCH") {
        codes.extend([400, 413]);
        if !ha::is_of_groups(route.path) {
            codes.insert(415);
        }
    }
    if route.doc.query.iter().any(|(name, _)| ["limit", "state"].contains(name)) {
        codes.insert(400);
    }
    codes
}

/// The code in words.
fn reason(code: u16) -> &'static str {
    match code {
        200 => "Done",
        201 => "Made",
        202 => "Accepted: a task does it",
        204 => "Gone",
        300 => "The versions to choose from",
        400 => "The request cannot be understood, or names something impossible; the message names the field",
        401 => "No token, or one that does not hold",
        403 => "Not for this project or role",
        404 => "Nothing that the caller may know of",
        409 => "Past the point at which it could be done",
        413 => "A limit: the body's size, a quota, room, or too many requests",
        415 => "The body is not said to be JSON",
        422 => "Not in this state",
        500 => "Trouble of the service; the message has the request's id",
        501 => "The service does not do this yet",
        503 => "Not now; Retry-After says when",
        _ => "See api-ref",
    }
}

fn fault() -> Value {
    json!({
        "type": "object",
        "description": "One key, the fault's name.",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"enum": FAULTS},
        "additionalProperties": {
            "type": "object",
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "details": {"type": "string"},
                "retryAfter": {"type": "string"},
                "retryAt": {"type": "string"},
            },
            "required": ["code", "message"],
            "additionalProperties": false,
        },
    })
}

fn keystone_fault() -> Value {
    json!({
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "title": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["code", "title", "message"],
                "additionalProperties": false,
            },
        },
        "required": ["error"],
        "additionalProperties": false,
    })
}
