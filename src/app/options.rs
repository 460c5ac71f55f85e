//! Settings → the options of the rooms that may not know the settings.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    intake,
    ledger::{Ledger, Pace},
    plan,
    reconcile::{self, DocumentOptions, RepositoriesOf, Source},
    settings::{GithubDocument, Integration, Integrations, OrgPolicy, Repositories, Settings, Verify},
    upstream::Backoff,
};

/// A person rarely creates more teams within a minute. Who forges ids has no more than these read by their ids.
const UNKNOWN_BY_ID: usize = 50;

/// How messages from the queue are checked.
pub(super) fn verify(settings: &Settings, secrets: watch::Receiver<Vec<SecretString>>) -> intake::Verify {
    let when = match settings.queue.verify {
        Verify::WhenSigned => intake::VerifyWhen::Signed,
        Verify::Always => intake::VerifyWhen::Always,
        Verify::Never => intake::VerifyWhen::Never,
    };
    intake::Verify { when, secrets }
}

/// What governs the looks.
pub(super) fn reconcile(settings: &Settings, clock: Clock) -> anyhow::Result<reconcile::Options> {
    let policies =
        settings.policy.orgs.iter().map(|(login, policy)| Ok((login.clone(), org_policy(policy)?)));
    Ok(reconcile::Options {
        rules: Arc::new(settings.mapping.clone()),
        policy: org_policy(&settings.policy.default)?,
        policies: policies.collect::<anyhow::Result<_>>()?,
        managed_by: settings.datadog.managed_by.clone(),
        batch: settings.datadog.batch,
        timeout: settings.datadog.timeout,
        teams_ttl: settings.datadog.teams_ttl,
        grace: settings.guard.grace,
        limits: plan::Limits {
            max_share: settings.guard.max_share,
            above: settings.guard.above,
            max_removals: settings.guard.max_removals,
        },
        max_per_window: settings.guard.max_per_window,
        window: settings.guard.window,
        first_creates: settings.guard.first_creates,
        unknown_by_id: UNKNOWN_BY_ID,
        debounce: settings.reconcile.debounce,
        backoff: Backoff { min: settings.reconcile.backoff_min, max: settings.reconcile.backoff_max },
        max_attempts: settings.reconcile.max_attempts,
        max_wait: settings.reconcile.max_wait,
        orgs: settings.github.orgs.clone(),
        documents: documents(settings)?,
        clock,
    })
}

fn org_policy(policy: &OrgPolicy) -> anyhow::Result<reconcile::OrgPolicy> {
    Ok(reconcile::OrgPolicy {
        mode: policy.mode,
        missing_team: policy.missing_team,
        protected: globs("policy.protected", &policy.protected)?,
    })
}

/// The documents that are kept.
fn documents(settings: &Settings) -> anyhow::Result<BTreeMap<Integration, DocumentOptions>> {
    let Integrations { github, jira, pagerduty } = &settings.integrations;
    let mut documents = BTreeMap::new();
    for (integration, declared) in [(Integration::Jira, jira), (Integration::Pagerduty, pagerduty)] {
        if let Some(entries) = &declared.entries {
            let source = Source::Declared(entries.clone());
            documents.insert(integration, DocumentOptions { mode: declared.mode, source });
        }
    }
    let of = match github.repositories {
        Repositories::None => return Ok(documents),
        Repositories::LinkedTeams => RepositoriesOf::LinkedTeams,
        Repositories::Org => RepositoriesOf::Org,
    };
    let source = Source::Repositories { of, filter: repositories(settings)? };
    documents.insert(Integration::Github, DocumentOptions { mode: github.mode, source });
    Ok(documents)
}

/// Which repositories GitHub's document takes.
fn repositories(settings: &Settings) -> anyhow::Result<plan::RepositoryFilter> {
    let GithubDocument { mode: _, repositories: _, include, exclude, archived, visibility, topics } =
        &settings.integrations.github;
    Ok(plan::RepositoryFilter {
        hostname: plan::hostname(settings.github.base_url.host_str().unwrap_or_default()).to_owned(),
        include: globs("integrations.github.include", include)?,
        exclude: globs("integrations.github.exclude", exclude)?,
        archived: *archived,
        visibility: visibility.clone(),
        topics: topics.clone(),
    })
}

/// Globs of lower-cased `owner/name`.
fn globs(key: &str, globs: &[String]) -> anyhow::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let built = GlobBuilder::new(&glob.to_lowercase()).literal_separator(true).build();
        set.add(built.with_context(|| format!("{key} `{glob}` is no glob of `owner/name`"))?);
    }
    Ok(set.build()?)
}

/// How long marks wait for company.
pub(super) fn pace(settings: &Settings) -> Pace {
    Pace { debounce: settings.reconcile.debounce, max_wait: settings.reconcile.max_wait }
}

/// The same ledger for looks that go by these settings: when the rules, the policy or our mark change, every team has to
/// be looked at.
pub(super) fn governed(ledger: &Ledger, settings: &Settings) -> Ledger {
    let policy = format!("{:?} {}", settings.policy, settings.datadog.managed_by);
    ledger.under(&settings.mapping.fingerprint(), &hex::encode(Sha256::digest(policy)))
}

/// Returns the hash of the settings that decide what is written. Workers with another one must not write at the same time.
pub(super) fn deciding_writes(settings: &Settings) -> String {
    let Settings { github, datadog, policy, guard, mapping, integrations, .. } = settings;
    let mut orgs: Vec<String> = github.orgs.iter().map(|login| login.to_lowercase()).collect();
    orgs.sort_unstable();
    let (rules, mark) = (mapping.fingerprint(), &datadog.managed_by);
    let all = format!("{rules} {orgs:?} {policy:?} {guard:?} {mark:?} {integrations:?}");
    format!("s1:{}", hex::encode(Sha256::digest(all)))
}

/// The host that deliveries must name: a GitHub Enterprise Server, whose API lives under `/api/v3`, names itself
/// in each; github.com names none.
pub(super) fn github_host(settings: &Settings) -> Option<String> {
    let base = &settings.github.base_url;
    base.path().starts_with("/api/v3").then(|| base.host_str().map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{RuleSpec, Rules};

    fn settings(env: &[(&str, &str)]) -> Settings {
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::load(&[], &env).unwrap().settings
    }

    #[test]
    fn settings_that_decide_no_write_leave_the_hash_of_those_that_do() {
        let of = |env: &[(&str, &str)]| deciding_writes(&settings(env));
        let same = [
            ("TEAMLINK_GITHUB__ORGS", "Globex,acme"),
            ("TEAMLINK_SERVER__LISTEN", "127.0.0.1:1"),
            ("TEAMLINK_RECONCILE__EVERY", "1h"),
            ("TEAMLINK_LEDGER__URL", "postgres://elsewhere/teamlink?sslmode=verify-full"),
            ("GITHUB_TOKEN", "other"),
        ];
        let orgs = [("TEAMLINK_GITHUB__ORGS", "acme,globex")];
        assert_eq!(of(&same), of(&orgs));
        for (key, value) in [
            ("TEAMLINK_GITHUB__ORGS", "acme"),
            ("TEAMLINK_POLICY__MODE", "upsert"),
            ("TEAMLINK_GUARD__MAX_REMOVALS", "3"),
            ("TEAMLINK_DATADOG__MANAGED_BY", "other"),
            ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org"),
        ] {
            assert_ne!(of(&[orgs[0], (key, value)]), of(&orgs), "{key}");
        }
        let mut other = settings(&orgs);
        other.mapping = Rules::compile(vec![RuleSpec::handles("acme/*", ["x"])]).unwrap();
        assert_ne!(deciding_writes(&other), of(&orgs), "the rules");
    }
}
