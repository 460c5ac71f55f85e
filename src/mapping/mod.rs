//! Mapping rules: GitHub team → Datadog teams. Pure.
