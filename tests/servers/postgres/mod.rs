//! Several workers on one PostgreSQL.

mod chaos;
mod ledgers;
mod processes;
mod settings;
mod workers;
