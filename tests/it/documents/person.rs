//! GitHub's document beside a person who edits it at random moments.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{
    documents::{config, names, put, repo, repositories, repository},
    eventually,
    world::World,
};

/// What the sandbox says of teamlink's PUTs.
async fn judged(world: &World) -> Value {
    let stats = world.remote.stats().await.unwrap();
    let writers = stats["integrations"]["github"].as_object().unwrap();
    writers.iter().find(|(client, _)| client.starts_with("teamlink/")).unwrap().1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_edits_at_random_nothing_that_was_seen_is_lost() {
    const PUTS: u64 = 200;
    let fast = [("TEAMLINK_RECONCILE__DEBOUNCE", "1ms"), ("TEAMLINK_RECONCILE__MAX_WAIT", "2ms")];
    let mut world = repositories(&["app", "lib"], &fast).await;
    world.start().await;
    world.pass().await;
    let mut dice = StdRng::seed_from_u64(11);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut name = "app".to_owned();
    let mut edits = 0;
    for edit in 0.. {
        let done = judged(&world).await["puts_after_get"].as_u64().unwrap();
        if done >= PUTS {
            break;
        }
        assert!(Instant::now() < deadline, "{done} PUTs");
        let renamed = format!("app-{edit}");
        repo(&world, &name, json!({"name": renamed})).await;
        name = renamed;
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..30_000))).await;
        let mut document = config(&world, "github").await;
        let entries = document["enabled_repos"].as_array_mut().unwrap();
        let by_hand = entries.iter().position(|it| it["repo_name"].as_str().unwrap().starts_with("person"));
        match by_hand.filter(|_| dice.random_bool(0.3)) {
            Some(place) => drop(entries.remove(place)),
            None => {
                let place = dice.random_range(0..=entries.len());
                entries.insert(place, repository(&format!("person-{edit}")));
            }
        }
        put(&world, "github", &document).await;
        edits += 1;
    }
    let wanted = [name, "lib".to_owned()];
    eventually("what is wanted is there in the end", true, async || {
        let now = names(&world).await;
        wanted.iter().all(|name| now.contains(name))
    })
    .await;
    world.stop().await;
    let ours = judged(&world).await;
    let figure = |at: &str| ours.pointer(at).and_then(Value::as_u64).unwrap();
    println!(
        "{} PUTs beside {edits} edits of a person: gap between GET and PUT median {} µs, max {} µs; {} changes were \
         overwritten within a gap, {} entries lost that a GET had shown",
        figure("/puts_after_get"),
        figure("/gap_us/median"),
        figure("/gap_us/max"),
        figure("/overwritten"),
        figure("/removed_of_others"),
    );
    assert!(figure("/puts_after_get") >= PUTS && edits >= PUTS / 4, "the two did not meet");
    // What the person does within the gap is lost at times; what a GET of ours saw is not.
    assert_eq!(ours["removed_of_others"], 0);
}
