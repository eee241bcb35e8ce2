//! Everything that the run consists of: two databases, broker, connectors, the engine under supervision.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use tests::connect::{self, Worker};
use tests::disk::Small;
use tests::engine::{self, Engine};
use tests::faketime::Clock;
use tests::kafka::Broker;
use tests::proxy::Cutter;
use tests::skip::{self, Missing};
use tests::sql::{Address, Sql};
use tests::workload::{Dialect, Table, tables};
use tests::{http, mariadb, ports, postgres, wait};

use super::connectors::{
    borrowed, included, marker, marker_topic, options, prefix, record_of_mark,
};
use super::diary::{Folder, Timeline};
use super::fault::Fault;
use super::job::{Captured, DIALECTS, Job, jobs, short};
use super::unit::{Make, Unit};

/// So seldom a connector's worker notes how far it is. What it sent since then is sent again after a kill.
const NOTED_EVERY: Duration = Duration::from_secs(60);
const TENDED_EVERY: Duration = Duration::from_secs(3);
/// The snapshot, and everything that has to be sent again after the last kill.
const SENT: Duration = Duration::from_secs(480);
/// A connector that sends nothing for so long is started again.
const STUCK: Duration = Duration::from_secs(100);
/// Until all pipelines of an engine work.
const UP: Duration = Duration::from_secs(90);
/// Until one of two engines meets the other's commit, and the other has stopped.
const FENCED: Duration = Duration::from_secs(180);

/// How often two engines meet until one is fenced.
const MEETINGS: usize = 3;

/// How a second engine ended.
enum Meeting {
    /// One of the two was fenced.
    Fenced,
    /// Neither was: one ended for another reason, or there was nothing to commit.
    Nobody,
    /// The unit's own engine failed.
    Failed,
}

/// The services and what they carry.
pub(super) struct Stage {
    /// The engine.
    pub(super) unit: Unit,
    /// The connectors' worker.
    pub(super) worker: Worker,
    /// The broker.
    pub(super) broker: Broker,
    /// Where connections can be cut.
    pub(super) cuts: Cuts,
    /// All tables that are captured, but for the markers.
    pub(super) captured: Vec<Captured>,
    /// The pipelines.
    pub(super) jobs: Vec<Job>,
    /// How often a connector's task had to be started by hand.
    pub(super) tasks_restarted: u64,
    postgres: Arc<postgres::Server>,
    mariadb: Arc<mariadb::Server>,
    call: Call,
    disk: Option<Small>,
    clock: Option<Arc<Clock>>,
    timeline: Timeline,
    marks: u64,
    tended: Instant,
    // Last: the others are gone when it goes.
    folder: Folder,
}

/// Proxies before the services.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Before the broker, for the engine; `None` before one that was given.
    broker: Option<Cutter>,
    postgres: Cutter,
    mariadb: Cutter,
}

impl Cuts {
    /// The one that a fault is about.
    pub(super) fn of(&self, fault: Fault) -> &Cutter {
        match fault {
            Fault::PostgresCutOff => &self.postgres,
            Fault::MariaDbCutOff => &self.mariadb,
            _ => self.broker.as_ref().expect("a broker of our own"),
        }
    }
}

/// How the engine is called.
#[derive(Debug, Clone)]
struct Call {
    pipelines: PathBuf,
    warehouse: PathBuf,
    brokers: String,
    clock: Option<Arc<Clock>>,
}

impl Call {
    fn with(&self, metrics: &str) -> Engine {
        let engine = Engine::new(["run"])
            .args([&self.pipelines])
            .args(["--set", &format!("observability.metrics={metrics}")])
            .args(["--set", "observability.health=127.0.0.1:0"])
            .env("WAREHOUSE", &self.warehouse)
            .env("KAFKA_BROKERS", &self.brokers);
        match &self.clock {
            Some(clock) => clock.of(engine),
            None => engine,
        }
    }
}

impl Stage {
    /// Starts the services, with nothing in them, and a disk of so many MiB for the warehouse.
    ///
    /// # Errors
    /// [`Missing`] if one cannot be had here.
    pub(super) fn set(folder: Folder, timeline: Timeline, disk: u32) -> Result<Self, Missing> {
        // Brought up to date before anything waits for it.
        engine::binary();
        let postgres = Arc::new(postgres::Server::given_or_start()?);
        let mariadb = Arc::new(mariadb::Server::given_or_start()?);
        let (broker, broker_cut) = if is_ours("KAFKA_BROKERS") {
            let (broker, cut) = Broker::start_behind_cutter()?;
            (broker, Some(cut))
        } else {
            (Broker::given_or_start()?, None)
        };
        let worker = Worker::given_or_start(&broker)?;
        let cut =
            |address: Address<'_>| Cutter::before(&format!("{}:{}", address.host, address.port));
        let cuts = Cuts {
            broker: broker_cut,
            postgres: cut(postgres.address()),
            mariadb: cut(mariadb.capture_address()),
        };
        let disk = or_without("a disk that fills", Small::shared(disk));
        let clock = or_without("a clock that jumps", Clock::new()).map(Arc::new);
        let warehouse = match &disk {
            Some(disk) => disk.folder(),
            None => folder.made("warehouse"),
        };
        let captured: Vec<Captured> = DIALECTS
            .into_iter()
            .flat_map(tables)
            .chain([Table::oddities()])
            .map(|table| Captured {
                topic: table.topic(prefix(table.dialect)),
                table,
            })
            .collect();
        for captured in &captured {
            // A pipeline whose topic is not there does not start.
            broker.create_topic(&captured.topic, 1, &[]);
        }
        let jobs = jobs(&captured, &warehouse);
        let pipelines = folder.made("pipelines");
        for job in &jobs {
            job.write(&pipelines);
        }
        let brokers = cuts.broker.as_ref().map(Cutter::address);
        let call = Call {
            pipelines,
            warehouse,
            brokers: brokers.unwrap_or_else(|| broker.bootstrap().to_owned()),
            clock: clock.clone(),
        };
        let metrics = format!("127.0.0.1:{}", ports::free());
        let make: Make = {
            let (call, metrics) = (call.clone(), metrics.clone());
            Box::new(move || call.with(&metrics))
        };
        let unit = Unit::new(make, &metrics, &folder, &timeline);
        Ok(Self {
            unit,
            worker,
            broker,
            cuts,
            captured,
            jobs,
            tasks_restarted: 0,
            postgres,
            mariadb,
            call,
            disk,
            clock,
            timeline,
            marks: 0,
            tended: Instant::now(),
            folder,
        })
    }

    /// Says a line of the timeline.
    pub(super) fn say(&self, text: &str) {
        self.timeline.say(text);
    }

    /// The time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.timeline.elapsed()
    }

    /// Where the tables are.
    pub(super) fn warehouse(&self) -> &Path {
        &self.call.warehouse
    }

    /// A database, for its workload.
    pub(super) fn sql(&self, dialect: Dialect) -> Arc<dyn Sql> {
        match dialect {
            Dialect::Postgres => self.postgres.clone(),
            Dialect::MariaDb => self.mariadb.clone(),
        }
    }

    /// Registers both connectors on the tables that are there, waits for the end of their snapshots, and makes the worker
    /// note its progress so seldom from then on that a kill is followed by events that are sent again.
    pub(super) fn capture(&mut self) {
        for dialect in DIALECTS {
            let marker = marker(dialect);
            let create = format!("CREATE TABLE {marker} (id bigint PRIMARY KEY)");
            self.sql(dialect).execute(&create);
            self.broker.create_topic(&marker_topic(dialect), 1, &[]);
        }
        self.worker.capture_postgres(
            &self.postgres,
            prefix(Dialect::Postgres),
            &included(Dialect::Postgres),
            &borrowed(&options(Dialect::Postgres, &self.cuts.postgres)),
        );
        self.worker.capture_mariadb(
            &self.mariadb,
            prefix(Dialect::MariaDb),
            &included(Dialect::MariaDb),
            &borrowed(&options(Dialect::MariaDb, &self.cuts.mariadb)),
        );
        self.mark();
        if is_ours("CONNECT_URL") {
            // In order: what the snapshot sent is noted.
            self.worker.stop();
            self.worker.restart(NOTED_EVERY);
            self.wait_for_connectors();
        }
    }

    fn wait_for_connectors(&self) {
        for dialect in DIALECTS {
            self.worker
                .wait_running(&connect::connector(prefix(dialect)));
        }
    }

    /// Why a fault cannot be in this run; `None` if it can.
    pub(super) fn lacks(&self, fault: Fault) -> Option<String> {
        let given = fault.hurts().filter(|variable| !is_ours(variable));
        let without = match fault {
            Fault::DiskFull if self.disk.is_none() => Some("it cannot be mounted"),
            Fault::ClockAhead | Fault::ClockBehind if self.clock.is_none() => {
                Some("libfaketime is missing")
            }
            _ => None,
        };
        given
            .map(|variable| format!("{variable} names a service that is not ours"))
            .or(without.map(str::to_owned))
    }

    /// The disk of the warehouse.
    pub(super) fn disk(&self) -> &Small {
        self.disk.as_ref().expect("a fault that this run can have")
    }

    /// Sets the engine's clock so many seconds ahead, once all its pipelines work.
    pub(super) fn skew(&self, seconds: i64) {
        let all = self.jobs.len();
        let up = wait::until(UP, || (self.unit.pipelines_up() == all).then_some(()));
        if up.is_none() {
            self.say("  left out this time: not all pipelines work");
            return;
        }
        self.unit.skew(true);
        self.clock().jump(seconds);
    }

    /// Sets the engine's clock right.
    pub(super) fn unskew(&self) {
        self.clock().jump(-self.clock().ahead());
        self.unit.skew(false);
    }

    fn clock(&self) -> &Clock {
        self.clock.as_ref().expect("a fault that this run can have")
    }

    /// `kill -9` is over: the worker comes back, with its connectors.
    pub(super) fn restart_worker(&mut self) {
        self.worker.restart(NOTED_EVERY);
        self.wait_for_connectors();
    }

    /// What an operator does with a task that failed for good: starts it again. Looks now and then only.
    pub(super) fn tend_connectors(&mut self) {
        if self.tended.elapsed() < TENDED_EVERY {
            return;
        }
        self.tended = Instant::now();
        for dialect in DIALECTS {
            let name = connect::connector(prefix(dialect));
            let path = format!("/connectors/{name}/status");
            let status = http::request("GET", self.worker.url(), &path, None);
            let task = status.map_or(Value::Null, |answer| answer.json()["tasks"][0].take());
            if task["state"] != "FAILED" {
                continue;
            }
            self.tasks_restarted += 1;
            let trace = task["trace"].as_str().unwrap_or_default();
            let cause = trace.lines().rfind(|line| line.starts_with("Caused by"));
            let cause = cause.or(trace.lines().next()).unwrap_or_default();
            self.say(&format!(
                "{name} failed for good, it is started again: {cause}"
            ));
            let path = format!("/connectors/{name}/restart?includeTasks=true&onlyFailed=true");
            // A worker that is busy with its group says so; there is a next look.
            drop(http::request("POST", self.worker.url(), &path, None));
        }
    }

    /// What an operator does with a task that says it runs and sends nothing: MariaDB's was seen to after its connection was cut.
    fn restart_stuck(&mut self, dialect: Dialect) {
        let name = connect::connector(prefix(dialect));
        self.tasks_restarted += 1;
        self.say(&format!("{name} sends nothing, it is started again"));
        let path = format!("/connectors/{name}/restart?includeTasks=true");
        drop(http::request("POST", self.worker.url(), &path, None));
    }

    /// Writes a last row into both databases and waits until the connectors have sent it.
    pub(super) fn mark(&mut self) {
        self.marks += 1;
        let mark = self.marks;
        for dialect in DIALECTS {
            let insert = format!("INSERT INTO {} VALUES ({mark})", marker(dialect));
            self.sql(dialect).execute(&insert);
        }
        for dialect in DIALECTS {
            let topic = marker_topic(dialect);
            let mut begun = Instant::now();
            let seen = wait::until(SENT, || {
                self.tend_connectors();
                if begun.elapsed() > STUCK {
                    begun = Instant::now();
                    self.restart_stuck(dialect);
                }
                let records = self.broker.read(&topic);
                let mut last = records.iter().map(|record| record_of_mark(&record.event()));
                last.any(|seen| seen == Some(mark)).then_some(())
            });
            assert!(
                seen.is_some(),
                "{}: the last change was not sent within {SENT:?}",
                short(dialect)
            );
        }
    }

    /// A second engine on the same pipelines: one of the two is fenced, the other goes on; or each is fenced of another
    /// pipeline. The second one is gone in the end, and the unit's own works again.
    ///
    /// Fenced is who commits what the other has committed: that needs traffic, which a connector that gave up does not
    /// send, and two engines that live so long. One that ends for another reason, as any engine may, has proved nothing:
    /// then there is a second engine once more.
    pub(super) fn second_engine(&mut self) {
        for _ in 0..MEETINGS {
            match self.meet() {
                Meeting::Fenced => return,
                // The run says so itself.
                Meeting::Failed => return,
                Meeting::Nobody => self.say("  nobody was fenced, once more"),
            }
        }
        panic!("{MEETINGS} times neither of two engines was fenced");
    }

    fn meet(&mut self) -> Meeting {
        let up = wait::until(FENCED, || (!self.unit.is_down()).then_some(()));
        if self.unit.failure().is_some() {
            return Meeting::Failed;
        }
        assert!(up.is_some(), "the engine does not come back");
        let fenced_before = self.unit.fenced();
        let commits_before = self.commits();
        self.unit.rival(true);
        let mut second = self.call.with("127.0.0.1:0").start();
        let ended = wait::until(FENCED, || {
            self.tend_connectors();
            (second.ended() || self.unit.is_down()).then_some(())
        });
        let idle = self.commits() == commits_before;
        assert!(
            ended.is_some() || idle,
            "two engines wrote on:\n{}",
            second.said()
        );
        if !second.ended() {
            second.terminate();
        }
        let second = second.finish(FENCED);
        let first_fenced = self.unit.fenced() > fenced_before;
        self.say(&format!(
            "second engine: it ended with {}, the first one {}",
            second.end(),
            if first_fenced {
                "was fenced"
            } else if self.unit.is_down() {
                "ended, and was not fenced"
            } else {
                "goes on"
            }
        ));
        let meeting = match second.code() {
            _ if self.unit.failure().is_some() => Meeting::Failed,
            Some(5) => Meeting::Fenced,
            // Told to stop, or it could not reach or write something.
            Some(0 | 3) if first_fenced => Meeting::Fenced,
            Some(0 | 3) => Meeting::Nobody,
            // Told to stop before it had begun to listen to signals.
            None if second.signal() == Some(15) => Meeting::Nobody,
            _ => panic!("the second engine failed:\n{}", second.stderr),
        };
        self.unit.rival(false);
        meeting
    }

    /// Commits of all tables until now.
    pub(super) fn commits(&self) -> u64 {
        self.jobs.iter().map(|job| job.target().commits()).sum()
    }

    /// `engine run --once` of everything.
    pub(super) fn drain(&self, limit: Duration) {
        self.call
            .with("127.0.0.1:0")
            .args(["--once"])
            .run(limit)
            .expect_code(0);
    }

    /// Stops the connectors in order: everything is sent, and nothing more comes.
    pub(super) fn stop_connectors(&mut self) {
        if is_ours("CONNECT_URL") {
            self.worker.stop();
            return;
        }
        for dialect in DIALECTS {
            let path = format!("/connectors/{}", connect::connector(prefix(dialect)));
            http::request("DELETE", self.worker.url(), &path, None).expect("the worker answers");
        }
    }

    /// The folder's captures: what each topic holds now.
    pub(super) fn captures(&self) -> PathBuf {
        let folder = self.folder.path().join("captures");
        fs::create_dir_all(&folder).expect("a temporary folder is writable");
        folder
    }
}

/// Whether the service that `variable` could name is one of this run's own, which may be hurt.
fn is_ours(variable: &str) -> bool {
    std::env::var_os(variable).is_none_or(|named| named.is_empty())
}

/// What makes a fault possible. Without it the run goes on without that fault, and says so.
fn or_without<T>(what: &str, had: Result<T, Missing>) -> Option<T> {
    had.map_err(|missing| skip::report(&format!("{} ({what})", skip::test_name()), &missing))
        .ok()
}
