//! How fresh the tables were: the engine's own histogram, added up over its lives.
//!
//! The engine observes `engine_freshness_seconds` once a batch: the time of the commit minus the source's commit time of
//! the batch's oldest row. A killed engine takes its histogram with it, so it is read once a second and right before
//! each kill, and what it gained since the look before is added up. Outages are in it: what waited for a broker that was
//! down is as late as it was. Batches that were committed while the engine's clock was wrong are counted apart.

use std::collections::BTreeMap;

const BUCKETS: &str = "engine_freshness_seconds_bucket{";

/// Batches by pipeline and upper bound of their bucket, both as the engine spells them; cumulative as it shows them.
type Buckets = BTreeMap<(String, String), u64>;

/// A histogram that outlives the processes that it is of.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// As the process showed them last.
    last: Buckets,
    /// By upper bound; cumulative.
    total: BTreeMap<Bound, u64>,
    skew: Skew,
    left_out: u64,
}

/// An upper bound in seconds, ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Whether the engine's clock is right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Skew {
    #[default]
    None,
    Now,
    /// It is right again; what was committed just before may not be shown yet.
    UntilNow,
}

impl Freshness {
    /// Another process: its histogram begins at nothing.
    pub(super) fn restarted(&mut self) {
        self.last.clear();
    }

    /// Whether the engine's clock is wrong from now on. To be called right after [`Freshness::add`].
    pub(super) fn skew(&mut self, wrong: bool) {
        self.skew = if wrong { Skew::Now } else { Skew::UntilNow };
    }

    /// Adds what the process's `/metrics` shows beyond the look before.
    pub(super) fn add(&mut self, metrics: &str) {
        let now = parse(metrics);
        for ((pipeline, bound), count) in &now {
            let place = (pipeline.clone(), bound.clone());
            let gained = count.saturating_sub(self.last.get(&place).copied().unwrap_or(0));
            if self.skew != Skew::None {
                if bound == "+Inf" {
                    self.left_out += gained;
                }
                continue;
            }
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            *self.total.entry(Bound(bound)).or_default() += gained;
        }
        self.last = now;
        if self.skew == Skew::UntilNow {
            self.skew = Skew::None;
        }
    }

    /// Batches that were counted, and batches that were committed while the clock was wrong.
    pub(super) fn batches(&self) -> (u64, u64) {
        let counted = self.total.last_key_value().map_or(0, |(_, count)| *count);
        (counted, self.left_out)
    }

    /// The time in seconds that a share of the batches did not exceed, as Prometheus' `histogram_quantile` works it
    /// out: straight within a bucket. With the last bound as the answer for what lies beyond it.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.batches().0;
        if all == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of batches are small")]
        let float = |count: u64| count as f64;
        let rank = share * float(all);
        let (mut below, mut lower) = (0, 0.0);
        for (Bound(upper), count) in &self.total {
            if float(*count) >= rank {
                let within = (rank - float(below)) / float((count - below).max(1));
                let end = if upper.is_finite() { *upper } else { lower };
                return Some(lower + (end - lower) * within);
            }
            (below, lower) = (*count, *upper);
        }
        None
    }
}

fn parse(metrics: &str) -> Buckets {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(BUCKETS))
        .filter_map(|line| {
            let (labels, count) = line.split_once("} ")?;
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next().map(str::to_owned)
            };
            Some((
                (label("pipeline")?, label("le")?),
                count.trim().parse().ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Freshness;

    fn shown(fast: u64, slow: u64) -> String {
        format!(
            "# TYPE engine_freshness_seconds histogram\n\
             engine_freshness_seconds_bucket{{pipeline=\"a\",le=\"1\"}} {fast}\n\
             engine_freshness_seconds_bucket{{pipeline=\"a\",le=\"10\"}} {}\n\
             engine_freshness_seconds_bucket{{pipeline=\"a\",le=\"+Inf\"}} {}\n\
             engine_freshness_seconds_sum{{pipeline=\"a\"}} 7\n",
            fast + slow,
            fast + slow
        )
    }

    #[test]
    fn a_histogram_is_added_up_over_the_lives_of_a_process() {
        let mut freshness = Freshness::default();
        freshness.add(&shown(2, 0));
        freshness.add(&shown(6, 1));
        freshness.restarted();
        freshness.add(&shown(2, 1));
        assert_eq!(freshness.batches(), (10, 0));
        assert_eq!(freshness.quantile(0.4), Some(0.5));
        assert_eq!(freshness.quantile(0.9), Some(5.5));
        freshness.skew(true);
        freshness.add(&shown(2, 4));
        freshness.skew(false);
        freshness.add(&shown(3, 4));
        freshness.add(&shown(5, 4));
        assert_eq!(freshness.batches(), (12, 4));
    }
}
