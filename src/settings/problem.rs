//! What is wrong with a setting, said so that a person can mend it: key, value, why, remedy.

use std::fmt;

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting as it is written in a file, `section.key`, or the file that could not be read.
    pub key: String,
    /// The value as it was given; `None` when there is none or when it is a secret.
    pub value: Option<String>,
    /// Where it was given: a file or a variable.
    pub source: Option<String>,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem with a key that has no printable value.
    pub fn new(key: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, source: None, why: why.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, source, why, remedy: _ } = self;
        f.write_str(key)?;
        if let Some(value) = value {
            write!(f, " = {value:?}")?;
        }
        if let Some(source) = source {
            write!(f, " ({source})")?;
        }
        write!(f, ": {why}")
    }
}

impl std::error::Error for Problem {}

/// Everything that is wrong with the settings, found in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problems) = self;
        match problems.len() {
            1 => write!(f, "one mistake in the settings")?,
            count => write!(f, "{count} mistakes in the settings")?,
        }
        for problem in problems {
            write!(f, "\n  {problem}\n    {}", problem.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
