//! RabbitMQ: topology, publisher with confirms (an `Inbox`), supervised consumer.
