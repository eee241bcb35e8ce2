//! How log events look and which ones are shown.
//!
//! | where | looks |
//! |---|---|
//! | a terminal | `WARN default port is busy, took a free one …`; batches are left to the progress line |
//! | elsewhere, or `format: json` | one JSON object an event, fields at its top level, times in UTC |
//! | `format: text` | plain lines with time and origin |
//!
//! Shown is what the engine says from `info` on and what libraries say from `warn` on. `RUST_LOG` replaces that.

use std::io::{self, Write};

use sql::{Error, Result};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::spec::model::LogFormat;

/// The target of the one event a batch.
pub const BATCH: &str = "engine::batch";

/// The target of events that the progress line says in its own words.
pub const SAID: &str = "engine::said";

/// What is shown without `RUST_LOG`. librdkafka repeats what the engine says itself about
/// an outage, and the kernel what it returns; statistics are not kept of binary columns; a wait for a lock is told as such.
const DEFAULT_FILTER: &str = "warn,engine=info,sql=info,rdkafka=error,librdkafka=error,\
    buoyant_kernel=off,deltalake_core::writer::stats=off,sqlx::query=error,opendal::layers::retry=error";

/// How events look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One JSON object an event.
    Json,
    /// Plain lines with time and origin.
    Lines,
    /// Plain sentences beside a progress line.
    Terminal,
    /// Plain sentences.
    Sentences,
}

impl Style {
    /// The style that `format` means when standard error is a `terminal` or is not.
    pub fn of(format: LogFormat, terminal: bool) -> Self {
        match (format, terminal) {
            (LogFormat::Auto, true) => Self::Terminal,
            (LogFormat::Auto, false) | (LogFormat::Json, _) => Self::Json,
            (LogFormat::Text, _) => Self::Lines,
        }
    }

    /// Which events are shown in this style, as `RUST_LOG` would say it.
    pub fn default_filter(self) -> String {
        match self {
            Self::Terminal => format!("{DEFAULT_FILTER},{BATCH}=off,{SAID}=off"),
            Self::Json | Self::Lines | Self::Sentences => DEFAULT_FILTER.to_owned(),
        }
    }
}

/// Sends this process' events to standard error from now on. `filter` is `RUST_LOG`'s value. Returns false, and changes
/// nothing, if events go somewhere already: the first call wins.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if `filter` cannot be read.
pub fn init(style: Style, filter: Option<&str>) -> Result<bool> {
    Ok(subscriber(style, filter, io::stderr)?.try_init().is_ok())
}

/// What [`init`] installs, on any writer.
///
/// # Errors
/// [`sql::ErrorKind::Config`] if `filter` cannot be read.
pub fn subscriber<W>(
    style: Style,
    filter: Option<&str>,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = match filter.filter(|filter| !filter.trim().is_empty()) {
        Some(filter) => EnvFilter::try_new(filter),
        None => EnvFilter::try_new(style.default_filter()),
    };
    let filter = filter.map_err(|error| {
        Error::config("the log filter cannot be read")
            .at("RUST_LOG")
            .expected("levels by target, as in info,engine::sink=debug")
            .source(error)
    })?;
    let builder = fmt().with_env_filter(filter);
    Ok(match style {
        Style::Json => {
            let json = builder.json().flatten_event(true);
            Box::new(
                json.with_current_span(false)
                    .with_span_list(false)
                    .with_writer(writer)
                    .finish(),
            )
        }
        Style::Lines => Box::new(builder.with_ansi(false).with_writer(writer).finish()),
        Style::Terminal | Style::Sentences => {
            let plain = builder.with_ansi(false).without_time().with_target(false);
            if style == Style::Terminal {
                Box::new(plain.with_writer(OverProgress(writer)).finish())
            } else {
                Box::new(plain.with_writer(writer).finish())
            }
        }
    })
}

/// Takes the progress line away before each event. It comes back with the next batch.
struct OverProgress<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OverProgress<W> {
    type Writer = W::Writer;

    fn make_writer(&'w self) -> Self::Writer {
        let mut writer = self.0.make_writer();
        // An event must not fail for want of a clean line.
        let _ = writer.write_all(b"\r\x1b[K");
        writer
    }
}
