//! `deploy/compose.yaml` without containers: its processes with their secrets and settings, on a local broker and database,
//! and what the broker lets its two users do. `tests/it/deploy.rs` reads the rest of the file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    network::rabbitmqctl,
    schema::Schema,
    support::{
        amqp_url, eventually,
        process::Process,
        world::{World, linked},
    },
};

const SOON: Duration = Duration::from_secs(30);

/// The secrets and the broker's users, under names that no other test has.
struct Deployment {
    secrets: tempfile::TempDir,
    /// Behind the names of the virtual host and of the users.
    suffix: String,
}

impl Deployment {
    async fn new(schema: &Schema) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/make-secrets");
        assert!(Command::new(script).arg(secrets.path()).output().await.unwrap().status.success());
        let made = Self { secrets, suffix: format!("-test-{}", uuid::Uuid::new_v4()) };

        let mut definitions = made.read("rabbitmq-definitions.json");
        for name in ["teamlink", "webhook", "worker"] {
            definitions = definitions.replace(&format!("\"{name}\""), &format!("\"{name}{}\"", made.suffix));
        }
        rabbitmqctl(&["import_definitions", "--format", "json"], &definitions).await;
        for user in ["webhook", "worker"] {
            let url = made.read(&format!("{user}-amqp-url"));
            let (scheme, rest) = url.split_once("://").unwrap();
            let password = rest.split_once(':').unwrap().1.split_once('@').unwrap().0;
            let broker = amqp_url();
            let host = broker.split_once('@').unwrap().1.split('/').next().unwrap();
            let suffix = &made.suffix;
            let url = format!("{scheme}://{user}{suffix}:{password}@{host}/teamlink{suffix}");
            made.write(&format!("{user}-amqp-url"), &url);
        }
        made.write("ledger-url", &schema.url);
        for secret in ["github-token", "datadog-api-key", "datadog-app-key"] {
            made.write(secret, "of the sandbox");
        }
        made
    }

    fn path(&self, secret: &str) -> PathBuf {
        self.secrets.path().join(secret)
    }

    fn read(&self, secret: &str) -> String {
        fs::read_to_string(self.path(secret)).unwrap()
    }

    fn write(&self, secret: &str, text: &str) {
        fs::write(self.path(secret), text).unwrap();
    }

    /// The environment of a service. What the person fills in is `acme`, in mode `sync`.
    fn environment(&self, service: &Value) -> BTreeMap<String, String> {
        let environment = service["environment"].as_object().unwrap().iter();
        let value = |value: &Value| match value.as_str().unwrap() {
            "${GITHUB_ORGS:?set it in deploy/.env}" => "acme".to_owned(),
            "${POLICY_MODE:-observe}" => "sync".to_owned(),
            "${DD_SITE:-datadoghq.com}" => "datadoghq.com".to_owned(),
            fixed => fixed.replace("/run/secrets", &self.secrets.path().display().to_string()),
        };
        environment.map(|(name, it)| (name.clone(), value(it))).collect()
    }

    /// Starts a service as its container would, and waits until it is ready.
    async fn start(&self, world: &World, name: &str) -> Process {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose.yaml");
        let compose: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let service = &compose["services"][name];
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/teamlink.toml");
        let mounted = |arg: &str| arg.replace("/etc/teamlink.toml", &rules.display().to_string());
        let args = service["command"].as_array().unwrap().iter().map(|it| mounted(it.as_str().unwrap()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
        command.args(args).env_clear().envs(self.environment(service));
        if name == "worker" {
            command.env("TEAMLINK_GITHUB__BASE_URL", world.sandbox.url());
            command.env("TEAMLINK_DATADOG__BASE_URL", world.sandbox.url());
        }
        let started = Process::spawn(world, command).await;
        let ready = started.url("/readyz");
        let answers = async || world.http.get(&ready).send().await.is_ok_and(|it| it.status().is_success());
        eventually(name, true, answers).await;
        started
    }

    async fn connect(&self, user: &str) -> Connection {
        let url = self.read(&format!("{user}-amqp-url"));
        Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
    }

    /// Removes what the broker has of it.
    async fn remove(self) {
        for user in ["webhook", "worker"] {
            rabbitmqctl(&["delete_user", &format!("{user}{}", self.suffix)], "").await;
        }
        rabbitmqctl(&["delete_vhost", &format!("teamlink{}", self.suffix)], "").await;
    }
}

/// The broker refuses this to a user, on a channel of its own, which ends with it.
async fn refused<T>(
    connection: &Connection,
    what: &str,
    ask: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
) {
    let channel = connection.create_channel().await.unwrap();
    let Err(error) = ask(&channel).await else { panic!("{what} is allowed") };
    assert!(error.to_string().contains("ACCESS_REFUSED"), "{what}: {error}");
}

async fn publish(channel: &Channel, exchange: &str, key: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await?;
    Ok(())
}

async fn declare_queue(channel: &Channel, queue: &str) -> lapin::Result<()> {
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_keeps_datadog_in_step_with_the_rights_that_its_users_have() {
    let schema = Schema::create().await;
    let world = World::new(2, &[]).await;
    world.seed(json!({"datadog_teams": [{"handle": "new", "name": "New"}]})).await;
    let deployment = Deployment::new(&schema).await;
    let worker = deployment.start(&world, "worker").await;
    let webhook = deployment.start(&world, "webhook").await;
    world.becomes(&linked(["team-1", "team-2"]), SOON).await;

    // An event passes from GitHub to Datadog, with its signature.
    let secret = deployment.read("github-webhook-secret");
    let url = webhook.url("/webhooks/github");
    let hook = json!({"config": {"url": url, "secret": secret, "content_type": "json"}});
    world.github(Method::POST, "/orgs/acme/hooks", hook).await;
    world.github(Method::POST, "/orgs/acme/teams", json!({"name": "New"})).await;
    world.becomes(&linked(["team-1", "team-2", "new"]), SOON).await;

    let queue = "teamlink.events";
    let sender = deployment.connect("webhook").await;
    let consume = async |channel: &Channel| {
        channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await
    };
    refused(&sender, "to consume", consume).await;
    refused(&sender, "to declare a queue", async |it| declare_queue(it, "other").await).await;
    refused(&sender, "to delete the queue", async |it| {
        it.queue_delete(queue.into(), QueueDeleteOptions::default()).await
    })
    .await;
    refused(&sender, "to publish past the exchange", async |it| publish(it, "", "teamlink.dead").await).await;
    let reader = deployment.connect("worker").await;
    refused(&reader, "to declare another queue", async |it| declare_queue(it, "other").await).await;
    refused(&reader, "to declare another exchange", async |it| {
        let (options, arguments) = (ExchangeDeclareOptions::default(), FieldTable::default());
        it.exchange_declare("other".into(), ExchangeKind::Topic, options, arguments).await
    })
    .await;
    refused(&reader, "to publish elsewhere", async |it| publish(it, "amq.topic", "x").await).await;

    webhook.stop().await;
    worker.stop().await;
    deployment.remove().await;
    schema.remove().await;
}
