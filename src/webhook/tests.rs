use std::sync::Mutex;

use axum::body::to_bytes;
use futures_util::{StreamExt, future::BoxFuture, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tower::ServiceExt;

use super::*;
use crate::intake::Refused;

const SECRET: &str = "a secret";
const MAX_BODY: usize = 1024;

#[derive(Default)]
struct Memory {
    taken: Mutex<Vec<Delivery>>,
    refuses: bool,
    hangs: bool,
}

impl Inbox for Memory {
    fn accept(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if self.refuses {
                let (reason, retry_after) = ("the disk is full".to_owned(), Duration::from_millis(1500));
                return Err(Refused { reason, retry_after });
            }
            self.taken.lock().unwrap().push(delivery);
            Ok(())
        })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

struct World {
    inbox: Arc<Memory>,
    secrets: watch::Sender<Vec<SecretString>>,
    router: Router,
}

impl World {
    fn new(inbox: Memory) -> Self {
        Self::serving(None, inbox)
    }

    fn serving(github_host: Option<&str>, inbox: Memory) -> Self {
        let (secrets, receiver) = watch::channel(vec![SecretString::from(SECRET)]);
        let options = Options {
            secrets: receiver,
            max_body: MAX_BODY,
            github_host: github_host.map(str::to_owned),
            counts_stored: true,
        };
        let inbox = Arc::new(inbox);
        Self { router: router(options, inbox.clone()), inbox, secrets }
    }

    /// Sends the request and answers status, `Retry-After` and error text.
    async fn send(&self, request: Request<Body>) -> (u16, Option<String>, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let retry = response.headers().get(header::RETRY_AFTER).map(|wait| wait.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, retry, body["error"].as_str().unwrap_or_default().to_owned())
    }

    fn taken(&self) -> Vec<Delivery> {
        self.inbox.taken.lock().unwrap().clone()
    }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
    format!("sha256={}", hex::encode(mac.into_bytes()))
}

/// A delivery as GitHub sends it; each test spoils one thing.
fn delivery(body: &'static [u8]) -> http::request::Builder {
    Request::post("/webhooks/github")
        .header("content-type", "application/json")
        .header("x-github-event", "team")
        .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .header("x-hub-signature-256", sign(SECRET, body))
}

fn without(mut request: Request<Body>, header: &str) -> Request<Body> {
    request.headers_mut().remove(header).unwrap();
    request
}

fn with(mut request: Request<Body>, header: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

const BODY: &[u8] = br#"{"action":"created"}"#;

fn good() -> Request<Body> {
    delivery(BODY).body(Body::from(BODY)).unwrap()
}

#[tokio::test]
async fn a_signed_delivery_is_stored_and_answered_202() {
    let world = World::new(Memory::default());
    assert_eq!(world.send(good()).await, (202, None, String::new()));
    let [taken] = &world.taken()[..] else { panic!("one delivery") };
    assert_eq!((taken.event.as_str(), &taken.body[..]), ("team", BODY));
    assert_eq!(taken.guid, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert!(taken.received_at > Time(1_700_000_000_000_000));
}

#[tokio::test]
async fn a_body_in_many_pieces_is_stored_whole() {
    let world = World::new(Memory::default());
    let pieces = stream::iter(BODY.chunks(3).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece))));
    assert_eq!(world.send(delivery(BODY).body(Body::from_stream(pieces)).unwrap()).await.0, 202);
    assert_eq!(world.taken()[0].body, BODY);
}

#[tokio::test]
async fn a_missing_or_wrong_signature_is_answered_401_and_not_stored() {
    let world = World::new(Memory::default());
    let (status, _, error) = world.send(without(good(), "x-hub-signature-256")).await;
    assert_eq!((status, error.as_str()), (401, "the X-Hub-Signature-256 header is missing"));
    let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
    let unread = with(delivery(BODY).body(never).unwrap(), "x-hub-signature-256", "sha1=00");
    let (status, _, error) = world.send(unread).await;
    assert_eq!((status, error.as_str()), (401, "the X-Hub-Signature-256 header holds no signature"));
    for signature in [sign("another secret", BODY), sign(SECRET, b"{}")] {
        let (status, _, error) = world.send(with(good(), "x-hub-signature-256", &signature)).await;
        assert_eq!((status, error.as_str()), (401, "the signature matches none of the secrets set here"));
    }
    assert!(world.taken().is_empty());
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_are_good_and_afterwards_only_the_new_one() {
    let world = World::new(Memory::default());
    let old = || with(good(), "x-hub-signature-256", &sign(SECRET, BODY));
    let new = || with(good(), "x-hub-signature-256", &sign("new", BODY));
    assert_eq!([world.send(old()).await.0, world.send(new()).await.0], [202, 401]);
    world.secrets.send_replace(vec!["new".into(), SECRET.into()]);
    assert_eq!([world.send(old()).await.0, world.send(new()).await.0], [202, 202]);
    world.secrets.send_replace(vec!["new".into()]);
    assert_eq!([world.send(old()).await.0, world.send(new()).await.0], [401, 202]);
}

#[tokio::test]
async fn without_a_secret_nothing_is_accepted() {
    let world = World::new(Memory::default());
    for secrets in [vec![], vec!["".into()]] {
        world.secrets.send_replace(secrets);
        for request in [
            good(),
            without(good(), "x-hub-signature-256"),
            with(good(), "x-hub-signature-256", &sign("", BODY)),
        ] {
            let (status, retry, error) = world.send(request).await;
            assert_eq!((status, retry.as_deref()), (503, Some("5")), "{error}");
            assert!(error.starts_with("no webhook secret is set"), "{error}");
        }
    }
    assert!(world.taken().is_empty());
}

#[tokio::test]
async fn missing_headers_and_unknown_content_types_are_answered_400() {
    let world = World::new(Memory::default());
    for header in ["x-github-event", "x-github-delivery", "content-type"] {
        assert_eq!(world.send(without(good(), header)).await.0, 400, "{header}");
    }
    assert_eq!(world.send(with(good(), "content-type", "text/plain")).await.0, 400);
    assert_eq!(world.send(with(good(), "x-github-delivery", &"x".repeat(129))).await.0, 400);
    assert_eq!(world.send(with(good(), "content-type", "application/json; charset=utf-8")).await.0, 202);
}

#[tokio::test]
async fn a_form_is_signed_as_it_is_and_stored_as_its_payload() {
    let world = World::new(Memory::default());
    let form: &[u8] = b"a=b&payload=%7B%22action%22%3A%22created%22%7D";
    let send = |body: &'static [u8]| {
        let request = delivery(body).body(Body::from(body)).unwrap();
        with(request, "content-type", "application/x-www-form-urlencoded")
    };
    assert_eq!(world.send(send(form)).await.0, 202);
    let taken = world.taken().remove(0);
    assert_eq!(taken.body, BODY);
    // What is handed on carries a signature that fits it.
    assert!(signature::matches(&taken.signature.unwrap(), BODY, &[SECRET.into()]));
    let (status, _, error) = world.send(send(b"a=b")).await;
    assert_eq!((status, error.as_str()), (400, "the form has no field `payload`"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_whether_announced_or_not() {
    let world = World::new(Memory::default());
    let big: &'static [u8] = vec![b'x'; MAX_BODY + 1].leak();
    let announced = delivery(big).header("content-length", big.len()).body(Body::from(big)).unwrap();
    // The length alone decides: this body never comes.
    let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
    let at_once = delivery(big).header("content-length", big.len()).body(never).unwrap();
    let pieces = stream::iter(big.chunks(100).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece))));
    let streamed = delivery(big).body(Body::from_stream(pieces)).unwrap();
    for request in [announced, at_once, streamed] {
        assert_eq!(world.send(request).await.0, 413);
    }
    let fits: &'static [u8] = &big[..MAX_BODY];
    assert_eq!(world.send(delivery(fits).body(Body::from(fits)).unwrap()).await.0, 202);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_answered_400() {
    let world = World::new(Memory::default());
    let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
    assert_eq!(world.send(delivery(BODY).body(Body::from_stream(broken)).unwrap()).await.0, 400);
}

#[tokio::test]
async fn bodies_that_do_not_fit_in_memory_together_are_answered_503() {
    let world = World::new(Memory::default());
    let piece: &'static [u8] = vec![b'x'; MAX_BODY].leak();
    let stuck = || {
        let rest = stream::iter([Ok::<_, std::io::Error>(Bytes::from(piece))]).chain(stream::pending());
        let router = world.router.clone();
        let request = delivery(piece).body(Body::from_stream(rest)).unwrap();
        tokio::spawn(async move { router.oneshot(request).await })
    };
    let held: Vec<_> = (0..LARGE_IN_FLIGHT).map(|_| stuck()).collect();
    // Each holds its bytes once it has been polled.
    tokio::task::yield_now().await;
    assert_eq!(world.send(good()).await, (503, Some("5".into()), "too many bodies at once".into()));
    // One that says that it is small has a place of its own.
    let small = with(good(), "content-length", &BODY.len().to_string());
    assert_eq!(world.send(small).await.0, 202);
    for task in held {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(world.send(good()).await.0, 202);
}

#[tokio::test]
async fn an_inbox_that_refuses_is_answered_503_with_its_own_wait() {
    let world = World::new(Memory { refuses: true, ..Memory::default() });
    assert_eq!(world.send(good()).await, (503, Some("2".into()), "the disk is full".into()));
}

#[tokio::test]
async fn an_inbox_that_hangs_is_answered_503_before_github_gives_up() {
    let world = World::new(Memory { hangs: true, ..Memory::default() });
    let started = Instant::now();
    assert_eq!(world.send(good()).await.0, 503);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_ping_is_answered_200_and_not_stored_but_its_signature_counts() {
    let world = World::new(Memory::default());
    let ping = || with(good(), "x-github-event", "ping");
    assert_eq!(world.send(ping()).await.0, 200);
    assert_eq!(world.send(with(ping(), "x-hub-signature-256", &sign("x", BODY))).await.0, 401);
    assert!(world.taken().is_empty());
}

#[tokio::test]
async fn a_delivery_of_another_github_is_refused_by_name() {
    let cloud = World::new(Memory::default());
    let from = |host| with(good(), "x-github-enterprise-host", host);
    let (status, _, error) = cloud.send(from("ghe.example.com")).await;
    assert_eq!(
        (status, error.as_str()),
        (403, "this delivery is from ghe.example.com, and this process serves github.com")
    );
    let server = World::serving(Some("ghe.example.com"), Memory::default());
    assert_eq!(server.send(from("GHE.example.com")).await.0, 202);
    assert_eq!(server.send(from("other.example.com")).await.0, 403);
    assert_eq!(server.send(good()).await.0, 403, "without the header it is from github.com");
}
