//! The durable store: schema, migrations, every query. Row types stay inside.
