//! Reading and writing Datadog (reqwest).
