//! The GitHub of the sandbox: the routes that teamlink reads and a person changes, and the webhooks GitHub would
//! send. State and rules are in [`World`]; the rest is HTTP.

mod app;
mod events;
mod orgs;
mod people;
mod reply;
mod repos;
mod slug;
mod teams;
mod wire;
mod world;

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use axum::Router;
use axum::routing::{get, post, put};
use serde::de::DeserializeOwned;

pub(crate) use events::Teller;
pub(crate) use reply::{finish, limited, unauthorised};
pub(crate) use slug::slug;
pub(crate) use world::{Installation, Org, Refusal, Repo, Team, World};

use super::Shared;
use super::call::Call;

/// Every GitHub route.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/orgs/{org}", get(orgs::show).patch(orgs::update).delete(orgs::delete))
        .route("/organizations/{org_id}", get(orgs::show_by_id))
        .route("/orgs/{org}/hooks", get(orgs::hooks).post(orgs::add_hook))
        .route("/orgs/{org}/hooks/{hook_id}", axum::routing::delete(orgs::delete_hook))
        .route("/orgs/{org}/installation", get(app::of_org))
        .route("/app", get(app::app))
        .route("/app/installations", get(app::installations))
        .route("/app/installations/{installation_id}", get(app::installation).delete(app::uninstall))
        .route("/app/installations/{installation_id}/access_tokens", post(app::token))
        .route("/app/installations/{installation_id}/suspended", put(app::suspend).delete(app::unsuspend))
        .route("/user", get(people::user))
        .route("/user/memberships/orgs/{org}", get(people::own_membership))
        .route("/orgs/{org}/teams", get(teams::list).post(teams::create))
        .route("/orgs/{org}/teams/{slug}", get(teams::show).patch(teams::update).delete(teams::delete))
        .route("/organizations/{org_id}/team/{team_id}", get(teams::show_by_id))
        .route("/orgs/{org}/teams/{slug}/members", get(people::members))
        .route(
            "/orgs/{org}/teams/{slug}/memberships/{user}",
            get(people::membership).put(people::add_member).delete(people::remove_member),
        )
        .route("/orgs/{org}/teams/{slug}/repos", get(teams::repos))
        .route(
            "/orgs/{org}/teams/{slug}/repos/{owner}/{repo}",
            get(teams::has_repo).put(teams::add_repo).delete(teams::remove_repo),
        )
        .route("/orgs/{org}/repos", get(repos::list).post(repos::create))
        .route("/repos/{owner}/{repo}", get(repos::show).patch(repos::update).delete(repos::delete))
        .route("/repos/{owner}/{repo}/topics", put(repos::topics))
        .route("/repos/{owner}/{repo}/transfer", post(repos::transfer))
        .route("/repositories/{repo_id}", get(repos::show_by_id))
}

/// The world, to read.
fn read(shared: &Shared) -> RwLockReadGuard<'_, World> {
    shared.github.read().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the world. The webhooks are queued before the next change can happen, so that their order is its order.
fn write<T>(
    shared: &Shared,
    call: &Call,
    change: impl FnOnce(&mut World, &mut Teller<'_>, u64) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut world = shared.github.write().unwrap_or_else(PoisonError::into_inner);
    let mut teller = Teller::new(&call.base);
    let done = change(&mut world, &mut teller, shared.clock.now())?;
    if !call.drop_webhooks {
        shared.hooks.publish(teller.events());
    }
    Ok(done)
}

/// The request's body; none at all reads as `{}`.
fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    let bytes: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(bytes).map_err(|_| Refusal::Broken)
}

/// A number in a path; GitHub knows nothing by any other name.
fn id(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound)
}

/// Tells an absent field (`None`) from one that is `null` (`Some(None)`).
#[expect(clippy::option_option, reason = "PATCH leaves an absent field as it is and clears one that is null")]
fn nullable<'de, D, T>(field: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(field).map(Some)
}
