//! The description of the API, made of its table and its types: OpenAPI 3.1. docs/openapi.json is a copy.

use std::sync::LazyLock;

use axum::body::Bytes;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use super::access::Access;
use super::events;
use super::problem::{Code, ErrorReply};
use super::routes::{Answers, Route, of};
use super::table::TABLE;

/// Anything.
pub fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object"})
}

/// The whole description, as text that ends with a line.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&description()).unwrap_or_default();
    text.push('\n');
    text
}

/// The same, made when it is first asked for.
pub fn told() -> Bytes {
    static TOLD: LazyLock<Bytes> = LazyLock::new(|| text().into());
    TOLD.clone()
}

fn description() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in TABLE {
        let told = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.verb.name().to_lowercase(), told);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Slips control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTP/1.1 over the unix socket /run/slips/control.sock of a running daemon. Reading is for root, the daemon's user and members of the group slips; changing something for root and that group. Times are ISO 8601 in UTC.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "http://localhost", "description": "over the unix socket"}],
        "paths": paths,
        "components": {"schemas": generator.take_definitions(true)},
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut told = json!({
        "operationId": route.id,
        "summary": route.summary,
        "responses": responses(route, generator),
    });
    let mut parameters: Vec<Value> = route
        .places
        .iter()
        .map(|place| {
            json!({
                "name": place.name,
                "in": "path",
                "required": true,
                "description": place.about,
                "schema": (place.of)(generator),
            })
        })
        .collect();
    if let Some(query) = route.query {
        parameters.extend(query_parameters(query, generator));
    }
    if let Some(told) = told.as_object_mut() {
        if !parameters.is_empty() {
            told.insert("parameters".into(), parameters.into());
        }
        if let Some(body) = route.body {
            let schema = body(generator);
            let content = json!({"required": true, "content": {"application/json": {"schema": schema}}});
            told.insert("requestBody".into(), content);
        }
    }
    told
}

/// Each field of the query's type is a parameter.
fn query_parameters(query: super::routes::Described, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = query(generator);
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
    let Some(name) = name.map(str::to_owned) else { return Vec::new() };
    // It is told field by field, and not as a type.
    let Some(schema) = generator.definitions_mut().remove(&name) else { return Vec::new() };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            let mut field = field.clone();
            let about = field.as_object_mut().and_then(|field| field.remove("description"));
            json!({
                "name": name,
                "in": "query",
                "required": required.contains(&name.as_str()),
                "description": about.unwrap_or_default(),
                "schema": without_null(field),
            })
        })
        .collect()
}

/// What is absent from a query is absent, and not null.
fn without_null(mut field: Value) -> Value {
    if let Some(types) = field.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|of| of != "null");
        if let [one] = types.as_slice() {
            field["type"] = one.clone();
        }
    }
    if let Some(any) = field.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.retain(|of| of["type"] != "null");
        if let [one] = any.as_slice() {
            return one.clone();
        }
    }
    if field["default"].is_null()
        && let Some(field) = field.as_object_mut()
    {
        field.remove("default");
    }
    field
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (media, schema) = match &route.answers {
        Answers::Json(of) => ("application/json", json!(of(generator))),
        Answers::Events(of) => {
            let data = of(generator);
            (events::MEDIA, json!({"type": "string", "description": EVENTS, "x-events": data}))
        }
        Answers::Text(media) => (media.split(';').next().unwrap_or(media), json!({"type": "string"})),
    };
    let mut all = Map::new();
    all.insert(
        "200".into(),
        json!({"description": "What was asked for", "content": {media: {"schema": schema}}}),
    );
    let mut codes = vec![Code::Forbidden];
    if !route.places.is_empty() || route.query.is_some() || route.body.is_some() {
        codes.push(Code::BadRequest);
    }
    if route.body.is_some() {
        codes.extend([Code::TooLarge, Code::TooSlow]);
    }
    if route.access == Access::Figures {
        codes.retain(|code| *code != Code::Forbidden);
    }
    codes.extend(route.errors);
    let error = json!(of::<ErrorReply>(generator));
    for code in codes {
        let status = code.status();
        let about = status.canonical_reason().unwrap_or_default();
        let told = json!({"description": about, "content": {"application/json": {"schema": error}}});
        all.insert(status.as_str().to_owned(), told);
    }
    all.into()
}

/// What a stream is made of.
const EVENTS: &str = "Server-sent events. `event` is a topic, or `gap` where some are missing; `data` is JSON of the type that `x-events` has \
under that name; `id` may be sent as Last-Event-ID to go on after it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_in_the_documents_is_the_description() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let copy = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(copy == text(), "it differs: slips openapi > docs/openapi.json");
    }

    #[test]
    fn names_are_told_once_and_each_reference_leads_somewhere() {
        let told = description();
        let mut ids: Vec<&str> = TABLE.iter().map(|route| route.id).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all);
        let text = told.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(told.pointer(pointer).is_some(), "{pointer}");
        }
        for route in TABLE {
            assert!(!route.summary.is_empty() && route.summary.len() < 120, "{}", route.path);
        }
    }
}
