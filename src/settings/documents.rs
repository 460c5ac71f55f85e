//! `[integrations.*]`: what is wanted in Datadog's entity integration documents.

use serde_json::Value;

use super::{
    reader::{Reader, likeliest, source, text_of},
    *,
};

pub(super) fn integrations(r: &mut Reader) -> Integrations {
    let modes = [("additive", DocumentMode::Additive), ("exclusive", DocumentMode::Exclusive)];
    Integrations {
        github: GithubDocument {
            mode: r.choice("integrations.github.mode", &modes),
            repositories: r.choice(
                "integrations.github.repositories",
                &[
                    ("none", Repositories::None),
                    ("linked-teams", Repositories::LinkedTeams),
                    ("org", Repositories::Org),
                ],
            ),
            include: r.globs("integrations.github.include"),
            exclude: r.globs("integrations.github.exclude"),
            archived: r.flag("integrations.github.archived"),
            visibility: visibility(r),
            topics: r.list("integrations.github.topics"),
        },
        jira: DeclaredDocument {
            mode: r.choice("integrations.jira.mode", &modes),
            entries: entries(r, "integrations.jira.enabled_projects", Integration::Jira),
        },
        pagerduty: DeclaredDocument {
            mode: r.choice("integrations.pagerduty.mode", &modes),
            entries: entries(r, "integrations.pagerduty.accounts", Integration::Pagerduty),
        },
    }
}

/// The API of these documents knows no access tokens.
pub(super) fn refuse_token(r: &mut Reader, settings: &Settings) {
    let on: Vec<String> = (settings.integrations.on().into_iter())
        .map(|integration| format!("[integrations.{}]", integration.as_str()))
        .collect();
    if !on.is_empty() && matches!(settings.datadog.credential, Some(DatadogCredential::AccessToken(_))) {
        r.problem(
            "datadog.access_token",
            format!("Datadog takes no access token for {}", on.join(" and ")),
            "set DD_API_KEY and DD_APP_KEY in its place",
        );
    }
}

fn visibility(r: &mut Reader) -> Vec<String> {
    let key = "integrations.github.visibility";
    let words = r.list(key);
    for word in words.iter().filter(|word| !["public", "private", "internal"].contains(&word.as_str())) {
        let why = format!("{word:?} is no visibility");
        r.problem(key, why, "write any of \"public\", \"private\", \"internal\"");
    }
    words
}

/// The entries declared under a key; `None` when the key is not there.
fn entries(r: &mut Reader, key: &str, integration: Integration) -> Option<Vec<Entry>> {
    let value = r.take(key, text_of)?;
    let from =
        value.clone().into_array().unwrap_or_default().first().map_or(source(&value), source).to_owned();
    let list: Value = value.try_deserialize().unwrap_or_default();
    let mut problems = Vec::new();
    for wrong in integration.misshapen(&list) {
        let problem = Problem::new(format!("{key}{}", wrong.at), wrong.why, wrong.remedy);
        let shown = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        problems.push(Problem { value: wrong.value.map(shown), ..problem });
    }
    for (number, entry) in (1..).zip(list.as_array().into_iter().flatten()) {
        let known = |name: &str| integration.field_names().any(|known| known == name);
        for name in entry.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| !known(name))
        {
            let remedy = match likeliest(name, integration.field_names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it has {}", integration.field_names().collect::<Vec<_>>().join(", ")),
            };
            problems.push(Problem::new(
                format!("{key}[{number}].{name}"),
                "there is no such setting",
                remedy,
            ));
        }
    }
    if problems.is_empty() {
        return serde_json::from_value(list).ok();
    }
    r.problems.extend(problems.into_iter().map(|problem| Problem { source: Some(from.clone()), ..problem }));
    None
}
