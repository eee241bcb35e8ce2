//! The endpoints on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use engine::run::policy::policy;
use engine::spec::model::{Listen, LogFormat, ObservabilitySpec};
use engine::telemetry::{Health, Metrics, Servers, serve};
use sql::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::full_report;

fn listen(address: impl Into<Option<String>>, configured: bool) -> Listen {
    Listen {
        address: address.into(),
        configured,
    }
}

fn free() -> Listen {
    listen("127.0.0.1:0".to_owned(), true)
}

fn spec(metrics: Listen, health: Listen) -> ObservabilitySpec {
    ObservabilitySpec {
        metrics,
        health,
        log: LogFormat::Auto,
    }
}

struct Running {
    servers: Servers,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
}

async fn start(spec: ObservabilitySpec) -> sql::Result<Running> {
    let metrics = Arc::new(Metrics::try_new()?);
    let health = Health::new();
    let stop = CancellationToken::new();
    let servers = serve(&spec, metrics.clone(), health.clone(), stop.clone()).await?;
    Ok(Running {
        servers,
        metrics,
        health,
        stop,
    })
}

/// Status and body.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if path == "/metrics" && status == 200 {
        assert!(
            head.to_lowercase()
                .contains("content-type: text/plain; version=0.0.4")
        );
    }
    (status, body.to_owned())
}

#[tokio::test]
async fn metrics_are_shown_as_they_are_now() {
    let running = start(spec(free(), free())).await.unwrap();
    let address = running.servers.metrics.unwrap();
    running.metrics.batch(&full_report());
    let (status, body) = get(address, "/metrics").await;
    assert_eq!((status, body), (200, running.metrics.text().unwrap()));
    assert_eq!(get(address, "/readyz").await.0, 404);
}

#[tokio::test]
async fn ready_means_connected_and_committed_or_caught_up() {
    let running = start(spec(free(), free())).await.unwrap();
    let address = running.servers.health.unwrap();
    let ready = || get(address, "/readyz");
    assert_eq!(get(address, "/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(ready().await, (503, String::new()), "no pipelines yet");

    let a = running.health.pipeline("a");
    let b = running.health.pipeline("b");
    assert_eq!(
        ready().await,
        (503, "a: not connected\nb: not connected\n".to_owned())
    );
    a.connected();
    let waiting = "a: connected, nothing committed yet\nb: not connected\n";
    assert_eq!(ready().await, (503, waiting.to_owned()));
    a.committed();
    assert_eq!(
        ready().await,
        (503, "a: ready\nb: not connected\n".to_owned())
    );
    b.connected();
    b.caught_up();
    assert_eq!(ready().await, (200, "a: ready\nb: ready\n".to_owned()));
    b.disconnected();
    assert_eq!(
        ready().await,
        (503, "a: ready\nb: not connected\n".to_owned())
    );
    assert_eq!(get(address, "/livez").await.0, 200);
    b.connected();
    assert_eq!(ready().await.0, 200);
    b.finished();
    b.connected();
    assert_eq!(ready().await, (200, "a: ready\n".to_owned()));
}

#[tokio::test]
async fn servers_stop_when_told() {
    let running = start(spec(free(), free())).await.unwrap();
    let address = running.servers.health.unwrap();
    assert_eq!(get(address, "/livez").await.0, 200);
    running.stop.cancel();
    running.servers.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_off_does_not_listen() {
    let running = start(spec(listen(None, true), free())).await.unwrap();
    assert_eq!(running.servers.metrics, None);
    assert!(running.servers.health.is_some());
}

/// Servers on one address that was free a moment ago; somebody may be faster, then on another one.
async fn start_shared() -> Running {
    loop {
        let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = reserved.local_addr().unwrap().to_string();
        drop(reserved);
        let both = || listen(address.clone(), true);
        if let Ok(running) = start(spec(both(), both())).await {
            return running;
        }
    }
}

#[tokio::test]
async fn one_address_for_both_serves_all_three() {
    let running = start_shared().await;
    let address = running.servers.metrics.unwrap();
    assert_eq!(running.servers.health, Some(address));
    for (path, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 503),
        ("/", 404),
    ] {
        assert_eq!(get(address, path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_busy_default_port_moves() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wanted = busy.local_addr().unwrap();
    let running = start(spec(listen(wanted.to_string(), false), free()))
        .await
        .unwrap();
    let taken = running.servers.metrics.unwrap();
    assert_eq!(taken.ip(), wanted.ip());
    assert_ne!(taken.port(), wanted.port());
    assert_eq!(get(taken, "/metrics").await.0, 200);
}

#[tokio::test]
async fn a_busy_chosen_port_is_an_error_that_ends_in_exit_code_3() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wanted = busy.local_addr().unwrap();
    let started = start(spec(free(), listen(wanted.to_string(), true))).await;
    let error = started.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(policy(error.kind()).exit, 3);
    assert_eq!(
        error.message(),
        format!("cannot listen on `{wanted}` for health: it is in use")
    );
    assert_eq!(error.place(), Some("observability.health"));
    assert!(error.next_step().unwrap().contains("choose another port"));
}

#[tokio::test]
async fn an_address_that_is_none_is_a_configuration_error() {
    for (address, kind) in [
        ("nonsense", ErrorKind::Config),
        ("127.0.0.1:99999", ErrorKind::Config),
        ("192.0.2.1:0", ErrorKind::Unavailable),
    ] {
        let error = start(spec(listen(address.to_owned(), true), free())).await;
        assert_eq!(error.err().unwrap().kind(), kind, "{address}");
    }
}
