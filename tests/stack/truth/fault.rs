//! What is done to the engine and to what it stands on.

use std::ops::Range;
use std::time::Duration;

use super::stage::Stage;

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
}

/// What two faults cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Engine,
    Broker,
    Worker,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::EngineKilled,
        Self::EngineRestarted,
        Self::EnginePaused,
        Self::SecondEngine,
        Self::BrokerStopped,
        Self::BrokerKilled,
        Self::WorkerKilled,
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
            // Who meets whose commit is only clear where nothing else goes wrong.
            Self::SecondEngine => &[Part::Engine, Part::Broker, Part::Worker],
        }
    }

    /// The variable that names the service it hurts, if somebody else may have given that: then it is left alone.
    pub(super) fn hurts(self) -> Option<&'static str> {
        match self {
            Self::BrokerStopped | Self::BrokerKilled => Some("KAFKA_BROKERS"),
            Self::WorkerKilled => Some("CONNECT_URL"),
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
        }
    }

    /// Makes it end.
    pub(super) fn end(self, stage: &mut Stage) {
        match self {
            Self::EngineKilled | Self::EngineRestarted | Self::SecondEngine => return,
            Self::EnginePaused => stage.unit.resume(),
            Self::BrokerStopped | Self::BrokerKilled => stage.broker.restart(),
            Self::WorkerKilled => stage.restart_worker(),
        }
        stage.say(&format!("… {}: over", self.name()));
    }
}
