//! GitHub webhook JSON → `Event` → marks. Pure; the only place that sees webhook JSON.
