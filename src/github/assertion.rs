//! What the App's own key signs: that the App asks, and when. GitHub refuses what was signed in its future, and what ends
//! more than ten minutes ahead.

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;

use crate::model::Time;

/// Clocks differ: it counts as signed this many seconds ago.
const AGO: i64 = 60;

/// It ends in this many seconds.
const LASTS: i64 = 9 * 60;

#[derive(Serialize)]
struct Claims {
    iss: u64,
    iat: i64,
    exp: i64,
}

/// Signs as the App with this id. `now` is GitHub's time, as far as it is known.
pub(super) fn sign(app: u64, now: Time, key: &EncodingKey) -> anyhow::Result<SecretString> {
    let now = now.0 / 1_000_000;
    let claims = Claims { iss: app, iat: now - AGO, exp: now + LASTS };
    let signed = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, key)
        .context("failed to sign with the private key of the GitHub App")?;
    Ok(signed.into())
}
