//! `/metrics` on one address, `/livez` and `/readyz` on another, or all on one.
//!
//! | path | 200 | 503 |
//! |---|---|---|
//! | `/metrics` | Prometheus' text format | |
//! | `/livez` | while the process answers at all | |
//! | `/readyz` | every pipeline is connected and has committed once or found nothing to do | otherwise; the body says which and why |

use std::collections::BTreeMap;
use std::io::ErrorKind as IoKind;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use sql::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::spec::model::{Listen, ObservabilitySpec};

/// Whether the pipelines of this process are ready. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Health {
    pipelines: Arc<Mutex<BTreeMap<String, State>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    connected: bool,
    settled: bool,
}

impl State {
    fn sentence(self) -> &'static str {
        match (self.connected, self.settled) {
            (true, true) => "ready",
            (true, false) => "connected, nothing committed yet",
            (false, _) => "not connected",
        }
    }
}

impl Health {
    /// No pipelines; not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pipeline that is not connected yet.
    pub fn pipeline(&self, name: &str) -> PipelineHealth {
        self.pipelines
            .lock()
            .insert(name.to_owned(), State::default());
        PipelineHealth {
            name: name.to_owned(),
            health: self.clone(),
        }
    }

    /// Whether there is a pipeline, and every one is ready.
    pub fn is_ready(&self) -> bool {
        let pipelines = self.pipelines.lock();
        !pipelines.is_empty() && pipelines.values().all(|s| s.connected && s.settled)
    }

    fn report(&self) -> String {
        self.pipelines
            .lock()
            .iter()
            .map(|(name, state)| format!("{name}: {}\n", state.sentence()))
            .collect()
    }
}

/// One pipeline's say in [`Health`].
#[derive(Debug, Clone)]
pub struct PipelineHealth {
    name: String,
    health: Health,
}

impl PipelineHealth {
    /// Source and sink answered.
    pub fn connected(&self) {
        self.set(|state| state.connected = true);
    }

    /// An outage; ready again once [`PipelineHealth::connected`], [`PipelineHealth::committed`] or
    /// [`PipelineHealth::caught_up`] is said.
    pub fn disconnected(&self) {
        self.set(|state| state.connected = false);
    }

    /// A batch was committed.
    pub fn committed(&self) {
        self.settle();
    }

    /// There is nothing to read.
    pub fn caught_up(&self) {
        self.settle();
    }

    /// The pipeline is done and does not count any longer.
    pub fn finished(&self) {
        self.health.pipelines.lock().remove(&self.name);
    }

    fn settle(&self) {
        self.set(|state| {
            *state = State {
                connected: true,
                settled: true,
            }
        });
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.health.pipelines.lock().get_mut(&self.name) {
            change(state);
        }
    }
}

/// The listening servers and where they listen.
#[derive(Debug)]
pub struct Servers {
    /// Where `/metrics` is; `None` if it is off.
    pub metrics: Option<SocketAddr>,
    /// Where `/livez` and `/readyz` are; `None` if they are off.
    pub health: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Waits until the servers stopped, which they do when the token that they were given is cancelled.
    pub async fn stopped(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "http server ended badly");
            }
        }
    }
}

/// Starts the servers. A busy port that nobody chose is replaced by a free one, with a warning.
///
/// # Errors
/// [`ErrorKind::Unavailable`] if a chosen address is busy or not of this machine, [`ErrorKind::Denied`] if it may not be
/// used, [`ErrorKind::Config`] if it is no address. No server runs then.
pub async fn serve(
    spec: &ObservabilitySpec,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> Result<Servers> {
    let metrics_routes = metrics_routes(metrics);
    let health_routes = health_routes(health);
    let shared = match (&spec.metrics.address, &spec.health.address) {
        (Some(metrics), Some(health)) => metrics == health && !metrics.ends_with(":0"),
        _ => false,
    };
    if shared {
        let (listener, address) = bind_known(&spec.metrics, "metrics").await?;
        let routes = metrics_routes.merge(health_routes);
        return Ok(Servers {
            metrics: Some(address),
            health: Some(address),
            tasks: vec![start(listener, routes, stop)],
        });
    }
    let metrics = bind(&spec.metrics, "metrics").await?;
    let health = bind(&spec.health, "health").await?;
    let mut servers = Servers {
        metrics: None,
        health: None,
        tasks: Vec::new(),
    };
    if let Some((listener, address)) = metrics {
        servers.metrics = Some(address);
        let task = start(listener, metrics_routes, stop.clone());
        servers.tasks.push(task);
    }
    if let Some((listener, address)) = health {
        servers.health = Some(address);
        servers.tasks.push(start(listener, health_routes, stop));
    }
    Ok(servers)
}

fn metrics_routes(metrics: Arc<Metrics>) -> Router {
    let answer = move || {
        let text = metrics.text();
        async move { metrics_answer(text) }
    };
    Router::new().route("/metrics", get(answer))
}

fn metrics_answer(text: Result<String>) -> Response {
    match text {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

fn health_routes(health: Health) -> Router {
    let ready = move || {
        let code = if health.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let report = health.report();
        async move { (code, report) }
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
}

fn start(listener: TcpListener, routes: Router, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::warn!(%error, "http server stopped");
        }
    })
}

async fn bind(listen: &Listen, what: &str) -> Result<Option<(TcpListener, SocketAddr)>> {
    match listen.address {
        Some(_) => bind_known(listen, what).await.map(Some),
        None => Ok(None),
    }
}

async fn bind_known(listen: &Listen, what: &str) -> Result<(TcpListener, SocketAddr)> {
    let address = listen.address.as_deref().unwrap_or_default();
    let listener = match TcpListener::bind(address).await {
        Err(error) if error.kind() == IoKind::AddrInUse && !listen.configured => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let free = TcpListener::bind(format!("{host}:0")).await;
            let free = free.map_err(|error| refused(address, what, error))?;
            let taken = local_address(&free, address, what)?;
            tracing::warn!(endpoint = what, wanted = address, %taken, "default port is busy, took a free one");
            free
        }
        bound => bound.map_err(|error| refused(address, what, error))?,
    };
    let bound = local_address(&listener, address, what)?;
    Ok((listener, bound))
}

fn local_address(listener: &TcpListener, address: &str, what: &str) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|error| refused(address, what, error))
}

fn refused(address: &str, what: &str, error: std::io::Error) -> Error {
    let (kind, why, next) = match error.kind() {
        IoKind::AddrInUse => (
            ErrorKind::Unavailable,
            "it is in use",
            "stop what listens there or choose another port; port 0 takes a free one",
        ),
        IoKind::PermissionDenied => (
            ErrorKind::Denied,
            "this user may not listen there",
            "choose a port above 1023",
        ),
        IoKind::InvalidInput => (
            ErrorKind::Config,
            "it is no address",
            "write a host and a port, as in 127.0.0.1:8000",
        ),
        _ => (
            ErrorKind::Unavailable,
            "this machine does not have it",
            "choose an address of this machine, as in 127.0.0.1:8000 or 0.0.0.0:8000",
        ),
    };
    Error::new(
        kind,
        format!("cannot listen on `{address}` for {what}: {why}"),
    )
    .at(format!("observability.{what}"))
    .remedy(format!(
        "{next} (observability.{what} in the pipeline file)"
    ))
    .source(error)
}
