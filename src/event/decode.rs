//! JSON → [`Event`]. Values are looked at one by one, so that an odd one spoils nothing but itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{About, Event, EventOrg};
use crate::model::Delivery;

/// A body from which no event can be read. It never will be, so the delivery is parked with its payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to decode a `{event}` event: {why}")]
pub struct Undecodable {
    /// The event's name, as the header had it.
    pub event: String,
    /// What is wrong with the body.
    pub why: String,
}

/// Reads a delivery. Unknown events and actions are events too ([`About::Unknown`]).
pub fn decode(delivery: &Delivery) -> Result<Event, Undecodable> {
    let name = delivery.event.as_str();
    let undecodable = |why: String| Undecodable { event: name.to_owned(), why };

    let body = match serde_json::from_slice(&delivery.body) {
        Ok(values) => Some(Object(values)),
        Err(_) => match serde_json::from_slice::<&RawValue>(&delivery.body) {
            Ok(_) => None,
            Err(error) => return Err(undecodable(format!("not JSON: {error}"))),
        },
    };
    let action: Option<String> = body.as_ref().and_then(|body| body.text("action"));

    let kind = Kind::of(name, action.as_deref());
    let Some(body) = body else {
        return match kind {
            Kind::Ignored(about) => Ok(Event { name: name.to_owned(), action, org: None, about }),
            _ => Err(undecodable("the body is not a JSON object".to_owned())),
        };
    };
    let account = organization(name, &body);
    let org = account.as_ref().and_then(org_of);
    // An organisation without an id is none of ours. One with an id that is none, nothing can be done for.
    let wrong = account.is_some_and(|account| account.has("id")) && org.is_none();
    let about = match kind {
        Kind::Team { deleted, repositories } => {
            let team = body.object("team");
            let team_id = team.as_ref().and_then(|team| team.get("id"));
            let team_id = team_id.ok_or_else(|| undecodable(no_id("team")))?;
            let said = team.and_then(|team| team.get("deleted")).unwrap_or(false);
            About::Team { team: team_id, deleted: deleted || said, repositories }
        }
        Kind::Membership => match body.object("team") {
            Some(team) if team.get("deleted").unwrap_or(false) => match team.get("id") {
                Some(team) => About::Team { team, deleted: true, repositories: false },
                None => return Err(undecodable(no_id("team"))),
            },
            _ => About::Nothing,
        },
        Kind::Organization { .. } if org.is_none() => return Err(undecodable(no_id("organization"))),
        Kind::Organization { deleted } => About::Org { deleted },
        Kind::Installation => About::Org { deleted: false },
        Kind::Ignored(about) => about,
    };
    if wrong && !matches!(about, About::Nothing | About::Unknown) {
        return Err(undecodable(no_id("organization")));
    }
    Ok(Event { name: name.to_owned(), action, org, about })
}

/// What has to be read from a body, by the event's name and action.
enum Kind {
    Team { deleted: bool, repositories: bool },
    Membership,
    Organization { deleted: bool },
    Installation,
    Ignored(About),
}

impl Kind {
    fn of(name: &str, action: Option<&str>) -> Self {
        match (name, action.unwrap_or_default()) {
            ("team", "created" | "edited") => Self::Team { deleted: false, repositories: false },
            ("team", "deleted") => Self::Team { deleted: true, repositories: false },
            ("team", "added_to_repository" | "removed_from_repository") | ("team_add", _) => {
                Self::Team { deleted: false, repositories: true }
            }
            ("membership", "added" | "removed") => Self::Membership,
            ("organization", "renamed") => Self::Organization { deleted: false },
            ("organization", "deleted") => Self::Organization { deleted: true },
            (
                "repository",
                "created" | "deleted" | "archived" | "unarchived" | "renamed" | "transferred" | "publicized"
                | "privatized" | "edited",
            ) => Self::Ignored(About::Repository),
            ("installation" | "installation_repositories", _) | ("installation_target", "renamed") => {
                Self::Installation
            }
            ("ping", _) | ("organization", "member_added" | "member_removed" | "member_invited") => {
                Self::Ignored(About::Nothing)
            }
            ("member", "added" | "edited" | "removed") => Self::Ignored(About::Nothing),
            _ => Self::Ignored(About::Unknown),
        }
    }
}

/// The organisation that an event belongs to. Events about installations name it as the account that the app
/// is installed on, which may be null, an enterprise (no login) or a user; those are no organisations.
fn organization<'a>(name: &str, body: &Object<'a>) -> Option<Object<'a>> {
    let account = match name {
        "installation" | "installation_repositories" => {
            body.object("installation").and_then(|installation| installation.object("account"))
        }
        // Its own `installation` carries no account, and the account itself no dependable type.
        "installation_target" if body.text("target_type").as_deref() == Some("Organization") => {
            return body.object("organization").or_else(|| body.object("account"));
        }
        _ => None,
    };
    let account = account.filter(|account| account.text("type").as_deref() == Some("Organization"));
    body.object("organization").or(account)
}

fn org_of(account: &Object<'_>) -> Option<EventOrg> {
    Some(EventOrg { id: account.get("id")?, login: account.text("login") })
}

fn no_id(of: &str) -> String {
    format!("`{of}.id` is missing, or no positive number")
}

/// A JSON object whose values are read one at a time, each only when it has the type that is asked for.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok().map(Self)
    }

    fn get<T: Deserialize<'a>>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.0.get(key)?.get()).ok()
    }

    fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| value.get() != "null")
    }

    fn object(&self, key: &str) -> Option<Object<'a>> {
        Object::read(self.0.get(key)?)
    }

    /// A text, without the NUL that databases cannot store.
    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|text: String| text.replace('\0', "\u{fffd}"))
    }
}
