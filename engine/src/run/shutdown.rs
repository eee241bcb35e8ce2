//! Signals: the first one asks for an orderly end, the second one ends at once.

use sql::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM and Ctrl-C cancel. After a second signal the process exits with 130 without finishing the
/// batch; nothing is lost by that, the batch is read again.
///
/// # Errors
/// [`sql::ErrorKind::Internal`] if the process may not handle signals.
pub fn on_signals() -> Result<CancellationToken> {
    let refused =
        |error: std::io::Error| Error::internal("signals cannot be handled").source(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    // A file that may not grow further is an error of the write, which says so; by default it kills the process.
    let mut too_large = signal(SignalKind::from_raw(libc::SIGXFSZ)).map_err(refused)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    super::spawn(async move {
        let mut asked = false;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "Ctrl-C",
                _ = too_large.recv() => continue,
            };
            if asked {
                std::process::exit(130);
            }
            asked = true;
            tracing::info!(
                signal = name,
                "stopping after this batch, a second signal ends at once"
            );
            stop.cancel();
        }
    });
    Ok(token)
}
