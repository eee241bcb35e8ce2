//! librdkafka's event queue, and two calls that rdkafka does not wrap.
//!
//! rdkafka's own poll says of the end of a partition only its number, not its topic nor its offset, and allocates for
//! each message. This is the same poll without the loss. All unsafe code of the source is in this file.

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::config::NativeClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

/// How long to wait for the word that there is an event, before looking all the same.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The queue that a consumer's records, errors and logs come from. Drop it before its consumer.
pub(super) struct EventQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    bell: Arc<Bell>,
}

/// Rung when a queue is no longer empty.
///
/// librdkafka's own waiting is until a time of the wall clock: when that is set back by a day, it waits for a day longer.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock() = true;
        self.rings.notify_one();
    }

    /// Returns when it is rung, or was since the last call, and after `limit` at the latest.
    fn wait(&self, limit: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.rings.wait_for(&mut rung, limit);
        }
        *rung = false;
    }
}

#[expect(
    unsafe_code,
    reason = "librdkafka's queues may be used from any thread"
)]
// SAFETY: librdkafka's objects are thread-safe; this one is used by one thread at a time anyhow.
unsafe impl Send for EventQueue {}

impl EventQueue {
    /// The queue of `consumer`, which must have a group id; `None` without.
    #[expect(unsafe_code, reason = "rdkafka hides the consumer's queue")]
    pub(super) fn of<C: ConsumerContext>(consumer: &mut BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client pointer is valid while the consumer lives. The call returns a new reference or null.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue)?;
        let bell = Arc::new(Bell::default());
        let rung = Arc::clone(&bell);
        consumer.set_nonempty_callback(move || rung.ring());
        Some(Self { queue, bell })
    }

    /// The next event, waited for.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Event> {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return None;
            }
            self.bell.wait(left.min(LOOK_AGAIN));
        }
    }

    /// The next event, if there is one.
    #[expect(
        unsafe_code,
        reason = "rdkafka's poll loses the topic of an end of partition"
    )]
    fn take(&self) -> Option<Event> {
        // SAFETY: the queue is valid until dropped; the event returned is ours.
        NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), 0) }).map(Event)
    }
}

impl Drop for EventQueue {
    #[expect(unsafe_code, reason = "the queue's reference is given back")]
    fn drop(&mut self) {
        // SAFETY: ours, and used no more.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// One event; owns what it lends.
pub(super) struct Event(NonNull<rd::rd_kafka_event_t>);

/// What an event is.
pub(super) enum EventKind<'e> {
    /// A record.
    Record(Fetched<'e>),
    /// An error, of one partition or of the client.
    Error {
        code: RDKafkaErrorCode,
        reason: String,
        /// Topic, partition number, offset.
        place: Option<(String, i32, i64)>,
    },
    /// A line of librdkafka's log: syslog level, facility, text.
    Log(i32, String, String),
    /// The answer to an offset commit, if it failed.
    CommitFailed(RDKafkaErrorCode),
    /// Nothing of interest.
    Other,
}

/// A record that lives as long as its event.
pub(super) struct Fetched<'e> {
    message: NonNull<rd::rd_kafka_message_t>,
    event: PhantomData<&'e Event>,
}

impl Event {
    /// What it is. A record is lent once: a second call says [`EventKind::Other`].
    #[expect(unsafe_code, reason = "events are read through librdkafka's accessors")]
    pub(super) fn kind(&self) -> EventKind<'_> {
        let event = self.0.as_ptr();
        // SAFETY: the event is valid until dropped, and the accessors check its type.
        match unsafe { rd::rd_kafka_event_type(event) } {
            rd::RD_KAFKA_EVENT_FETCH => {
                // SAFETY: as above; the message belongs to the event.
                let message = unsafe { rd::rd_kafka_event_message_next(event) };
                NonNull::new(message.cast_mut()).map_or(EventKind::Other, |message| {
                    EventKind::Record(Fetched {
                        message,
                        event: PhantomData,
                    })
                })
            }
            rd::RD_KAFKA_EVENT_ERROR => {
                // SAFETY: as above; the text belongs to the event and is copied.
                let (code, reason) = unsafe {
                    (
                        rd::rd_kafka_event_error(event),
                        text(rd::rd_kafka_event_error_string(event)),
                    )
                };
                EventKind::Error {
                    code: code.into(),
                    reason,
                    place: self.place(),
                }
            }
            rd::RD_KAFKA_EVENT_LOG => self.log(),
            rd::RD_KAFKA_EVENT_OFFSET_COMMIT => {
                // SAFETY: as above.
                let code: RDKafkaErrorCode = unsafe { rd::rd_kafka_event_error(event) }.into();
                match code {
                    RDKafkaErrorCode::NoError => EventKind::Other,
                    code => EventKind::CommitFailed(code),
                }
            }
            _ => EventKind::Other,
        }
    }

    #[expect(unsafe_code, reason = "the partition of an error event")]
    fn place(&self) -> Option<(String, i32, i64)> {
        // SAFETY: returns null for events without a partition, else a copy that is ours to destroy.
        unsafe {
            let place = rd::rd_kafka_event_topic_partition(self.0.as_ptr());
            let found = place
                .as_ref()
                .map(|place| (text(place.topic), place.partition, place.offset));
            if !place.is_null() {
                rd::rd_kafka_topic_partition_destroy(place);
            }
            found
        }
    }

    #[expect(unsafe_code, reason = "the line of a log event")]
    fn log(&self) -> EventKind<'_> {
        let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the out parameters are valid; the strings belong to the event and are copied.
        unsafe {
            if rd::rd_kafka_event_log(self.0.as_ptr(), &mut facility, &mut line, &mut level) != 0 {
                return EventKind::Other;
            }
            EventKind::Log(level, text(facility), text(line))
        }
    }
}

impl Drop for Event {
    #[expect(unsafe_code, reason = "the event is given back")]
    fn drop(&mut self) {
        // SAFETY: ours, and nothing that borrows from it outlives it.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl<'e> Fetched<'e> {
    #[expect(unsafe_code, reason = "the message of a fetch event")]
    fn raw(&self) -> &'e rd::rd_kafka_message_t {
        // SAFETY: the message lives as long as its event, whose borrow is `'e`, and nobody writes to it.
        unsafe { self.message.as_ref() }
    }

    /// The error that came in place of a record.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        match self.raw().err.into() {
            RDKafkaErrorCode::NoError => None,
            code => Some(code),
        }
    }

    /// The topic's name; empty if librdkafka does not know it.
    #[expect(unsafe_code, reason = "the topic's name belongs to its handle")]
    pub(super) fn topic(&self) -> &'e str {
        let topic = self.raw().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to the topic, so its name lives as long.
        unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(topic)) }
            .to_str()
            .unwrap_or("")
    }

    pub(super) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(super) fn key(&self) -> Option<&'e [u8]> {
        slice(self.raw().key, self.raw().key_len)
    }

    pub(super) fn value(&self) -> Option<&'e [u8]> {
        slice(self.raw().payload, self.raw().len)
    }

    #[expect(unsafe_code, reason = "the timestamp of a message")]
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: message and out parameter are valid.
        let millis = unsafe { rd::rd_kafka_message_timestamp(self.raw(), &mut kind) };
        (kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis >= 0)
            .then_some(millis)
    }

    /// Appends the headers; a name that is not UTF-8 becomes U+FFFD.
    #[expect(unsafe_code, reason = "the headers of a message")]
    pub(super) fn headers(&self, into: &mut Vec<(&'e str, Option<&'e [u8]>)>) {
        let mut headers = ptr::null_mut();
        // SAFETY: message and out parameter are valid; the headers belong to the message.
        let parsed = unsafe { rd::rd_kafka_message_headers(self.raw(), &mut headers) };
        if RDKafkaErrorCode::from(parsed) != RDKafkaErrorCode::NoError || headers.is_null() {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null::<c_void>(), 0);
            // SAFETY: as above; an index behind the last header is an error code.
            let found = unsafe {
                rd::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len)
            };
            if RDKafkaErrorCode::from(found) != RDKafkaErrorCode::NoError {
                return;
            }
            // SAFETY: the name is a C string that belongs to the message.
            let name = unsafe { CStr::from_ptr(name) };
            into.push((name.to_str().unwrap_or("\u{fffd}"), slice(value, len)));
        }
    }
}

/// The bytes at `data`, which live as long as a message; null is no bytes.
#[expect(
    unsafe_code,
    reason = "keys, values and header values are pointer and length"
)]
fn slice<'e>(data: *const c_void, len: usize) -> Option<&'e [u8]> {
    // SAFETY: callers pass fields of one message, which librdkafka sets together.
    NonNull::new(data.cast_mut().cast::<u8>())
        .map(|data| unsafe { std::slice::from_raw_parts(data.as_ptr(), len) })
}

/// A copy of a C string.
#[expect(unsafe_code, reason = "librdkafka's texts are C strings")]
fn text(c: *const c_char) -> String {
    if c.is_null() {
        return String::new();
    }
    // SAFETY: callers pass strings that librdkafka ended with a zero and keeps for now.
    unsafe { CStr::from_ptr(c) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

/// The high watermark of a partition as its last fetch saw it.
#[expect(
    unsafe_code,
    reason = "rdkafka wraps only the call that asks the broker"
)]
pub(super) fn cached_end<C: ClientContext + ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client, string and out parameters are valid.
    let code = unsafe {
        rd::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (RDKafkaErrorCode::from(code) == RDKafkaErrorCode::NoError && high >= 0).then_some(high)
}

/// Every property's name that librdkafka knows.
#[expect(unsafe_code, reason = "rdkafka does not list properties")]
pub(super) fn property_names(config: &NativeClientConfig) -> Vec<String> {
    let mut count = 0;
    let mut names = Vec::new();
    // SAFETY: the configuration is valid; the array has `count` strings, names at even places, and is freed once.
    unsafe {
        let dump = rd::rd_kafka_conf_dump(config.ptr(), &mut count);
        if dump.is_null() {
            return names;
        }
        for index in (0..count).step_by(2) {
            names.push(text(*dump.add(index)));
        }
        rd::rd_kafka_conf_dump_free(dump, count);
    }
    names
}
