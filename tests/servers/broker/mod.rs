//! RabbitMQ, and what teamlink makes of what happens to it.

mod compose;
mod consumer;
mod dead;
mod documents;
mod events;
mod headers;
mod kill;
mod messages;
mod poison;
mod publisher;
mod worker;
