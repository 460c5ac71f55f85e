//! The documents of entity integrations: read, compared, replaced by hand. With a lease, the ledger stores what a
//! person writes.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use similar::TextDiff;

use crate::{
    datadog,
    model::{Answer, Configuration, Document, Integration},
    printable,
    reconcile::DocumentByHand,
    settings::{DatadogCredential, Problem, Settings},
    transport::{retry, retry_answer},
};

/// Datadog takes keys only for these documents.
///
/// # Errors
/// When the settings have an access token alone.
pub fn needs_keys(settings: &Settings) -> Result<(), Problem> {
    match settings.datadog.credential {
        Some(DatadogCredential::AccessToken(_)) => Err(Problem::new(
            "datadog.access_token",
            "Datadog takes no access token for entity integrations",
            "set DD_API_KEY and DD_APP_KEY in its place",
        )),
        Some(DatadogCredential::Keys { .. }) | None => Ok(()),
    }
}

/// The document that Datadog holds; `None` before the first PUT.
///
/// # Errors
/// When Datadog does not say.
pub async fn read(reader: &datadog::Reader, id: &str) -> anyhow::Result<Option<Document>> {
    match retry_answer(|| reader.integration(id)).await {
        Answer::Present(document) => Ok(Some(document)),
        Answer::Absent => Ok(None),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble.into()),
    }
}

/// A document as a person wrote it, when it has the shape that Datadog's contract names.
///
/// # Errors
/// When it has not, with every wrong key.
pub fn parse(id: &str, text: &str) -> anyhow::Result<Configuration> {
    let config: Value = serde_json::from_str(text).context("it is no JSON")?;
    ensure!(config.is_object(), "it is no JSON object");
    if let Some(integration) = Integration::from_id(id) {
        let list = integration.list();
        let wrong = integration.misshapen(config.get(list).unwrap_or(&Value::Null));
        let wrong: Vec<_> = wrong.iter().map(|wrong| format!("{list}{wrong}")).collect();
        ensure!(wrong.is_empty(), "it has not the shape of a document of {id}:\n  {}", wrong.join("\n  "));
    }
    Ok(serde_json::from_str(text)?)
}

/// A document as text, an entry a line, so that a diff shows entries.
pub fn text(config: &Configuration) -> String {
    let fields = config.iter().map(|(name, value)| match value.items() {
        Some(entries) if !entries.is_empty() => {
            let lines: Vec<_> = entries.iter().map(|entry| format!("    {entry}")).collect();
            format!("  {}: [\n{}\n  ]", Value::from(name.as_str()), lines.join(",\n"))
        }
        _ => format!("  {}: {value}", Value::from(name.as_str())),
    });
    let text = format!("{{\n{}\n}}\n", fields.collect::<Vec<_>>().join(",\n"));
    printable::json(&text).into_owned()
}

/// The same with a comma behind every entry, lest an entry differ only by having become the last one.
fn with_commas(config: &Configuration) -> String {
    let comma = |line: &str| match line.starts_with("    ") && !line.ends_with(',') {
        true => format!("{line},\n"),
        false => format!("{line}\n"),
    };
    text(config).lines().map(comma).collect()
}

/// The unified diff between two documents; empty when they are the same.
pub fn diff(id: &str, before: Option<&Document>, after: &Configuration, wanted: &str) -> String {
    let from = before.map(|document| with_commas(&document.config)).unwrap_or_default();
    let to = with_commas(after);
    let org =
        before.and_then(|it| it.org_id).map_or_else(String::new, |org| format!(" (organisation {org})"));
    let names = (format!("{id} in Datadog{org}"), format!("{id} {wanted}"));
    TextDiff::from_lines(&from, &to).unified_diff().header(&names.0, &names.1).to_string()
}

/// Replaces a document, unless it is no longer what the person was `shown`; then reads it back. Without a `lease`, a worker
/// may write at the same moment.
///
/// # Errors
/// When it changed meanwhile, is in another Datadog organisation than the ledger's, Datadog refuses, or holds something
/// else afterwards.
pub async fn put(
    (reader, writer): (&datadog::Reader, &datadog::Writer),
    id: &str,
    shown: Option<&Document>,
    config: &Configuration,
    lease: Option<&DocumentByHand>,
) -> anyhow::Result<()> {
    if let Some(lease) = lease {
        lease.check_keys(reader).await?;
    }
    let now = read(reader, id).await?;
    let now = now.as_ref();
    let fence = || lease.map(|lease| lease.fence(now)).transpose();
    fence()?;
    ensure!(now == shown, "the document of {id} changed since it was shown; nothing was written");
    retry(|| async { writer.put_integration(id, config, fence()?).await }).await?;
    if let Some(lease) = lease {
        lease.wrote(now, config).await?;
    }
    let after = read(reader, id).await?;
    ensure!(
        after.is_some_and(|after| after.config == *config),
        "the document of {id} was written, but reads back otherwise: another writer, or a field that Datadog changed; see `teamlink integrations get {id}`"
    );
    Ok(())
}
