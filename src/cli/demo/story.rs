//! The day: what happens, and what must follow. The expectations are written by hand and share no code with what
//! they judge.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::day::{Day, link};

/// The organisation's teams in the morning. Datadog has a team for each, its handle GitHub's slug.
pub(super) const TEAMS: [&str; 40] = [
    "Accounts",
    "Analytics",
    "API Gateway",
    "Backend",
    "Billing",
    "Catalog",
    "Checkout",
    "Compliance",
    "Content",
    "Customer Care",
    "Data Platform",
    "Design System",
    "Developer Experience",
    "Documentation",
    "Edge",
    "Fraud",
    "Frontend",
    "Growth",
    "Identity",
    "Infrastructure",
    "Inventory",
    "Legacy Billing",
    "Localization",
    "Logistics",
    "Machine Learning",
    "Marketing Site",
    "Messaging",
    "Mobile",
    "Notifications",
    "Orders",
    "Partners",
    "Payments",
    "Performance",
    "Pricing",
    "Quality",
    "Recommendations",
    "Release",
    "Reporting",
    "Search",
    "Security",
];

/// Its repositories in the morning.
pub(super) const REPOSITORIES: [&str; 5] = ["api", "docs", "legacy-api", "shop", "warehouse"];

/// Datadog's other teams: one of Terraform's, and those that GitHub will have during the day.
pub(super) const OTHER_HANDLES: [&str; 10] = [
    "archive",
    "observability",
    "reliability",
    "accessibility",
    "chaos-engineering",
    "sustainability",
    "tax",
    "pop-up",
    "payroll",
    "night-shift",
];

/// Another tool that makes connections.
const TERRAFORM: &str = "terraform";

/// How long the outage may take until it was felt.
const OUTAGE: Duration = Duration::from_secs(20);

/// Plays it from morning to evening.
///
/// # Errors
/// `NotAsExpected` at the first step that ends otherwise than it must: the later ones build on it.
pub(super) async fn play(day: &mut Day) -> anyhow::Result<()> {
    first_pass(day).await?;
    new_teams(day).await?;
    late_handle(day).await?;
    rename(day).await?;
    deletion(day).await?;
    made_anew(day).await?;
    repositories(day).await?;
    shuffled_and_twice(day).await?;
    outage(day).await?;
    lost_webhooks(day).await?;
    evening(day).await
}

async fn first_pass(day: &mut Day) -> anyhow::Result<()> {
    let by_terraform =
        [link("security", "security", TERRAFORM), link("archive", "legacy-billing", TERRAFORM)];
    for link in &by_terraform {
        day.stage.connect_by_hand(link).await?;
    }
    day.begin(
        "08:00",
        "teamlink starts",
        "GitHub has 40 teams, and Datadog a team for each. Two connections exist, both made by Terraform: one is \
         just what teamlink would make, the other joins a GitHub team to a second Datadog team. Datadog's software \
         catalog lists none of GitHub's five repositories.",
        "The first full pass connects the other 39 teams and leaves what is Terraform's alone. A catalog without a \
         list may mean all repositories, so the first list waits until a person approves it.",
    )
    .await?;
    for name in TEAMS {
        let slug = name.to_lowercase().replace(' ', "-");
        if slug != "security" {
            day.expect(&slug, &slug);
        }
    }
    by_terraform.into_iter().for_each(|link| day.expect_foreign(link));
    REPOSITORIES.into_iter().for_each(|name| day.expect_listed(name));
    day.stage.start_daemon().await?;
    day.stage.approve_catalog().await?;
    day.end().await
}

async fn new_teams(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "09:10",
        "Three new teams",
        "Observability, Reliability and Skunkworks are created in GitHub. Datadog has no team `skunkworks`.",
        "Webhooks tell of all three. Two are connected; the third waits, for nothing is guessed.",
    )
    .await?;
    for name in ["Observability", "Reliability", "Skunkworks"] {
        day.create(name).await?;
    }
    day.expect("observability", "observability");
    day.expect("reliability", "reliability");
    day.end().await
}

async fn late_handle(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "09:40",
        "Datadog catches up",
        "Someone adds the team `skunkworks` in Datadog. No webhook tells of that.",
        "The team that waited is connected when the list of Datadog's teams is next read (here every 2 s).",
    )
    .await?;
    day.stage.add_datadog_team("skunkworks").await?;
    day.note_change();
    day.expect("skunkworks", "skunkworks");
    day.end().await
}

async fn rename(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "10:30",
        "A rename",
        "Checkout becomes Checkout Experience, and its slug changes with it. Datadog's team stays `checkout`.",
        "The connection follows the team to its new slug. No moment is without one.",
    )
    .await?;
    day.rename("checkout", "Checkout Experience").await?;
    day.expect_move("checkout", "checkout", "checkout-experience")?;
    day.end().await
}

async fn deletion(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "11:15",
        "A deletion",
        "Legacy Billing is deleted in GitHub.",
        "An event is no proof: GitHub must say twice, at least 2 s apart, that the team is gone. Then its \
         connection goes. Terraform's connection of the same team is not teamlink's to remove.",
    )
    .await?;
    let team = day.delete("legacy-billing").await?;
    day.expect_removal("legacy-billing", "legacy-billing", team)?;
    day.end().await
}

async fn made_anew(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "12:00",
        "Deleted by mistake",
        "Payments is deleted, and at once created again: the same name and slug, but another id.",
        "The connection passes to the new team. Datadog is not written to at all.",
    )
    .await?;
    day.delete("payments").await?;
    day.create("Payments").await?;
    day.end().await
}

async fn repositories(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "13:10",
        "Repositories come and go",
        "Someone adds `acme/notebooks` to the catalog by hand. Then `checkout-web` is created in GitHub, `api` becomes \
         `public-api`, and `legacy-api` is archived.",
        "Datadog takes such a list only as a whole. teamlink changes its own entries in it and carries over the one \
         that was added by hand, with its note.",
    )
    .await?;
    day.stage.list_by_hand("notebooks").await?;
    day.expect_by_hand("notebooks");
    day.stage.create_repository("checkout-web").await?;
    day.stage.change_repository("api", json!({"name": "public-api"})).await?;
    day.stage.change_repository("legacy-api", json!({"archived": true})).await?;
    day.note_change();
    day.expect_listed("checkout-web");
    day.expect_unlisted("api")?;
    day.expect_listed("public-api");
    day.expect_unlisted("legacy-api")?;
    day.end().await
}

async fn shuffled_and_twice(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "14:00",
        "Webhooks in disorder",
        "Four teams are created, two renamed, two deleted, and one is created, renamed and deleted again. The \
         network holds all 11 webhooks back, then delivers each twice, in any order.",
        "Each event only says where to look, so neither order nor number matters.",
    )
    .await?;
    day.stage.hold_webhooks();
    for (name, slug) in [
        ("Accessibility", "accessibility"),
        ("Chaos Engineering", "chaos-engineering"),
        ("Sustainability", "sustainability"),
        ("Tax", "tax"),
    ] {
        day.create(name).await?;
        day.expect(slug, slug);
    }
    day.create("Pop Up").await?;
    day.rename("pop-up", "Pop Up Store").await?;
    day.delete("pop-up-store").await?;
    for (slug, name, to) in [("mobile", "Apps", "apps"), ("search", "Discovery", "discovery")] {
        day.rename(slug, name).await?;
        day.expect_move(slug, slug, to)?;
    }
    for slug in ["partners", "marketing-site"] {
        let team = day.delete(slug).await?;
        day.expect_removal(slug, slug, team)?;
    }
    let webhooks = day.stage.release_webhooks().await?;
    ensure!(webhooks == 11, "the sandbox sent {webhooks} webhooks, not 11");
    day.note_change();
    day.end().await
}

async fn outage(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "15:30",
        "Datadog is away",
        "Datadog answers 429, then 500, to everything. Meanwhile Payroll is created, Frontend becomes Web, and \
         Growth is deleted.",
        "Nothing is lost or given up. The waits grow while it lasts; soon after its end all three are right.",
    )
    .await?;
    let (limited, broken) = (2, 3);
    day.stage
        .faults(json!([
            {"path": "/api/*", "times": limited, "status": 429, "headers": {"X-RateLimit-Reset": "1"}},
            {"path": "/api/*", "status": 500},
        ]))
        .await?;
    let since = day.stage.counts().await?.1;
    day.create("Payroll").await?;
    day.rename("frontend", "Web").await?;
    let growth = day.delete("growth").await?;
    day.spinner.set_message("Datadog answers 429 and 500");
    let began = Instant::now();
    loop {
        // The log is asked, not Datadog, which would not answer.
        let requests = day.stage.requests(since).await?;
        let answered = |status| requests.iter().filter(|request| request.status == status).count();
        if answered(429) >= limited && answered(500) >= broken {
            break;
        }
        ensure!(began.elapsed() < OUTAGE, "teamlink did not ask Datadog often enough to feel its outage");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    day.stage.faults(json!([])).await?;
    day.note_change();
    day.expect("payroll", "payroll");
    day.expect_move("frontend", "frontend", "web")?;
    day.expect_removal("growth", "growth", growth)?;
    day.end().await
}

async fn lost_webhooks(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "16:45",
        "What no webhook tells",
        "Night Shift is created and Inventory deleted, but GitHub's webhooks do not arrive, and GitHub never sends \
         them again. The repository `docs` goes to the organisation acme-labs, and GitHub tells only that one. Then \
         the hour's full pass comes.",
        "It finds all three and writes nothing else. The removal waits for its two looks all the same; where the \
         repository went, its id says.",
    )
    .await?;
    day.stage.faults(json!([{"path": "/orgs/*", "drop_webhooks": true}])).await?;
    day.create("Night Shift").await?;
    let inventory = day.delete("inventory").await?;
    day.stage.faults(json!([])).await?;
    day.stage.transfer("docs").await?;
    day.note_change();
    day.spinner.set_message("a full pass");
    day.stage.full_pass().await?;
    day.expect("night-shift", "night-shift");
    day.expect_removal("inventory", "inventory", inventory)?;
    day.expect_unlisted("docs")?;
    day.end().await
}

async fn evening(day: &mut Day) -> anyhow::Result<()> {
    day.begin(
        "18:00",
        "Closing time",
        "Nothing happens. One more full pass compares everything.",
        "All is in step, so that nothing is written.",
    )
    .await?;
    day.stage.full_pass().await?;
    day.end().await
}
