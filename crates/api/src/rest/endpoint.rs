//! One line of the table: what it is called, what it takes, what it answers, and who does it.

use super::{Call, Reply};
use axum::http::{Method, StatusCode};
use control::Error;
use control::error::Code;
use futures::future::BoxFuture;
use serde_json::{Value, json};

/// Does the work of an endpoint.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, Error>>;

/// Whether an endpoint reads a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Optional,
    Required,
    /// A JSON object, or a form in its place (OAuth2).
    Form,
}

/// Who may call an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, logged in or not.
    Public,
    /// Everybody who is logged in.
    LoggedIn,
    /// Whoever has this scope, such as `migrations:read`, or `admin`.
    Scope(String),
}

impl Access {
    /// What follows from method and path unless the endpoint says otherwise: reading or writing the noun that the path begins with. A path
    /// that nobody thought of is the administrator's.
    fn of(method: &Method, path: &str) -> Self {
        let verb = if method.is_safe() { "read" } else { "write" };
        // Whatever it is made from, what comes out is a migration.
        if path.ends_with("/create-migration") {
            return Self::Scope("migrations:write".to_owned());
        }
        match path.split('/').nth(1).unwrap_or_default() {
            "" | "health" | "livez" | "readyz" => Self::Public,
            "migrations" | "backups" | "validate" | "system" | "analytics" | "batches" | "schedules" => Self::Scope(format!("migrations:{verb}")),
            noun @ ("presets" | "templates" | "webhooks" | "workloads" | "processes" | "vms") => Self::Scope(format!("{noun}:{verb}")),
            _ => Self::Scope("admin".to_owned()),
        }
    }
}

pub(crate) struct Param {
    pub name: &'static str,
    pub description: &'static str,
    pub schema: Value,
    pub required: bool,
}

pub(crate) struct Answer {
    pub status: StatusCode,
    pub description: &'static str,
    /// Content types and the schema of each; empty: no body.
    pub content: Vec<(&'static str, Value)>,
}

pub(crate) struct Endpoint {
    pub method: Method,
    /// In axum's form, which is OpenAPI's too: `/migrations/{session_id}`.
    pub path: &'static str,
    pub id: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub query: Vec<Param>,
    pub body: Body,
    /// Name of the body's schema and an example.
    pub takes: Option<(&'static str, Value)>,
    pub answers: Vec<Answer>,
    pub errors: Vec<(Code, &'static str)>,
    pub access: Access,
    /// Whether it heeds `If-Match`.
    pub versioned: bool,
    /// Whether it writes its own entries into the audit log, because only it learns who acts.
    pub own_audit: bool,
    pub call: Handler,
}

impl Endpoint {
    pub fn new(method: Method, path: &'static str, id: &'static str, call: Handler) -> Self {
        Self {
            path,
            id,
            tag: "Migrations",
            summary: "",
            description: "",
            query: Vec::new(),
            body: Body::None,
            takes: None,
            answers: Vec::new(),
            errors: Vec::new(),
            access: Access::of(&method, path),
            versioned: false,
            own_audit: false,
            method,
            call,
        }
    }

    pub fn get(path: &'static str, id: &'static str, call: Handler) -> Self {
        Self::new(Method::GET, path, id, call)
    }

    pub fn post(path: &'static str, id: &'static str, call: Handler) -> Self {
        Self::new(Method::POST, path, id, call)
    }

    pub fn delete(path: &'static str, id: &'static str, call: Handler) -> Self {
        Self::new(Method::DELETE, path, id, call)
    }

    pub fn put(path: &'static str, id: &'static str, call: Handler) -> Self {
        Self::new(Method::PUT, path, id, call)
    }

    pub fn patch(path: &'static str, id: &'static str, call: Handler) -> Self {
        Self::new(Method::PATCH, path, id, call)
    }

    /// Its entries in the audit log are its own affair.
    pub fn own_audit(self) -> Self {
        Self { own_audit: true, ..self }
    }

    /// Who may call it, where that does not follow from its path.
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    pub fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    pub fn says(self, summary: &'static str, description: &'static str) -> Self {
        Self { summary, description, ..self }
    }

    pub fn query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.query.push(Param { name, description, schema, required: false });
        self
    }

    /// A query parameter that must be there.
    pub fn required_query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.query.push(Param { name, description, schema, required: true });
        self
    }

    /// It heeds `If-Match`, and fails when the version is another one now.
    pub fn versioned(self, description: &'static str) -> Self {
        Self { versioned: true, ..self.fails(Code::Changed, description) }
    }

    pub fn takes(self, body: Body, schema: &'static str, example: Value) -> Self {
        Self { body, takes: Some((schema, example)), ..self }
    }

    /// A JSON answer with a named schema.
    pub fn answers(self, status: StatusCode, schema: &str, description: &'static str) -> Self {
        self.answers_with(status, description, vec![("application/json", reference(schema))])
    }

    /// A JSON answer that is a list of a named schema.
    pub fn answers_list(self, schema: &str, description: &'static str) -> Self {
        self.answers_with(StatusCode::OK, description, vec![("application/json", json!({"type": "array", "items": reference(schema)}))])
    }

    pub fn answers_with(mut self, status: StatusCode, description: &'static str, content: Vec<(&'static str, Value)>) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }

    pub fn fails(mut self, code: Code, description: &'static str) -> Self {
        self.errors.push((code, description));
        self
    }

    /// Names of the parameters in the path.
    pub fn path_params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

pub(crate) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// A moment in a query, in the forms that are understood.
pub(crate) fn time() -> Value {
    json!({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]})
}
