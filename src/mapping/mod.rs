//! Mapping rules: GitHub team → Datadog teams. Pure.

/// Mapping rules, validated and compiled.
#[derive(Clone, Debug, Default)]
pub struct Rules {}
