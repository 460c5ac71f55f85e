//! Several workers on one PostgreSQL.

mod chaos;
mod processes;
mod workers;
