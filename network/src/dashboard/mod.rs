//! A page in the browser that shows where the relay stands. It can be looked at, and nothing else:
//! it takes no input, has no password, and shows what the relay's log lines and `--json` say.
//!
//! `GET /status.json` gives [`RelayProgress`] as JSON; with `?seen=REVISION` it waits a while for
//! another one, so that the page shows a change at once without asking all the time.

mod places;
mod progress;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::time::unix_s;
use fl_protocol::round::relay::Report;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::debug;

pub use progress::RelayProgress;

use crate::report_text::LogLine;
use places::Places;

/// A connection carries one request, and has this long to bring it.
const REQUEST: Duration = Duration::from_secs(10);
/// This is how long it may take from beginning to end.
const CONNECTION: Duration = Duration::from_secs(45);
/// How long a request for another state waits.
const WAIT: Duration = Duration::from_secs(25);
/// How long pages have to fetch the last state when the relay stops: they pause between two
/// requests.
const FAREWELL: Duration = Duration::from_secs(1);
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The page is all its own, asks nobody else, and stands in nobody's frame.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Returns whether only this machine reaches this address.
pub fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The dashboard of a relay, being served.
pub struct Dashboard {
    progress: watch::Sender<RelayProgress>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Dashboard {
    /// Begins to serve on `address`.
    ///
    /// # Errors
    ///
    /// What the operating system says if it cannot listen there.
    pub async fn open(address: SocketAddr, progress: RelayProgress) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (progress, shown) = watch::channel(progress);
        let serving = tokio::spawn(serve(listener, shown, is_local(address)));
        Ok(Self {
            progress,
            address,
            serving,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes in a report, and how it was put into words.
    pub fn update(&self, report: &Report, line: &LogLine) {
        self.progress
            .send_modify(|progress| progress.update(report, line, unix_s()));
    }

    /// Shows to those who look that the relay has stopped, and ends.
    pub async fn close(self) {
        self.progress
            .send_modify(|progress| progress.stop(unix_s()));
        sleep(FAREWELL).await;
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, progress: watch::Receiver<RelayProgress>, local: bool) {
    // Ends them when it is dropped itself.
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    places.make_room();
                    let served = connection(stream, progress.clone(), local);
                    let task = connections.spawn(timeout(CONNECTION, served));
                    places.take(from.ip(), task);
                }
                Err(error) => {
                    // Such as one file descriptor too many: that passes.
                    debug!(%error, "the dashboard cannot accept a connection");
                    sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, progress: watch::Receiver<RelayProgress>, local: bool) {
    let answer = service_fn(|request| {
        let progress = progress.clone();
        async move { Ok::<_, Infallible>(answer(&request, progress, local).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection to the dashboard failed");
    }
}

async fn answer(
    request: &Request<Incoming>,
    progress: watch::Receiver<RelayProgress>,
    local: bool,
) -> Response<Full<Bytes>> {
    // A page of the internet can give its own name this machine's address, and would then read
    // along in the browser.
    if local && !names_this_machine(request) {
        let text = "this dashboard is shown as localhost or 127.0.0.1 only\n";
        return respond(StatusCode::MISDIRECTED_REQUEST, PLAIN, text);
    }
    if comes_from_elsewhere(request) {
        let text = "another site's page may not ask for this\n";
        return respond(StatusCode::FORBIDDEN, PLAIN, text);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let text = "there is nothing here but to be looked at\n";
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let page = |kind, text: &'static str| respond(StatusCode::OK, kind, text);
    match request.uri().path() {
        "/" => page(HTML, include_str!("page/index.html")),
        "/style.css" => page(CSS, include_str!("page/style.css")),
        "/chart.js" => page(JAVASCRIPT, include_str!("page/chart.js")),
        "/script.js" => page(JAVASCRIPT, include_str!("page/script.js")),
        "/status.json" => status(request.uri().query(), progress).await,
        _ => respond(StatusCode::NOT_FOUND, PLAIN, "there is no such page\n"),
    }
}

/// Returns whether the request was made to an address of this machine's own, and not to a name that
/// leads here.
fn names_this_machine(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    host.is_some_and(|host| {
        let host = host.host().trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    })
}

/// Returns whether a browser says that another site's page wants this. That page could not read the
/// answer, but have it made all the time. Its user may come from anywhere.
fn comes_from_elsewhere(request: &Request<Incoming>) -> bool {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let site = header("sec-fetch-site");
    let own = matches!(site, None | Some(b"same-origin" | b"none"));
    !own && header("sec-fetch-mode") != Some(b"navigate")
}

#[derive(Serialize)]
struct Status<'a> {
    /// By the relay's clock, which the other times are by as well.
    now_unix_s: u64,
    #[serde(flatten)]
    progress: &'a RelayProgress,
}

async fn status(
    query: Option<&str>,
    mut progress: watch::Receiver<RelayProgress>,
) -> Response<Full<Bytes>> {
    if let Some(query) = query {
        let seen = query.strip_prefix("seen=").map(str::parse::<u64>);
        let Some(Ok(seen)) = seen else {
            let text = "the only query is seen=REVISION\n";
            return respond(StatusCode::BAD_REQUEST, PLAIN, text);
        };
        // Not only a later one: a relay that was restarted counts from the beginning. And the same
        // again is an answer too.
        let other = progress.wait_for(|progress| progress.revision != seen);
        let _ = timeout(WAIT, other).await;
    }
    // Not held while it is written: the relay waits for it.
    let progress = progress.borrow().clone();
    let status = Status {
        now_unix_s: unix_s(),
        progress: &progress,
    };
    match serde_json::to_vec(&status) {
        Ok(json) => respond(StatusCode::OK, JSON, json),
        Err(error) => {
            let text = format!("the status cannot be written: {error}\n");
            respond(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text)
        }
    }
}

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn respond(code: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
