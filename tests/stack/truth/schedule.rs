//! Which fault comes when: a deck of all of them, shuffled by the seed, dealt at random times, again and again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use tests::wait;
use tests::workload::Random;

use super::fault::Fault;
use super::stage::Stage;

/// Between the beginnings of two faults.
const PAUSE: Range<Duration> = Duration::from_millis(500)..Duration::from_millis(7_000);
/// A first pass through the deck that takes longer than this beyond the run's time does not get on.
const AT_MOST_LATE: Duration = Duration::from_secs(600);

/// How often each fault was there.
pub(super) type Dealt = BTreeMap<Fault, u64>;

/// Hurts `stage` for `time`, and until each of `faults` was there at least once. `look` is called all the time, and
/// panics if the run has failed. At the end no fault is left.
pub(super) fn hurt(
    stage: &mut Stage,
    random: &mut Random,
    faults: &[Fault],
    time: Duration,
    mut look: impl FnMut(&mut Stage, &Dealt),
) -> Dealt {
    let mut dealt = Dealt::new();
    let mut deck: Vec<Fault> = Vec::new();
    let mut active: Vec<(Fault, Instant)> = Vec::new();
    let begun = Instant::now();
    let mut next_at = begun;
    let over = |dealt: &Dealt| begun.elapsed() >= time && dealt.len() == faults.len();
    while !over(&dealt) {
        assert!(
            begun.elapsed() < time + AT_MOST_LATE,
            "not every fault was there: {dealt:?}"
        );
        if deck.is_empty() {
            deck.extend(faults);
            shuffle(random, &mut deck);
        }
        if Instant::now() >= next_at
            && let Some(fault) = fitting(&mut deck, &active)
        {
            let lasts = within(random, &fault.lasts());
            fault.begin(stage);
            active.push((fault, Instant::now() + lasts));
            *dealt.entry(fault).or_default() += 1;
            next_at = Instant::now() + within(random, &PAUSE);
        }
        end(&mut active, stage, Instant::now());
        wait::until(Duration::from_millis(100), || {
            look(stage, &dealt);
            None::<()>
        });
    }
    let last = active.iter().map(|(_, end)| *end).max();
    end(&mut active, stage, last.unwrap_or(begun));
    dealt
}

/// Takes the next fault out of the deck, if it can begin beside those that are there. The deck's order is kept: a fault
/// that comes alone holds up the others until it could come.
fn fitting(deck: &mut Vec<Fault>, active: &[(Fault, Instant)]) -> Option<Fault> {
    let next = *deck.last()?;
    let fits = active.iter().all(|(other, _)| !next.collides(*other));
    if fits { deck.pop() } else { None }
}

fn end(active: &mut Vec<(Fault, Instant)>, stage: &mut Stage, now: Instant) {
    active.retain(|(fault, until)| {
        let goes_on = *until > now;
        if !goes_on {
            fault.end(stage);
        }
        goes_on
    });
}

/// A time out of a range.
fn within(random: &mut Random, range: &Range<Duration>) -> Duration {
    let micros = |time: Duration| i128::try_from(time.as_micros()).expect("some seconds");
    let chosen = random.between(micros(range.start), micros(range.end));
    Duration::from_micros(u64::try_from(chosen).expect("between two times"))
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.below(last + 1));
    }
}
