//! The caller's own user. Reconstructed from the contract's additions; nobody recorded an answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::read;
use super::reply::json_reply;
use crate::sandbox::Shared;

type Sandbox = State<Arc<Shared>>;

pub(super) async fn current(State(shared): Sandbox) -> Response {
    let world = read(&shared);
    let org = world.org_uuid().to_string();
    let body = json!({
        "data": {
            "id": world.me.to_string(),
            "type": "users",
            "attributes": {"disabled": false, "service_account": true, "status": "Active"},
            "relationships": {"org": {"data": {"id": org, "type": "orgs"}}},
        },
        "included": [{"id": org, "type": "orgs", "attributes": {"name": format!("Organisation {}", world.org_id)}}],
    });
    json_reply(StatusCode::OK, &body).into_response()
}
