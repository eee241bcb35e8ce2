//! `engine maintain`: one full pass over the tables of pipelines.

use std::time::{Duration, Instant};

use sql::{Error, Result};

use super::files::load;
use super::print::Output;
use crate::cli::MaintainArgs;
use crate::maintain::record::Passes;
use crate::maintain::{Policy, Report, record};
use crate::run::pipeline::{describe_sink, plan};
use crate::run::policy::render;
use crate::run::shutdown;
use crate::sink::{Sink, open_existing};
use crate::source;
use crate::spec::model::{Mode, PipelineSpec};
use crate::telemetry::{bytes, grouped};
use crate::upsert::UpsertPlan;

/// Runs `engine maintain`. A table that cannot be maintained does not keep the others from it.
///
/// # Errors
/// The first table's error, after all were tried.
pub async fn maintain(args: MaintainArgs) -> Result<()> {
    super::plain_logs()?;
    let stop = shutdown::on_signals()?;
    let specs = load(&args.files)?;
    let mut out = Output::stdout();
    let mut first = None;
    for spec in &specs {
        let policy = Policy {
            retention: retention(spec, &args)?,
            dry_run: args.dry_run,
            stop: stop.clone(),
            ..Policy::from(&spec.maintenance)
        };
        let heading = format!("{}: {}", spec.pipeline.name, describe_sink(&spec.sink));
        match one(spec, &policy).await {
            Ok(None) => out.line(format_args!("{heading}: there is no table yet"))?,
            Ok(Some(report)) => {
                out.line(heading)?;
                print(&mut out, &report, args.dry_run)?;
            }
            Err(error) => {
                let error = match error.place() {
                    Some(_) => error,
                    None => error.at(format!("pipeline {}", spec.pipeline.name)),
                };
                match first {
                    None => first = Some(error),
                    Some(_) => eprintln!("{}", render(&error)),
                }
            }
        }
        if stop.is_cancelled() {
            break;
        }
    }
    first.map_or(Ok(()), Err)
}

fn retention(spec: &PipelineSpec, args: &MaintainArgs) -> Result<Duration> {
    let own = spec.maintenance.retention;
    match args.retention {
        Some(shorter) if shorter < own && !args.shorten_retention => Err(Error::config(format!(
            "--retention {shorter:?} is shorter than the retention of the pipeline {}",
            spec.pipeline.name
        ))
        .at("--retention")
        .expected(format!("{own:?} or more"))
        .remedy("add --shorten-retention if readers and time travel may lose what is older")),
        Some(retention) => Ok(retention),
        None => Ok(own),
    }
}

/// Passes until nothing is left to do. `None` if there is no table.
async fn one(spec: &PipelineSpec, policy: &Policy) -> Result<Option<Report>> {
    let key = key(spec).await;
    let Some(mut sink) = open_existing(&spec.sink, &spec.pipeline.name, &key).await? else {
        return Ok(None);
    };
    let mut total = Report::default();
    loop {
        let begun = Instant::now();
        let mut report = sink.maintain(policy).await?;
        report.took = begun.elapsed();
        // Whoever loses every race does not make progress by trying again.
        let goes_on = report.more && report.commits > 0 && !policy.is_stopped();
        total.add(report);
        if !goes_on {
            break;
        }
    }
    if !policy.dry_run {
        remember(sink.as_ref(), spec, policy).await;
    }
    Ok(Some(total))
}

/// An engine that runs need not do again what was done now.
async fn remember(sink: &dyn Sink, spec: &PipelineSpec, policy: &Policy) {
    let Some(files) = sink.sidecar() else {
        return;
    };
    let now = (policy.clock)();
    let passes = Passes {
        at: now,
        swept: Some(now),
    };
    if let Err(error) = record::passed(files.as_ref(), &spec.pipeline.name, passes).await {
        tracing::warn!(error = %error, "the time of the maintenance cannot be kept beside the table");
    }
}

/// The columns that the target's rows are kept by, where the file tells: rows are put in their order. What it does not tell, or what
/// is wrong with it, is not the table's.
pub(super) async fn key(spec: &PipelineSpec) -> Vec<String> {
    if spec.sink.mode == Mode::Append {
        return Vec::new();
    }
    let planned = async {
        let Some(known) = source::discover_schema(&spec.source, false).await? else {
            return Ok(Vec::new());
        };
        let transform = plan(spec, &known.schema).await?;
        let plan = UpsertPlan::try_new(&transform, &known.key, &spec.sink.at)?;
        Ok::<_, Error>(plan.target_key().to_vec())
    };
    match planned.await {
        Ok(key) => key,
        Err(error) => {
            tracing::debug!(pipeline = spec.pipeline.name, error = %error, "the key is not known");
            Vec::new()
        }
    }
}

fn print(out: &mut Output, report: &Report, dry_run: bool) -> Result<()> {
    let mut line = |name: &str, value: String| out.line(format_args!("  {name:<20} {value}"));
    let arrow = |before: u64, after: u64| format!("{} -> {}", grouped(before), grouped(after));
    let sized = |count: u64, size: u64| match size {
        0 => grouped(count),
        size => format!("{} ({})", grouped(count), bytes(size)),
    };
    if dry_run {
        line("dry run", "nothing was changed".to_owned())?;
    }
    line("data files", arrow(report.files_before, report.files_after))?;
    if report.delete_files_before > 0 {
        let (before, after) = (report.delete_files_before, report.delete_files_after);
        line("delete files", arrow(before, after))?;
    }
    line(
        "rewritten files",
        sized(report.files_compacted, report.bytes_compacted),
    )?;
    line("new files", sized(report.files_added, report.bytes_added))?;
    line("rewritten rows", grouped(report.rows))?;
    if report.manifests_merged > 0 {
        line("merged manifests", grouped(report.manifests_merged))?;
    }
    if report.checkpoints > 0 {
        line("checkpoints", grouped(report.checkpoints))?;
    }
    line("expired versions", grouped(report.versions_expired))?;
    line(
        "deleted files",
        sized(report.objects_deleted, report.bytes_deleted),
    )?;
    if report.conflicts > 0 {
        line("lost to writers", grouped(report.conflicts))?;
    }
    line("commits", grouped(report.commits))?;
    line("seconds", format!("{:.1}", report.took.as_secs_f64()))?;
    for note in &report.notes {
        line("note", note.clone())?;
    }
    Ok(())
}
