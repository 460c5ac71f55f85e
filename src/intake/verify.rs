//! Whether a message from the queue is believed: GitHub's signature, which travels with the body.
//!
//! Whoever may publish to the exchange is let in by the broker's permissions. With a secret here, a forger among them
//! is found out when there is a signature (`when-signed`), or kept out altogether (`always`).

use secrecy::SecretString;
use tokio::sync::watch;

use crate::{model::Delivery, signature};

/// When a signature is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyWhen {
    /// When there is one, and a secret to check it with.
    Signed,
    /// Always: without one, or without a secret, nothing is believed.
    Always,
    /// Never.
    Never,
}

/// How the signatures of messages from the queue are checked.
#[derive(Clone, Debug)]
pub struct Verify {
    /// When.
    pub when: VerifyWhen,
    /// Any of these may have signed. Read anew for each delivery.
    pub secrets: watch::Receiver<Vec<SecretString>>,
}

impl Verify {
    /// Whether a delivery is believed, and if not, why.
    pub(super) fn check(&self, delivery: &Delivery) -> Result<(), String> {
        let secrets = self.secrets.borrow();
        match (self.when, &delivery.signature) {
            (VerifyWhen::Never, _) | (VerifyWhen::Signed, None) => Ok(()),
            (VerifyWhen::Signed, Some(_)) if !signature::possible(&secrets) => Ok(()),
            (VerifyWhen::Always, None) => {
                Err("it has no X-Hub-Signature-256, and queue.verify is \"always\"".to_owned())
            }
            (_, Some(sent)) if signature::matches(sent, &delivery.body, &secrets) => Ok(()),
            (_, Some(_)) => Err("its signature matches none of the webhook secrets set here".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    fn believed(when: VerifyWhen, secrets: &[&str], signature: Option<&str>) -> bool {
        let secrets: Vec<SecretString> = secrets.iter().map(|&secret| secret.into()).collect();
        let verify = Verify { when, secrets: watch::channel(secrets).1 };
        let delivery = Delivery {
            guid: "g".into(),
            event: "team".into(),
            host: None,
            signature: signature.map(str::to_owned),
            received_at: Time(0),
            body: "Hello, World!".into(),
        };
        verify.check(&delivery).is_ok()
    }

    #[test]
    fn what_is_believed_with_and_without_a_signature_and_a_secret() {
        const SECRET: &str = "It's a Secret to Everybody";
        let good = Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        let bad = Some("sha256=00");
        for (when, secrets, signature, expected) in [
            (VerifyWhen::Signed, &["old", SECRET][..], good, true),
            (VerifyWhen::Signed, &[SECRET], bad, false),
            (VerifyWhen::Signed, &[SECRET], None, true),
            (VerifyWhen::Signed, &[], bad, true),
            (VerifyWhen::Signed, &[""], bad, true),
            (VerifyWhen::Always, &[SECRET], good, true),
            (VerifyWhen::Always, &[SECRET], bad, false),
            (VerifyWhen::Always, &[SECRET], None, false),
            (VerifyWhen::Always, &[], good, false),
            (VerifyWhen::Never, &[SECRET], bad, true),
        ] {
            assert_eq!(believed(when, secrets, signature), expected, "{when:?} {secrets:?} {signature:?}");
        }
    }
}
