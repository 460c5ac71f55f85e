//! teamlink keeps Datadog's team connections and entity integration configs true to what GitHub says.

pub mod model;
