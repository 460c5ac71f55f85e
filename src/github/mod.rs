//! Reading GitHub (octocrab).
