//! The Datadog of the sandbox: every path of the contract, answering as recorded. State and rules are in [`World`];
//! the rest is HTTP.

mod connections;
mod gaps;
mod integrations;
mod links;
mod memberships;
mod reply;
mod sync;
mod teams;
mod users;
mod world;

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use axum::Router;
use axum::routing::{get, patch, put};
use serde_json::Value;

pub(crate) use reply::{emptied, finish, limited, unauthorised};
pub(crate) use world::{Connection, ORG_ID, Refusal, Team, World};

use super::Shared;
use super::call::Call;

/// Every Datadog route.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v2/team", get(teams::list).post(teams::create))
        .route("/api/v2/team/{team_id}", get(teams::show).patch(teams::update).delete(teams::delete))
        .route(
            "/api/v2/team/connections",
            get(connections::list).post(connections::create).delete(connections::delete),
        )
        .route("/api/v2/team/sync", get(sync::show).post(sync::set))
        .route("/api/v2/team/{team_id}/memberships", get(memberships::list).post(memberships::join))
        .route(
            "/api/v2/team/{team_id}/memberships/{user_id}",
            patch(memberships::update).delete(memberships::leave),
        )
        .route("/api/v2/users/{user_uuid}/memberships", get(memberships::of_user))
        .route("/api/v2/current_user", get(users::current))
        .route("/api/v2/team/{team_id}/permission-settings", get(teams::permissions))
        .route("/api/v2/team/{team_id}/permission-settings/{action}", put(teams::set_permission))
        .route("/api/v2/team-hierarchy-links", get(links::list).post(links::create))
        .route("/api/v2/team-hierarchy-links/{link_id}", get(links::show).delete(links::delete))
        .route(
            "/api/v2/idp/entity_integrations/{integration_id}",
            get(integrations::show).put(integrations::replace).delete(integrations::delete),
        )
}

/// The world, to read.
fn read(shared: &Shared) -> RwLockReadGuard<'_, World> {
    shared.datadog.read().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the world.
fn write<T>(
    shared: &Shared,
    change: impl FnOnce(&mut World, u64) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut world = shared.datadog.write().unwrap_or_else(PoisonError::into_inner);
    change(&mut world, shared.clock.now())
}

/// `data` of the request's body; what is said to other bodies is not recorded.
fn data(call: &Call) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| Refusal::bad("invalid JSON body"))?;
    body.get("data").cloned().ok_or_else(|| Refusal::bad("attribute \"data\" is required"))
}

/// The values of an array parameter: comma separated (documented: `style: form, explode: false`).
fn csv(call: &Call, name: &str) -> Vec<String> {
    let text = call.param(name).unwrap_or_default();
    text.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect()
}
