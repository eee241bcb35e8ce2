//! `engine run`: one process, one or more pipelines.

use std::io::IsTerminal;
use std::sync::Arc;

use futures::future::join_all;
use sql::{Error, ErrorKind, Result};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::files::{environment, load};
use crate::cli::RunArgs;
use crate::run::observer::{Observer, Observers};
use crate::run::pipeline::{Pipeline, describe_sink};
use crate::run::policy::render;
use crate::run::{shutdown, spawn};
use crate::spec::model::{Listen, LogFormat, ObservabilitySpec, PipelineSpec, Trigger};
use crate::telemetry::{Health, Metrics, logs, serve};

/// Runs `engine run`.
///
/// One pipeline that fails stops the others after their batch: a process that half works looks healthy and is not.
/// Where all drain what is there (`--once`), the others go on to their end.
///
/// # Errors
/// The first pipeline's error, after all have ended.
pub async fn run(args: RunArgs) -> Result<()> {
    let specs: Vec<Arc<PipelineSpec>> = load(&args.files)?.into_iter().map(Arc::new).collect();
    let drains = |spec: &PipelineSpec| args.once || spec.pipeline.trigger == Trigger::AvailableNow;
    let mut observability = shared_observability(&specs)?;
    let terminal = std::io::stderr().is_terminal();
    let style = logs::Style::of(observability.log, terminal);
    logs::init(style, environment("RUST_LOG").as_deref())?;
    let stop = shutdown::on_signals()?;
    let metrics = Arc::new(Metrics::try_new()?);
    let health = Health::new();
    let drain = specs.iter().all(|spec| drains(spec));
    if drain {
        only_configured(&mut observability);
    }
    // Until the last batch is committed: who stops a pipeline may still want to look at it.
    let serving = CancellationToken::new();
    let _until_the_end = serving.clone().drop_guard();
    listen(&observability, &metrics, &health, serving).await?;
    let observers = Observers::new(metrics, health, style == logs::Style::Terminal);
    // All are known before the first one can be ready.
    let watched: Vec<_> = specs
        .into_iter()
        .map(|spec| {
            let observer = Arc::new(observers.of(&spec, describe_sink(&spec.sink)));
            (spec, observer)
        })
        .collect();
    let order = Order::of(&watched, |spec| drains(spec));
    let runs = watched
        .into_iter()
        .zip(order)
        .map(|((spec, observer), turn)| {
            let (once, stop) = (args.once, stop.clone());
            spawn(async move {
                let _ended = turn.ended.drop_guard();
                for earlier in turn.after {
                    tokio::select! {
                        () = earlier.cancelled() => {}
                        () = stop.cancelled() => {}
                    }
                }
                one(spec, once, drain, observer, stop).await
            })
        });
    let died = |error| Error::internal("a pipeline's task died").source(error);
    let ends = join_all(runs).await;
    let mut errors = ends
        .into_iter()
        .filter_map(|end| end.map_err(died).and_then(|result| result).err());
    let first = errors.next();
    for other in errors {
        eprintln!("{}", render(&other));
    }
    first.map_or(Ok(()), Err)
}

/// When a pipeline's turn is.
struct Order {
    /// Cancelled at its end.
    ended: CancellationToken,
    /// The ends of those that go before it.
    after: Vec<CancellationToken>,
}

impl Order {
    /// Pipelines that drain what is there read a table after those that write it: what these add is there then. Where tables are
    /// written in a circle, nobody waits.
    fn of(
        pipelines: &[(Arc<PipelineSpec>, Arc<Observer>)],
        drains: impl Fn(&PipelineSpec) -> bool,
    ) -> Vec<Self> {
        let reads = |reader: usize, writer: usize| {
            let spec = |index: usize| pipelines.get(index).map(|(spec, _)| spec);
            match (spec(reader), spec(writer)) {
                (Some(reader), Some(writer)) => {
                    drains(reader)
                        && drains(writer)
                        && crate::spec::reads(&reader.source, &writer.sink)
                }
                _ => false,
            }
        };
        let ended: Vec<CancellationToken> =
            pipelines.iter().map(|_| CancellationToken::new()).collect();
        let all = || 0..pipelines.len();
        // Everything that a pipeline waits for, at first or second hand.
        let before = |reader: usize| {
            let mut found: Vec<usize> = all().filter(|writer| reads(reader, *writer)).collect();
            let mut seen = 0;
            while let Some(next) = found.get(seen).copied() {
                seen += 1;
                let more: Vec<usize> = all()
                    .filter(|writer| reads(next, *writer) && !found.contains(writer))
                    .collect();
                found.extend(more);
            }
            found
        };
        all()
            .zip(&ended)
            .map(|(reader, own)| {
                let after = if before(reader).contains(&reader) {
                    Vec::new()
                } else {
                    let writers = all()
                        .zip(&ended)
                        .filter(|(writer, _)| reads(reader, *writer));
                    writers.map(|(_, ended)| ended.clone()).collect()
                };
                Self {
                    ended: own.clone(),
                    after,
                }
            })
            .collect()
    }
}

/// One pipeline, from its start to its end. If it does not end well, it stops the others unless `go_on`.
async fn one(
    spec: Arc<PipelineSpec>,
    once: bool,
    go_on: bool,
    observer: Arc<Observer>,
    stop: CancellationToken,
) -> Result<()> {
    // A guard, so that a panic stops the others, too.
    let others = (!go_on).then(|| stop.clone().drop_guard());
    let name = spec.pipeline.name.clone();
    let result = match Pipeline::start(spec, once, observer.clone(), stop.clone()).await {
        Ok(pipeline) => Box::pin(pipeline.drive()).await.map(|_| ()),
        // Who is told to stop while a service does not answer has nothing to finish.
        Err(error) if stop.is_cancelled() && error.kind() == ErrorKind::Unavailable => {
            observer.gave_up(&error);
            Ok(())
        }
        Err(error) => Err(error),
    };
    let result = result.map_err(|error| match error.place() {
        Some(_) => error,
        None => error.at(format!("pipeline {name}")),
    });
    match &result {
        Ok(()) => {
            others.map(DropGuard::disarm);
        }
        Err(error) => observer.failed(error),
    }
    observer.close();
    result
}

/// One process listens once and logs in one way: what any of the files says, if no two say different things.
fn shared_observability(specs: &[Arc<PipelineSpec>]) -> Result<ObservabilitySpec> {
    let mut specs = specs.iter();
    let Some(first) = specs.next() else {
        return Err(Error::config("no pipeline file was named").expected("FILE or DIR"));
    };
    let mut shared = first.observability.clone();
    for spec in specs {
        let own = &spec.observability;
        let differs = |key: &str| {
            Error::config(format!(
                "the files that run in one process say different things of `observability.{key}`"
            ))
            .at(spec.file.display().to_string())
            .expected("one value in all of them, or in one of them only")
            .remedy(format!(
                "take it out of all files but one, or override it: `--set observability.{key}=…`"
            ))
        };
        merge_listen(&mut shared.metrics, &own.metrics).ok_or_else(|| differs("metrics"))?;
        merge_listen(&mut shared.health, &own.health).ok_or_else(|| differs("health"))?;
        if own.log != LogFormat::Auto {
            if shared.log != LogFormat::Auto && shared.log != own.log {
                return Err(differs("log.format"));
            }
            shared.log = own.log;
        }
    }
    Ok(shared)
}

/// `None` if both are configured and differ.
fn merge_listen(shared: &mut Listen, own: &Listen) -> Option<()> {
    if own.configured {
        if shared.configured && shared != own {
            return None;
        }
        *shared = own.clone();
    }
    Some(())
}

/// A run that drains and exits is over before anybody scrapes it: it listens only where it was told to.
fn only_configured(observability: &mut ObservabilitySpec) {
    for listen in [&mut observability.metrics, &mut observability.health] {
        if !listen.configured {
            listen.address = None;
        }
    }
}

async fn listen(
    observability: &ObservabilitySpec,
    metrics: &Arc<Metrics>,
    health: &Health,
    serving: CancellationToken,
) -> Result<()> {
    let servers = serve(observability, metrics.clone(), health.clone(), serving).await?;
    if servers.metrics.is_some() || servers.health.is_some() {
        tracing::info!(
            metrics = servers.metrics.map(tracing::field::display),
            health = servers.health.map(tracing::field::display),
            "listening"
        );
    }
    Ok(())
}
