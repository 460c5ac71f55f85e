//! One connection: its requests one after the other, and when it is closed.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    Limits,
    table::{Phase, Place},
};

/// What is read at a time. A head must fit into it: GitHub's are 1 KiB, and proxies add theirs.
const BUFFER: usize = 16 << 10;

/// Serves requests until the sender leaves or is too slow, its place is needed, or `stop` is cancelled.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    place: Place,
    stop: CancellationToken,
) {
    // Answers are small, and nobody should wait for more of them.
    drop(stream.set_nodelay(true));
    let place = Arc::new(place);
    let answering = place.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        answering.enter(Phase::Busy);
        let (place, router) = (answering.clone(), router.clone());
        async move {
            let answer = timeout(limits.request, router.oneshot(request.map(Body::new))).await;
            place.enter(Phase::Idle);
            Ok::<_, std::convert::Infallible>(match answer {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => late(),
            })
        }
    });
    let io = TokioIo::new(Watched { stream, place: place.clone() });
    let mut connection = pin!(
        http1::Builder::new().max_buf_size(BUFFER).header_read_timeout(None).serve_connection(io, service)
    );
    let mut checks = interval((limits.head / 5).max(Duration::from_millis(10)));
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            // An error here is the sender's, who has noticed it.
            _ = connection.as_mut() => return,
            () = place.closed.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                if place.phase().0 != Phase::Busy {
                    return;
                }
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = checks.tick() => {
                if is_over(place.phase(), &limits) {
                    return;
                }
            }
        }
    }
}

fn is_over((phase, since): (Phase, Instant), limits: &Limits) -> bool {
    match phase {
        Phase::Head => since.elapsed() >= limits.head,
        Phase::Idle => since.elapsed() >= limits.idle,
        Phase::Busy => false,
    }
}

fn late() -> Response<Body> {
    let mut response = Response::new(Body::from("the request took too long"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// A stream of which is known when the head of a request begins to arrive.
struct Watched {
    stream: TcpStream,
    place: Arc<Place>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.place.phase().0 == Phase::Idle {
            self.place.enter(Phase::Head);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
