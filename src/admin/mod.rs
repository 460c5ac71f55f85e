//! HTTP for operators and orchestrators: health and metrics.
