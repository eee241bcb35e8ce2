//! Everything at once: random transactions in PostgreSQL and MariaDB, both through Debezium and Kafka into a table for
//! each of theirs and each way to treat re-sent events, in both formats, by one engine, while everything is hurt. In the
//! end the tables hold what happened.
//!
//! | variable | meaning |
//! |---|---|
//! | `ENGINE_CHAOS_MINUTES` | how long faults come, 3 unless told |
//! | `ENGINE_CHAOS_SEED` | the printed seed of a run that is to be repeated |
//! | `ENGINE_CHAOS_FOLDER` | where the run's folder is made, which is kept if the run fails |
//!
//! `docs/reliability.md` says what is compared with what. `scripts/soak` runs it for longer and prints its figures.

use std::time::{Duration, SystemTime};

use tests::need;
use tests::python::Readers;
use tests::workload::{Dialect, Options, Random, Workload};

use self::diary::{Folder, Timeline};
use self::fault::Fault;
use self::figures::Figures;
use self::job::DIALECTS;
use self::stage::Stage;
use self::traffic::Traffic;
use self::watch::Watch;

mod clock;
mod connectors;
mod diary;
mod fault;
mod figures;
mod freshness;
mod job;
mod schedule;
mod stage;
mod traffic;
mod unit;
mod verdict;
mod watch;

/// Rows of each table before the connectors start.
const SNAPSHOT: u32 = 50;
const DRAINED: Duration = Duration::from_secs(900);

#[test]
fn everything_at_once_and_everything_is_hurt() {
    let readers = need!(Readers::ready());
    let minutes = minutes();
    let seed = seed();
    let folder = Folder::new();
    let timeline = Timeline::begin(&folder);
    timeline.say(&format!(
        "ENGINE_CHAOS_SEED={seed} ENGINE_CHAOS_MINUTES={minutes}, in {}",
        folder.path().display()
    ));
    let mut stage = need!(Stage::set(folder, timeline, disk(minutes)));
    let mut random = Random::new(seed);
    let workloads = DIALECTS.map(|dialect| {
        let options = Options {
            // MariaDB's connector does not send it.
            truncate: dialect == Dialect::Postgres,
            oddities: dialect == Dialect::Postgres,
            ..Options::default()
        };
        let mut workload = Workload::with(dialect, random.bits(), stage.sql(dialect), options);
        workload.create();
        workload.snapshot_rows(SNAPSHOT);
        workload
    });

    let supervision = stage.unit.supervise();
    stage.capture();
    stage.say("the snapshots are sent, the traffic begins");
    let bulk = if minutes > 5 { 50_000 } else { 5_000 };
    let mut traffic = workloads.map(|workload| Traffic::begin(workload, bulk));
    let faults: Vec<Fault> = Fault::ALL
        .into_iter()
        .filter(|fault| possible(&stage, *fault))
        .collect();
    let mut watch = Watch::begin();
    let time = Duration::from_secs(minutes * 60);
    let dealt = schedule::hurt(&mut stage, &mut random, &faults, time, |stage, dealt| {
        watch.look(stage, &mut traffic, dealt);
    });

    stage.say("no more faults");
    let workloads = traffic.map(Traffic::end);
    for workload in &workloads {
        for refusal in workload.refusals() {
            stage.say(&format!("a database refused a transaction: {refusal}"));
        }
    }
    stage.mark();
    stage.stop_connectors();
    stage.unit.stop();
    drop(supervision);
    assert_eq!(stage.unit.failure(), None);
    stage.say("the databases are still, everything is sent; the engine drains it");
    stage.drain(DRAINED);
    stage.say("drained; the judge reads");
    let verdict = verdict::judge(&stage, &readers);
    stage.say("judged");
    Figures {
        minutes,
        seed,
        took: stage.elapsed(),
        stage: &stage,
        workloads: &workloads,
        dealt: &dealt,
        watch: &watch,
        verdict: &verdict,
    }
    .print();
    verdict.assert_right(dealt.contains_key(&Fault::WorkerKilled));
    watch.assert_small();
}

/// Says what is left out, and why.
fn possible(stage: &Stage, fault: Fault) -> bool {
    let lacks = stage.lacks(fault);
    if let Some(why) = &lacks {
        stage.say(&format!("left out: {}: {why}", fault.name()));
    }
    lacks.is_none()
}

/// MiB for the warehouse: enough for so many minutes, and not more than can be filled in a second.
fn disk(minutes: u64) -> u32 {
    u32::try_from(512 + 128 * minutes).expect("some minutes")
}

fn minutes() -> u64 {
    let given = std::env::var("ENGINE_CHAOS_MINUTES").ok();
    given.map_or(3, |minutes| minutes.parse().expect("a number of minutes"))
}

fn seed() -> u64 {
    let clock = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |now| now.subsec_nanos().into())
    };
    let given = std::env::var("ENGINE_CHAOS_SEED").ok();
    given.map_or_else(clock, |seed| seed.parse().expect("a number"))
}
