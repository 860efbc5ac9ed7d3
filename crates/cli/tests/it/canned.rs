//! A control plane that gives the answers it was told to: for exit codes that a real one gives only on bad days.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Method and path (without its query) → status and body. The last answer of a path is repeated.
type Answers = Vec<(&'static str, u16, Value)>;

pub struct Canned {
    pub url: String,
    pub asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

struct Told {
    answers: Mutex<Answers>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Serves the answers on a free port until it is dropped.
pub fn serve(answers: Answers) -> Canned {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::new(Told { answers: Mutex::new(answers), asked: asked.clone() });
    let router = axum::Router::new().fallback(answer).with_state(told);
    runtime.spawn(async move { axum::serve(listener, router).await });
    Canned { url, asked, _runtime: runtime }
}

async fn answer(State(told): State<Arc<Told>>, request: axum::extract::Request) -> Response {
    let path = format!("{} {}", request.method(), request.uri().path());
    told.asked.lock().unwrap().push(path.clone());
    let mut answers = told.answers.lock().unwrap();
    let Some(at) = answers.iter().position(|(p, ..)| *p == path) else {
        return (http::StatusCode::NOT_FOUND, axum::Json(json!({"error": {"code": "NOT_FOUND", "message": path, "details": {}}}))).into_response();
    };
    let more = answers.iter().filter(|(p, ..)| *p == path).count() > 1;
    let (_, status, body) = if more { answers.remove(at) } else { answers[at].clone() };
    (http::StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

/// A migration `m1` that is created and started, and then has this status.
pub fn ending(status: &Value) -> Answers {
    vec![
        ("POST /migrations/", 201, json!({"session_id": "m1", "status": "created"})),
        ("POST /migrations/m1/start", 200, json!({"session_id": "m1", "status": "started"})),
        ("GET /migrations/m1/events", 200, json!({"events": []})),
        ("GET /migrations/m1/status", 200, status.clone()),
    ]
}
