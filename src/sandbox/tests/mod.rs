//! The sandbox over HTTP, as its callers see it. What Datadog answers is judged in `tests/it/sandbox_contract`.

mod control;
mod github;
mod hooks;
mod limits;

use std::collections::VecDeque;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

/// A sandbox with a client that has every credential.
struct World {
    sandbox: Sandbox,
    client: reqwest::Client,
}

/// Status, headers and body of an answer; the body is null when it is no JSON.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn world_of(options: Options) -> World {
    let mut headers = HeaderMap::new();
    for (name, value) in [("authorization", "token t"), ("dd-api-key", "k"), ("dd-application-key", "a")] {
        headers.insert(name, value.parse().unwrap());
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(headers)
        .build()
        .unwrap();
    World { sandbox: start(options).await.unwrap(), client }
}

/// `acme` with that many teams.
async fn acme(teams: usize) -> World {
    world_of(Options { org: Some("acme".into()), teams, repos: 2, ..Options::default() }).await
}

impl World {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), self.sandbox.url() + path)
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let mut request = self.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    /// A write that must succeed; its answer's body.
    async fn write(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    async fn faults(&self, rules: Value) {
        self.write("PUT", "/_sandbox/faults", rules).await;
    }

    async fn slugs(&self) -> Vec<String> {
        fields(&self.get("/orgs/acme/teams?per_page=100").await.body, "slug")
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

fn fields(list: &Value, name: &str) -> Vec<String> {
    let text = |item: &Value| item[name].as_str().map_or_else(|| item[name].to_string(), str::to_owned);
    list.as_array().unwrap().iter().map(text).collect()
}

/// A webhook receiver that hands on what it gets and answers as told (200 when not).
async fn receiver(answers: &[u16]) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (heard, inbox) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
    let receive = move |headers: HeaderMap, body: Bytes| async move {
        heard.send((headers, body)).unwrap();
        StatusCode::from_u16(answers.lock().unwrap().pop_front().unwrap_or(200)).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(receive)).into_future());
    (url, inbox)
}

async fn next(inbox: &mut mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) -> (String, Value) {
    let (headers, body) = inbox.recv().await.unwrap();
    (headers["x-github-event"].to_str().unwrap().to_owned(), serde_json::from_slice(&body).unwrap())
}
