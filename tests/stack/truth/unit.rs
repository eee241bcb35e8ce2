//! The engine as a service manager keeps it: started again when it ended for a reason that a start cures.
//!
//! | how it ended | what follows |
//! |---|---|
//! | killed by this run | started again |
//! | stopped in order by this run, exit 0 | started again |
//! | exit 3: a service or the storage could not be reached or written | started again after a second, as `Restart=on-failure` does |
//! | exit 5 of an engine that has met a second one | started again when the second one is gone |
//! | anything else, also exit 5 without a second engine | the run has failed |

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tests::engine::{Engine, Outcome, Running};
use tests::{http, wait};

use super::diary::{Folder, Timeline};
use super::freshness::Freshness;

/// Between the end of the engine and its next start, unless this run ended it.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// A stop in order commits the batches at hand first.
const STOPPING: Duration = Duration::from_secs(120);

/// The kind of end that only a second engine explains.
const FENCED: &str = "exit 5, fenced by a second engine";

/// Makes the call of the engine, anew for each start.
pub(super) type Make = Box<dyn Fn() -> Engine + Send>;

/// The engine under supervision. All clones are one.
#[derive(Clone)]
pub(super) struct Unit {
    state: Arc<Mutex<State>>,
}

/// The thread that supervises; it ends when this is dropped.
pub(super) struct Supervision {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Figures of all lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// How often it was started.
    pub(super) starts: u64,
    /// How it ended, and how often.
    pub(super) ends: BTreeMap<String, u64>,
    /// The most memory that a life of it held, in bytes.
    pub(super) peak_memory: u64,
    /// How fresh the tables were.
    pub(super) freshness: Freshness,
}

struct State {
    make: Make,
    metrics: String,
    running: Option<Running>,
    paused: bool,
    /// A second engine is at work: this one is not started.
    rival: bool,
    /// This life has met a second engine. It may have won one pipeline and find out later that it lost another.
    met_rival: bool,
    /// Its clock is wrong: it is not started.
    skewed: bool,
    /// Pipelines that worked at the last look.
    up: usize,
    /// Not to be started before.
    start_at: Option<Instant>,
    scraped: Instant,
    lives: Lives,
    logs: PathBuf,
    timeline: Timeline,
    failure: Option<String>,
}

impl Unit {
    /// An engine that `make` calls and that shows its metrics on `metrics` (`host:port`). Not started yet.
    pub(super) fn new(make: Make, metrics: &str, folder: &Folder, timeline: &Timeline) -> Self {
        let state = State {
            make,
            metrics: format!("http://{metrics}"),
            running: None,
            paused: false,
            rival: false,
            met_rival: false,
            skewed: false,
            up: 0,
            start_at: None,
            scraped: Instant::now(),
            lives: Lives::default(),
            logs: folder.made("logs"),
            timeline: timeline.clone(),
            failure: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Starts it, and from now on again and again.
    pub(super) fn supervise(&self) -> Supervision {
        self.state().start_at = Some(Instant::now());
        let stop = Arc::new(AtomicBool::new(false));
        let (unit, stopped) = (self.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let forever = Duration::from_secs(u64::from(u32::MAX));
            wait::until(forever, || {
                unit.state().tend();
                stopped.load(Ordering::Relaxed).then_some(())
            });
        });
        Supervision {
            stop,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the supervisor does not panic")
    }

    /// What the run failed of, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// Whether it has ended and waits for its next start.
    pub(super) fn is_down(&self) -> bool {
        self.state().running.is_none()
    }

    /// `kill -9`. It is started again at once.
    pub(super) fn kill(&self) {
        let mut state = self.state();
        state.scrape();
        if let Some(running) = state.running.take() {
            state.paused = false;
            match running.kill9() {
                (true, outcome) => state.ended(&outcome, "kill -9", Duration::ZERO),
                (false, outcome) => state.judge(&outcome),
            }
        }
    }

    /// SIGTERM, and the wait for its end. It is started again at once.
    pub(super) fn terminate(&self) {
        self.state().terminate();
    }

    /// SIGTERM, and no further start.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.terminate();
        state.start_at = None;
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) {
        let mut state = self.state();
        state.scrape();
        if let Some(running) = &state.running {
            running.pause();
            state.paused = true;
        }
    }

    /// SIGCONT.
    pub(super) fn resume(&self) {
        let mut state = self.state();
        if let Some(running) = &state.running
            && state.paused
        {
            running.resume();
        }
        state.paused = false;
    }

    /// A second engine begins to work on the same pipelines, or is gone. The unit's own is not started meanwhile.
    pub(super) fn rival(&self, at_work: bool) {
        let mut state = self.state();
        state.rival = at_work;
        state.met_rival |= at_work;
    }

    /// How many of its pipelines worked a moment ago.
    pub(super) fn pipelines_up(&self) -> usize {
        self.state().up
    }

    /// Its clock is wrong from now on, or right again. It is not started meanwhile: libfaketime does not reach all that
    /// librdkafka waits for, and a connection that is made by a clock that is ahead waits until tomorrow.
    pub(super) fn skew(&self, wrong: bool) {
        let mut state = self.state();
        state.scrape();
        state.skewed = wrong;
        state.lives.freshness.skew(wrong);
    }

    /// The process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.state().running.as_ref().map(Running::id)
    }

    /// How often it was fenced by a second engine.
    pub(super) fn fenced(&self) -> u64 {
        self.lives(|lives| lives.ends.get(FENCED).copied().unwrap_or(0))
    }

    /// Looks at the figures of all lives until now.
    pub(super) fn lives<T>(&self, look: impl FnOnce(&Lives) -> T) -> T {
        look(&self.state().lives)
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl State {
    /// One look at it: its end is judged, a start that is due is made, its metrics are read now and then.
    fn tend(&mut self) {
        if let Some(outcome) = self.running.as_mut().and_then(Running::outcome) {
            self.running = None;
            self.judge(&outcome);
        }
        let due = self.start_at.is_some_and(|at| at <= Instant::now());
        if self.running.is_none() && due && !self.rival && !self.skewed && self.failure.is_none() {
            self.running = Some((self.make)().start());
            self.met_rival = false;
            self.lives.starts += 1;
            self.lives.freshness.restarted();
        }
        if self.scraped.elapsed() >= SCRAPE_EVERY {
            self.scrape();
        }
    }

    fn terminate(&mut self) {
        self.scrape();
        let Some(running) = self.running.take() else {
            return;
        };
        running.terminate();
        let outcome = running.finish(STOPPING);
        match (outcome.code(), outcome.signal()) {
            (Some(0), _) => self.ended(&outcome, "SIGTERM, exit 0", Duration::ZERO),
            // The signal came before it had begun to listen to signals.
            (None, Some(15)) => self.ended(&outcome, "SIGTERM while it started", Duration::ZERO),
            _ => self.judge(&outcome),
        }
    }

    /// Looks at what would be lost with the process.
    fn scrape(&mut self) {
        self.scraped = Instant::now();
        self.up = 0;
        let Some(running) = self.running.as_ref().filter(|_| !self.paused) else {
            return;
        };
        let peak = running.peak_memory().unwrap_or(0);
        self.lives.peak_memory = self.lives.peak_memory.max(peak);
        // One that has just begun does not listen yet.
        let answer = http::request_within(SCRAPE_EVERY * 5, "GET", &self.metrics, "/metrics", None);
        if let Ok(answer) = answer
            && answer.status == 200
        {
            self.lives.freshness.add(&answer.body);
            let up =
                |line: &&str| line.starts_with("engine_pipeline_up_ratio{") && line.ends_with(" 1");
            self.up = answer.body.lines().filter(up).count();
        }
    }

    /// It ended by itself.
    fn judge(&mut self, outcome: &Outcome) {
        self.paused = false;
        let said = last_words(outcome);
        match outcome.code() {
            Some(3) => {
                self.timeline
                    .say(&format!("the engine ended with exit 3: {said}"));
                self.ended(outcome, "exit 3", RESTART_AFTER);
            }
            Some(5) if self.met_rival => self.ended(outcome, FENCED, RESTART_AFTER),
            _ => {
                self.ended(outcome, "a failure", Duration::ZERO);
                self.failure = Some(format!("the engine ended with {}:\n{said}", outcome.end()));
            }
        }
    }

    fn ended(&mut self, outcome: &Outcome, how: &str, pause: Duration) {
        *self.lives.ends.entry(how.to_owned()).or_default() += 1;
        let file = self
            .logs
            .join(format!("engine-{:04}.log", self.lives.starts));
        let text = format!(
            "{}{}\n{}: {how}\n",
            outcome.stdout,
            outcome.stderr,
            outcome.end()
        );
        fs::write(file, text).expect("a temporary folder is writable");
        self.start_at = Some(Instant::now() + pause);
    }
}

impl Drop for State {
    /// What the last life said is of use, too, where a run has failed.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(fs::write(self.logs.join("engine-last.log"), running.said()));
        }
    }
}

/// The sentences that it ended with, without its log.
fn last_words(outcome: &Outcome) -> String {
    let lines: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| !line.starts_with('{'))
        .collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
