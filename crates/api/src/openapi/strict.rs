//! The schemas of requests as strict as the rules that requests are held to, so that what keeps to them is accepted.
//!
//! Two rules hold for every body (`domain::decode`): an unknown field is an error, and an explicit null counts as absent. What is peculiar to a
//! body and cannot be said by its type (bounds, forms, either-or) stands in `assets/rules.json`, which is laid over the types' own schemas.

use serde_json::{Map, Value, json};

/// Lays the rules over the schemas: objects are merged, a null takes a word away, anything else replaces what was there.
pub(super) fn lay_over(schemas: &mut Map<String, Value>, rules: &Map<String, Value>) {
    for (name, rule) in rules {
        match (schemas.get_mut(name), rule) {
            (Some(Value::Object(own)), Value::Object(rule)) if !own.contains_key("$ref") => lay_over(own, rule),
            (_, Value::Null) => drop(schemas.remove(name)),
            _ => drop(schemas.insert(name.clone(), rule.clone())),
        }
    }
}

/// Closes the schemas called `names` and all that they mention.
pub(super) fn close(schemas: &mut Map<String, Value>, names: impl Iterator<Item = &'static str>) {
    let mut waiting: Vec<String> = names.map(str::to_owned).collect();
    let mut closed: Vec<String> = Vec::new();
    while let Some(name) = waiting.pop() {
        if closed.contains(&name) {
            continue;
        }
        if let Some(schema) = schemas.get_mut(&name) {
            tighten(schema, &mut waiting);
        }
        closed.push(name);
    }
}

/// A part that an answer has or has not at its own level: utoipa says "that part, or null", which no object is.
pub(super) fn open_absent_parts(schemas: &mut Map<String, Value>) {
    let parts = schemas.values_mut().filter_map(|schema| schema.get_mut("allOf")?.as_array_mut()).flatten();
    for part in parts {
        let choices: Vec<Value> = part["oneOf"].as_array().into_iter().flatten().filter(|choice| choice["type"] != "null").cloned().collect();
        if !choices.is_empty() {
            *part = json!({"anyOf": choices.into_iter().chain([json!({"type": "object"})]).collect::<Vec<_>>()});
        }
    }
}

fn tighten(schema: &mut Value, found: &mut Vec<String>) {
    let Value::Object(map) = schema else { return };
    // A part of another schema (`…/properties/name`) is reached through that one.
    found.extend(map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/")).filter(|n| !n.contains('/')).map(str::to_owned));
    let is_object = map.get("type").is_some_and(|t| t == "object");
    let required = map.get("required").cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for (name, property) in properties {
            tighten(property, found);
            if is_object && !required.as_array().is_some_and(|r| r.iter().any(|n| n == name)) {
                accept_null(property);
            }
        }
        if is_object {
            map.entry("additionalProperties").or_insert(json!(false));
        }
    }
    for word in ["items", "additionalProperties"] {
        map.get_mut(word).into_iter().for_each(|inner| tighten(inner, found));
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        map.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten().for_each(|inner| tighten(inner, found));
    }
}

fn accept_null(property: &mut Value) {
    let Value::Object(map) = property else { return };
    if let Some(Value::Array(choices)) = ["oneOf", "anyOf"].into_iter().find(|word| map.contains_key(*word)).and_then(|word| map.get_mut(word)) {
        if !choices.iter().any(|choice| choice["type"] == "null") {
            choices.push(json!({"type": "null"}));
        }
        return;
    }
    if let Some(reference) = map.remove("$ref") {
        map.insert("anyOf".to_owned(), json!([{"$ref": reference}, {"type": "null"}]));
        return;
    }
    if let Some(fixed) = map.remove("const") {
        map.insert("enum".to_owned(), json!([fixed]));
    }
    if let Some(Value::Array(words)) = map.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
    if let Some(Value::String(kind)) = map.get("type").filter(|kind| *kind != "null") {
        let both = json!([kind, "null"]);
        map.insert("type".to_owned(), both);
    }
}

/// The same body as a form: there every value is a text, and unknown fields are ignored, as RFC 6749 wants it.
pub(super) fn form_of(schema: &Value) -> Value {
    let mut form = schema.clone();
    form["additionalProperties"] = json!({"type": "string"});
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_may_be_absent() {
        let whole = json!({"A": {"allOf": [{"oneOf": [{"$ref": "#/components/schemas/B"}, {"type": "null"}]}, {"type": "object"}]}});
        let Value::Object(mut schemas) = whole else { unreachable!("an object was written") };
        open_absent_parts(&mut schemas);
        assert_eq!(schemas["A"]["allOf"], json!([{"anyOf": [{"$ref": "#/components/schemas/B"}, {"type": "object"}]}, {"type": "object"}]));
    }

    #[test]
    fn rules_are_merged_and_what_requests_mention_is_closed() {
        let text = r##"{"A": {"type": "object", "required": ["n", "b"], "properties": {"n": {"type": "integer"}, "b": {"$ref": "#/components/schemas/B"}, "c": {"$ref": "#/components/schemas/B"},
            "d": {"const": 1}, "e": {"oneOf": [{"$ref": "#/components/schemas/B"}]}}}, "B": {"type": "object", "properties": {"s": {"type": "string", "enum": ["x"]}}}, "C": {"type": "object", "properties": {}}}"##;
        let mut schemas: Map<String, Value> = serde_json::from_str(text).unwrap();
        let rules = json!({"A": {"required": null, "properties": {"n": {"minimum": 1}}}});
        lay_over(&mut schemas, rules.as_object().unwrap());
        assert_eq!((&schemas["A"]["required"], &schemas["A"]["properties"]["n"]), (&Value::Null, &json!({"type": "integer", "minimum": 1})));
        schemas["A"]["required"] = json!(["b"]);
        close(&mut schemas, ["A"].into_iter());
        let a = &schemas["A"]["properties"];
        assert_eq!((&a["n"]["type"], &a["b"]), (&json!(["integer", "null"]), &json!({"$ref": "#/components/schemas/B"})));
        assert_eq!(a["c"]["anyOf"][1], json!({"type": "null"}));
        assert_eq!((&a["d"], a["e"]["oneOf"].as_array().unwrap().len()), (&json!({"enum": [1, null]}), 2));
        assert_eq!((&schemas["B"]["additionalProperties"], &schemas["B"]["properties"]["s"]["enum"]), (&json!(false), &json!(["x", null])));
        assert!(schemas["C"].get("additionalProperties").is_none(), "no request mentions it");
    }
}
