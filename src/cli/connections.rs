//! `teamlink connections`: the Datadog API of team connections by hand. It does not look at the ledger: what is
//! made or deleted here is not owned by teamlink, and the worker makes again what a rule wants.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Subcommand;

use super::output::{self, Format, Hinted};
use super::print::{Block, err, out};
use crate::{
    app::upstreams,
    datadog::{Filter, NewConnection, Options, Reader, Writer},
    model::{Connection, ConnectionId, DatadogTeamId, GithubHandle, Trouble},
    settings::Loaded,
    transport::retry,
};

/// Arguments of `teamlink connections`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show connections, whoever made them
    List(List),
    /// Connect a Datadog team to a GitHub team
    Create(Create),
    /// Delete connections by id, whoever made them
    Delete(Delete),
}

/// All filters must fit; a filter may be given several times or as a comma list, and then any value fits.
#[derive(Debug, clap::Args)]
struct List {
    /// Only of this system, such as github
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    source: Vec<String>,
    /// Only of this Datadog team
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    team_id: Vec<String>,
    /// Only of this GitHub team
    #[arg(long, value_name = "@ORG/SLUG", value_delimiter = ',')]
    github: Vec<String>,
    /// Only this connection
    #[arg(long, value_name = "UUID", value_delimiter = ',')]
    id: Vec<String>,
    /// Show one page, numbered from 0, instead of all connections
    #[arg(long, value_name = "NUMBER")]
    page: Option<usize>,
    /// Size of that page, at most 100
    #[arg(long, value_name = "SIZE")]
    page_size: Option<usize>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The Datadog team, by id …
    #[arg(long, value_name = "UUID", required_unless_present = "team_handle")]
    team_id: Option<String>,
    /// … or by handle
    #[arg(long, value_name = "HANDLE", conflicts_with = "team_id")]
    team_handle: Option<String>,
    /// The GitHub team
    #[arg(long, value_name = "@ORG/SLUG")]
    github: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Ids of connections, as `connections list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// What Datadog answered, or what was wrong with the arguments.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let options = upstreams::datadog(&loaded.settings)?;
    match args.verb {
        Verb::List(args) => list(args, &options).await?,
        Verb::Create(args) => create(args, &options).await?,
        Verb::Delete(args) => delete(args, &options, loaded.settings.datadog.batch).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: List, options: &Options) -> anyhow::Result<()> {
    let List { source, team_id, github, id, page, page_size, format } = args;
    let filter =
        Filter { sources: source, team_ids: team_id, connected_team_ids: github, connection_ids: id };
    let reader = Reader::new(options)?;
    let connections = if page.is_some() || page_size.is_some() {
        let (size, number) = (page_size.unwrap_or(100), page.unwrap_or(0));
        retry(|| reader.connections_page(&filter, size, number)).await?
    } else {
        retry(|| reader.connections(&filter)).await?
    };
    show(&connections, format)
}

async fn create(args: Create, options: &Options) -> anyhow::Result<()> {
    let github = GithubHandle::from_datadog(args.github);
    let named = github.parts().is_some_and(|(org, slug)| !org.is_empty() && !slug.is_empty());
    ensure!(named, "`{github}` names no GitHub team; write it as @org/slug");
    let reader = Reader::new(options)?;
    let team = match args.team_id {
        Some(id) => DatadogTeamId::from(id),
        None => by_handle(&reader, &args.team_handle.unwrap_or_default()).await?,
    };
    output::confirm(args.yes, &format!("connect Datadog team {team} to {github}"))?;
    let writer = Writer::new(options)?;
    let new = [NewConnection { datadog_team: team, github }];
    let made = retry(|| writer.create(&new, None)).await.map_err(|trouble| match trouble.status {
        Some(409) => hinted(trouble, "this pair may be connected already: see `teamlink connections list`"),
        _ => written(trouble),
    })?;
    show(&made, args.format)
}

async fn by_handle(reader: &Reader, handle: &str) -> anyhow::Result<DatadogTeamId> {
    // Datadog's search looks at names and addresses too.
    let found = retry(|| reader.teams_matching(handle)).await?;
    found.into_iter().find(|team| team.handle.eq_ignore_ascii_case(handle)).map(|team| team.id).ok_or_else(
        || {
            let hint = "look for the handle on the team's page in Datadog, or give --team-id".to_owned();
            Hinted { error: format!("no Datadog team has the handle `{handle}`"), hint }.into()
        },
    )
}

async fn delete(args: Delete, options: &Options, batch: usize) -> anyhow::Result<()> {
    let reader = Reader::new(options)?;
    let filter = Filter { connection_ids: args.ids.clone(), ..Filter::default() };
    let mut found = retry(|| reader.connections(&filter)).await?;
    // Whatever a server makes of the filter: only what was named is deleted.
    found.retain(|connection| args.ids.iter().any(|id| *id == connection.id.as_str()));
    let unknown = |id: &&String| !found.iter().any(|connection| connection.id.as_str() == *id);
    if let Some(id) = args.ids.iter().find(unknown) {
        let error = format!("no connection has the id {id}; nothing was deleted");
        return Err(Hinted { error, hint: "take ids from `teamlink connections list`".to_owned() }.into());
    }
    if !args.yes {
        err!("{}", table(&found));
    }
    output::confirm(args.yes, &format!("delete {} of these", found.len()))?;
    let writer = Writer::new(options)?;
    let ids: Vec<ConnectionId> = found.into_iter().map(|connection| connection.id).collect();
    for batch in ids.chunks(batch.max(1)) {
        retry(|| writer.delete(batch, None)).await.map_err(written)?;
    }
    Ok(())
}

fn written(trouble: Trouble) -> anyhow::Error {
    if trouble.ambiguous {
        hinted(trouble, "it may have been done all the same: see `teamlink connections list`")
    } else {
        trouble.into()
    }
}

fn hinted(trouble: Trouble, hint: &str) -> anyhow::Error {
    Hinted { error: trouble.message, hint: hint.to_owned() }.into()
}

fn show(connections: &[Connection], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(&connections)?,
        Format::Text => out!("{}", table(connections)),
    }
    Ok(())
}

fn table(connections: &[Connection]) -> Block {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    output::table(
        &["ID", "GITHUB TEAM", "DATADOG TEAM", "MANAGED BY", "SOURCE"],
        connections.iter().map(|connection| {
            let Connection { id, datadog_team, github, managed_by, source } = connection;
            let team = datadog_team.as_ref().map(|team| team.to_string());
            vec![id.to_string(), text(github), text(&team), text(managed_by), text(source)]
        }),
    )
}
