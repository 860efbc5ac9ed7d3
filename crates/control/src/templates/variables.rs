//! A template's variables: what each may be, what it is when nobody says, and what somebody said.

use super::placeholders::{Found, is_name};
use super::samples;
use domain::decode::{Fields, Problems, type_name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    String,
    /// A whole number.
    Integer,
    Number,
    Boolean,
    /// A text that is never shown; it may only stand in secret fields.
    Secret,
    /// One of `values`.
    Enum,
}

const TYPES: [(&str, VariableType); 6] = [
    ("string", VariableType::String),
    ("integer", VariableType::Integer),
    ("number", VariableType::Number),
    ("boolean", VariableType::Boolean),
    ("secret", VariableType::Secret),
    ("enum", VariableType::Enum),
];

/// A declared variable of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Variable {
    #[schema(example = "source_host")]
    pub name: String,
    #[serde(rename = "type")]
    pub kind: VariableType,
    #[serde(default)]
    pub required: bool,
    /// Taken when nobody gives a value. Of a secret: `********`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What an `enum` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Variable {
    fn read(mut f: Fields<'_>, p: &mut Problems) -> Option<Self> {
        let before = p.0.len();
        let name = f.required_text("name", p);
        if !name.is_empty() && !is_name(&name) {
            p.note(f.path("name"), "must begin with a letter or _ and consist of at most 64 letters, digits and _");
        }
        let kind = f.choice("type", &TYPES, p);
        if kind.is_none() && !f.has("type") {
            p.note(f.path("type"), "is required (one of: string, integer, number, boolean, secret, enum)");
        }
        let required = f.flag("required", false, p);
        let default = f.value("default").cloned();
        let description = f.text("description", p);
        let values = f.texts("values", p);
        if let Some(kind) = kind {
            if (kind == VariableType::Enum) == values.is_empty() {
                p.note(f.path("values"), if values.is_empty() { "is required for an enum, and must not be empty" } else { "belongs to an enum only" });
            }
            let own = Self { name, kind, required, default, description, values };
            own.check_default(&f.path("default"), p);
            f.done(p);
            return (p.0.len() == before).then_some(own);
        }
        f.done(p);
        None
    }

    fn check_default(&self, path: &str, p: &mut Problems) {
        let Some(default) = &self.default else { return };
        if self.required {
            p.note(path, "has no use: the variable is required, so that somebody always gives a value");
        } else if let Some(why) = self.refusal(default) {
            p.note(path, why);
        }
    }

    /// Why the variable cannot have this value; `None` when it can. Never repeats the value of a secret.
    fn refusal(&self, value: &Value) -> Option<String> {
        let (fits, wanted) = match self.kind {
            VariableType::String | VariableType::Secret => (value.as_str().is_some_and(|t| !t.contains('\0')), "a string without NUL characters".to_owned()),
            VariableType::Integer => (value.as_f64().is_some_and(|n| n.fract() == 0.0), "a whole number".to_owned()),
            VariableType::Number => (value.is_number(), "a number".to_owned()),
            VariableType::Boolean => (value.is_boolean(), "true or false".to_owned()),
            VariableType::Enum => (value.as_str().is_some_and(|t| self.values.iter().any(|v| v == t)), format!("one of: {}", self.values.join(", "))),
        };
        let given = if self.kind == VariableType::Enum { value.to_string() } else { type_name(value).to_owned() };
        (!fits).then(|| format!("must be {wanted}, not {given}"))
    }

    /// A value that it may have and that fields at `path` take, if there is one.
    fn sample(&self, path: &str) -> Value {
        if let Some(default) = &self.default {
            return default.clone();
        }
        let fitting = samples::of_field(path).filter(|v| self.refusal(v).is_none());
        fitting.unwrap_or_else(|| match self.kind {
            VariableType::Integer | VariableType::Number => json!(1),
            VariableType::Boolean => json!(true),
            VariableType::Enum => json!(self.values.first()),
            VariableType::String | VariableType::Secret => json!("sample"),
        })
    }
}

/// Reads the declarations; a name that stands twice is noted.
pub(super) fn read(value: Option<&Value>, p: &mut Problems) -> Vec<Variable> {
    let items = match value {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(other) => {
            p.note("variables", format!("must be an array of objects, not {}", type_name(other)));
            return Vec::new();
        }
    };
    let mut out: Vec<Variable> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("variables[{i}]");
        let Some(variable) = Fields::of(&path, item, p).and_then(|f| Variable::read(f, p)) else { continue };
        if out.iter().any(|v| v.name == variable.name) {
            p.note(format!("{path}.name"), format!("'{}' is declared twice", variable.name));
        }
        out.push(variable);
    }
    out
}

/// Declarations against the placeholders that stand in the template.
pub(super) fn check_use(variables: &[Variable], found: &[Found], p: &mut Problems) {
    for place in found {
        let path = format!("template.{}", place.path);
        match variables.iter().find(|v| v.name == place.name) {
            None => p.note(path, format!("uses the variable '{}', which is not declared in variables", place.name)),
            Some(v) if v.kind == VariableType::Secret && !super::masks::is_secret_place(&place.path) => {
                p.note(path, format!("would show the secret variable '{}': it may only stand in fields for passwords, keys and tokens", v.name));
            }
            Some(v) if !place.whole && !v.required && v.default.is_none() => {
                p.note(path, format!("needs '{}' inside other text: make it required, or give it a default", v.name));
            }
            Some(_) => {}
        }
    }
    for (i, variable) in variables.iter().enumerate() {
        if !found.iter().any(|f| f.name == variable.name) {
            p.note(format!("variables[{i}].name"), format!("'{}' is declared but stands nowhere in the template", variable.name));
        }
    }
}

/// The value of each variable: given, or its default. Everything unknown, missing or of the wrong type is noted.
pub(super) fn settle(variables: &[Variable], given: Option<&Value>, p: &mut Problems) -> Map<String, Value> {
    let empty = Map::new();
    let given = match given {
        None => &empty,
        Some(Value::Object(map)) => map,
        Some(other) => {
            p.note("variables", format!("must be an object of names and values, not {}", type_name(other)));
            return Map::new();
        }
    };
    for name in given.keys().filter(|n| !variables.iter().any(|v| v.name == **n)) {
        let known = variables.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
        p.note(format!("variables.{name}"), format!("is not a variable of this template (its variables: {known})"));
    }
    let mut out = Map::new();
    for variable in variables {
        let path = format!("variables.{}", variable.name);
        match given.get(&variable.name).filter(|v| !v.is_null()) {
            Some(value) => match variable.refusal(value) {
                Some(why) => p.note(path, why),
                None => drop(out.insert(variable.name.clone(), value.clone())),
            },
            None if variable.required => p.note(path, "is required"),
            None => out.extend(variable.default.clone().map(|d| (variable.name.clone(), d))),
        }
    }
    out
}

/// What the variable called `name` may look like at `path`.
pub(super) fn sample(variables: &[Variable], name: &str, path: &str) -> Option<Value> {
    variables.iter().find(|v| v.name == name).map(|v| v.sample(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(p: &Problems) -> Vec<String> {
        p.0.iter().map(|p| p.field.clone()).collect()
    }

    #[test]
    fn bad_declarations_are_all_named() {
        let body = json!([{"name": "a b", "type": "string"}, {"name": "a", "type": "text"}, {"name": "b"}, {"name": "c", "type": "integer", "default": "1"},
            {"name": "d", "type": "enum"}, {"name": "e", "type": "enum", "values": ["x"], "default": "y"}, {"name": "f", "type": "string", "values": ["x"]},
            {"name": "g", "type": "string", "required": true, "default": "x"}, {"name": "h", "type": "string"}, {"name": "h", "type": "string"}, 5, {"name": "i", "type": "string", "defualt": 1}]);
        let mut p = Problems::default();
        read(Some(&body), &mut p);
        let all = [
            "variables[0].name",
            "variables[1].type",
            "variables[2].type",
            "variables[3].default",
            "variables[4].values",
            "variables[5].default",
            "variables[6].values",
            "variables[7].default",
            "variables[9].name",
            "variables[10]",
            "variables[11].defualt",
        ];
        assert_eq!(said(&p), all);
    }

    #[test]
    fn given_values_are_held_to_their_types() {
        let declared = json!([{"name": "s", "type": "string", "required": true}, {"name": "i", "type": "integer"}, {"name": "n", "type": "number", "default": 1.5},
            {"name": "b", "type": "boolean"}, {"name": "k", "type": "secret"}, {"name": "e", "type": "enum", "values": ["x", "y"]}]);
        let mut p = Problems::default();
        let variables = read(Some(&declared), &mut p);
        assert!(p.is_empty(), "{p:?}");
        let values = settle(&variables, Some(&json!({"s": "x", "i": 3, "b": false, "k": "canary", "e": "y"})), &mut p);
        assert!(p.is_empty());
        assert_eq!(Value::Object(values), json!({"s": "x", "i": 3, "n": 1.5, "b": false, "k": "canary", "e": "y"}));
        settle(&variables, Some(&json!({"i": 1.5, "n": "1", "b": "true", "k": 12345, "e": "z", "z": 1})), &mut p);
        assert_eq!(said(&p), ["variables.z", "variables.s", "variables.i", "variables.n", "variables.b", "variables.k", "variables.e"]);
        assert!(!format!("{p:?}").contains("12345"));
    }
}
