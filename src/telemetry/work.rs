//! What the intake, the ledger and the reconciler do.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use tracing::{Span, debug, error, info, info_span, warn};

use super::doors::{self, Outcome};
use crate::{
    ledger::{
        Accepted, Accepting, AuditAction, AuditOutcome, Counts, Held, HeldSet, LeasedMark, LedgerError, Next,
        Outcome as Stored, Settlement, lane_number,
    },
    model::{
        ConnectionKey, EntryKey, Integration, Lane, OrgFacts, OrgId, Owned, RemovedByOthers, Subject, TeamId,
        Time, Trouble,
    },
    plan::Guarded,
};

/// Deliveries were committed.
pub fn accepted(entries: &[Accepting], accepted: &Accepted) {
    let mut seen = HashSet::new();
    for entry in entries {
        let again = !seen.insert(&entry.guid) || accepted.known.contains(&entry.guid);
        let outcome = match entry.outcome {
            _ if again => Outcome::Duplicate,
            Stored::Stored => Outcome::Stored,
            Stored::Ignored => Outcome::Ignored,
            Stored::Parked => Outcome::Parked,
        };
        doors::delivery(&entry.event, outcome);
        if let Some((place, error)) = &entry.unfit {
            let place = place.as_str();
            warn!(delivery.guid = entry.guid, event = entry.event, place, error, "delivery parked");
        }
    }
    debug!(
        deliveries = entries.len(),
        known = accepted.known.len(),
        marked = accepted.marked,
        "deliveries committed"
    );
}

/// The ledger did not store deliveries; they were refused at the door.
pub fn not_stored(error: &sqlx::Error) {
    error!(%error, "the ledger did not store deliveries; their senders must send them again");
}

/// A login was bound to the organisation that has it.
pub fn bound(id: OrgId, login: &str) {
    info!(org.id = id.0, org.login = login, "bound the login {login} to org {id}");
}

/// GitHub did not list the teams of whoever has a login, which is therefore not bound.
pub fn not_bound(login: &str, trouble: &Trouble) {
    let class = trouble.class.as_str();
    error!(org.login = login, error.class = class, error = %trouble, "failed to bind the login {login}; teamlink tries again");
}

/// An organisation has a login that is bound to another id.
pub fn login_taken(id: OrgId, login: &str, bound_to: OrgId) {
    error!(
        org.id = id.0,
        org.login = login,
        bound.id = bound_to.0,
        "org {id} calls itself {login}, which is bound to org {bound_to}: nothing is done for it until a person releases \
         the login; `teamlink sync` prints the command"
    );
}

/// The binding of a login ended, because a person approved that.
pub fn released(id: OrgId, login: &str) {
    info!(org.id = id.0, org.login = login, "released the login {login} of org {id}");
}

/// Nobody has a login that was released.
pub fn login_free(login: &str) {
    warn!(
        org.login = login,
        "{login} was released, and GitHub has no organisation with this login: take it out of github.orgs"
    );
}

/// The span of one turn with a lane.
pub fn turn(lane: Lane, fence: i64) -> Span {
    match lane {
        Lane::Org(org) => info_span!("reconcile", org.id = org.0, fence),
        Lane::Document(integration) => info_span!("reconcile", document = integration.as_str(), fence),
        Lane::Recovery => info_span!("reconcile", %lane, fence),
    }
}

/// A turn ended in an error; its marks stay due.
pub fn turn_failed(lane: Lane, error: &LedgerError) {
    error!(org.id = lane_number(lane), %lane, %error, "look not settled; it will be repeated");
}

/// A turn panicked, which is a mistake of ours.
pub fn panicked(error: &tokio::task::JoinError) {
    error!(%error, "a look panicked; its marks stay due and its lease runs out");
}

/// The ledger failed outside of a turn.
pub fn ledger_failed(attempt: &str, error: &sqlx::Error) {
    error!(%error, "failed to {attempt} in the ledger");
}

/// The wall clock was set forward by so many microseconds, or back by a negative number.
pub fn clock_set(micros: i64) {
    let by = Duration::from_micros(micros.unsigned_abs());
    let (way, seconds) = (if micros < 0 { "back" } else { "forward" }, by.as_secs_f64());
    warn!(
        "the clock was set {way} by {seconds:.1} s; every delay is over, and every grace that was not begins again"
    );
}

/// One step was carried out, or was not.
pub fn action(
    lane: Lane,
    team: Option<TeamId>,
    subject: &Subject,
    action: AuditAction,
    outcome: AuditOutcome,
    reason: &str,
) {
    let (kind, outcome) = (action.as_str(), outcome.as_str());
    let (datadog, github) = subject.names();
    counter!("teamlink_actions_total", "kind" => kind, "outcome" => outcome).increment(1);
    info!(
        org.id = lane.org().map(|org| org.0),
        team.id = team.map(|team| team.0),
        github,
        datadog.team = datadog,
        outcome,
        reason,
        "{kind}"
    );
}

/// A step was given up on.
pub fn parked(lane: Lane, team: Option<TeamId>, key: &ConnectionKey, action: AuditAction, trouble: &Trouble) {
    warn!(
        org.id = lane.org().map(|org| org.0),
        team.id = team.map(|team| team.0),
        github = key.github,
        datadog.team = %key.datadog_team,
        error = %trouble,
        "{} parked: Datadog refuses it",
        action.as_str()
    );
}

/// Datadog does not show what was meant.
pub fn differs(lane: Lane, team: Option<TeamId>, key: &ConnectionKey, what: &str) {
    counter!("teamlink_actions_total", "kind" => "read_back", "outcome" => "differs").increment(1);
    let (org, team) = (lane.org().map(|org| org.0), team.map(|team| team.0));
    warn!(org.id = org, team.id = team, github = key.github, datadog.team = %key.datadog_team, "{what}");
}

/// A plan of an organisation that is only observed.
pub fn observed(org: OrgId, guarded: &Guarded) {
    let steps = guarded.ready.actions.len() + guarded.held.len();
    if steps > 0 {
        info!(org.id = org.0, steps, "policy.mode is observe: nothing of this plan is carried out");
    }
}

/// Credentials go to another machine without TLS, as a person allowed.
pub fn plaintext(setting: &str, host: &str) {
    warn!(setting, host, "credentials go over the network without TLS, as network.allow_plaintext allows");
}

/// A look at teams was settled.
pub fn settled(org: OrgId, due: &[LeasedMark], settlement: &Settlement, now: Time) {
    for held in &settlement.held {
        warn!(
            org.id = org.0,
            team.id = held.team.map(|team| team.0),
            connection = %held.key.subject,
            reason = %held.reason,
            "{} held",
            held.key.kind.as_str()
        );
    }
    for (mark, result) in due.iter().zip(&settlement.marks) {
        match &result.next {
            Next::Retry { error, .. } => {
                look("team", Looked::Failed);
                info!(
                    org.id = org.0,
                    team.id = result.team.map(|team| team.0),
                    %error,
                    "look failed; it will be repeated"
                );
            }
            Next::Waits(_) => {}
            Next::Nothing | Next::At(_) => {
                look("team", Looked::Answered);
                if let Some(received) = mark.received_at {
                    histogram!("teamlink_convergence_seconds").record(now.since(received));
                }
            }
        }
    }
    debug!(org.id = org.0, teams = settlement.teams.len(), actions = settlement.audit.len(), "look settled");
}

/// A look at a document was settled.
pub fn document_settled(integration: Integration, mark: &LeasedMark, settlement: &Settlement, now: Time) {
    let document = integration.as_str();
    for held in &settlement.held {
        let (entry, kind) = (held.key.subject.names().1, held.key.kind.as_str());
        warn!(document, entry, kind, reason = %held.reason, "an entry is held");
    }
    for parked in &settlement.parked {
        warn!(document, error = parked.error.message, "PUT parked: Datadog refuses it");
    }
    for result in &settlement.marks {
        if let Next::Retry { error, .. } = &result.next {
            look("document", Looked::Failed);
            warn!(document, %error, class = error.class.as_str(), "look failed; it will be repeated");
        } else {
            look("document", Looked::Answered);
            if let Some(received) = mark.received_at {
                histogram!("teamlink_convergence_seconds").record(now.since(received));
            }
        }
    }
}

/// A document was replaced.
pub fn document_put(integration: Integration, added: usize, removed: usize, corrected: usize) {
    counter!("teamlink_actions_total", "kind" => "put_document", "outcome" => "done").increment(1);
    info!(document = integration.as_str(), added, removed, corrected, "document replaced");
}

/// Somebody else put back an entry that we removed, and it is left to them.
pub fn entry_put_back(integration: Integration, entry: &EntryKey, why: &str) {
    counter!("teamlink_actions_total", "kind" => "put_back_by_others", "outcome" => "done").increment(1);
    warn!(document = integration.as_str(), %entry, why, "somebody put an entry back; it is theirs now");
}

/// Entries that we removed were there again, and are removed once more.
pub fn entries_removed_again(integration: Integration, entries: usize) {
    let document = integration.as_str();
    warn!(document, entries, "somebody put entries back that teamlink removed; they are removed once more");
}

/// A document does not read back as it was written.
pub fn document_differs(integration: Integration) {
    counter!("teamlink_actions_total", "kind" => "read_back", "outcome" => "differs").increment(1);
    warn!(document = integration.as_str(), "the document reads back otherwise than it was written");
}

/// Whether a look answered what it was asked.
#[derive(Clone, Copy)]
enum Looked {
    Answered,
    Failed,
}

/// Counts a look. One look may answer any number of events.
fn look(kind: &'static str, looked: Looked) {
    let outcome = match looked {
        Looked::Answered => "answered",
        Looked::Failed => "failed",
    };
    counter!("teamlink_looks_total", "kind" => kind, "outcome" => outcome).increment(1);
}

/// Something waits for a person; here is what to type.
pub fn held_set(set: &HeldSet) {
    warn!(
        org.id = lane_number(set.lane),
        lane = %set.lane,
        actions = set.items.len(),
        hash = set.hash,
        "{} actions are held; to let them go: teamlink approve {} --reason \"…\"",
        set.items.len(),
        set.hash
    );
}

/// A hold ended, and nobody approved its action.
pub fn hold_ended(held: &Held, why: &str) {
    info!(
        team.id = held.team.map(|team| team.0),
        connection = %held.key.subject,
        reason = %held.reason,
        "{} no longer held: {why}",
        held.key.kind.as_str()
    );
}

/// Somebody else removed connections of ours; each comes with how often that happened within a day.
pub fn removed_by_others(org: OrgId, removed: &[(Owned, usize)]) {
    for (owned, times) in removed {
        counter!("teamlink_removed_by_others_total", "target" => format!("org:{org}")).increment(1);
        let (team, connection, times) = (owned.team.0, &owned.key, *times);
        if times < RemovedByOthers::FIGHT {
            info!(org.id = org.0, team.id = team, %connection, times, "somebody removed a connection of ours");
        } else {
            warn!(
                org.id = org.0,
                team.id = team,
                %connection,
                times,
                "somebody removes a connection of ours again and again; teamlink makes it again later and later, and \
                 then waits for a person: find the other writer, or map the team otherwise"
            );
        }
    }
}

/// Somebody else made connections that teamlink deleted. They are left as they are.
pub fn came_back(org: OrgId, keys: &[&ConnectionKey]) {
    for connection in keys {
        warn!(org.id = org.0, %connection, "somebody made a connection that teamlink deleted within a day");
    }
}

/// What a full pass found and no event had told.
pub fn drift(drift: &BTreeMap<TeamId, &'static str>) {
    for (team, kind) in drift {
        counter!("teamlink_drift_total", "kind" => *kind).increment(1);
        info!(team.id = team.0, kind, "drift: no event told of it");
    }
}

/// Datadog's own synchronisation of teams is on: a second writer.
pub fn datadog_sync(continuous: bool) {
    gauge!("teamlink_datadog_sync_continuous").set(f64::from(u8::from(continuous)));
    if continuous {
        warn!(
            "Datadog's own sync of teams from GitHub runs continuously and writes connections too; \
             pause it in Datadog, or set policy.mode = \"observe\""
        );
    }
}

/// The ledger would not even park a delivery, and stores a stub.
pub fn not_parked(delivery: &str, error: &str) {
    counter!("teamlink_actions_total", "kind" => "park", "outcome" => "stub").increment(1);
    error!(delivery, error, "failed to park a delivery; a stub without its body is stored");
}

/// A look settled nothing of what it was for.
pub fn unsettled(lane: Lane, times: u32) {
    error!(%lane, times, "a look left what is due as it was; its lane rests, and this is a fault of teamlink");
}

/// The keys are those of another Datadog organisation than the ledger's.
pub fn elsewhere(trouble: &Trouble) {
    error!(error = %trouble, "skipping all looks and writes: the keys belong to another Datadog organisation");
}

/// An organisation was looked at as a whole.
pub fn surveyed(org: &OrgFacts, teams: usize, found: usize) {
    look("org", Looked::Answered);
    target_time("teamlink_last_attempt_timestamp_seconds", org.id);
    target_time("teamlink_last_success_timestamp_seconds", org.id);
    // A counter that only appears with its first count hides that one from rates.
    counter!("teamlink_removed_by_others_total", "target" => format!("org:{}", org.id)).increment(0);
    info!(org.id = org.id.0, org.login = org.login, teams, found, "full pass: teams to look at");
}

/// An organisation could not be looked at as a whole.
pub fn not_surveyed(org: OrgId, trouble: &Trouble) {
    look("org", Looked::Failed);
    target_time("teamlink_last_attempt_timestamp_seconds", org);
    warn!(org.id = org.0, error = %trouble, class = trouble.class.as_str(), "full pass not possible now");
}

fn target_time(name: &'static str, org: OrgId) {
    let seconds = Time::from(std::time::SystemTime::now()).0 as f64 / 1e6;
    gauge!(name, "target" => format!("org:{org}")).set(seconds);
}

/// Handles appeared in Datadog for which so many teams have waited.
pub fn handles_appeared(teams: usize) {
    info!(teams, "new handles in Datadog; the teams that wait for them are looked at again");
}

/// A full pass could not begin, or Datadog's teams could not be listed for those who wait.
pub fn pass_not_begun(error: &anyhow::Error) {
    warn!("full pass not begun, it is tried again: {error:#}");
}

/// The daemon is up.
pub fn started(listen: std::net::SocketAddr, role: &'static str) {
    info!(%listen, role, "teamlink {} is up", env!("CARGO_PKG_VERSION"));
}

/// The settings of this worker are in force.
pub fn settings_in_force() {
    gauge!("teamlink_settings_outdated").set(0.0);
}

/// Another worker has loaded other settings: this one takes no leases.
pub fn settings_outdated(why: &str) {
    gauge!("teamlink_settings_outdated").set(1.0);
    warn!("{why}");
}

/// Every worker has the settings of this one again, or loaded other ones before.
pub fn settings_in_force_again() {
    settings_in_force();
    info!("no other worker has newer settings any more; this one takes leases again");
}

/// The gauges of what the ledger holds.
pub fn counts(counts: &Counts, now: Time) {
    let Counts { due, oldest_due, held, parked, paused, owned, orphans, foreigners, intents: _ } = *counts;
    gauge!("teamlink_marks_due").set(due as f64);
    gauge!("teamlink_oldest_due_seconds").set(oldest_due.map_or(0.0, |at| now.since(at).as_secs_f64()));
    gauge!("teamlink_held").set(held as f64);
    gauge!("teamlink_parked").set(parked as f64);
    gauge!("teamlink_paused").set(paused as f64);
    for (ownership, count) in [("us", owned), ("orphan", orphans), ("foreign", foreigners)] {
        gauge!("teamlink_connections", "ownership" => ownership).set(count as f64);
    }
}
