//! The harness: an object store that refuses a second writer of one key.

use tests::minio::Server;
use tests::python::Readers;
use tests::{full, need};

#[test]
fn of_two_writers_of_one_key_the_second_is_refused() {
    full!();
    let readers = need!(Readers::ready());
    let store = need!(Server::given_or_start());
    store.create_bucket(&readers, "engine-conditional");
    let put = |body: &str, condition: &str| {
        let key = "/engine-conditional/log/00000000000000000001.json";
        store.request(&readers, "PUT", key, body, &[condition])
    };
    let get = || {
        let key = "/engine-conditional/log/00000000000000000001.json";
        store.request(&readers, "GET", key, "", &[])
    };

    assert_eq!(get().status, 404);
    let first = put("one", "if-none-match:*");
    assert_eq!(first.status, 200, "{}", first.body);
    let second = put("two", "if-none-match:*");
    assert_eq!(second.status, 412, "{}", second.body);
    assert!(
        second.body.contains("PreconditionFailed"),
        "{}",
        second.body
    );
    assert_eq!(get().body, "one", "the first writer's object stays");

    // A replacement names the object that it replaces.
    let tag = first.etag.expect("a stored object has a tag");
    let replaced = put("three", &format!("if-match:{tag}"));
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    assert_eq!(put("four", &format!("if-match:{tag}")).status, 412);
    assert_eq!(get().body, "three");
}

#[test]
fn a_wrong_key_is_refused() {
    full!();
    let readers = need!(Readers::ready());
    let store = need!(Server::given_or_start());
    store.create_bucket(&readers, "engine-closed");
    let answer = store.request(
        &readers,
        "GET",
        "/engine-closed?list-type=2",
        "",
        &["x-amz-date:20200101T000000Z"],
    );
    assert_eq!(answer.status, 403, "{}", answer.body);
    let answer = store.request(&readers, "GET", "/engine-closed?list-type=2", "", &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
}
