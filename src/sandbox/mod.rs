//! A stateful GitHub and Datadog that speak the real HTTP contracts. Imports nothing of ours: it is the judge.
