//! What is wrong with a setting, said so that a person can mend it: key, value, why, remedy.

use std::fmt;

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting as it is written in a file, `section.key`, or the file that could not be read.
    pub key: String,
    /// The value as it was given; `None` when there is none or when it is a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem with a key that has no printable value.
    pub fn new(key: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, why: why.into(), remedy: remedy.into() }
    }

    /// The same problem with the value that caused it. Never call it with a secret.
    pub fn with_value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?}: {}", self.key, self.why),
            None => write!(f, "{}: {}", self.key, self.why),
        }
    }
}

impl std::error::Error for Problem {}

/// Everything that is wrong with the settings, found in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problems) = self;
        write!(f, "{} in the settings", plural(problems.len()))?;
        for problem in problems {
            write!(f, "\n  {problem}\n    {}", problem.remedy)?;
        }
        Ok(())
    }
}

fn plural(count: usize) -> String {
    if count == 1 { "one mistake".into() } else { format!("{count} mistakes") }
}

impl std::error::Error for Problems {}
