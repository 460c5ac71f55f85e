//! A webhook delivery on its way in.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Time;

/// One GitHub webhook request, by whichever door it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`. A redelivery carries the same GUID.
    pub guid: String,
    /// `X-GitHub-Event`: `team`, `membership`, `organization`, …
    pub event: String,
    /// `X-GitHub-Enterprise-Host`, which only GitHub Enterprise Server sends.
    pub host: Option<String>,
    /// `X-Hub-Signature-256` of the body, when it came with one.
    pub signature: Option<String>,
    /// When our first door took it.
    pub received_at: Time,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}

/// A GUID of GitHub has 36 characters, an event's name at most a few dozen.
const LONGEST_NAME: usize = 100;

/// DNS: a host's name has at most 253 characters. A signature has 71.
const LONGEST_VALUE: usize = 255;

impl Delivery {
    /// The same with headers of a bounded length, which may name rows and routes: a GUID that is too long, or that is no
    /// printable ASCII, becomes the hash of it. The rest is cut, since no longer value is GitHub's.
    #[must_use]
    pub fn bounded(self) -> Self {
        let is_plain = self.guid.bytes().all(|byte| byte.is_ascii_graphic());
        let guid = if is_plain && (1..=LONGEST_NAME).contains(&self.guid.len()) {
            self.guid
        } else {
            format!("sha256:{}", hex::encode(Sha256::digest(&self.guid)))
        };
        let value = |text: Option<String>| text.map(|text| cut(text, LONGEST_VALUE));
        let (host, signature) = (value(self.host), value(self.signature));
        Self { guid, event: cut(self.event, LONGEST_NAME), host, signature, ..self }
    }
}

/// A text cut to so many bytes.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(guid: &str, event: &str) -> Delivery {
        let (host, signature) = (Some("h".repeat(1_000)), Some("\u{20ac}".repeat(1_000)));
        let (guid, event) = (guid.to_owned(), event.to_owned());
        Delivery { guid, event, host, signature, received_at: Time(0), body: Bytes::new() }.bounded()
    }

    #[test]
    fn what_is_githubs_stays_as_it_is_and_what_is_not_is_bounded() {
        let guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
        let delivery = bounded(guid, "team");
        assert_eq!((delivery.guid.as_str(), delivery.event.as_str()), (guid, "team"));
        assert_eq!((delivery.host.unwrap().len(), delivery.signature.unwrap().len()), (255, 255));
        let long = "g".repeat(3_000);
        let hash = bounded(&long, &long);
        assert!(hash.guid.starts_with("sha256:") && hash.guid.len() == 71, "{}", hash.guid);
        assert_eq!(hash.event.len(), 100);
        assert_eq!(bounded(&long, "team").guid, hash.guid, "a redelivery is the same one");
        for odd in ["", "a b", "\0", "\u{1b}[31m", "\u{20ac}"] {
            assert!(bounded(odd, "team").guid.starts_with("sha256:"), "{odd:?}");
        }
    }
}
