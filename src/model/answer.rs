//! What an upstream may answer when it is asked for something, and why it may not have answered.

use std::{fmt, time::Duration};

/// The four answers. Only [`Answer::Absent`] may ever become proof that something is gone; a refusal or a
/// failure says nothing about what exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It exists, and this is what it looks like.
    Present(T),
    /// The upstream says that it does not exist.
    Absent,
    /// The credential may not see it (401, 403 without a rate limit, a suspended installation).
    Forbidden(Trouble),
    /// No usable answer: 5xx, a timeout, a rate limit, a body that makes no sense.
    Failed(Trouble),
}

impl<T> Answer<T> {
    /// The same answer about something derived from the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Present(value) => Answer::Present(f(value)),
            Self::Absent => Answer::Absent,
            Self::Forbidden(trouble) => Answer::Forbidden(trouble),
            Self::Failed(trouble) => Answer::Failed(trouble),
        }
    }

    /// Sorts a trouble into the answer that it amounts to.
    pub fn from_trouble(trouble: Trouble) -> Self {
        match trouble.class {
            Class::Auth => Self::Forbidden(trouble),
            Class::Transient | Class::Throttled | Class::Permanent | Class::Invalid => Self::Failed(trouble),
        }
    }
}

/// The five classes of error; each is handled in one way, wherever it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 5xx, 408, connection refused or lost, timeout: wait and try again.
    Transient,
    /// 429, or GitHub's 403 with a limit: wait as long as the header says.
    Throttled,
    /// 401, or 403 on a capability: nothing of this scope works until a person acts.
    Auth,
    /// Any other 4xx: this request will never work.
    Permanent,
    /// An answer that cannot be understood.
    Invalid,
}

impl Class {
    /// The class as one word, for logs, metrics and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Permanent => "permanent",
            Self::Invalid => "invalid",
        }
    }
}

/// Why a request brought no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How to handle it.
    pub class: Class,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// How long the upstream asked us to wait, when it did.
    pub retry_after: Option<Duration>,
    /// The request was sent, and what it did is unknown (a timeout or a lost connection after sending). A
    /// write with this set must be looked up before anything else is decided.
    pub ambiguous: bool,
    /// What fails and heals together with it, such as `datadog:connections:write`: when that works again, whatever
    /// waits for it is tried at once.
    pub scope: Option<String>,
    /// Nothing was sent, since the scope is given a rest; `retry_after` says until when.
    pub blocked: bool,
    /// What was attempted, with what, and what the upstream said. For people; never holds a secret.
    pub message: String,
}

impl Trouble {
    /// A trouble of this class with nothing known but its message.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        let (status, retry_after, ambiguous, scope, blocked) = (None, None, false, None, false);
        Self { class, status, retry_after, ambiguous, scope, blocked, message: message.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}
