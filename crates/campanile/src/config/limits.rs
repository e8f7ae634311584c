//! Every number that can be set: its default, its bounds, why, and what happens at the bound.
//!
//! Owns the one table of limits; `docs/limits.md` is written from it. Never enforces a limit: that
//! is the work of whoever owns the queue. The invariant: each number in `file.rs` has exactly one
//! row here, and each row a number there. Next: `sizes.rs` for the relations between limits.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use campanile_hub::channel::{COUNT_AT_ONCE_MAX, COUNT_EVERY_SECS, COUNTS_PER_SEC_MAX};
use campanile_hub::meter::{ROWS_MAX, SAMPLE_BYTES_MAX, SAMPLE_BYTES_MIN, WAIT_MILLIS_MAX};
use campanile_hub::session::{MOVES_AT_ONCE_MAX, MOVES_PER_SEC};
use campanile_protocol::idempotency::KEY_LENGTH_MAX;
use campanile_protocol::websocket::LAST_BLOCKS_MAX;

use super::file::LimitsTable;
use super::machine::Machine;
use super::problem::{Origin, Problems};
use super::sizes::Sizes;
use super::tree::join;

/// Characters of a channel's name that no setting can exceed.
pub const CHANNEL_NAME_LENGTH_HARD_MAX: u64 = 200;

/// Bytes of the configuration file.
pub const FILE_BYTES_MAX: u64 = 16 * MIB;

/// Bytes of a file that holds one secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 4096;

/// Bytes of a certificate's or a key's file.
pub const TLS_FILE_BYTES_MAX: u64 = MIB;

/// Requests that one HTTP/2 connection may have under way.
pub const HTTP2_STREAMS_MAX: u32 = 100;

/// What compressed messages of one read may inflate to, beyond one of the largest. Real ones hardly ever shrink to a
/// sixteenth; those that do, a whole read of them, must not keep everybody else waiting.
pub const INFLATED_BYTES_PER_READ_MAX: usize = 16 * 64 * 1024;

/// Notices that may wait for an endpoint's next commit: far more than a node makes in the time of one.
pub const INTAKE_NOTICES_MAX: usize = 16_384;

/// Bytes that may wait for it: a client event's data, and 512 for each notice.
pub const INTAKE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Streams of one HTTP/2 connection that its client has reset before we have looked at them.
pub const HTTP2_RESETS_MAX: usize = 20;

/// Streams of one HTTP/2 connection that we have reset because its client broke the rules there.
pub const HTTP2_ERRORS_MAX: usize = 1024;

/// Frames that an HTTP/2 client may send at once, whatever they ask for.
pub const HTTP2_FRAMES_BURST: u32 = 10_000;

/// Frames that it may send in each second after that.
pub const HTTP2_FRAMES_PER_SEC: u32 = 1000;

/// Frames that it may send for each frame of an answer. Honest ones send about one.
pub const HTTP2_FRAMES_PER_ANSWER_FRAME: u32 = 4;

/// Bytes of a body in one frame from which on the frame is not counted.
pub const HTTP2_DATA_BYTES_FREE: usize = 1024;

/// Bytes of an answer for which an HTTP client has `http_request_timeout_secs`, and again for each as many that follow.
pub const HTTP_ANSWER_BYTES_PER_TIMEOUT: usize = 64 * 1024;

/// Channels that a home tells at once of those that `GET /channels` lists.
pub const CHANNELS_AT_ONCE: usize = 1000;

/// Questions about usage that may wait for the one thread that reads the disk.
pub const USAGE_QUESTIONS_MAX: usize = 16;

/// Rows of the journal that one question may add up: about a second's work.
pub const USAGE_ROWS_READ_MAX: usize = 500_000;

/// Rows of an answer about usage.
pub const USAGE_ROWS_TOLD_MAX: usize = 10_000;

/// Events that wait, whole, to be looked into for their largest fields.
pub const USAGE_SAMPLES_MAX: usize = 32;

/// Hours, each of an app, that wait in memory where the disk takes none.
pub const USAGE_HOURS_UNWRITTEN_MAX: usize = 1000;

/// Characters of a plan's name, and of a currency.
pub const PLAN_NAME_LENGTH_MAX: usize = 100;

/// Fields that are told of the largest event of a name.
pub const FIELDS_TOLD_MAX: usize = 5;

/// Fields of it that are looked at.
pub const FIELDS_LOOKED_AT_MAX: usize = 2000;

/// Objects and arrays inside each other that are looked into.
pub const FIELDS_DEPTH_MAX: usize = 4;

/// Beginnings of channel names that an app may list: each is compared with each publication's channel.
pub const USAGE_PREFIXES_LISTED_MAX: usize = 32;

/// Characters of an app's id, of a key and of a secret.
pub const CREDENTIAL_LENGTH_MAX: usize = 200;

/// Bytes of a Unix socket's path: what the kernel's address holds, less its final zero.
pub const UNIX_SOCKET_PATH_BYTES_MAX: usize = 107;

/// Letters of the inbox that may be under way to the workers.
pub const INBOX_PUSHES_MAX: usize = 1024;

/// Connections that may wait to be told how the inbox stands whose channel they have entered.
pub const INBOX_ENTRIES_MAX: usize = 65_536;

/// How many of them the store is asked for at once.
pub const INBOX_ENTRIES_AT_ONCE: usize = 32;

/// Announcements of one app that may wait to be told one by one.
pub const INBOX_ANNOUNCEMENTS_WAITING_MAX: usize = 100;

/// Events that may wait for one stream.
pub const INBOX_STREAM_EVENTS_MAX: usize = 64;

/// For so long a stream waits for somebody to say whose inbox it is.
pub const INBOX_SESSION_WAIT: Duration = Duration::from_secs(30);

/// How long a browser's token is good for, in seconds.
pub const SESSION_SECS: u64 = 600;

/// Characters of the id of a user for whom a session is opened.
pub const SESSION_USER_LENGTH_MAX: usize = 200;

/// Bytes of a body that a browser sends.
pub const INBOX_BROWSER_BODY_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a JSON Web Token.
pub const JWT_BYTES_MAX: usize = 4096;

/// Characters of a server token, at least: whoever guesses it acts for every user.
pub const SERVER_TOKEN_LENGTH_MIN: usize = 32;

/// Characters of a server token, at most.
pub const SERVER_TOKEN_LENGTH_MAX: usize = 512;

const DAY_SECS: u64 = 24 * 60 * 60;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What a limit is where nobody sets it.
#[derive(Clone, Copy, Debug)]
pub enum Unset {
    /// This number.
    Default(u64),
    /// A number computed from other settings or from the machine.
    Derived(&'static str),
    /// Whoever writes the table must set it.
    Required,
    /// There is no such limit.
    Off,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The table of the file that holds it; empty for the top level.
    pub table: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What holds where nobody sets it.
    pub unset: Unset,
    /// What may be set.
    pub range: RangeInclusive<u64>,
    /// What is counted.
    pub unit: &'static str,
    /// Why there is a bound, and why this default.
    pub reason: &'static str,
    /// What happens at the bound.
    pub at_bound: &'static str,
}

/// Declares the rows as constants and lists them all, so that none is left out of the list.
macro_rules! limits {
    ($($const:ident: $table:literal $name:literal, $unset:expr, $range:expr, $unit:literal;
        $reason:literal; $at_bound:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $reason, ".")]
            pub const $const: Limit = Limit {
                table: $table,
                name: $name,
                unset: $unset,
                range: $range,
                unit: $unit,
                reason: $reason,
                at_bound: $at_bound,
            };
        )*

        /// All rows, in the order of the file.
        pub const LIMITS: &[Limit] = &[$($const),*];
    };
}

use Unset::{Default, Derived, Off, Required};

limits! {
    WORKERS: "" "workers", Derived("CPU affinity and cgroup quota"), 1..=256, "threads";
        "each worker is one core; more than there are only take turns";
        "connections are spread over this many threads";
    PORT: "listen" "port", Default(6001), 0..=65_535, "TCP port";
        "6001 is where Pusher-compatible servers are looked for; 0 takes a free one";
        "-";
    BACKLOG: "listen" "backlog", Default(4096), 1..=65_535, "connections";
        "clients come back in waves; the kernel's own somaxconn may be lower";
        "the kernel lets further clients try again";
    CONNECTIONS_MAX: "limits" "connections_max", Derived("open files allowed, less a reserve"), 1..=1_000_000, "connections";
        "each needs a file descriptor; running out would stop the HTTP API, too";
        "error frame and close 4100: the client comes back after a pause";
    HEAD_BYTES_MAX: "limits" "head_bytes_max", Default(16 * KIB), KIB..=64 * KIB, "bytes";
        "a request's head is held before anything is known of its sender";
        "answered 431 and closed";
    HEAD_TIMEOUT_SECS: "limits" "head_timeout_secs", Default(10), 1..=120, "seconds";
        "a head that never ends must not hold a descriptor, be it a connection's first or, from its first byte on, a later one";
        "closed";
    FRAME_BYTES_MAX: "limits" "frame_bytes_max", Derived("64 KiB, or what the apps' limits need"), KIB..=4 * MIB, "bytes";
        "one client's message is held in memory until it is whole";
        "close 1009";
    SEND_QUEUE_BYTES_MAX: "limits" "send_queue_bytes_max", Derived("1 MiB, or what the apps' limits need"), 64 * KIB..=256 * MIB, "bytes";
        "a reader slower than its channels must not hold memory without end";
        "close 4100, counted; never dropped in silence";
    SEND_QUEUES_BYTES_MAX: "limits" "send_queues_bytes_max", Derived("a quarter of the memory, or what one connection of each worker may take"), MIB..=1024 * GIB, "bytes, in even shares over the workers";
        "many slow readers must not take the memory that one may not; bytes that several wait for count for each";
        "close 4100 for those who wait for most, until a tenth is free";
    PERMITS_PER_WORKER: "limits" "permits_per_worker", Default(1024), 16..=65_536, "pieces of work";
        "bounds every mailbox between workers by construction";
        "the worker stops reading sockets; the HTTP API answers 503 after its deadline";
    HTTP_BODY_BYTES_MAX: "limits" "http_body_bytes_max", Derived("256 KiB, or the apps' largest legal batch"), 16 * KIB..=256 * MIB, "bytes";
        "a body is held in memory until its signature is checked";
        "answered 413";
    HTTP_IDLE_TIMEOUT_SECS: "limits" "http_idle_timeout_secs", Default(60), 1..=3600, "seconds";
        "publishers keep connections alive between requests; forgotten ones pile up";
        "closed";
    HTTP_REQUEST_TIMEOUT_SECS: "limits" "http_request_timeout_secs", Default(10), 1..=300, "seconds";
        "publishers give up after 5 to 30 seconds; an answer later than that is lost";
        "a late body is answered 408 and closed, a late answer becomes 503";
    HTTP_CONNECTIONS_MAX: "limits" "http_connections_max", Default(256), 1..=65_536, "connections per worker";
        "publishers are few and keep their connections";
        "the one that has been idle for longest is closed; if none is idle, the new one is answered 503 and closed, or, where it asks /live, /ready or /status over HTTP/1, answered and closed";
    HTTP_BYTES_MAX: "limits" "http_bytes_max", Derived("an eighth of the memory, or what a body and an answer of each worker may take"), MIB..=1024 * GIB, "bytes, in even shares over the workers";
        "bodies are held until they are whole and answers until they are taken, a hundred of either on each HTTP/2 connection";
        "answered 503 with Retry-After and closed, unless nothing else is held; what has been done is answered nevertheless";
    REMEMBERED_BYTES_MAX: "limits" "remembered_bytes_max", Default(64 * MIB), 4 * MIB..=64 * GIB, "bytes";
        "cache channels keep their last event in memory, and names cost nothing to invent: each counts its frame, its data, its name and 768 bytes";
        "the event remembered longest is forgotten: its next subscriber gets cache_miss";
    REPLAYS_BYTES_MAX: "limits" "replays_bytes_max", Default(64 * MIB), MIB..=64 * GIB, "bytes, in even shares over the workers";
        "events are kept in memory for clients who come back: each counts its frame and 128 bytes, each channel its name and 768 bytes";
        "of the app that keeps most, the channel that was published to longest ago forgets: whoever comes back to it gets replay.gap";
    IDEMPOTENCY_WINDOW_SECS: "limits" "idempotency_window_secs", Default(600), 1..=86_400, "seconds";
        "a publisher that heard no answer repeats within minutes, and a signature holds for ten";
        "the answer is forgotten: the same Idempotency-Key is a new request";
    IDEMPOTENCY_KEYS_PER_APP_MAX: "limits" "idempotency_keys_per_app_max", Default(100_000), 1..=10_000_000, "keys, in even shares over the workers";
        "one tenant's keys must not take the room of the others'";
        "the answer given longest ago is forgotten; if all are under way, answered 503 with Retry-After";
    IDEMPOTENCY_BYTES_MAX: "limits" "idempotency_bytes_max", Default(64 * MIB), MIB..=64 * GIB, "bytes, in even shares over the workers";
        "answers are kept in memory for the window: each counts its key, its body and 512 bytes";
        "of the app that takes most, the answer given longest ago is forgotten; if all are under way, answered 503 with Retry-After";
    GUARD_KEYS_MAX: "limits" "guard_keys_max", Default(200_000), 1000..=10_000_000, "keys, in even shares over the workers";
        "what a rule remembers of an order, a channel or a user takes about 400 bytes, and publishers can name ever new ones; whoever is full again or over its window is forgotten by itself";
        "the app with most loses the one that would be forgotten soonest, which begins anew; alert `memory`";
    USAGE_PREFIXES_MAX: "limits" "usage_prefixes_max", Default(100), 1..=10_000, "channel prefixes of each app in an hour";
        "usage is kept by them, and names cost nothing to invent; half of the room is for what strangers can name";
        "the further ones are counted together as (other)";
    USAGE_EVENTS_MAX: "limits" "usage_events_max", Default(200), 1..=10_000, "event names of each app in an hour";
        "the same; half of the room is for client events";
        "the further ones are counted together as (other)";
    USAGE_HOURS_MAX: "limits" "usage_hours_max", Default(1488), 24..=17_568, "hours";
        "two months, so that the last can be compared with this one; each row of an hour takes about 100 bytes of the disk";
        "what is older is forgotten within an hour";
    PRESENCE_GRACE_SECS: "limits" "presence_grace_secs", Default(3), 0..=60, "seconds";
        "a connection that broke and came back must not look like leaving and joining";
        "member_removed goes out";
    PONG_TIMEOUT_SECS: "limits" "pong_timeout_secs", Default(30), 1..=300, "seconds";
        "pusher-js waits as long for ours";
        "close 4201: the client comes back at once";
    CLOSING_TIMEOUT_SECS: "limits" "closing_timeout_secs", Default(5), 1..=60, "seconds";
        "a peer that never answers a close must not hold a descriptor";
        "the socket is dropped";
    DRAIN_WAVE_SECS: "drain" "wave_secs", Default(10), 0..=600, "seconds";
        "clients told at once would come back at once, all to one place";
        "the last clients are told to reconnect";
    DRAIN_WEBHOOKS_FLUSH_SECS: "drain" "webhooks_flush_secs", Default(10), 0..=600, "seconds";
        "what is not delivered stays in state_dir for the next start";
        "the process leaves";
    DRAIN_READY_DELAY_SECS: "drain" "ready_delay_secs", Default(0), 0..=600, "seconds";
        "a load balancer needs this long to notice that the node is not ready";
        "connections are refused";
    INBOX_RETENTION_DAYS: "inbox" "retention_days", Default(90), 1..=3650, "days";
        "an inbox that keeps everything grows for ever, and nobody reads a notification of last year";
        "the notification goes, and leaves a tombstone";
    INBOX_TOMBSTONE_DAYS: "inbox" "tombstone_days", Default(30), 1..=3650, "days";
        "a browser that comes back must hear what has gone meanwhile";
        "forgotten: a browser that was away for longer is answered 410 and reads its inbox anew";
    INBOX_KEY_DAYS: "inbox" "key_days", Default(7), 1..=90, "days";
        "a job is repeated within days at most";
        "the key is forgotten: the same key is a new notification";
    INBOX_DELIVERY_DAYS: "inbox" "delivery_days", Default(30), 1..=3650, "days";
        "support asks what became of a mail within weeks";
        "what was sent beyond the socket, suppressed, or failed, is forgotten";
    INBOX_DEAD_JOB_DAYS: "inbox" "dead_job_days", Default(30), 1..=3650, "days";
        "what could not be stored is kept for somebody to look at, not for ever";
        "forgotten";
    INBOX_CONNECTIONS: "inbox" "connections", Default(8), 1..=1000, "connections to the database; with SQLite, those that read";
        "a database serves few connections faster than many";
        "reads wait for one another";
    INBOX_WRITES_WAITING_MAX: "inbox" "writes_waiting_max", Default(10_000), 16..=1_000_000, "calls that wait to write";
        "a store that is slow must not fill the memory with what waits for it";
        "answered 503 with Retry-After";
    INBOX_READS_WAITING_MAX: "inbox" "reads_waiting_max", Default(1000), 16..=1_000_000, "calls that wait to read";
        "the same";
        "answered 503 with Retry-After; an inbox.state is not sent, and counted";
    INBOX_STREAMS_MAX: "inbox" "streams_max", Default(1000), 0..=100_000, "browsers that are fed over HTTP";
        "each holds an HTTP connection, on which publishers depend, or a part of one";
        "answered 503 with Retry-After";
    PLAN_PRICE_CENTS: "plans" "price_cents", Required, 0..=1_000_000_000_000, "hundredths of the currency, a month";
        "what the service asks for";
        "-";
    PLAN_MESSAGES: "plans" "messages", Required, 1..=1_000_000_000_000_000, "messages in Pusher's units, in a day or a month";
        "what the plan includes";
        "the next plan is told; nobody is held up";
    PLAN_CONNECTIONS: "plans" "connections", Required, 1..=1_000_000_000, "connections at once";
        "the same";
        "the next plan is told; nobody is held up";
    INBOX_UNTAKEN_AFTER_SECS: "inbox" "untaken_after_secs",
        Derived("the longest activity_timeout_secs of an app with an inbox, and limits.pong_timeout_secs twice"), 1..=30 * DAY_SECS, "seconds";
        "before a silent client has had time to answer a ping, nobody knows whether it is there: a smaller value than both together is refused";
        "a notification that nobody has taken goes by mail, push or webhook";
    INBOX_ATTEMPTS_MAX: "inbox" "attempts_max", Default(6), 1..=50, "attempts at one mail, push or webhook";
        "a relay that is away for an hour comes back, one that refuses for days does not";
        "the delivery has failed";
    MAIL_PORT: "inbox.mail" "port", Derived("587 with starttls, 465 with tls, 25 with none"), 1..=65_535, "a port";
        "relays have their own";
        "out of range is refused";
    MAIL_TIMEOUT_SECS: "inbox.mail" "timeout_secs", Default(20), 1..=50, "seconds";
        "a relay that hangs must not hold an attempt, and not longer than the store believes in it";
        "up to the mail: tried again; after it: unknown";
    WEB_PUSH_TTL_SECS: "inbox.web_push" "ttl_secs", Default(DAY_SECS), 0..=28 * DAY_SECS, "seconds";
        "news of last week is no news; push services keep nothing for longer than four weeks";
        "the push service forgets it";
    WEB_PUSH_TIMEOUT_SECS: "inbox.web_push" "timeout_secs", Default(20), 1..=50, "seconds";
        "a push service that hangs must not hold an attempt";
        "not reached: tried again; no answer: unknown";
    APP_AUTHORIZED_TIMEOUT_SECS: "apps" "authorized_connections_timeout_secs", Off, 1..=3600, "seconds";
        "an app whose users are all known wants nobody else to hold a connection";
        "close 4009: the client stays away";
    APP_ACTIVITY_TIMEOUT_SECS: "apps" "activity_timeout_secs", Default(120), 1..=3600, "seconds";
        "Pusher's default; shorter finds dead connections sooner and costs more pings";
        "the side that heard nothing pings";
    APP_CONNECTIONS_MAX: "apps" "connections_max", Off, 1..=1_000_000, "connections";
        "one tenant must not take the room of the others";
        "error frame and close 4004: the client stays away";
    APP_BACKEND_EVENTS_PER_SEC: "apps" "backend_events_per_sec", Off, 1..=1_000_000, "events per second, each of a batch, and one however many its channels are";
        "one tenant's loop must not take the time of the others; what one event may cost has bounds of its own (channels_per_event_max, event_data_bytes_max)";
        "answered 429 with Retry-After";
    APP_CLIENT_EVENTS_PER_SEC: "apps" "client_events_per_sec", Default(10), 1..=100_000, "events per second and connection";
        "Pusher's limit; a browser is not to be trusted with more";
        "event dropped, error frame 4301 at most once a second";
    APP_CHANNEL_NAME_LENGTH_MAX: "apps" "channel_name_length_max", Default(164), 1..=CHANNEL_NAME_LENGTH_HARD_MAX, "characters";
        "Pusher's limit; older SDKs send up to 200";
        "subscription_error, or answered 400";
    APP_EVENT_NAME_LENGTH_MAX: "apps" "event_name_length_max", Default(200), 1..=200, "characters";
        "Pusher's limit";
        "error frame, or answered 400";
    APP_EVENT_DATA_BYTES_MAX: "apps" "event_data_bytes_max", Default(10_240), 1..=MIB, "bytes";
        "Pusher's limit; every subscriber receives each byte";
        "answered 413 with the channel, the event and its size";
    APP_CLIENT_EVENT_BYTES_MAX: "apps" "client_event_bytes_max", Default(10_240), 1..=MIB, "bytes";
        "Pusher's limit";
        "event dropped, error frame";
    APP_CHANNELS_PER_EVENT_MAX: "apps" "channels_per_event_max", Default(100), 1..=1000, "channels";
        "Pusher's limit; SDKs split longer lists";
        "answered 400";
    APP_BATCH_EVENTS_MAX: "apps" "batch_events_max", Default(10), 1..=1000, "events";
        "Pusher's limit";
        "answered 400";
    APP_PRESENCE_MEMBERS_MAX: "apps" "presence_members_max", Default(100), 1..=10_000, "users";
        "Pusher's limit; each join is told to all the others, so cost grows with the square";
        "subscription_error LimitReached";
    APP_PRESENCE_MEMBER_BYTES_MAX: "apps" "presence_member_bytes_max", Default(1024), 16..=64 * KIB, "bytes";
        "Pusher's limit; held once per user and sent to every member";
        "subscription_error";
    APP_PRESENCE_USER_ID_LENGTH_MAX: "apps" "presence_user_id_length_max", Default(128), 1..=128, "characters";
        "Pusher's limit";
        "subscription_error, or the sign-in is refused";
    APP_PRESENCE_SNAPSHOT_BYTES_MAX: "apps" "presence_snapshot_bytes_max", Default(MIB), 4 * KIB..=16 * MIB, "bytes";
        "a new member receives the whole list in one frame";
        "subscription_error LimitReached";
    APP_CACHE_TTL_SECS: "apps" "cache_ttl_secs", Default(1800), 1..=86_400, "seconds";
        "Pusher's limit";
        "the event is forgotten: the next subscriber gets cache_miss";
    APP_REPLAY_EVENTS_MAX: "apps" "replay_events_max", Default(100), 1..=10_000, "events of one channel";
        "whoever has missed more is better off asking the application for the state";
        "the oldest is forgotten: whoever has missed it gets replay.gap";
    APP_REPLAY_BYTES_MAX: "apps" "replay_bytes_max", Default(256 * KIB), 4 * KIB..=16 * MIB, "bytes of one channel's events";
        "all of it may go to one client at once; each event counts its frame and 128 bytes";
        "the oldest is forgotten: whoever has missed it gets replay.gap";
    APP_REPLAY_SECS: "apps" "replay_secs", Default(300), 1..=86_400, "seconds";
        "long enough for a lift, a tunnel or a deploy";
        "the event is forgotten, and after the same time a channel that nobody is in: whoever comes back later gets replay.gap";
    APP_WATCHLIST_MAX: "apps" "watchlist_max", Default(100), 1..=1000, "users";
        "Pusher's limit";
        "the first are kept, error frame 4302";
    APP_CHANNELS_PER_CONNECTION_MAX: "apps" "channels_per_connection_max", Default(1000), 1..=10_000, "channels";
        "each subscription holds memory on this node, and whoever has many costs more with each event";
        "subscription_error LimitReached";
    WEBHOOK_TIMEOUT_SECS: "apps.webhooks" "timeout_secs", Default(10), 1..=60, "seconds";
        "an endpoint that hangs must not hold its queue";
        "the attempt counts as failed and is repeated with backoff";
    WEBHOOK_QUEUE_BYTES_MAX: "apps.webhooks" "queue_bytes_max", Default(64 * MIB), 64 * KIB..=16 * GIB, "bytes";
        "an endpoint that is away must not fill the disk";
        "the newest events go to the dead letters";
    WEBHOOK_QUEUE_EVENTS_MAX: "apps.webhooks" "queue_events_max", Default(100_000), 1..=10_000_000, "events";
        "an endpoint that is away must not be buried when it returns";
        "the newest events go to the dead letters";
    WEBHOOK_DEAD_LETTERS_MAX: "apps.webhooks" "dead_letters_max", Default(10_000), 0..=1_000_000, "events";
        "what was given up is kept for the operator to see, not for ever";
        "counted and alarmed";
    GUARD_ALERT_AFTER: "apps.guard" "alert_after", Default(100), 1..=1_000_000, "events that a rule holds up within ten seconds";
        "a repetition now and then is no news, a loop is; a breaker that opens is told at once";
        "log line and webhook `guard_alert`, once until the rule has been quiet for a minute";
    GUARD_WAITING_EVENTS_MAX: "apps.guard" "waiting_events_max", Default(1000), 1..=100_000, "events on each worker";
        "a publisher that floods for long must not fill the memory with what waits";
        "dropped";
    GUARD_WAITING_BYTES_MAX: "apps.guard" "waiting_bytes_max", Default(4 * MIB), 4 * KIB..=GIB, "bytes on each worker";
        "the same: each counts its data, its names and 512 bytes";
        "dropped";
    GUARD_WINDOW_SECS: "apps.guard.dedupe" "window_secs", Default(60), 1..=86_400, "seconds";
        "a job is tried again within seconds; a longer window takes more memory";
        "the next one is published";
    GUARD_EVENTS: "apps.guard.limits" "events", Required, 1..=1_000_000, "events";
        "what is too much, only the app knows";
        "as `on_exceed` says: dropped, deferred, collapsed, or answered 429 with Retry-After";
    GUARD_PER_SECS: "apps.guard.limits" "per_secs", Default(1), 1..=86_400, "seconds";
        "the time of `events`";
        "-";
    GUARD_BURST: "apps.guard.limits" "burst", Derived("events"), 1..=1_000_000, "events at once, after a silence";
        "events come in bunches";
        "as for `events`";
    GUARD_REPEATS: "apps.guard.breakers" "repeats", Off, 1..=1_000_000, "times that the same body comes to a channel";
        "the same again and again is a loop";
        "that body is dropped until the breaker has cooled down; alert `stopped`";
    GUARD_WITHIN_SECS: "apps.guard.breakers" "within_secs", Default(10), 1..=3600, "seconds";
        "the time of `repeats`";
        "the count begins anew";
    GUARD_TIMES: "apps.guard.breakers" "times", Off, 2..=1000, "times an event's average of the last five minutes";
        "an event that suddenly comes much more often is a loop";
        "events of that name are dropped until the breaker has cooled down; alert `stopped`";
    GUARD_FLOOR: "apps.guard.breakers" "floor", Default(1000), 1..=10_000_000, "events in ten seconds";
        "an event that is rare or new may come a few times more often";
        "as for `times`";
    GUARD_COOL_DOWN_SECS: "apps.guard.breakers" "cool_down_secs", Default(60), 1..=86_400, "seconds";
        "somebody has to look, and a loop that is over must not stop what comes after it for long";
        "events pass again; if it goes on, it is stopped again";
    GUARD_MESSAGES: "apps.guard.budgets" "messages", Required, 1..=1_000_000_000_000_000, "messages in Pusher's units, in a day or a month of UTC";
        "what an app may cost, only its owner knows";
        "as `on_exceed` says: told alone, events dropped, or answered 429 with Retry-After; alerts `budget` at 50, 80 and 100 %";
}

/// Those that a reload does not change, because queues and ports are made of them at the start.
pub const CHANGED_BY_RESTART: &[&Limit] = &[
    &WORKERS,
    &PORT,
    &BACKLOG,
    &PERMITS_PER_WORKER,
    &REMEMBERED_BYTES_MAX,
    &REPLAYS_BYTES_MAX,
    &IDEMPOTENCY_WINDOW_SECS,
    &IDEMPOTENCY_KEYS_PER_APP_MAX,
    &IDEMPOTENCY_BYTES_MAX,
    &GUARD_KEYS_MAX,
    &PRESENCE_GRACE_SECS,
    &PONG_TIMEOUT_SECS,
    &INBOX_RETENTION_DAYS,
    &INBOX_TOMBSTONE_DAYS,
    &INBOX_KEY_DAYS,
    &INBOX_DELIVERY_DAYS,
    &INBOX_DEAD_JOB_DAYS,
    &INBOX_CONNECTIONS,
    &INBOX_WRITES_WAITING_MAX,
    &INBOX_READS_WAITING_MAX,
    &INBOX_STREAMS_MAX,
    &INBOX_UNTAKEN_AFTER_SECS,
];

/// Reads numbers of one table of the file, filling in what is not set.
pub(super) struct Numbers<'a> {
    pub(super) path: &'a str,
    pub(super) problems: &'a mut Problems,
}

impl Numbers<'_> {
    /// A limit that always holds.
    pub(super) fn read(&mut self, limit: &Limit, written: &mut Option<u64>) -> u64 {
        let Default(unset) = limit.unset else {
            unreachable!("{} is read as if it had a fixed default", limit.name);
        };
        self.check(limit, *written.get_or_insert(unset))
    }

    /// A limit whose default was computed.
    pub(super) fn read_derived(&mut self, limit: &Limit, written: &mut Option<u64>, computed: u64) -> u64 {
        if let (None, Derived(how)) = (&written, limit.unset) {
            self.problems.origins.record(&join(self.path, limit.name), Origin::Derived(how));
        }
        // Never past the range: what does not fit then is told as the relation that it breaks.
        self.check(limit, *written.get_or_insert(computed.min(*limit.range.end())))
    }

    /// A limit that holds only where it is set.
    pub(super) fn read_optional(&mut self, limit: &Limit, written: Option<u64>) -> Option<u64> {
        written.map(|number| self.check(limit, number))
    }

    /// Tells a number that is out of range, and goes on with the nearest that is not, so that
    /// arithmetic on it cannot overflow.
    fn check(&mut self, limit: &Limit, number: u64) -> u64 {
        let (min, max) = (*limit.range.start(), *limit.range.end());
        let text = if number < min {
            format!("{number} is below the least allowed, {min} {}", limit.unit)
        } else if number > max {
            format!("{number} is above the most allowed, {max} {}", limit.unit)
        } else {
            return number;
        };
        self.problems.at(&join(self.path, limit.name), text);
        number.clamp(min, max)
    }
}

/// A number of bytes or of things, for indexing and allocating.
pub(super) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number of seconds.
pub(super) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Bounds of this node.
#[derive(Clone, Debug)]
pub struct NodeLimits {
    /// WebSocket connections.
    pub connections_max: usize,
    /// Bytes of one request's head.
    pub head_bytes_max: usize,
    /// For a request's head to arrive.
    pub head_timeout: Duration,
    /// Bytes of one WebSocket message from a client.
    pub frame_bytes_max: usize,
    /// Bytes that wait for one slow connection (I5).
    pub send_queue_bytes_max: usize,
    /// Bytes that wait for all of them.
    pub send_queues_bytes_max: usize,
    /// Pieces of work that one worker may have under way.
    pub permits_per_worker: usize,
    /// Bytes of one HTTP request's body.
    pub http_body_bytes_max: usize,
    /// How long a kept-alive HTTP connection may be silent.
    pub http_idle_timeout: Duration,
    /// In which an HTTP request is read and answered.
    pub http_request_timeout: Duration,
    /// HTTP connections per worker.
    pub http_connections_max: usize,
    /// Bytes of requests' bodies and of answers.
    pub http_bytes_max: usize,
    /// Bytes of events remembered for cache channels.
    pub remembered_bytes_max: usize,
    /// Bytes of events kept for clients who come back.
    pub replays_bytes_max: usize,
    /// How long the answer to a request with an `Idempotency-Key` is repeated.
    pub idempotency_window: Duration,
    /// Keys of one app's requests.
    pub idempotency_keys_per_app_max: usize,
    /// Bytes of keys and answers.
    pub idempotency_bytes_max: usize,
    /// What the guard may remember something of.
    pub guard_keys_max: usize,
    /// Channel prefixes that have rows of their own in an app's hour.
    pub usage_prefixes_max: usize,
    /// Event names that have.
    pub usage_events_max: usize,
    /// Hours for which usage is kept.
    pub usage_hours_max: u64,
    /// How long a vanished member still counts as present.
    pub presence_grace: Duration,
    /// For a client to answer a ping.
    pub pong_timeout: Duration,
    /// For a client to answer a close.
    pub closing_timeout: Duration,
}

/// Descriptors kept for what is neither a WebSocket nor an HTTP connection: files, listeners,
/// pollers, webhook deliveries.
pub const DESCRIPTORS_RESERVED: u64 = 128;

impl NodeLimits {
    pub(super) fn read(
        table: &mut LimitsTable,
        workers: usize,
        machine: &Machine,
        sizes: &Sizes,
        problems: &mut Problems,
    ) -> Self {
        let descriptors = machine.descriptors;
        let mut numbers = Numbers { path: "limits", problems };
        let http_connections_max = numbers.read(&HTTP_CONNECTIONS_MAX, &mut table.http_connections_max);
        let reserved = (workers as u64).saturating_mul(http_connections_max).saturating_add(DESCRIPTORS_RESERVED);
        let available = descriptors.saturating_sub(reserved);
        let connections_max = numbers.read_derived(&CONNECTIONS_MAX, &mut table.connections_max, available.max(1));
        if connections_max > available {
            numbers.problems.at(
                "limits.connections_max",
                format!(
                    "{connections_max}, with what else the server opens, need {} open files, and \
                     this process may have {descriptors}: raise LimitNOFILE (systemd) or --ulimit \
                     nofile (containers), or lower this or limits.http_connections_max",
                    connections_max.saturating_add(reserved),
                ),
            );
        }
        let send_queue_bytes_max = numbers.read_derived(
            &SEND_QUEUE_BYTES_MAX,
            &mut table.send_queue_bytes_max,
            sizes.to_client.bytes.max(MIB),
        );
        let one_each = send_queue_bytes_max.saturating_mul(workers as u64);
        let send_queues_bytes_max = numbers.read_derived(
            &SEND_QUEUES_BYTES_MAX,
            &mut table.send_queues_bytes_max,
            one_each.max(machine.memory / 4),
        );
        if send_queues_bytes_max < one_each {
            numbers.problems.at(
                "limits.send_queues_bytes_max",
                format!(
                    "{send_queues_bytes_max} is too small: one connection of each of {workers} workers may take {one_each} \
                     bytes; raise it, or lower limits.send_queue_bytes_max"
                ),
            );
        }
        let http_body_bytes_max = numbers.read_derived(
            &HTTP_BODY_BYTES_MAX,
            &mut table.http_body_bytes_max,
            sizes.request.bytes.max(256 * KIB),
        );
        let body_and_answer_each = http_body_bytes_max.saturating_mul(2).saturating_mul(workers as u64);
        let limits = Self {
            connections_max: count(connections_max),
            head_bytes_max: count(numbers.read(&HEAD_BYTES_MAX, &mut table.head_bytes_max)),
            head_timeout: seconds(numbers.read(&HEAD_TIMEOUT_SECS, &mut table.head_timeout_secs)),
            frame_bytes_max: count(numbers.read_derived(
                &FRAME_BYTES_MAX,
                &mut table.frame_bytes_max,
                sizes.from_client.bytes.max(64 * KIB),
            )),
            send_queue_bytes_max: count(send_queue_bytes_max),
            send_queues_bytes_max: count(send_queues_bytes_max),
            permits_per_worker: count(numbers.read(&PERMITS_PER_WORKER, &mut table.permits_per_worker)),
            http_body_bytes_max: count(http_body_bytes_max),
            http_idle_timeout: seconds(numbers.read(&HTTP_IDLE_TIMEOUT_SECS, &mut table.http_idle_timeout_secs)),
            http_request_timeout: seconds(
                numbers.read(&HTTP_REQUEST_TIMEOUT_SECS, &mut table.http_request_timeout_secs),
            ),
            http_connections_max: count(http_connections_max),
            http_bytes_max: count(numbers.read_derived(
                &HTTP_BYTES_MAX,
                &mut table.http_bytes_max,
                body_and_answer_each.max(machine.memory / 8),
            )),
            remembered_bytes_max: count(numbers.read(&REMEMBERED_BYTES_MAX, &mut table.remembered_bytes_max)),
            replays_bytes_max: count(numbers.read(&REPLAYS_BYTES_MAX, &mut table.replays_bytes_max)),
            idempotency_window: seconds(numbers.read(&IDEMPOTENCY_WINDOW_SECS, &mut table.idempotency_window_secs)),
            idempotency_keys_per_app_max: count(
                numbers.read(&IDEMPOTENCY_KEYS_PER_APP_MAX, &mut table.idempotency_keys_per_app_max),
            ),
            idempotency_bytes_max: count(numbers.read(&IDEMPOTENCY_BYTES_MAX, &mut table.idempotency_bytes_max)),
            guard_keys_max: count(numbers.read(&GUARD_KEYS_MAX, &mut table.guard_keys_max)),
            usage_prefixes_max: count(numbers.read(&USAGE_PREFIXES_MAX, &mut table.usage_prefixes_max)),
            usage_events_max: count(numbers.read(&USAGE_EVENTS_MAX, &mut table.usage_events_max)),
            usage_hours_max: numbers.read(&USAGE_HOURS_MAX, &mut table.usage_hours_max),
            presence_grace: seconds(numbers.read(&PRESENCE_GRACE_SECS, &mut table.presence_grace_secs)),
            pong_timeout: seconds(numbers.read(&PONG_TIMEOUT_SECS, &mut table.pong_timeout_secs)),
            closing_timeout: seconds(numbers.read(&CLOSING_TIMEOUT_SECS, &mut table.closing_timeout_secs)),
        };
        for (name, set, needed) in [
            ("frame_bytes_max", limits.frame_bytes_max, &sizes.from_client),
            ("send_queue_bytes_max", limits.send_queue_bytes_max, &sizes.to_client),
            ("http_body_bytes_max", limits.http_body_bytes_max, &sizes.request),
        ] {
            // What the apps were meant to allow is not known where something is not what was written.
            if set < count(needed.bytes) && !problems.is_any_spoiled() {
                problems.at(
                    &join("limits", name),
                    format!(
                        "{set} is too small: {} may take {} bytes; raise it, or lower what the app \
                         allows",
                        needed.what, needed.bytes
                    ),
                );
            }
        }
        limits
    }
}

/// The table as Markdown: `docs/limits.md`.
#[must_use]
pub fn to_markdown() -> String {
    let mut text = String::from(
        "# Limits\n\n\
         Every queue, map, loop and wait of the server has a bound, and every bound a behaviour. \
         This page is\nwritten from the table that the server itself uses \
         (`crates/campanile/src/config/limits.rs`); a test\ncompares the two.\n\n\
         Each limit is set in the configuration file under the table that heads its section, or by \
         the\nenvironment: `limits.frame_bytes_max` is `CAMPANILE__LIMITS__FRAME_BYTES_MAX`, and\n\
         `apps[0].presence_members_max` is `CAMPANILE__APPS__0__PRESENCE_MEMBERS_MAX`. A value \
         outside its\nrange stops the start. Defaults per app are Pusher's.\n\n",
    );
    let names = CHANGED_BY_RESTART.iter().map(|limit| format!("`{}`", join(limit.table, limit.name)));
    let _infallible = writeln!(
        text,
        "A [reload](operating.md#reload) changes all but these, which take a restart:\n{}.\nHTTP connections that are open \
         keep the limits that they began with, except those of a\nrequest's body and answer.",
        names.collect::<Vec<_>>().join(", ")
    );
    let mut table = None;
    for limit in LIMITS {
        if table != Some(limit.table) {
            table = Some(limit.table);
            let heading = match limit.table {
                "" => "The top level".to_owned(),
                "plans" => "`[[plans]]`: each plan by itself".to_owned(),
                "apps" => "`[[apps]]`: each app by itself".to_owned(),
                "apps.webhooks" => "`[[apps.webhooks]]`: each endpoint by itself".to_owned(),
                "apps.guard" => "`[apps.guard]`: each app by itself".to_owned(),
                table if table.starts_with("apps.guard.") => format!("`[[{table}]]`: each rule by itself"),
                table => format!("`[{table}]`"),
            };
            let _infallible = write!(
                text,
                "\n## {heading}\n\n\
                 | name | default | range | unit | reason | at the bound |\n\
                 | --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let unset = match limit.unset {
            Default(number) => number.to_string(),
            Derived(how) => format!("derived: {how}"),
            Required => "must be set".to_owned(),
            Off => "no limit".to_owned(),
        };
        let _infallible = writeln!(
            text,
            "| `{}` | {unset} | {} to {} | {} | {} | {} |",
            limit.name,
            limit.range.start(),
            limit.range.end(),
            limit.unit,
            limit.reason,
            limit.at_bound
        );
    }
    let _infallible = write!(
        text,
        "\n## Not settable\n\n\
         | what | bound | at the bound |\n\
         | --- | --- | --- |\n\
         | the configuration file | {FILE_BYTES_MAX} bytes | the start is refused |\n\
         | a file that holds a secret | {SECRET_FILE_BYTES_MAX} bytes | the start is refused |\n\
         | a file that holds a certificate or its key | {TLS_FILE_BYTES_MAX} bytes | the start is refused; at a \
         reload, the certificate stays as it was |\n\
         | an app's id, a key, a secret | {CREDENTIAL_LENGTH_MAX} characters | the start is refused |\n\
         | letters of the inbox under way to the workers | {INBOX_PUSHES_MAX} | changes wait in the store, where each \
         user's become one |\n\
         | connections that wait for their `inbox.state` | {INBOX_ENTRIES_MAX}, {INBOX_ENTRIES_AT_ONCE} at a time | it is \
         not sent, and counted |\n\
         | announcements of one app that wait to be told one by one | {INBOX_ANNOUNCEMENTS_WAITING_MAX} | they are told as \
         one, with `reset` |\n\
         | events that wait for one SSE stream | {INBOX_STREAM_EVENTS_MAX} | its connection is closed |\n\
         | SSE streams of one worker | half of `limits.http_connections_max` | answered 503 with Retry-After |\n\
         | an SSE stream for which nobody opens a session | {} s | ended |\n\
         | requests that hold a permit while the store writes the rows of their events | a quarter of \
         `limits.permits_per_worker` | as where the store does not answer: 503, or pushed alone |\n\
         | a browser's session | {SESSION_SECS} s, and its socket's life | answered 401 |\n\
         | the id of a user for whom a session is opened | {SESSION_USER_LENGTH_MAX} characters | answered 401 |\n\
         | a body that a browser sends to /inbox | {INBOX_BROWSER_BODY_BYTES_MAX} bytes | answered 413 and closed |\n\
         | a JSON Web Token | {JWT_BYTES_MAX} bytes | answered 401 |\n\
         | a server token | {SERVER_TOKEN_LENGTH_MIN} to {SERVER_TOKEN_LENGTH_MAX} characters | the start is refused |\n\
         | the path of a Unix socket | {UNIX_SOCKET_PATH_BYTES_MAX} bytes | the start is refused |\n\
         | requests under way on one HTTP/2 connection | {HTTP2_STREAMS_MAX} | the client waits until one is \
         answered |\n\
         | HTTP/2 streams that their client resets before they were looked at | {HTTP2_RESETS_MAX} | closed with \
         ENHANCE_YOUR_CALM |\n\
         | HTTP/2 streams of one connection that break the rules | {HTTP2_ERRORS_MAX} | closed with \
         ENHANCE_YOUR_CALM |\n\
         | HTTP/2 frames from one client, but for those with {HTTP2_DATA_BYTES_FREE} bytes of a body or more | \
         {HTTP2_FRAMES_BURST} at once, {HTTP2_FRAMES_PER_SEC} a second, and {HTTP2_FRAMES_PER_ANSWER_FRAME} more for \
         each frame of an answer | closed with ENHANCE_YOUR_CALM |\n\
         | channels that a connection leaves and then enters others | {MOVES_AT_ONCE_MAX} at once, {MOVES_PER_SEC} a \
         second | subscription_error LimitReached |\n\
         | changes of a channel's number of subscribers that are announced | {COUNTS_PER_SEC_MAX} a second, and one in \
         {COUNT_EVERY_SECS} seconds above {COUNT_AT_ONCE_MAX} subscribers | the last of the others follows when that is over \
         |\n\
         | an `Idempotency-Key` | {KEY_LENGTH_MAX} characters | answered 400 |\n\
         | waiting until another request has published, or not, what this one wants to publish | \
         `limits.http_request_timeout_secs` | answered 503 with Retry-After |\n\
         | channels that a worker lists at once for `GET /channels` | {CHANNELS_AT_ONCE} | goes on after other work |\n\
         | writing to an HTTP client that takes nothing | `limits.http_request_timeout_secs` | closed |\n\
         | an answer over HTTP that its client has asked for and does not take | \
         `limits.http_request_timeout_secs` for each {HTTP_ANSWER_BYTES_PER_TIMEOUT} bytes | closed |\n\
         | an HTTP client that has been told the end and stays | `limits.closing_timeout_secs` | closed |\n\
         | what compressed messages of one read inflate to together | `limits.frame_bytes_max` and \
         {INFLATED_BYTES_PER_READ_MAX} bytes | closed with 1009 |\n\
         | blocks of one compressed message that are marked as its last | {LAST_BLOCKS_MAX} | closed with 1007 |\n\
         | encrypted bytes held back for one connection | 64 KiB, counted in `limits.send_queue_bytes_max` | as \
         there |\n\
         | requests under way at the end of a drain's waves | `limits.http_request_timeout_secs` | closed |\n\
         | webhook events that wait for an endpoint's file | {INTAKE_NOTICES_MAX}, or {INTAKE_BYTES_MAX} bytes | \
         lost, counted and alarmed |\n\
         | webhook events that take no signature of the application, and all `subscription_count` | half of the former, and of the endpoint's \
         `queue_events_max`, `queue_bytes_max` and `dead_letters_max` | as the others at the whole |\n\
         | rows of one app, each a channel prefix with an event name, that a worker counts in half a second | {ROWS_MAX} | the \
         further ones are counted together as (other) |\n\
         | event names and channel prefixes that strangers choose: of client events, and of public channels where only \
         `subscription_count` was sent | half of `limits.usage_events_max` and of `limits.usage_prefixes_max` | as the \
         others at the whole |\n\
         | events that wait to be looked into for their largest fields | {USAGE_SAMPLES_MAX}, of {SAMPLE_BYTES_MIN} to \
         {SAMPLE_BYTES_MAX} bytes each | not looked into |\n\
         | fields of an event that are looked at, and how deep they are inside each other | {FIELDS_LOOKED_AT_MAX}, \
         {FIELDS_DEPTH_MAX} deep; {FIELDS_TOLD_MAX} are told | what is left is counted as the field that it is in |\n\
         | subscriptions by which the wait for an authorization is measured | {WAIT_MILLIS_MAX} ms after the connection | not \
         counted |\n\
         | hours of an app that wait in memory where the disk takes none | {USAGE_HOURS_UNWRITTEN_MAX} | the oldest is lost, \
         and the log says so |\n\
         | questions about usage that wait | {USAGE_QUESTIONS_MAX} | answered 503 with Retry-After |\n\
         | rows that a question about usage may add up | {USAGE_ROWS_READ_MAX} | answered 400 |\n\
         | rows of an answer about usage | {USAGE_ROWS_TOLD_MAX} | answered 400 |\n\
         | an app's `usage_prefixes` | {USAGE_PREFIXES_LISTED_MAX} | the start is refused |\n\
         | a plan's name, and a currency | {PLAN_NAME_LENGTH_MAX} characters | the start is refused |\n\
         | descriptors kept back from `limits.connections_max` | {DESCRIPTORS_RESERVED}, and \
         `limits.http_connections_max` for each worker | a larger `connections_max` is refused |\n\
         | sockets, half-open ones among them | `limits.connections_max`, `limits.http_connections_max` \
         for each worker, and {} | whoever has been half open for longest is \
         closed, or else whoever has been told the end longest ago; if there is none, further ones wait in the backlog |\n\n\
         ## Relations\n\n\
         Three limits of the node must hold what its apps allow; their defaults grow with it, and a \
         smaller\nvalue is refused:\n\n\
         - `limits.frame_bytes_max`: the largest message that a client may send, be it a client \
         event, a\n  member's description or a sign-in with its watchlist. Text inside JSON inside \
         JSON doubles at\n  worst where it is ordinary text, and the names around it take up to 4096 \
         bytes.\n\
         - `limits.send_queue_bytes_max`: the largest single frame that a client may receive, be it \
         an event\n  or the list of a presence channel, and all that a channel with replay keeps.\n\
         - `limits.http_body_bytes_max`: the largest legal batch.\n",
        INBOX_SESSION_WAIT.as_secs(),
        DESCRIPTORS_RESERVED / 2
    );
    text
}
