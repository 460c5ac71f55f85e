//! GitHub's signatures: whether a body was signed with one of our secrets. Compares in constant time. Pure; both doors
//! check with it.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Where GitHub puts `sha256=` and the HMAC-SHA256 of the raw body in hexadecimal.
pub const HEADER: &str = "x-hub-signature-256";

/// Whether there is a secret to sign with. An empty one is none: everybody knows it.
pub fn possible(secrets: &[SecretString]) -> bool {
    secrets.iter().any(|secret| !secret.expose_secret().is_empty())
}

/// Whether a header has the form of a signature, whatever it signs.
pub fn is_formed(signature: &str) -> bool {
    digest(signature).is_some()
}

fn digest(signature: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(signature.strip_prefix("sha256=")?, &mut digest).ok()?;
    Some(digest)
}

/// Whether `signature` is that of `body` under any of `secrets` but the empty one.
pub fn matches(signature: &str, body: &[u8], secrets: &[SecretString]) -> bool {
    let Some(expected) = digest(signature) else { return false };
    secrets.iter().map(|secret| secret.expose_secret().as_bytes()).filter(|secret| !secret.is_empty()).any(
        |secret| {
            Hmac::<Sha256>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(body).verify_slice(&expected).is_ok())
        },
    )
}

/// The signature of `body` under the first of `secrets` that is not empty, as GitHub would write it.
pub fn sign(body: &[u8], secrets: &[SecretString]) -> Option<String> {
    let secret = secrets.iter().map(|secret| secret.expose_secret().as_bytes()).find(|it| !it.is_empty())?;
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(body);
    Some(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's "Validating webhook deliveries".
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const SECRET: &str = "It's a Secret to Everybody";

    #[test]
    fn github_s_own_example_matches_whichever_secret_of_several_signed_it() {
        assert!(matches(SIGNATURE, b"Hello, World!", &[SECRET.into()]));
        assert!(matches(SIGNATURE, b"Hello, World!", &["new".into(), SECRET.into()]));
    }

    #[test]
    fn another_body_secret_or_form_of_the_header_does_not_match() {
        assert!(!matches(SIGNATURE, b"Hello, World?", &[SECRET.into()]));
        assert!(!matches(SIGNATURE, b"Hello, World!", &["another".into()]));
        assert!(!matches(SIGNATURE, b"Hello, World!", &[]));
        for signature in ["", "sha256=", "sha256=zz", &SIGNATURE[7..], &SIGNATURE[..40], "sha1=7571"] {
            assert!(!matches(signature, b"Hello, World!", &[SECRET.into()]), "{signature:?}");
            assert!(!is_formed(signature), "{signature:?}");
        }
    }

    #[test]
    fn what_is_signed_here_matches_and_nothing_is_signed_with_an_empty_secret() {
        assert_eq!(sign(b"Hello, World!", &["".into(), SECRET.into()]).unwrap(), SIGNATURE);
        assert!(sign(b"x", &["".into()]).is_none());
    }

    #[test]
    fn an_empty_secret_never_matches() {
        let mac = Hmac::<Sha256>::new_from_slice(b"").unwrap().chain_update(b"x").finalize().into_bytes();
        assert!(!matches(&format!("sha256={}", hex::encode(mac)), b"x", &["".into()]));
    }
}
