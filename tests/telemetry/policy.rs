//! What every kind of error leads to.

use std::collections::HashSet;
use std::time::Duration;

use engine::run::policy::{Backoff, Directive, policy, render};
use sql::{Error, ErrorKind};

#[test]
fn every_kind_has_its_exit_code_and_its_way_of_trying_again() {
    for (kind, name, retry, exit) in [
        (ErrorKind::Config, "config", "never", 2),
        (ErrorKind::Unavailable, "unavailable", "backoff", 3),
        (ErrorKind::Denied, "denied", "never", 3),
        (ErrorKind::Storage, "storage", "never", 3),
        (ErrorKind::Policy, "policy", "never", 4),
        (ErrorKind::DataLoss, "data_loss", "never", 4),
        (ErrorKind::Conflict, "conflict", "reload", 5),
        (ErrorKind::Fenced, "fenced", "never", 5),
        (ErrorKind::Internal, "internal", "never", 70),
    ] {
        let policy = policy(kind);
        let directive = match policy.retry {
            Directive::Never => "never",
            Directive::Backoff(_) => "backoff",
            Directive::Reload => "reload",
        };
        assert_eq!((policy.name, directive, policy.exit), (name, retry, exit));
    }
}

#[test]
fn remedies_are_sentences_that_belong_to_one_kind() {
    let kinds = [
        ErrorKind::Config,
        ErrorKind::Unavailable,
        ErrorKind::Denied,
        ErrorKind::Storage,
        ErrorKind::Policy,
        ErrorKind::DataLoss,
        ErrorKind::Conflict,
        ErrorKind::Fenced,
        ErrorKind::Internal,
    ];
    let remedies: HashSet<&str> = kinds.into_iter().map(|kind| policy(kind).remedy).collect();
    assert_eq!(remedies.len(), kinds.len());
    for remedy in remedies {
        assert!(
            remedy.starts_with(|c: char| c.is_lowercase()) && !remedy.ends_with('.'),
            "{remedy}"
        );
    }
}

#[test]
fn pauses_double_up_to_the_longest() {
    let backoff = Backoff {
        first: Duration::from_millis(250),
        max: Duration::from_secs(30),
    };
    let pauses: Vec<u128> = (0..9).map(|n| backoff.pause(n).as_millis()).collect();
    assert_eq!(
        pauses,
        [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    );
    assert_eq!(backoff.pause(u32::MAX), backoff.max);
}

#[test]
fn an_error_without_a_remedy_of_its_own_gets_its_kind_s() {
    let cause = std::io::Error::other("connection reset");
    let error = Error::new(ErrorKind::Fenced, "another engine writes this table")
        .at("/data/customers")
        .expected("the position that this engine left")
        .source(cause);
    assert_eq!(
        render(&error),
        "error: another engine writes this table
  at: /data/customers
  expected: the position that this engine left
  cause: connection reset
  next: make sure that only one engine runs this pipeline, then start it again; it goes on where the table stands"
    );
}

#[test]
fn an_error_that_knows_better_is_left_alone() {
    let error = Error::config("`modes` is no key").remedy("write `mode`");
    assert_eq!(
        render(&error),
        "error: `modes` is no key\n  next: write `mode`"
    );
}
