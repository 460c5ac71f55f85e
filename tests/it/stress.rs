//! The embedded set-up when the machine fails it: a full disk, a file that is read-only, broken or locked, two daemons on
//! one file, a kill. Always a clear refusal, 503 to GitHub, and nothing acknowledged that was not stored. The daemon is
//! the built binary.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use sqlx::{Connection, SqliteConnection};
use teamlink::signature;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::support::{
    eventually,
    world::{SECRET, World},
};

/// A daemon in a process of its own, with a ledger of its own.
struct Daemon {
    process: Child,
    address: SocketAddr,
}

impl Daemon {
    /// Starts one by way of a shell that first runs `before`, and waits until it listens.
    async fn start(world: &World, before: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = command(world, before)
            .env("TEAMLINK_SERVER__LISTEN", address.to_string())
            // Not a file: a limit on files holds for it too.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { process, address };
        eventually("it listens", Some(200), async || daemon.get("/healthz").await).await;
        daemon
    }

    /// The status of an answer, if there is one. By hand: nothing here may share a connection with anything.
    async fn ask(&self, request: String) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    async fn get(&self, path: &str) -> Option<u16> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    /// Delivers an event of a team as GitHub would.
    async fn deliver(&self, guid: &str, team: usize) -> Option<u16> {
        let body = format!(
            r#"{{"action":"edited","team":{{"id":{team},"slug":"s"}},"organization":{{"id":1,"login":"acme"}}}}"#
        );
        let signature = signature::sign(body.as_bytes(), &[SECRET.into()]).unwrap();
        self.ask(format!(
            "POST /webhooks/github HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/json\r\nx-github-event: team\r\nx-github-delivery: {guid}\r\n\
             x-hub-signature-256: {signature}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_that_start_at_once_on_a_new_file_all_come_up() {
    for round in 0..4 {
        let world = World::new(0, &[]).await;
        let all = futures_util::future::join_all((0..6).map(|_| world.teamlink(&["audit"]))).await;
        for output in all {
            assert!(output.status.success(), "round {round}: {}", crate::support::world::text(&output));
        }
    }
}

/// `teamlink run` by way of a shell that first runs `before`.
fn command(world: &World, before: &str) -> Command {
    let mut command = Command::new("sh");
    let path = std::env::var_os("PATH").unwrap();
    command.args(["-c", &format!("{before} exec \"$0\" run"), env!("CARGO_BIN_EXE_teamlink")]);
    command.env_clear().env("PATH", path).envs(&world.env).kill_on_drop(true);
    command
}

fn url(world: &World) -> &str {
    &world.env["TEAMLINK_LEDGER__URL"]
}

fn file(world: &World) -> PathBuf {
    PathBuf::from(url(world).strip_prefix("sqlite:").unwrap())
}

async fn sqlite(world: &World) -> SqliteConnection {
    SqliteConnection::connect(url(world)).await.unwrap()
}

async fn stored(world: &World) -> BTreeSet<String> {
    let guids: Vec<String> =
        sqlx::query_scalar("SELECT guid FROM deliveries").fetch_all(&mut sqlite(world).await).await.unwrap();
    guids.into_iter().collect()
}

/// Runs a daemon that must not start; answers what it says.
async fn refused(mut command: Command) -> String {
    let ended = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = ended.expect("it started instead of refusing").unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[tokio::test]
async fn on_a_full_disk_deliveries_are_refused_until_there_is_room_and_what_was_confirmed_is_there() {
    let world = World::new(1, &[]).await;
    // No file may grow beyond a mebibyte (512 bytes a block): as full a disk as can be had without mounting one.
    let daemon = Daemon::start(&world, "trap '' XFSZ; ulimit -S -f 2048;").await;
    let mut confirmed = BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    for number in 0.. {
        let guid = format!("guid-{number}");
        match daemon.deliver(&guid, number).await {
            Some(202) => confirmed.insert(guid),
            answer => {
                assert_eq!(answer, Some(503));
                break;
            }
        };
        assert!(Instant::now() < deadline, "{number} deliveries fit");
    }
    assert_eq!(daemon.get("/readyz").await, Some(503));
    assert_eq!(daemon.get("/healthz").await, Some(200), "a restart would not help");

    let pid = daemon.process.id().unwrap().to_string();
    let room = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().await.unwrap();
    assert!(room.success());
    eventually("it takes deliveries again", Some(202), async || daemon.deliver("afterwards", 1).await).await;
    confirmed.insert("afterwards".into());
    eventually("it is ready", Some(200), async || daemon.get("/readyz").await).await;
    let stored = stored(&world).await;
    assert!(confirmed.is_subset(&stored), "{:?}", confirmed.difference(&stored));
}

#[tokio::test]
async fn while_another_process_locks_the_ledger_deliveries_are_refused_and_then_taken() {
    let world = World::new(1, &[]).await;
    let daemon = Daemon::start(&world, "").await;
    let mut lock = sqlite(&world).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    assert_eq!(daemon.deliver("refused", 1).await, Some(503));
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    eventually("it takes deliveries again", Some(202), async || daemon.deliver("taken", 1).await).await;
    assert!(stored(&world).await.contains("taken"));
}

#[tokio::test]
async fn a_ledger_that_is_broken_or_no_ledger_at_all_is_refused_and_left_as_it_is() {
    let world = World::new(1, &[]).await;
    teamlink::app::ledger(&world.settings).await.unwrap().close().await;
    let file = file(&world);
    let mut torn = fs::read(&file).unwrap();
    torn[4096..].fill(0xaa);
    for (bytes, says) in
        [(b"not a database, but a long enough text".repeat(500), "not a database"), (torn, "malformed")]
    {
        fs::remove_file(file.with_extension("db-wal")).ok();
        fs::remove_file(file.with_extension("db-shm")).ok();
        fs::write(&file, &bytes).unwrap();
        let said = refused(command(&world, "")).await;
        assert!(said.contains(says) && said.contains(file.to_str().unwrap()), "{said}");
        assert!(said.contains("teamlink adopt"), "no remedy: {said}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

/// The daemon as a user who may not do everything, as the tests themselves may where they run as root.
fn as_nobody(world: &World, binary: &Path) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return command(world, "");
    }
    let mut command = Command::new(binary);
    command.arg("run").env_clear().envs(&world.env).kill_on_drop(true).uid(65534).gid(65534);
    command
}

#[tokio::test]
async fn a_ledger_that_may_not_be_written_is_refused_by_its_name() {
    let mut world = World::new(1, &[]).await;
    let (folder, reachable) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let may = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // Where that user reaches it.
    let binary = reachable.path().join("teamlink");
    // By another process: while this one has the copy open for writing, a process that another test starts would inherit
    // it, and the copy could not be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_teamlink")).arg(&binary).status().await.unwrap();
    assert!(copied.success());
    may(reachable.path(), 0o755);
    let file = folder.path().join("read-only.db");
    world.set(&[("TEAMLINK_LEDGER__URL", &format!("sqlite:{}", file.display()))]);
    teamlink::app::ledger(&world.settings).await.unwrap().close().await;
    may(&file, 0o444);
    // The file may not be written; then the folder may not either.
    for (mode, says) in [(0o777, "failed to write to the ledger"), (0o555, "failed to create the lock file")]
    {
        may(folder.path(), mode);
        let said = refused(as_nobody(&world, &binary)).await;
        assert!(said.contains(says) && said.contains("read-only.db"), "{said}");
        fs::remove_file(folder.path().join("read-only.db.lock")).ok();
    }
    may(folder.path(), 0o755);
}

#[tokio::test]
async fn a_second_daemon_is_refused_while_the_first_lives_and_starts_when_it_was_killed() {
    let world = World::new(1, &[]).await;
    let mut first = Daemon::start(&world, "").await;
    assert_eq!(first.deliver("confirmed", 1).await, Some(202));
    let said = refused(command(&world, "")).await;
    assert!(said.contains("another teamlink daemon runs on the ledger"), "{said}");
    assert_eq!(first.get("/healthz").await, Some(200));

    first.process.kill().await.unwrap();
    let second = Daemon::start(&world, "").await;
    assert_eq!(second.deliver("afterwards", 2).await, Some(202));
    assert_eq!(stored(&world).await, ["afterwards".to_owned(), "confirmed".to_owned()].into());
}
