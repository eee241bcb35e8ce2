//! The cases that other engines get wrong, each written out.

use sql::change::{Fill, NetEvent, NetRow, Op, Origin, net};

const BIG: u32 = 1;

fn event(op: Op, key: &'static str) -> NetEvent<'static> {
    NetEvent {
        op,
        key: key.as_bytes(),
        old_key: None,
        moves: false,
        unavailable: &[],
        again: None,
    }
}

/// An update that did not touch `BIG`.
fn toast(key: &'static str) -> NetEvent<'static> {
    NetEvent {
        unavailable: &[BIG],
        ..event(Op::Update, key)
    }
}

/// What Debezium sends for a changed key: delete, tombstone, insert; `BIG` was not touched.
fn moved(from: &'static str, to: &'static str) -> [NetEvent<'static>; 3] {
    let gone = NetEvent {
        moves: true,
        ..event(Op::Delete, from)
    };
    let come = NetEvent {
        old_key: Some(from.as_bytes()),
        unavailable: &[BIG],
        ..event(Op::Create, to)
    };
    [gone, gone, come]
}

fn row(event: usize) -> NetRow<'static> {
    NetRow {
        event,
        fills: Vec::new(),
    }
}

fn filled(event: usize, from: Origin<'static>) -> NetRow<'static> {
    let fills = vec![Fill { column: BIG, from }];
    NetRow { event, fills }
}

#[test]
fn the_last_event_of_a_key_counts() {
    let netted = net([
        event(Op::Create, "a"),
        event(Op::Create, "b"),
        event(Op::Update, "a"),
        event(Op::Delete, "b"),
        event(Op::Delete, "b"),
        event(Op::Delete, "c"),
        event(Op::Create, "c"),
    ]);
    assert_eq!(netted.rows, [row(2), row(6)]);
    assert_eq!(netted.deletes, [4]);
    assert!(!netted.truncate);
}

#[test]
fn an_unsent_value_comes_from_the_earlier_event_or_from_the_table() {
    let netted = net([
        event(Op::Create, "a"),
        toast("a"),
        toast("a"),
        toast("b"),
        toast("b"),
    ]);
    assert_eq!(
        netted.rows,
        [filled(2, Origin::Event(0)), filled(4, Origin::Table(b"b"))]
    );
}

#[test]
fn a_changed_key_takes_the_value_of_the_old_row_along() {
    let netted = net(moved("1", "101"));
    assert_eq!(netted.rows, [filled(2, Origin::Table(b"1"))]);
    assert_eq!(netted.deletes, [1]);
}

#[test]
fn swapped_keys_swap_their_values() {
    let events = [moved("1", "t"), moved("2", "1"), moved("t", "2")].concat();
    let netted = net(events);
    assert_eq!(
        netted.rows,
        [
            filled(5, Origin::Table(b"2")),
            filled(8, Origin::Table(b"1"))
        ]
    );
    assert_eq!(netted.deletes, [7]);
}

#[test]
fn half_of_a_key_change_never_takes_another_rows_value() {
    // The delete of 1 is in an earlier batch: the table may have another row 1 by now.
    let [_, _, come] = moved("1", "101");
    assert_eq!(net([come]).rows, [filled(0, Origin::Unknown)]);
    // Two changes of one key: the second has nothing to do with the first.
    let events = [moved("1", "2").to_vec(), vec![come]].concat();
    assert_eq!(
        net(events).rows,
        [filled(2, Origin::Table(b"1")), filled(3, Origin::Unknown)]
    );
}

#[test]
fn a_truncate_stands_between() {
    let netted = net([
        event(Op::Create, "a"),
        event(Op::Delete, "b"),
        event(Op::Truncate, ""),
        toast("a"),
        event(Op::Create, "c"),
        event(Op::Delete, "c"),
    ]);
    assert!(netted.truncate);
    assert_eq!(netted.rows, [filled(3, Origin::Unknown)]);
    assert_eq!(netted.deletes, [] as [usize; 0]);
}

#[test]
fn a_row_that_came_back_has_nothing_of_the_one_before() {
    let netted = net([event(Op::Delete, "a"), toast("a")]);
    assert_eq!(netted.rows, [filled(1, Origin::Unknown)]);
}

/// The same event, sent again to a table that is ahead of it.
fn again(event: NetEvent<'static>) -> NetEvent<'static> {
    NetEvent {
        again: Some(1),
        ..event
    }
}

#[test]
fn a_key_change_that_is_sent_again_takes_nothing_from_a_table_that_is_ahead() {
    // The table has other rows under 1 and 2 since the keys were swapped.
    let swap = [moved("1", "3"), moved("2", "1"), moved("3", "2")].concat();
    let netted = net(swap.iter().copied().map(again));
    assert_eq!(
        netted.rows,
        [filled(5, Origin::Unknown), filled(8, Origin::Unknown)]
    );
    assert_eq!(netted.deletes, [7]);
    // Not even from the batch, where that has them from before the source went back.
    let before = [event(Op::Update, "1"), event(Op::Update, "2")];
    let swap = before.into_iter().chain(swap.into_iter().map(again));
    let unknown = [filled(7, Origin::Unknown), filled(10, Origin::Unknown)];
    assert_eq!(net(swap).rows, unknown);
    // What came again before it, in the same batch, is the row of then.
    let first = [event(Op::Update, "1"), toast("1")];
    let events = [first.to_vec(), moved("1", "2").to_vec()].concat();
    assert_eq!(
        net(events.into_iter().map(again)).rows,
        [filled(4, Origin::Event(0))]
    );
}

#[test]
fn an_update_that_is_sent_again_keeps_what_the_table_has() {
    let netted = net([again(toast("a"))]);
    assert_eq!(netted.rows, [filled(0, Origin::Table(b"a"))]);
}

#[test]
fn an_update_that_is_sent_again_makes_no_row_of_one_that_is_gone_by_now() {
    let netted = net([event(Op::Delete, "a"), again(toast("a"))]);
    assert_eq!((netted.rows, netted.deletes), (vec![], vec![0]));
    let netted = net([event(Op::Truncate, ""), again(toast("a"))]);
    assert_eq!((netted.rows, netted.deletes), (vec![], vec![]));
    // A row with all its values is one.
    let whole = again(event(Op::Update, "a"));
    let netted = net([event(Op::Delete, "a"), whole, again(toast("a"))]);
    assert_eq!(netted.rows, [filled(2, Origin::Event(1))]);
}
