//! What is done to the engine and to what it stands on.

use std::ops::Range;
use std::time::Duration;

use super::stage::Stage;

/// Seconds.
const DAY: i64 = 86_400;

/// One way to hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9` of the engine.
    EngineKilled,
    /// SIGTERM: the engine stops in order and is started again.
    EngineRestarted,
    /// SIGSTOP of the engine for some seconds, as a machine that swaps or migrates does.
    EnginePaused,
    /// A second engine on the same pipelines and tables. One must be fenced.
    SecondEngine,
    /// The broker stops in order and comes back.
    BrokerStopped,
    /// `kill -9` of the broker, which comes back.
    BrokerKilled,
    /// `kill -9` of Kafka Connect's worker with both connectors: they send again what they had not noted yet.
    WorkerKilled,
    /// Every connection between the engine and the broker ends, and no new one is made for some seconds.
    BrokerCutOff,
    /// The same between Debezium and PostgreSQL.
    PostgresCutOff,
    /// The same between Debezium and MariaDB.
    MariaDbCutOff,
    /// The file system of the warehouse is full for some seconds.
    DiskFull,
    /// The wall clock of the engine is a day ahead for some seconds.
    ClockAhead,
    /// The wall clock of the engine is a day behind for some seconds.
    ClockBehind,
}

/// What two faults cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Engine,
    Broker,
    Worker,
    Postgres,
    MariaDb,
    Disk,
    Clock,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 13] = [
        Self::EngineKilled,
        Self::EngineRestarted,
        Self::EnginePaused,
        Self::SecondEngine,
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::WorkerKilled,
        Self::BrokerCutOff,
        Self::PostgresCutOff,
        Self::MariaDbCutOff,
        Self::DiskFull,
        Self::ClockAhead,
        Self::ClockBehind,
    ];

    /// In words, for tables and timelines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EngineKilled => "engine killed (-9)",
            Self::EngineRestarted => "engine stopped in order (SIGTERM)",
            Self::EnginePaused => "engine paused (SIGSTOP)",
            Self::SecondEngine => "second engine on the same tables",
            Self::BrokerStopped => "broker stopped in order",
            Self::BrokerKilled => "broker killed (-9)",
            Self::WorkerKilled => "connector worker killed (-9)",
            Self::BrokerCutOff => "engine cut off from the broker",
            Self::PostgresCutOff => "Debezium cut off from PostgreSQL",
            Self::MariaDbCutOff => "Debezium cut off from MariaDB",
            Self::DiskFull => "warehouse's disk full",
            Self::ClockAhead => "engine's clock a day ahead",
            Self::ClockBehind => "engine's clock a day behind",
        }
    }

    /// How long it goes on. What is over at once has no length.
    pub(super) fn lasts(self) -> Range<Duration> {
        let millis = |from, to| Duration::from_millis(from)..Duration::from_millis(to);
        match self {
            Self::EngineKilled | Self::EngineRestarted | Self::SecondEngine => millis(0, 1),
            Self::EnginePaused => millis(2_000, 9_000),
            Self::BrokerStopped | Self::BrokerKilled => millis(500, 8_000),
            Self::WorkerKilled => millis(0, 3_000),
            Self::BrokerCutOff | Self::PostgresCutOff | Self::MariaDbCutOff => millis(100, 8_000),
            Self::DiskFull => millis(2_000, 8_000),
            Self::ClockAhead | Self::ClockBehind => millis(2_000, 8_000),
        }
    }

    /// Whether the two cannot be there together.
    pub(super) fn collides(self, other: Self) -> bool {
        self.parts().iter().any(|part| other.parts().contains(part))
    }

    /// What it needs for itself.
    fn parts(self) -> &'static [Part] {
        match self {
            Self::EngineKilled | Self::EngineRestarted | Self::EnginePaused => &[Part::Engine],
            Self::BrokerStopped | Self::BrokerKilled => &[Part::Broker],
            // A worker does not start without its broker.
            Self::WorkerKilled => &[Part::Worker, Part::Broker],
            Self::BrokerCutOff => &[Part::Broker],
            Self::PostgresCutOff => &[Part::Postgres, Part::Worker],
            Self::MariaDbCutOff => &[Part::MariaDb, Part::Worker],
            Self::DiskFull => &[Part::Disk],
            // libfaketime does not reach all that librdkafka waits for: a connection that is made meanwhile waits for a day.
            Self::ClockAhead | Self::ClockBehind => &[Part::Clock, Part::Broker, Part::Engine],
            // Who meets whose commit is only clear where nothing else goes wrong.
            Self::SecondEngine => &[Part::Engine, Part::Broker, Part::Disk, Part::Clock],
        }
    }

    /// The variable that names the service it hurts, if somebody else may have given that: then it is left alone.
    pub(super) fn hurts(self) -> Option<&'static str> {
        match self {
            Self::BrokerStopped | Self::BrokerKilled | Self::BrokerCutOff => Some("KAFKA_BROKERS"),
            Self::WorkerKilled => Some("CONNECT_URL"),
            Self::PostgresCutOff => Some("POSTGRES_URL"),
            Self::MariaDbCutOff => Some("MYSQL_URL"),
            _ => None,
        }
    }

    /// Makes it begin.
    pub(super) fn begin(self, stage: &mut Stage) {
        stage.say(&format!("{} …", self.name()));
        match self {
            Self::EngineKilled => stage.unit.kill(),
            Self::EngineRestarted => stage.unit.terminate(),
            Self::EnginePaused => stage.unit.pause(),
            Self::SecondEngine => stage.second_engine(),
            Self::BrokerStopped => stage.broker.stop(),
            Self::BrokerKilled => stage.broker.kill(),
            Self::WorkerKilled => stage.worker.kill9(),
            Self::BrokerCutOff | Self::PostgresCutOff | Self::MariaDbCutOff => {
                let ended = stage.cuts.of(self).refuse();
                stage.say(&format!("  {ended} connections ended"));
            }
            Self::DiskFull => {
                let taken = stage.disk().fill();
                stage.say(&format!("  {} MiB were left", taken >> 20));
            }
            Self::ClockAhead => stage.skew(DAY),
            Self::ClockBehind => stage.skew(-DAY),
        }
    }

    /// Makes it end.
    pub(super) fn end(self, stage: &mut Stage) {
        match self {
            Self::EngineKilled | Self::EngineRestarted | Self::SecondEngine => return,
            Self::EnginePaused => stage.unit.resume(),
            Self::BrokerStopped | Self::BrokerKilled => stage.broker.restart(),
            Self::WorkerKilled => stage.restart_worker(),
            Self::BrokerCutOff | Self::PostgresCutOff | Self::MariaDbCutOff => {
                stage.cuts.of(self).go_on();
            }
            Self::DiskFull => stage.disk().free(),
            Self::ClockAhead | Self::ClockBehind => stage.unskew(),
        }
        stage.say(&format!("… {}: over", self.name()));
    }
}
