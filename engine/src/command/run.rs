//! `engine run`: one process, one or more pipelines.

use std::io::IsTerminal;
use std::sync::Arc;

use futures::future::join_all;
use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::files::{environment, load};
use crate::cli::RunArgs;
use crate::run::observer::Observers;
use crate::run::pipeline::{Pipeline, describe_sink};
use crate::run::policy::render;
use crate::run::shutdown;
use crate::spec::model::{ObservabilitySpec, PipelineSpec, Trigger};
use crate::telemetry::{Health, Metrics, logs, serve};

/// Runs `engine run`.
///
/// One pipeline that fails stops the others after their batch: a process that half works looks healthy and is not.
/// With `--once` the others go on to their end.
///
/// # Errors
/// The first pipeline's error, after all have ended.
pub async fn run(args: RunArgs) -> Result<()> {
    let specs: Vec<Arc<PipelineSpec>> = load(&args.files)?.into_iter().map(Arc::new).collect();
    let Some(first) = specs.first() else {
        return Err(Error::config("no pipeline file was named").expected("FILE or DIR"));
    };
    let observability = &first.observability;
    let terminal = std::io::stderr().is_terminal();
    let style = logs::Style::of(observability.log, terminal);
    logs::init(style, environment("RUST_LOG").as_deref())?;
    let stop = shutdown::on_signals()?;
    let metrics = Arc::new(Metrics::try_new()?);
    let health = Health::new();
    let drains = |spec: &PipelineSpec| args.once || spec.pipeline.trigger == Trigger::AvailableNow;
    if wants_endpoints(observability, specs.iter().all(|spec| drains(spec))) {
        let endpoints = serve(observability, metrics.clone(), health.clone(), stop.clone()).await?;
        tracing::info!(metrics = ?endpoints.metrics, health = ?endpoints.health, "listening");
    }
    let observers = Observers::new(metrics, health, style == logs::Style::Terminal);
    let runs = specs.iter().map(|spec| {
        let (spec, stop, observers) = (spec.clone(), stop.clone(), observers.clone());
        let go_on = drains(&spec);
        async move {
            let result = one(spec.clone(), args.once, &observers, stop.clone()).await;
            if let Err(error) = &result {
                tracing::error!(pipeline = spec.pipeline.name, error = %error, "pipeline stopped");
                if !go_on {
                    stop.cancel();
                }
            }
            result
        }
    });
    let mut errors = join_all(runs).await.into_iter().filter_map(Result::err);
    let first = errors.next();
    for other in errors {
        eprintln!("{}", render(&other));
    }
    first.map_or(Ok(()), Err)
}

/// A run that drains and exits is over before anybody scrapes it: it listens only if it was told where.
fn wants_endpoints(observability: &ObservabilitySpec, drains: bool) -> bool {
    !drains || observability.metrics.configured || observability.health.configured
}

async fn one(
    spec: Arc<PipelineSpec>,
    once: bool,
    observers: &Observers,
    stop: CancellationToken,
) -> Result<()> {
    let name = spec.pipeline.name.clone();
    let observer = Arc::new(observers.of(&spec, describe_sink(&spec.sink)));
    let result = async {
        Pipeline::start(spec, once, observer.clone(), stop)
            .await?
            .drive()
            .await
    }
    .await;
    observer.close();
    result.map(|_| ()).map_err(|error| match error.place() {
        Some(_) => error,
        None => error.at(format!("pipeline {name}")),
    })
}
