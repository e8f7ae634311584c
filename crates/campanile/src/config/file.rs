//! The configuration file exactly as it is written.
//!
//! Owns the names, the nesting and the types of every setting; from these declarations come the
//! unknown-key check, the environment's names and the output of `campanile check`. Never judges a
//! value: that is done by the files per subject. The invariant: every setting is declared here once
//! and nowhere else. Next: `tree.rs` reads a document against these shapes, `mod.rs` turns the
//! result into what the server uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// What may stand at one place of the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// A whole number, never negative.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An array, each item of one shape.
    List(&'static Shape),
    /// A table whose keys are the operator's own and whose values are strings.
    Map,
    /// A table with these keys and no others.
    Table(&'static [Field]),
}

impl Shape {
    /// The shape's name in a sentence.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Shape::Text => "a string",
            Shape::Integer => "a whole number",
            Shape::Boolean => "true or false",
            Shape::List(_) => "an array",
            Shape::Map | Shape::Table(_) => "a table",
        }
    }
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

/// A type that knows its shape in the file.
pub(super) trait Shaped {
    const SHAPE: Shape;
}

impl Shaped for String {
    const SHAPE: Shape = Shape::Text;
}

impl Shaped for Secret {
    const SHAPE: Shape = Shape::Text;
}

impl Shaped for u64 {
    const SHAPE: Shape = Shape::Integer;
}

impl Shaped for bool {
    const SHAPE: Shape = Shape::Boolean;
}

impl Shaped for BTreeMap<String, Secret> {
    const SHAPE: Shape = Shape::Map;
}

impl<T: Shaped> Shaped for Option<T> {
    const SHAPE: Shape = T::SHAPE;
}

impl<T: Shaped> Shaped for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);
}

/// Declares tables of the file: the struct that serde fills and the shape that checks it, from the
/// same lines, so that the two cannot drift apart.
macro_rules! tables {
    ($(
        $(#[$about_table:meta])*
        $table:ident {
            $($(#[$about_field:meta])* $field:ident: $kind:ty,)*
        }
    )*) => {$(
        $(#[$about_table])*
        #[derive(Clone, Debug, Default, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $table {
            $($(#[$about_field])* pub(super) $field: $kind,)*
        }

        impl Shaped for $table {
            const SHAPE: Shape = Shape::Table(&[
                $(Field { name: stringify!($field), shape: <$kind as Shaped>::SHAPE },)*
            ]);
        }
    )*};
}

tables! {
    /// The whole file.
    File {
        /// Directory for what must survive a restart; one process locks it.
        state_dir: Option<String>,
        /// Threads that own sockets; the default is what CPU affinity and cgroup quota give.
        workers: Option<u64>,
        /// Submit a tick's writes through io_uring where the kernel allows it.
        io_uring: Option<bool>,
        /// Speak permessage-deflate with WebSocket clients that offer it.
        compression: Option<bool>,
        /// Where to accept connections.
        listen: ListenTable,
        /// Certificate and key; without them connections are plain.
        tls: Option<TlsTable>,
        /// Bounds of this node.
        limits: LimitsTable,
        /// How to leave.
        drain: DrainTable,
        /// What to log, and how.
        log: LogTable,
        /// Which web pages may call the HTTP API.
        cors: CorsTable,
        /// Where notifications are kept; without it there is no inbox.
        inbox: Option<InboxTable>,
        /// What a service would ask for.
        plans: Vec<PlanTable>,
        /// The tenants.
        apps: Vec<AppTable>,
    }

    /// `[inbox]`.
    InboxTable {
        /// `postgres://`; without it, a SQLite file in `state_dir`.
        url: Option<Secret>,
        /// A file that holds the URL.
        url_file: Option<String>,
        /// When SQLite says that something is written: `full` or `normal`.
        synchronous: Option<String>,
        /// May a start change the tables of an older version?
        migrate: Option<bool>,
        /// Days for which a notification is kept.
        retention_days: Option<u64>,
        /// Days for which it is remembered that one has gone.
        tombstone_days: Option<u64>,
        /// Days for which a notification's key is remembered.
        key_days: Option<u64>,
        /// Days for which it is remembered what was sent beyond the socket, suppressed, or failed.
        delivery_days: Option<u64>,
        /// Days for which a notification that could not be stored is kept for the operator.
        dead_job_days: Option<u64>,
        /// Connections to the database; with SQLite, those that read.
        connections: Option<u64>,
        /// Calls that may wait to write.
        writes_waiting_max: Option<u64>,
        /// Calls that may wait to read.
        reads_waiting_max: Option<u64>,
        /// Browsers that may be fed over HTTP.
        streams_max: Option<u64>,
        /// Seconds for which a notification waits to be taken before it goes by mail, push or webhook.
        untaken_after_secs: Option<u64>,
        /// Attempts at each.
        attempts_max: Option<u64>,
        /// Where browsers reach this server.
        public_url: Option<String>,
        /// Mail.
        mail: Option<MailTable>,
        /// Pushes to browsers.
        web_push: Option<WebPushTable>,
    }

    /// `[inbox.mail]`.
    MailTable {
        /// The relay's name.
        host: Option<String>,
        /// Its port; the default is that of the security.
        port: Option<u64>,
        /// `starttls`, `tls` or `none`.
        security: Option<String>,
        /// May it go over a network in clear?
        unencrypted: Option<bool>,
        /// As whom we send.
        username: Option<String>,
        /// What proves it.
        password: Option<Secret>,
        /// A file that holds the password.
        password_file: Option<String>,
        /// Certificates that are believed besides the system's: PEM.
        ca_file: Option<String>,
        /// How we introduce ourselves; our address, if nothing is said.
        hello: Option<String>,
        /// Who writes.
        from: Option<String>,
        /// Who gets answers, if somebody else.
        reply_to: Option<String>,
        /// A directory with templates.
        templates: Option<String>,
        /// Signs the links that end mails; several servers of one store share it.
        unsubscribe_secret: Option<Secret>,
        /// A file that holds it.
        unsubscribe_secret_file: Option<String>,
        /// Seconds for the relay.
        timeout_secs: Option<u64>,
    }

    /// `[inbox.web_push]`.
    WebPushTable {
        /// Whom push services may write to: `mailto:` or `https:`.
        contact: Option<String>,
        /// Our public key, if it was not made here.
        public_key: Option<String>,
        /// The private one.
        private_key: Option<Secret>,
        /// A file that holds the private one.
        private_key_file: Option<String>,
        /// Seconds for which push services keep what they cannot deliver.
        ttl_secs: Option<u64>,
        /// `very-low`, `low`, `normal` or `high`.
        urgency: Option<String>,
        /// May endpoints be in private networks?
        private_endpoints: Option<bool>,
        /// Certificates that are believed besides the system's, for push services there: PEM.
        ca_file: Option<String>,
        /// Seconds for a push service to answer.
        timeout_secs: Option<u64>,
    }

    /// `[listen]`.
    ListenTable {
        /// IP address, or `localhost`.
        host: Option<String>,
        /// TCP port; 0 takes a free one.
        port: Option<u64>,
        /// Path in front of `/app` and `/apps`, as in `/ws`.
        path_prefix: Option<String>,
        /// A Unix socket to accept on, too.
        unix_socket: Option<String>,
        /// Networks whose `X-Forwarded-For` is believed; `unix` for the Unix socket.
        trusted_proxies: Vec<String>,
        /// Connections that the kernel holds until they are accepted.
        backlog: Option<u64>,
    }

    /// `[tls]`.
    TlsTable {
        /// PEM file with the certificate and its chain.
        cert_file: Option<String>,
        /// PEM file with the private key.
        key_file: Option<String>,
    }

    /// `[limits]`: see `docs/limits.md` for each.
    LimitsTable {
        /// WebSocket connections on this node.
        connections_max: Option<u64>,
        /// Bytes of one request's head.
        head_bytes_max: Option<u64>,
        /// Seconds for a request's head to arrive.
        head_timeout_secs: Option<u64>,
        /// Bytes of one WebSocket message from a client.
        frame_bytes_max: Option<u64>,
        /// Bytes that wait for one slow connection.
        send_queue_bytes_max: Option<u64>,
        send_queues_bytes_max: Option<u64>,
        /// Pieces of work that one worker may have under way.
        permits_per_worker: Option<u64>,
        /// Bytes of one HTTP request's body.
        http_body_bytes_max: Option<u64>,
        /// Seconds that a kept-alive HTTP connection may be silent.
        http_idle_timeout_secs: Option<u64>,
        /// Seconds in which an HTTP request is read and answered.
        http_request_timeout_secs: Option<u64>,
        /// HTTP connections per worker.
        http_connections_max: Option<u64>,
        /// Bytes of requests' bodies and of answers, together.
        http_bytes_max: Option<u64>,
        /// Bytes of events remembered for cache channels.
        remembered_bytes_max: Option<u64>,
        /// Bytes of events kept for clients who come back.
        replays_bytes_max: Option<u64>,
        /// Seconds for which the answer to a request with an `Idempotency-Key` is repeated.
        idempotency_window_secs: Option<u64>,
        /// Keys of one app's requests.
        idempotency_keys_per_app_max: Option<u64>,
        /// Bytes of keys and answers.
        idempotency_bytes_max: Option<u64>,
        /// What the guard may remember something of.
        guard_keys_max: Option<u64>,
        /// Channel prefixes that have rows of their own in an app's hour.
        usage_prefixes_max: Option<u64>,
        /// Event names that have.
        usage_events_max: Option<u64>,
        /// Hours for which usage is kept.
        usage_hours_max: Option<u64>,
        /// Seconds that a vanished member is still counted as present.
        presence_grace_secs: Option<u64>,
        /// Seconds for a client to answer a ping.
        pong_timeout_secs: Option<u64>,
        /// Seconds for a client to answer a close.
        closing_timeout_secs: Option<u64>,
    }

    /// `[drain]`.
    DrainTable {
        /// Seconds over which clients are told to reconnect elsewhere.
        wave_secs: Option<u64>,
        /// Seconds to deliver the webhooks that are still queued.
        webhooks_flush_secs: Option<u64>,
        /// Seconds between reporting not ready and refusing connections.
        ready_delay_secs: Option<u64>,
    }

    /// `[log]`.
    LogTable {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: Option<String>,
        /// `text` or `json`.
        format: Option<String>,
    }

    /// `[cors]`.
    CorsTable {
        /// Origins that a browser may call the HTTP API from.
        allowed_origins: Vec<String>,
    }

    /// `[[plans]]`.
    PlanTable {
        /// For people.
        name: Option<String>,
        /// A month, in hundredths of the currency.
        price_cents: Option<u64>,
        /// As in `USD`.
        currency: Option<String>,
        /// Messages that are included.
        messages: Option<u64>,
        /// In a `day` or a `month`.
        per: Option<String>,
        /// Connections at once.
        connections: Option<u64>,
    }

    /// `[[apps]]`: one tenant.
    AppTable {
        /// Names the app in `/apps/{id}`.
        id: Option<String>,
        /// For people.
        name: Option<String>,
        /// A disabled app refuses every connection with 4003.
        enabled: Option<bool>,
        /// May subscribers send `client-` events?
        client_events: Option<bool>,
        /// May connections sign in as a user?
        user_authentication: Option<bool>,
        /// Are signed-in users told when those they watch come and go?
        watchlists: Option<bool>,
        /// Are subscribers told how many they are?
        subscription_counts: Option<bool>,
        /// Origins that browsers may connect from; empty means any.
        allowed_origins: Vec<String>,
        /// Seconds in which a connection must sign in or join a private or presence channel.
        authorized_connections_timeout_secs: Option<u64>,
        /// Seconds of silence after which either side pings.
        activity_timeout_secs: Option<u64>,
        /// Connections of this app on this node.
        connections_max: Option<u64>,
        /// Events that the app's servers may publish per second.
        backend_events_per_sec: Option<u64>,
        /// Client events that one connection may send per second.
        client_events_per_sec: Option<u64>,
        /// Characters of a channel's name.
        channel_name_length_max: Option<u64>,
        /// Characters of an event's name.
        event_name_length_max: Option<u64>,
        /// Bytes of a published event's data.
        event_data_bytes_max: Option<u64>,
        /// Bytes of a client event's data.
        client_event_bytes_max: Option<u64>,
        /// Channels that one event may be published to.
        channels_per_event_max: Option<u64>,
        /// Events of one batch.
        batch_events_max: Option<u64>,
        /// Users in one presence channel.
        presence_members_max: Option<u64>,
        /// Bytes of what a presence channel knows of one user.
        presence_member_bytes_max: Option<u64>,
        /// Characters of a user's id.
        presence_user_id_length_max: Option<u64>,
        /// Bytes of the list that a new member receives.
        presence_snapshot_bytes_max: Option<u64>,
        /// Seconds that a cache channel remembers its last event.
        cache_ttl_secs: Option<u64>,
        /// Private and presence channels that send clients who come back what they have missed.
        replay_channels: Vec<String>,
        /// Events that each of them keeps.
        replay_events_max: Option<u64>,
        /// Bytes of these events.
        replay_bytes_max: Option<u64>,
        /// Seconds for which they are kept.
        replay_secs: Option<u64>,
        /// Beginnings of channel names that are counted together.
        usage_prefixes: Vec<String>,
        /// Users that one user may watch.
        watchlist_max: Option<u64>,
        /// Channels that one connection may subscribe to.
        channels_per_connection_max: Option<u64>,
        /// What clients and servers identify themselves with; several may be active.
        keys: Vec<KeyTable>,
        /// Where to report what happens.
        webhooks: Vec<WebhookTable>,
        /// What its servers may identify themselves with instead of a signature.
        server_tokens: Vec<ServerTokenTable>,
        /// Its users' inboxes.
        inbox: Option<AppInboxTable>,
        /// What holds its publishers up when they go wrong.
        guard: GuardTable,
    }

    /// `[[apps.server_tokens]]`.
    ServerTokenTable {
        /// At least 32 characters.
        token: Option<Secret>,
        /// A file that holds the token.
        token_file: Option<String>,
    }

    /// `[apps.inbox]`.
    AppInboxTable {
        /// Where each user's inbox is pushed; `{user}` stands for the user's id.
        channels: Vec<String>,
        /// Whose signature opens the inbox to a browser, in the same form.
        identity: Vec<String>,
        /// Which events become rows.
        capture: Vec<CaptureTable>,
        /// What the app's mails say of it; without it, it sends none.
        mail: Option<AppMailTable>,
        /// Are its users' browsers pushed to?
        web_push: Option<bool>,
    }

    /// `[apps.inbox.mail]`.
    AppMailTable {
        /// Who writes.
        from: Option<String>,
        /// Who gets answers.
        reply_to: Option<String>,
        /// What stands before links that are paths.
        link_base: Option<String>,
    }

    /// `[[apps.inbox.capture]]`.
    CaptureTable {
        /// On which channels; `{user}` stands for the user's id.
        channel: Option<String>,
        /// Which events; the default is Laravel's notifications.
        event: Option<String>,
        /// Where the id is, a UUID: a JSON pointer into the data.
        id: Option<String>,
        /// Where the kind is.
        kind: Option<String>,
        /// Where the category is.
        category: Option<String>,
        /// Where the title is.
        title: Option<String>,
        /// Where the text is.
        body: Option<String>,
        /// Where the address is that it leads to.
        action_url: Option<String>,
        /// `refuse` or `push`.
        on_store_error: Option<String>,
    }

    /// `[[apps.keys]]`.
    KeyTable {
        /// Public.
        key: Option<String>,
        /// Signs; never public.
        secret: Option<Secret>,
        /// A file that holds the secret.
        secret_file: Option<String>,
        /// A disabled key is refused like an unknown one.
        enabled: Option<bool>,
    }

    /// `[[apps.webhooks]]`.
    WebhookTable {
        /// `http://` or `https://`.
        url: Option<String>,
        /// Which events; the default is Pusher's seven.
        events: Option<Vec<String>>,
        /// Only channels whose name begins so.
        channel_prefix: Option<String>,
        /// Several events in one request?
        batch: Option<bool>,
        /// Add the socket id to events about members?
        socket_id: Option<bool>,
        /// Seconds for the endpoint to answer.
        timeout_secs: Option<u64>,
        /// Bytes that wait for the endpoint.
        queue_bytes_max: Option<u64>,
        /// Events that wait for the endpoint.
        queue_events_max: Option<u64>,
        /// Events kept after their delivery was given up.
        dead_letters_max: Option<u64>,
        /// Headers to add to each request.
        headers: Option<BTreeMap<String, Secret>>,
    }

    /// `[apps.guard]`.
    GuardTable {
        /// Drop Laravel's broadcast notifications that were published before?
        laravel_notifications: Option<bool>,
        /// Events that a rule holds up within ten seconds before anybody is told.
        alert_after: Option<u64>,
        /// Events that may wait on one worker.
        waiting_events_max: Option<u64>,
        /// Bytes that may.
        waiting_bytes_max: Option<u64>,
        /// Against duplicates.
        dedupe: Vec<DedupeTable>,
        /// Against floods.
        limits: Vec<RateTable>,
        /// Against loops.
        breakers: Vec<BreakerTable>,
        /// Against bills.
        budgets: Vec<BudgetTable>,
    }

    /// `[[apps.guard.dedupe]]`.
    DedupeTable {
        /// Which events: a name, in which one `*` may stand for anything.
        event: Option<String>,
        /// On which channels, in the same form.
        channel: Option<String>,
        /// What tells events apart: a JSON pointer into their data.
        key: Option<String>,
        /// Or all of it: `body`.
        hash: Option<String>,
        /// `channel` or `app`.
        scope: Option<String>,
        /// Seconds for which an event that was published is remembered.
        window_secs: Option<u64>,
    }

    /// `[[apps.guard.limits]]`.
    RateTable {
        /// Which events.
        event: Option<String>,
        /// On which channels; `{user}` stands for a user's id.
        channel: Option<String>,
        /// Who has a bucket: each `event`, `channel` or `user`, or the `app`.
        per: Option<String>,
        /// Events that may pass.
        events: Option<u64>,
        /// In so many seconds.
        per_secs: Option<u64>,
        /// At once, after a silence.
        burst: Option<u64>,
        /// `drop`, `defer`, `collapse` or `refuse`.
        on_exceed: Option<String>,
    }

    /// `[[apps.guard.budgets]]`.
    BudgetTable {
        /// `day` or `month`, of UTC.
        per: Option<String>,
        /// Messages that may be used in one, as Pusher counts them.
        messages: Option<u64>,
        /// `warn`, `drop` or `refuse`.
        on_exceed: Option<String>,
    }

    /// `[[apps.guard.breakers]]`.
    BreakerTable {
        /// Which events.
        event: Option<String>,
        /// On which channels.
        channel: Option<String>,
        /// How often the same body may come to a channel.
        repeats: Option<u64>,
        /// Within so many seconds.
        within_secs: Option<u64>,
        /// Or: how many times its average an event's name may come.
        times: Option<u64>,
        /// But always so often in ten seconds.
        floor: Option<u64>,
        /// Seconds for which nothing passes.
        cool_down_secs: Option<u64>,
    }
}
