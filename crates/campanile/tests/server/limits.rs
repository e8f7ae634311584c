//! Each limit at its bound and one past it, on the wire; and where every limit is tested.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{
    Client, Frame, Opening, SOON, in_string, read_answer, signed_request, start, until, with_header, within,
};

/// Where each limit is tested at its bound and one past it: limit, file under `crates/`, test. A limit without a line,
/// or a line whose test is not there, fails.
const TESTED: &[(&str, &str, &str)] = &[
    ("workers", CROWDS, "connections_are_spread_over_all_workers"),
    ("listen.port", HERE, "a_port_that_is_taken_stops_the_start_and_zero_takes_a_free_one"),
    ("listen.backlog", "campanile/src/server.rs", "the_kernel_holds_as_many_connections_as_the_backlog"),
    ("limits.connections_max", HERE, "the_node_takes_as_many_connections_as_it_may_and_tells_the_next_to_wait"),
    ("limits.head_bytes_max", HERE, "a_head_may_be_as_long_as_the_limit_and_no_longer"),
    ("limits.head_timeout_secs", HERE, "a_head_that_does_not_end_is_not_waited_for"),
    ("limits.frame_bytes_max", HERE, "a_message_may_be_as_long_as_the_limit_and_no_longer"),
    ("limits.send_queue_bytes_max", "campanile/src/socket.rs", "as_many_bytes_wait_as_the_bound_and_no_more"),
    ("limits.send_queues_bytes_max", ABUSE, "slow_readers_together_take_no_more_than_they_may"),
    ("limits.permits_per_worker", API, "without_room_nothing_is_published_and_the_request_may_be_repeated"),
    ("limits.http_body_bytes_max", API, "a_body_may_be_as_large_as_the_limit_and_no_larger"),
    ("limits.http_idle_timeout_secs", HERE, "a_publishers_connection_is_kept_while_it_is_used"),
    ("limits.http_request_timeout_secs", HERE, "a_body_must_come_in_time"),
    ("limits.http_connections_max", HERE, "as_many_publishers_connect_as_may_and_the_next_is_told"),
    ("limits.http_bytes_max", API, "bodies_and_answers_take_as_many_bytes_as_they_may_and_one_more_is_told_to_wait"),
    ("limits.remembered_bytes_max", HERE, "what_is_remembered_has_a_bound_and_the_oldest_is_forgotten"),
    ("limits.replays_bytes_max", REPLAY, "all_channels_together_keep_no_more_than_the_bound_and_the_oldest_forgets"),
    ("limits.idempotency_window_secs", REQUESTS, "an_answer_is_repeated_within_its_window_and_no_longer"),
    (
        "limits.idempotency_keys_per_app_max",
        REQUESTS,
        "an_app_has_as_many_keys_as_it_may_and_the_oldest_answered_is_forgotten_for_one_more",
    ),
    (
        "limits.idempotency_bytes_max",
        REQUESTS,
        "all_keys_take_as_many_bytes_as_they_may_and_one_more_makes_the_oldest_forgotten",
    ),
    (
        "limits.guard_keys_max",
        GUARD,
        "as_many_keys_are_remembered_as_may_be_and_for_one_more_the_app_with_most_loses_the_one_that_ends_first",
    ),
    ("limits.usage_prefixes_max", NAMES, NAMES_AT_THE_BOUND),
    ("limits.usage_events_max", NAMES, NAMES_AT_THE_BOUND),
    ("limits.usage_hours_max", JOURNAL, "hours_that_are_too_old_are_forgotten_and_the_first_that_is_not_is_kept"),
    ("limits.presence_grace_secs", HERE, "a_member_who_vanishes_is_missed_only_after_the_grace"),
    ("limits.pong_timeout_secs", HERE, "who_is_silent_is_pinged_and_who_stays_silent_is_closed"),
    ("limits.closing_timeout_secs", HERE, "a_peer_that_does_not_answer_a_close_is_dropped"),
    ("drain.wave_secs", HERE, "a_drain_tells_clients_over_the_wave_and_ends"),
    (
        "drain.webhooks_flush_secs",
        "campanile/src/webhooks/tests.rs",
        "stopping_ends_at_its_deadline_though_an_endpoint_hangs",
    ),
    ("drain.ready_delay_secs", HERE, "a_drain_first_looks_unready_and_only_then_refuses"),
    ("inbox.retention_days", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.tombstone_days", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.key_days", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.delivery_days", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.dead_job_days", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.connections", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.writes_waiting_max", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.reads_waiting_max", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    ("inbox.streams_max", INBOX, "as_many_streams_are_open_as_may_be_and_a_drain_ends_them"),
    ("plans.price_cents", BILL, PLANS_AT_THEIR_BOUNDS),
    ("plans.messages", BILL, PLANS_AT_THEIR_BOUNDS),
    ("plans.connections", BILL, PLANS_AT_THEIR_BOUNDS),
    (
        "inbox.untaken_after_secs",
        CONFIG,
        "a_notification_waits_for_longer_than_a_silent_client_is_believed_to_be_there",
    ),
    ("inbox.attempts_max", CARRIER, "what_is_refused_for_now_is_tried_as_often_as_may_be_and_then_given_up"),
    ("inbox.mail.port", CONFIG, "every_number_is_accepted_at_its_bounds_and_refused_one_past_them"),
    (
        "inbox.mail.timeout_secs",
        "campanile/src/beyond/mail/tests.rs",
        "a_relay_that_says_nothing_has_certainly_not_taken_it",
    ),
    (
        "inbox.web_push.ttl_secs",
        "campanile/src/beyond/push_message.rs",
        "a_push_waits_no_longer_than_its_notification_is_of_use",
    ),
    (
        "inbox.web_push.timeout_secs",
        "campanile/src/beyond/web_push/tests.rs",
        "nobody_knows_what_became_of_a_push_that_was_not_answered",
    ),
    ("apps.authorized_connections_timeout_secs", HERE, "who_is_not_authorized_in_time_is_closed"),
    ("apps.activity_timeout_secs", HERE, "who_is_silent_is_pinged_and_who_stays_silent_is_closed"),
    ("apps.connections_max", HERE, "an_app_takes_as_many_connections_as_it_may_and_turns_the_next_away"),
    ("apps.backend_events_per_sec", API, "an_app_may_publish_at_its_rate_and_not_faster"),
    ("apps.client_events_per_sec", HERE, "client_events_come_at_their_rate_and_not_faster"),
    ("apps.channel_name_length_max", HERE, "names_may_be_as_long_as_the_limit_and_no_longer"),
    ("apps.event_name_length_max", HERE, "names_may_be_as_long_as_the_limit_and_no_longer"),
    ("apps.event_data_bytes_max", TRIGGER, "data_may_be_as_large_as_the_limit_and_no_larger"),
    ("apps.client_event_bytes_max", HERE, "a_client_event_may_be_as_large_as_the_limit_and_no_larger"),
    ("apps.channels_per_event_max", TRIGGER, "an_event_may_have_as_many_channels_as_the_limit_and_no_more"),
    ("apps.batch_events_max", TRIGGER, "a_batch_may_have_as_many_events_as_the_limit_and_no_more"),
    (
        "apps.presence_members_max",
        REACTIONS,
        "a_presence_channel_that_is_full_refuses_one_more_user_but_not_one_more_tab",
    ),
    ("apps.presence_member_bytes_max", HERE, "a_member_may_be_as_large_as_the_limit_and_no_larger"),
    ("apps.presence_user_id_length_max", HERE, "a_user_id_may_be_as_long_as_the_limit_and_no_longer"),
    ("apps.presence_snapshot_bytes_max", HERE, "a_presence_channels_list_may_be_as_large_as_the_limit_and_no_larger"),
    ("apps.cache_ttl_secs", HERE, "an_event_is_remembered_for_its_time_and_no_longer"),
    ("apps.replay_events_max", REPLAY, "as_many_events_are_sent_again_as_are_kept_and_one_more_is_a_gap"),
    ("apps.replay_bytes_max", REPLAY, "as_many_bytes_are_sent_again_as_are_kept_and_a_few_more_are_a_gap"),
    ("apps.replay_secs", REPLAY, "an_event_is_sent_again_for_its_time_and_no_longer"),
    ("apps.watchlist_max", HERE, "a_watchlist_may_be_as_long_as_the_limit_and_its_rest_is_cut"),
    ("apps.channels_per_connection_max", HERE, "a_connection_has_as_many_channels_as_it_may_and_no_more"),
    (
        "apps.webhooks.timeout_secs",
        "campanile/src/webhooks/tests.rs",
        "an_answer_that_takes_longer_than_the_timeout_is_a_failure",
    ),
    ("apps.webhooks.queue_bytes_max", QUEUE, "the_queue_takes_as_many_bytes_as_its_bound_and_buries_the_next"),
    ("apps.webhooks.queue_events_max", QUEUE, "the_queue_takes_as_many_events_as_its_bound_and_buries_the_next"),
    ("apps.webhooks.dead_letters_max", QUEUE, "the_dead_letters_are_as_many_as_their_bound_and_the_next_is_counted"),
    (
        "apps.guard.alert_after",
        "campanile-hub/src/guard/alarm.rs",
        "as_many_as_the_bound_within_ten_seconds_are_told_once_however_long_it_goes_on",
    ),
    ("apps.guard.waiting_events_max", GUARD, "as_many_events_wait_as_may_and_one_more_is_dropped"),
    ("apps.guard.waiting_bytes_max", GUARD, "as_many_bytes_wait_as_may_and_one_more_is_dropped"),
    ("apps.guard.dedupe.window_secs", GUARD, "the_first_is_published_and_the_rest_of_its_window_are_duplicates"),
    ("apps.guard.limits.events", BUCKET, "a_burst_may_come_at_once_and_then_one_with_each_token"),
    ("apps.guard.limits.per_secs", BUCKET, "a_token_that_was_given_back_is_there_again"),
    ("apps.guard.limits.burst", BUCKET, "a_burst_may_come_at_once_and_then_one_with_each_token"),
    ("apps.guard.breakers.repeats", BREAKER, SAME_BODY),
    ("apps.guard.breakers.within_secs", BREAKER, "what_comes_slowly_enough_is_never_stopped"),
    ("apps.guard.breakers.times", BREAKER, "a_name_may_come_ten_times_as_often_as_on_average_and_one_more_is_stopped"),
    ("apps.guard.breakers.floor", BREAKER, "a_new_name_may_come_as_often_as_the_floor_and_no_more"),
    ("apps.guard.breakers.cool_down_secs", BREAKER, SAME_BODY),
    (
        "apps.guard.budgets.messages",
        "campanile/src/ledger.rs",
        "as_many_messages_as_the_budget_are_left_alone_but_for_the_last_and_a_new_day_begins_at_nothing",
    ),
];
/// The same for the bounds that nobody can set, by their names in `docs/limits.md`.
const TESTED_UNSETTABLE: &[(&str, &str, &str)] = &[
    ("the configuration file", CONFIG, "a_file_may_be_as_large_as_its_bound_and_no_larger"),
    ("a file that holds a secret", CONFIG, "a_secret_may_come_from_a_file_without_its_last_line_break"),
    (
        "a file that holds a certificate or its key",
        "campanile/src/tls.rs",
        "a_file_may_be_as_large_as_its_bound_and_no_larger",
    ),
    ("an app's id, a key, a secret", CONFIG, "an_id_and_a_key_may_stand_in_a_url"),
    (
        "letters of the inbox under way to the workers",
        "campanile/src/inbox/pushes.rs",
        "as_many_letters_are_under_way_as_may_be_and_the_next_waits",
    ),
    (
        "connections that wait for their `inbox.state`",
        "campanile/src/inbox/state_on_entry.rs",
        "as_many_wait_to_be_told_as_may_and_one_more_is_not",
    ),
    (
        "announcements of one app that wait to be told one by one",
        "campanile/src/inbox/announcements.rs",
        "as_many_announcements_wait_one_by_one_as_may_and_one_more_makes_them_one",
    ),
    (
        "events that wait for one SSE stream",
        "campanile/src/inbox/streams.rs",
        "a_reader_has_as_many_events_as_may_wait_and_with_one_more_it_is_closed",
    ),
    ("SSE streams of one worker", INBOX, "a_workers_streams_leave_publishers_half_of_its_connections"),
    (
        "an SSE stream for which nobody opens a session",
        "campanile/src/api/inbox/stream.rs",
        "a_stream_waits_for_its_session_and_no_longer_than_the_bound",
    ),
    (
        "requests that hold a permit while the store writes the rows of their events",
        INBOX,
        "requests_that_wait_for_the_store_leave_a_worker_room_for_the_others",
    ),
    (
        "a browser's session",
        "campanile/src/inbox/session.rs",
        "a_token_says_what_it_was_given_until_it_is_over_and_only_here",
    ),
    ("the id of a user for whom a session is opened", INBOX, "a_users_id_may_be_as_long_as_the_bound_and_no_longer"),
    ("a body that a browser sends to /inbox", INBOX, "a_browsers_body_may_be_as_large_as_the_bound_and_no_larger"),
    ("a JSON Web Token", "campanile/src/inbox/jwt.rs", "whatever_else_comes_names_nobody_and_is_told_why"),
    ("a server token", CONFIG, "a_server_token_is_long_and_stands_once"),
    ("the path of a Unix socket", CONFIG, "the_path_of_a_unix_socket_must_fit_the_address"),
    ("requests under way on one HTTP/2 connection", RIM, "as_many_requests_share_a_connection_as_may_and_no_more"),
    (
        "HTTP/2 streams that their client resets before they were looked at",
        FLOODS,
        "a_client_may_take_back_as_many_requests_unseen_as_the_bound_and_no_more",
    ),
    (
        "HTTP/2 streams of one connection that break the rules",
        FLOODS,
        "a_client_may_break_the_rules_on_as_many_streams_as_the_bound_and_no_more",
    ),
    (
        "HTTP/2 frames from one client, but for those with 1024 bytes of a body or more",
        "campanile/src/http/frames.rs",
        "as_many_frames_as_the_bound_and_one_more_is_too_many",
    ),
    (
        "channels that a connection leaves and then enters others",
        "campanile-hub/src/session.rs",
        "a_connection_leaves_as_many_channels_at_once_as_it_may_and_a_few_a_second_after_that",
    ),
    (
        "changes of a channel's number of subscribers that are announced",
        "campanile-hub/src/channel/tests.rs",
        "as_many_changes_are_announced_in_a_second_as_may_be_and_the_last_of_the_others_after_it",
    ),
    (
        "an `Idempotency-Key`",
        "campanile-protocol/src/idempotency.rs",
        "a_key_may_be_as_long_as_the_bound_and_no_longer",
    ),
    (
        "waiting until another request has published, or not, what this one wants to publish",
        "campanile/src/api/guard/tests.rs",
        "an_event_that_another_request_has_is_waited_for_as_long_as_a_request_may_take",
    ),
    (
        "channels that a worker lists at once for `GET /channels`",
        API,
        "many_channels_are_listed_a_slice_at_a_time_and_events_go_between",
    ),
    ("writing to an HTTP client that takes nothing", RIM, "whoever_asks_and_never_listens_is_given_up"),
    (
        "an answer over HTTP that its client has asked for and does not take",
        "campanile/src/http/answers.rs",
        "an_answer_has_its_time_for_each_piece_and_its_last_counts_until_it_is_gone",
    ),
    (
        "an HTTP client that has been told the end and stays",
        RIM,
        "a_refusal_arrives_although_its_body_was_not_read_and_its_sender_has_bounded_time",
    ),
    (
        "what compressed messages of one read inflate to together",
        "campanile/tests/server/compression.rs",
        "the_messages_of_one_read_may_inflate_to_as_much_as_the_bound_and_no_more",
    ),
    (
        "blocks of one compressed message that are marked as its last",
        "campanile-protocol/src/websocket/deflate.rs",
        "as_many_blocks_as_the_bound_may_be_marked_as_the_last_and_one_more_is_refused",
    ),
    (
        "encrypted bytes held back for one connection",
        "campanile/src/wire/mod.rs",
        "tls_holds_back_as_many_bytes_as_the_bound_and_no_more",
    ),
    (
        "requests under way at the end of a drain's waves",
        "campanile/tests/rim/drain.rs",
        "it_ends_though_somebody_never_does",
    ),
    (
        "webhook events that wait for an endpoint's file",
        "campanile/src/webhooks/intake.rs",
        "as_many_notices_wait_as_the_bound_and_the_next_is_refused_and_counted",
    ),
    (
        "webhook events that take no signature of the application, and all `subscription_count`",
        QUEUE,
        "what_anybody_can_cause_finds_room_in_half_of_the_queue_and_of_the_dead_letters",
    ),
    (
        "rows of one app, each a channel prefix with an event name, that a worker counts in half a second",
        METER,
        "as_many_rows_as_the_bound_have_their_names_and_all_beyond_are_one",
    ),
    (
        "event names and channel prefixes that strangers choose: of client events, and of public channels where only \
         `subscription_count` was sent",
        NAMES,
        "strangers_names_take_half_of_the_room_and_no_more",
    ),
    (
        "events that wait to be looked into for their largest fields",
        JOURNAL,
        "as_many_events_wait_to_be_looked_into_as_the_bound_and_no_more",
    ),
    (
        "fields of an event that are looked at, and how deep they are inside each other",
        "campanile/src/journal/fields.rs",
        "depth_and_number_have_bounds_past_which_what_is_left_is_one",
    ),
    (
        "subscriptions by which the wait for an authorization is measured",
        METER,
        "whoever_subscribes_late_has_not_waited",
    ),
    (
        "hours of an app that wait in memory where the disk takes none",
        JOURNAL,
        "a_disk_that_takes_nothing_costs_the_oldest_hours_past_the_bound_and_is_told_of",
    ),
    ("questions about usage that wait", JOURNAL, "as_many_questions_wait_as_may_and_one_more_is_told_to_come_again"),
    ("rows that a question about usage may add up", JOURNAL, "so_many_rows_are_added_up_as_may_be_and_no_more"),
    ("rows of an answer about usage", JOURNAL, "an_answer_has_as_many_rows_as_the_bound_and_one_more_is_refused"),
    (
        "an app's `usage_prefixes`",
        CONFIG,
        "an_app_may_list_as_many_prefixes_as_the_bound_and_no_more_and_the_longest_is_meant",
    ),
    ("a plan's name, and a currency", CONFIG, "the_price_table_is_the_files_own_or_two_plans_that_are_known"),
    ("descriptors kept back from `limits.connections_max`", CONFIG, "connections_must_fit_the_open_files"),
    (
        "sockets, half-open ones among them",
        "campanile/tests/server/abuse.rs",
        "half_open_sockets_take_no_more_descriptors_than_are_theirs_and_the_oldest_make_room",
    ),
];
const HERE: &str = "campanile/tests/server/limits.rs";
const RIM: &str = "campanile/tests/rim/http.rs";
const FLOODS: &str = "campanile/tests/rim/floods.rs";
const CONFIG: &str = "campanile/src/config/tests.rs";
const ABUSE: &str = "campanile/tests/server/abuse.rs";
const CROWDS: &str = "campanile/tests/server/crowds.rs";
const REACTIONS: &str = "campanile/tests/server/reactions.rs";
const REPLAY: &str = "campanile/tests/server/replay.rs";
const INBOX: &str = "campanile/tests/server/inbox.rs";
const CARRIER: &str = "campanile/src/beyond/carrier/tests.rs";
const API: &str = "campanile/src/api/tests.rs";
const TRIGGER: &str = "campanile-protocol/src/trigger.rs";
const REQUESTS: &str = "campanile-hub/src/idempotency.rs";
const GUARD: &str = "campanile-hub/src/guard/tests.rs";
const BUCKET: &str = "campanile-hub/src/guard/bucket.rs";
const BREAKER: &str = "campanile-hub/src/guard/breaker.rs";
const SAME_BODY: &str =
    "the_same_may_come_as_often_as_the_bound_and_one_more_opens_the_breaker_until_it_has_cooled_down";
const METER: &str = "campanile-hub/src/meter.rs";
const JOURNAL: &str = "campanile/src/journal/tests.rs";
const NAMES: &str = "campanile/src/journal/names.rs";
const NAMES_AT_THE_BOUND: &str = "as_many_names_as_the_bounds_have_rows_and_all_others_are_one_until_the_hour_is_over";
const BILL: &str = "campanile/src/bill.rs";
const PLANS_AT_THEIR_BOUNDS: &str = "each_plan_is_taken_up_to_its_bounds_and_not_beyond";
const QUEUE: &str = "campanile/src/webhooks/queue.rs";

#[test]
fn every_limit_has_a_test_and_every_named_test_is_there() {
    let name = |limit: &campanile::config::limits::Limit| match limit.table {
        "" => limit.name.to_owned(),
        table => format!("{table}.{}", limit.name),
    };
    let limits: Vec<String> = campanile::config::limits::LIMITS.iter().map(name).collect();
    let tested: Vec<&str> = TESTED.iter().map(|(limit, ..)| *limit).collect();
    assert_eq!(limits, tested, "the table of limits and the table of their tests differ");
    let page = campanile::config::limits::to_markdown();
    let unsettable = page.split("## ").find(|section| section.starts_with("Not settable")).expect("a section");
    let unsettable = unsettable.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let unsettable: Vec<&str> = unsettable.filter_map(|row| row.split(" | ").next()?.strip_prefix("| ")).collect();
    let tested: Vec<&str> = TESTED_UNSETTABLE.iter().map(|(limit, ..)| *limit).collect();
    assert_eq!(unsettable, tested, "the bounds that nobody can set and the table of their tests differ");
    for (limit, file, test) in TESTED.iter().chain(TESTED_UNSETTABLE) {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{limit}: {path}: {error}"));
        let forms = [
            "#[test]\n    fn",
            "#[test]\nfn",
            "#[tokio::test]\n    async fn",
            "#[tokio::test]\nasync fn",
            "#[tokio::test(start_paused = true)]\n    async fn",
        ];
        assert!(
            forms.iter().any(|form| source.contains(&format!("{form} {test}()"))),
            "{limit}: there is no test {test} in {file}"
        );
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start_and_zero_takes_a_free_one() {
    let first = start(&[]);
    assert_ne!(first.address.port(), 0);
    let error = first.start_another_on_the_same_port().expect_err("the port is taken");
    assert!(error.to_string().contains("another campanile is there: stop that one"), "{error}");
    first.serves_others();
}

#[test]
fn the_node_takes_as_many_connections_as_it_may_and_tells_the_next_to_wait() {
    let server = start(&[("limits.connections_max", "3")]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    assert_eq!(server.exchange(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").body, "full\n");
    for _ in 0..10 {
        assert_eq!(Client::open(&server, &Opening::default()).refused(), 4100);
    }
    clients.pop().expect("there are three").vanish();
    until(|| match Client::open(&server, &Opening::default()).next() {
        Frame::Text(text) if text.contains("connection_established") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(server.exchange(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
}

#[test]
fn an_app_takes_as_many_connections_as_it_may_and_turns_the_next_away() {
    let server = start(&[("apps.0.connections_max", "2")]);
    let clients: Vec<Client> = (0..2).map(|_| Client::connect(&server)).collect();
    assert_eq!(Client::open(&server, &Opening::default()).refused(), 4004);
    assert_eq!(server.connections(), 2);
    drop(clients);
    server.wait_for_connections(0);
    let _again = Client::connect(&server);
    let _and_again = Client::connect(&server);
    assert_eq!(Client::open(&server, &Opening::default()).refused(), 4004);
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let server = start(&[("limits.head_bytes_max", "1024"), ("limits.closing_timeout_secs", "1")]);
    let padded = |length: usize, head: &str| {
        let padding = "x".repeat(length - head.len() - "X-Padding: \r\n".len());
        head.replace("Host: test\r\n", &format!("Host: test\r\nX-Padding: {padding}\r\n"))
    };
    let (upgrade, api) = (Opening::default().head(), "GET /live HTTP/1.1\r\nHost: test\r\n\r\n");
    // At once, then cut within the last bytes.
    for cut in [1024, 1020] {
        let mut client = Client::dial(&server);
        let head = padded(1024, &upgrade);
        client.raw(&head.as_bytes()[..cut]);
        std::thread::sleep(Duration::from_millis(20));
        client.raw(&head.as_bytes()[cut..]);
        client.upgraded();
        client.establish();
        assert_eq!(server.exchange(padded(1024, api).as_bytes()).status, 200);
    }
    for head in [&upgrade, api] {
        assert_eq!(server.exchange(padded(1025, head).as_bytes()).status, 431, "{head}");
        // The answer arrives though more is under way than anybody reads.
        assert_eq!(server.exchange(padded(300_000, head).as_bytes()).status, 431, "{head}");
        // A head that never ends is refused as soon as it is too long.
        let endless = &padded(2000, head)[..1024];
        assert_eq!(server.exchange(endless.as_bytes()).status, 431, "{head}");
    }
    server.serves_others();
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    let server = start(&[("limits.head_timeout_secs", "1")]);
    let began = Instant::now();
    let head = Opening::default().head();
    let beginnings =
        ["", "G", "GET /app/", &head[..head.len() - 1], "POST /apps/app/events HTTP/1.1\r\nHost: x\r\n", "\r\n"];
    let mut clients: Vec<Client> = beginnings
        .iter()
        .map(|beginning| {
            let mut client = Client::dial(&server);
            client.raw(beginning.as_bytes());
            client
        })
        .collect();
    // One that ends in time is served.
    let mut slow = Client::dial(&server);
    for part in head.as_bytes().chunks(head.len().div_ceil(20)) {
        slow.raw(part);
        std::thread::sleep(Duration::from_millis(20));
    }
    slow.upgraded();
    slow.establish();
    // One that dribbles is not.
    let mut dribbling = Client::dial(&server);
    for byte in b"GET /app/".iter().chain(std::iter::repeat(&b'x')) {
        if dribbling.stream.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(began.elapsed() < 2 * SOON, "a dribbled head keeps its connection");
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut clients {
        client.ends();
    }
    assert!(began.elapsed() > Duration::from_secs(1));
    assert_eq!(slow.sync(), [] as [Value; 0]);
}

#[test]
fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
    let server = start(&[("limits.frame_bytes_max", "30000")]);
    let message = |length: usize| {
        let ping = r#"{"event":"pusher:ping","data":""}"#;
        ping.replace(r#""""#, &format!("\"{}\"", "x".repeat(length - ping.len())))
    };
    let mut client = Client::connect(&server);
    client.text(&message(30_000));
    assert_eq!(client.event()["event"], "pusher:pong");
    // In fragments, with a ping between.
    let whole = message(30_000);
    client.frame(0x01, &whole.as_bytes()[..10]);
    client.frame(0x89, b"between");
    client.frame(0x00, &whole.as_bytes()[10..20_000]);
    client.frame(0x80, &whole.as_bytes()[20_000..]);
    assert_eq!(client.next(), Frame::Pong(b"between".to_vec()));
    assert_eq!(client.event()["event"], "pusher:pong");

    client.text(&message(30_001));
    assert_eq!(client.closed(), 1009);
    let mut in_fragments = Client::connect(&server);
    in_fragments.frame(0x01, &whole.as_bytes()[..20_000]);
    in_fragments.frame(0x80, &[b'x'; 10_001]);
    assert_eq!(in_fragments.closed(), 1009);
    // A length that is only announced is enough.
    for length in [70_000_u64, u64::MAX >> 1] {
        let mut announcing = Client::connect(&server);
        announcing.raw(&[&[0x81, 0xff][..], &length.to_be_bytes()].concat());
        assert_eq!(announcing.closed(), 1009);
    }
    server.serves_others();
}

#[test]
fn a_publishers_connection_is_kept_while_it_is_used() {
    let server = start(&[("limits.http_idle_timeout_secs", "1"), ("limits.head_timeout_secs", "1")]);
    let mut publisher = server.dial();
    let mut idle = server.dial();
    let request = signed_request("GET", "/apps/app/connections", &[], "");
    idle.write_all(&request).unwrap();
    assert_eq!(read_answer(&mut idle).expect("an answer").status, 200);
    // A next head that does not end is waited for no longer than a first.
    idle.write_all(b"GET /").unwrap();
    for _ in 0..4 {
        publisher.write_all(&request).unwrap();
        assert_eq!(read_answer(&mut publisher).expect("an answer").status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    // Two at once are answered in order.
    publisher.write_all(&[&request[..], &request[..]].concat()).unwrap();
    until(|| {
        let answered = read_answer(&mut publisher).is_some();
        if answered { Ok(()) } else { Err("no answer".to_owned()) }
    });
    let began = Instant::now();
    // Some say 408 before they close.
    while read_answer(&mut idle).is_some() {}
    assert!(began.elapsed() < SOON, "an idle connection is not kept");
}

#[test]
fn a_body_must_come_in_time() {
    let server = start(&[("limits.http_request_timeout_secs", "1")]);
    let body = json!({ "name": "e", "channel": "c", "data": "d" }).to_string();
    let request = signed_request("POST", "/apps/app/events", &[], &body);
    let (first, last) = request.split_at(request.len() - 10);
    let mut in_time = server.dial();
    in_time.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    in_time.write_all(last).unwrap();
    assert_eq!(read_answer(&mut in_time).expect("an answer").status, 200);

    let mut dribbling = server.dial();
    dribbling.write_all(first).unwrap();
    for byte in &last[..9] {
        std::thread::sleep(Duration::from_millis(150));
        let _ = dribbling.write_all(&[*byte]);
    }
    let answer = read_answer(&mut dribbling).expect("an answer");
    assert_eq!(answer.status, 408);
    assert!(answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    server.serves_others();
}

#[test]
fn as_many_publishers_connect_as_may_and_the_next_is_told() {
    let server = start(&[("workers", "1"), ("limits.http_connections_max", "2")]);
    let ask = signed_request("GET", "/apps/app/connections", &[], "");
    let publish = signed_request("POST", "/apps/app/events", &[], r#"{"name":"e","channel":"a","data":"{}"}"#);
    let (most, last) = publish.split_at(publish.len() - 1);
    let mut publishers: Vec<_> = (0..2).map(|_| server.dial()).collect();
    for publisher in &mut publishers {
        publisher.write_all(&ask).unwrap();
        assert_eq!(read_answer(publisher).expect("an answer").status, 200);
        publisher.write_all(most).unwrap();
    }
    // A connection of its own for each, until both requests are under way and the next is told.
    let refused = until(|| {
        let answer = server.exchange(&ask);
        if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
    });
    assert!(refused.head.to_lowercase().contains("connection: close"), "{}", refused.head);
    assert!(refused.json()["error"].is_string());
    // Those who were there first, and clients, do not notice.
    Client::connect(&server).subscribe("a");
    for publisher in &mut publishers {
        publisher.write_all(last).unwrap();
        assert_eq!(read_answer(publisher).expect("an answer").status, 200);
    }
    // Whoever has nothing under way makes room, the longest idle first.
    assert_eq!(server.exchange(&ask).status, 200);
    assert!(read_answer(&mut publishers[0]).is_none());
    publishers[1].write_all(&ask).unwrap();
    assert_eq!(read_answer(&mut publishers[1]).expect("an answer").status, 200);
}

#[test]
fn what_is_remembered_has_a_bound_and_the_oldest_is_forgotten() {
    let server = start(&[
        ("workers", "1"),
        ("limits.remembered_bytes_max", "4194304"),
        ("apps.0.event_data_bytes_max", "1048576"),
    ]);
    let (first, last) = ("cache-0", "cache-4");
    // An event counts twice: the frame for clients, and the data for the API.
    let data = "x".repeat(500_000);
    let remembers = |channel| {
        server.get(&format!("/apps/app/channels/{channel}"), &[("info", "cache")]).json()["cache"].is_object()
    };
    for number in 0..4 {
        server.publish(&format!("cache-{number}"), "e", &data);
    }
    assert!(remembers(first));
    server.publish(last, "e", &data);
    until(|| if remembers(last) { Ok(()) } else { Err("nothing is remembered".to_owned()) });
    assert!(!remembers(first) && remembers("cache-1"));
    let mut client = Client::connect(&server);
    client.subscribe(first);
    assert_eq!(client.event()["event"], "pusher:cache_miss");
    client.subscribe(last);
    assert_eq!(client.event()["event"], "e");
}

#[test]
fn answers_are_repeated_for_the_window_and_for_as_many_keys_and_bytes_as_are_set() {
    let body = json!({ "name": "e", "channel": "c", "data": "d" }).to_string();
    let is_repeated = |server: &crate::common::TestServer, key: &str| {
        let request = signed_request("POST", "/apps/app/events", &[], &body);
        let answer = server.exchange(&with_header(&request, "Idempotency-Key", key));
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{answer:?}");
        answer.head.to_lowercase().contains("idempotent-replayed: true")
    };
    let server = start(&[("workers", "1"), ("limits.idempotency_keys_per_app_max", "2")]);
    for (key, repeated) in [("a", false), ("b", false), ("a", true), ("c", false), ("b", true), ("a", false)] {
        assert_eq!(is_repeated(&server, key), repeated, "{key}");
    }
    let server = start(&[("workers", "1"), ("limits.idempotency_bytes_max", "1048576")]);
    assert!(!is_repeated(&server, "first"));
    // Each of the longest keys takes 255 bytes, 2 for its answer and 512 besides: fewer than 1400 fill the room.
    let publisher = &mut server.dial();
    for number in 0..1400 {
        let request = signed_request("POST", "/apps/app/events", &[], &body);
        publisher.write_all(&with_header(&request, "Idempotency-Key", &format!("{number:0255}"))).unwrap();
        assert_eq!(read_answer(publisher).expect("an answer").status, 200);
    }
    assert!(is_repeated(&server, &format!("{:0255}", 100)));
    assert!(!is_repeated(&server, "first"));
    let server = start(&[("limits.idempotency_window_secs", "1")]);
    assert!(!is_repeated(&server, "a"));
    until(|| if is_repeated(&server, "a") { Err("the answer is still repeated".to_owned()) } else { Ok(()) });
}

#[test]
fn a_member_who_vanishes_is_missed_only_after_the_grace() {
    let server = start(&[("limits.presence_grace_secs", "1")]);
    let mut ann = Client::connect(&server);
    ann.join("presence-a", "ann");
    for (user, goodbye) in [("bo", true), ("cy", false)] {
        let mut other = Client::connect(&server);
        other.join("presence-a", user);
        assert_eq!(ann.event()["event"], "pusher_internal:member_added");
        let began = Instant::now();
        if goodbye {
            other.frame(0x88, &1000_u16.to_be_bytes());
            assert_eq!(other.closed(), 1000);
        } else {
            other.vanish();
        }
        let event = ann.event();
        assert_eq!(event["event"], "pusher_internal:member_removed");
        assert_eq!(in_string(&event["data"])["user_id"], user);
        // Moments are read once a tick, so the grace may look a little shorter from outside.
        assert_eq!(began.elapsed() > Duration::from_millis(900), !goodbye, "{user} after {:?}", began.elapsed());
    }
}

#[test]
fn who_is_silent_is_pinged_and_who_stays_silent_is_closed() {
    let server = start(&[("apps.0.activity_timeout_secs", "1"), ("limits.pong_timeout_secs", "1")]);
    let mut old = Client::open(&server, &Opening { query: "protocol=4&version=1.0", ..Opening::default() });
    old.establish();
    let mut client = Client::connect(&server);
    assert_eq!(client.activity_timeout, 1);
    // Whoever answers stays; any frame is an answer.
    assert_eq!(client.event()["event"], "pusher:ping");
    assert_eq!(old.next(), Frame::Ping(Vec::new()));
    client.text(r#"{"event":"pusher:pong","data":{}}"#);
    old.frame(0x8a, b"");
    let answered = Instant::now();
    assert_eq!(client.event()["event"], "pusher:ping");
    assert_eq!(client.refused(), 4201);
    assert!(answered.elapsed() > Duration::from_millis(1900), "{:?}", answered.elapsed());
    assert_eq!(old.next(), Frame::Ping(Vec::new()));
    assert_eq!(old.refused(), 4201);
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_dropped() {
    let server = start(&[("limits.closing_timeout_secs", "1")]);
    let mut client = Client::connect(&server);
    client.frame(0x82 | 0x40, b"");
    assert_eq!(client.closed(), 1002);
    assert_eq!(client.next(), Frame::End);
    let began = Instant::now();
    assert!(!client.is_reset());
    until(|| if client.is_reset() { Ok(()) } else { Err("the connection takes bytes".to_owned()) });
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn a_drain_tells_clients_over_the_wave_and_ends() {
    let server = start(&[("drain.wave_secs", "2"), ("limits.closing_timeout_secs", "1")]);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(&server)).collect();
    let began = Instant::now();
    let drain = std::thread::spawn(move || server.drain());
    let mut told: Vec<Duration> = Vec::new();
    for client in &mut clients {
        assert_eq!(client.closed(), 4200);
        told.push(began.elapsed());
    }
    let took = drain.join().expect("a drain does not panic");
    let last = told.iter().max().expect("there are clients");
    assert!(*last > Duration::from_secs(1), "all were told within {last:?}");
    assert!(took > *last && took < 2 * SOON, "{took:?}");
}

#[test]
fn a_drain_first_looks_unready_and_only_then_refuses() {
    let server = start(&[("drain.ready_delay_secs", "1")]);
    let probe = server.probe();
    let mut client = Client::connect(&server);
    let drain = std::thread::spawn(move || server.drain());
    until(|| match probe.get("/ready") {
        answer if answer.status == 503 => Ok(()),
        answer => Err(answer.body),
    });
    probe.connects().expect("connections are taken while load balancers notice");
    assert_eq!(client.sync(), [] as [Value; 0]);
    assert_eq!(client.closed(), 4200);
    assert!(drain.join().expect("a drain does not panic") > Duration::from_secs(1));
}

#[test]
fn who_is_not_authorized_in_time_is_closed() {
    let server = start(&[("apps.0.authorized_connections_timeout_secs", "1")]);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    clients[0].subscribe("private-a");
    clients[1].join("presence-a", "1");
    clients[2].sign_in("2");
    clients[3].subscribe("public");
    let began = Instant::now();
    assert_eq!(clients[3].refused(), 4009);
    assert!(began.elapsed() < SOON);
    std::thread::sleep(Duration::from_millis(700));
    for client in &mut clients[..3] {
        client.sync();
    }
}

#[test]
fn client_events_come_at_their_rate_and_not_faster() {
    let server = start(&[("apps.0.client_events_per_sec", "5")]);
    let (mut ann, mut bo) = (Client::connect(&server), Client::connect(&server));
    ann.subscribe("private-a");
    bo.subscribe("private-a");
    let event = json!({ "event": "client-x", "channel": "private-a", "data": 1 });
    // In one write, so that it cannot take longer than the rate allows more.
    let burst = crate::common::frame(0x81, event.to_string().as_bytes()).repeat(8);
    ann.raw(&burst);
    let told = ann.sync();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["data"]["code"], 4301);
    assert_eq!(told[0]["channel"], "private-a");
    for _ in 0..5 {
        assert_eq!(bo.event()["event"], "client-x");
    }
    assert_eq!(bo.sync(), [] as [Value; 0]);
    std::thread::sleep(Duration::from_millis(400));
    ann.send(&event);
    assert_eq!(bo.event()["event"], "client-x");
}

/// Sends a client event and says whether the other subscriber got it; if not, the sender must have been told.
fn passes(from: &mut Client, to: &mut Client, event: &Value) -> bool {
    from.send(event);
    let told = from.sync();
    if told.is_empty() {
        // It crosses from worker to worker, and may come after the answer to whatever is asked now.
        assert_eq!(to.event()["event"], event["event"]);
    }
    assert_eq!(to.sync(), [] as [Value; 0], "{told:?}");
    told.is_empty()
}

#[test]
fn names_may_be_as_long_as_the_limit_and_no_longer() {
    let server = start(&[("apps.0.channel_name_length_max", "20"), ("apps.0.event_name_length_max", "15")]);
    let (mut ann, mut bo) = (Client::connect(&server), Client::connect(&server));
    let (longest, too_long) = ("private-0123456789ab", "private-0123456789abc");
    ann.subscribe(longest);
    bo.subscribe(longest);
    let subscription = ann.signed(too_long, None);
    ann.ask_for(subscription);
    assert_eq!(ann.event()["data"]["type"], "InvalidChannel");
    ann.event();
    let event = |name: &str| json!({ "event": name, "channel": longest, "data": 1 });
    assert!(passes(&mut ann, &mut bo, &event("client-01234567")));
    assert!(!passes(&mut ann, &mut bo, &event("client-012345678")));
    for (name, channel, status) in
        [("0123456789abcde", longest, 200), ("0123456789abcdef", longest, 400), ("e", too_long, 400)]
    {
        let body = json!({ "name": name, "channel": channel, "data": "" });
        assert_eq!(server.post("/apps/app/events", &body).status, status, "{name} {channel}");
    }
}

#[test]
fn a_client_event_may_be_as_large_as_the_limit_and_no_larger() {
    let server = start(&[("apps.0.client_event_bytes_max", "100")]);
    let (mut ann, mut bo) = (Client::connect(&server), Client::connect(&server));
    ann.subscribe("private-a");
    bo.subscribe("private-a");
    // The quotes around it count.
    let event = |length: usize| json!({ "event": "client-x", "channel": "private-a", "data": "x".repeat(length - 2) });
    assert!(passes(&mut ann, &mut bo, &event(100)));
    assert!(!passes(&mut ann, &mut bo, &event(101)));
}

/// What the server says of a request to join: the kind of error, if it is one.
fn joins(client: &mut Client, channel: &str, channel_data: &str) -> Result<(), String> {
    let subscription = client.signed(channel, Some(channel_data));
    client.ask_for(subscription);
    let event = client.event();
    if event["event"] == "pusher_internal:subscription_succeeded" {
        return Ok(());
    }
    assert_eq!(client.event()["event"], "pusher:error");
    let kind = event["data"]["type"].as_str().expect("a kind of error").to_owned();
    assert_eq!(kind == "LimitReached", event["data"]["status"] == 403, "{event}");
    Err(kind)
}

#[test]
fn a_member_may_be_as_large_as_the_limit_and_no_larger() {
    let server = start(&[("apps.0.presence_member_bytes_max", "100")]);
    let data = |length: usize| {
        let empty = json!({ "user_id": "1", "user_info": "" }).to_string();
        json!({ "user_id": "1", "user_info": "x".repeat(length - empty.len()) }).to_string()
    };
    let mut client = Client::connect(&server);
    assert_eq!(joins(&mut client, "presence-a", &data(101)), Err("LimitReached".to_owned()));
    assert_eq!(joins(&mut client, "presence-a", &data(100)), Ok(()));
}

#[test]
fn a_position_beside_a_member_takes_nothing_of_the_members_room() {
    let server = start(&[("apps.0.presence_member_bytes_max", "100"), ("apps.0.replay_channels.0", "presence-*")]);
    let longest = format!("{:x}-{}", u64::MAX, u64::MAX);
    let data = |info: usize, since: Option<&str>| {
        let mut data = json!({ "user_id": "1", "user_info": "x".repeat(info) });
        if let Some(since) = since {
            data["since"] = since.into();
        }
        data.to_string()
    };
    let largest = 100 - data(0, None).len();
    let mut client = Client::connect(&server);
    assert_eq!(joins(&mut client, "presence-a", &data(largest + 1, None)), Err("LimitReached".to_owned()));
    assert_eq!(joins(&mut client, "presence-a", &data(largest + 1, Some(&longest))), Err("LimitReached".to_owned()));
    assert_eq!(joins(&mut client, "presence-a", &data(largest, Some(&longest))), Ok(()));
}

#[test]
fn a_user_id_may_be_as_long_as_the_limit_and_no_longer() {
    let server = start(&[("apps.0.presence_user_id_length_max", "10")]);
    let mut client = Client::connect(&server);
    let data = |id: &str| json!({ "user_id": id }).to_string();
    assert_eq!(joins(&mut client, "presence-a", &data("0123456789a")), Err("AuthError".to_owned()));
    assert_eq!(joins(&mut client, "presence-a", &data("0123456789")), Ok(()));
    let mut other = Client::connect(&server);
    client.sign_in("0123456789");
    other.ask_to_sign_in(&json!({ "id": "0123456789a" }));
    assert_eq!(other.refused(), 4009);
}

#[test]
fn a_presence_channels_list_may_be_as_large_as_the_limit_and_no_larger() {
    let server = start(&[("apps.0.presence_member_bytes_max", "4096"), ("apps.0.presence_snapshot_bytes_max", "4096")]);
    let data = |id: &str, length: usize| json!({ "user_id": id, "user_info": "x".repeat(length) }).to_string();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    assert_eq!(joins(&mut clients[0], "presence-a", &data("1", 2000)), Ok(()));
    assert_eq!(joins(&mut clients[1], "presence-a", &data("2", 2200)), Err("LimitReached".to_owned()));
    // The largest that fits leaves no room for one more, and the whole frame is within the limit.
    let largest = (1..2200).rev().find(|length| joins(&mut clients[1], "presence-a", &data("2", *length)).is_ok());
    assert!(largest.is_some_and(|length| length > 1400), "{largest:?}");
    assert_eq!(joins(&mut clients[2], "presence-a", &data("3", 1)), Err("LimitReached".to_owned()));
    let again = clients[1].signed("presence-a", Some(&data("2", 1)));
    clients[1].ask_for(again);
    let Frame::Text(list) = clients[1].next() else { panic!("a list was expected") };
    assert!((3500..=4096).contains(&list.len()), "the list takes {} bytes", list.len());
    // What is escaped on the wire is counted as it is there.
    let quotes = |number: usize| json!({ "user_id": "1", "user_info": "\"".repeat(number) }).to_string();
    assert_eq!(joins(&mut clients[2], "presence-b", &quotes(1200)), Err("LimitReached".to_owned()));
    let subscription = clients[2].signed("presence-b", Some(&quotes(800)));
    clients[2].ask_for(subscription);
    let Frame::Text(list) = clients[2].next() else { panic!("a list was expected") };
    assert!(list.contains("subscription_succeeded") && (3200..=4096).contains(&list.len()), "{}", list.len());
}

#[test]
fn an_event_is_remembered_for_its_time_and_no_longer() {
    let server = start(&[("apps.0.cache_ttl_secs", "1")]);
    server.publish("cache-a", "e", "{}");
    let subscribed_at = Instant::now();
    let mut early = Client::connect(&server);
    early.subscribe("cache-a");
    let first = early.event();
    assert!(subscribed_at.elapsed() > Duration::from_secs(1) || first["event"] == "e", "{first}");
    within(SOON, || {
        let mut late = Client::connect(&server);
        late.subscribe("cache-a");
        let event = late.event();
        if event["event"] == "pusher:cache_miss" { Ok(()) } else { Err(event.to_string()) }
    });
    assert!(subscribed_at.elapsed() > Duration::from_millis(800), "{:?}", subscribed_at.elapsed());
}

#[test]
fn a_watchlist_may_be_as_long_as_the_limit_and_its_rest_is_cut() {
    let server = start(&[("apps.0.watchlist_max", "2")]);
    let mut full = Client::connect(&server);
    full.ask_to_sign_in(&json!({ "id": "1", "watchlist": ["a", "b"] }));
    assert_eq!(full.event()["event"], "pusher:signin_success");
    assert_eq!(watched(&full.event()), ["a", "b"]);
    let mut long = Client::connect(&server);
    long.ask_to_sign_in(&json!({ "id": "2", "watchlist": ["a", "b", "c"] }));
    let error = long.event();
    assert_eq!(error["data"]["code"], 4302, "{error}");
    assert_eq!(long.event()["event"], "pusher:signin_success");
    assert_eq!(watched(&long.event()), ["a", "b"]);
    Client::connect(&server).sign_in("c");
    assert_eq!(long.sync(), [] as [Value; 0]);
}

/// The users of a `watchlist_events` frame, who are all offline.
fn watched(event: &Value) -> Vec<String> {
    assert_eq!(event["event"], "pusher_internal:watchlist_events", "{event}");
    let data = in_string(&event["data"]);
    let [group] = &data["events"].as_array().expect("groups")[..] else { panic!("{data}") };
    assert_eq!(group["name"], "offline");
    let mut ids: Vec<String> = serde_json::from_value(group["user_ids"].clone()).expect("ids");
    ids.sort();
    ids
}

#[test]
fn a_connection_has_as_many_channels_as_it_may_and_no_more() {
    let server = start(&[("apps.0.channels_per_connection_max", "3")]);
    let mut client = Client::connect(&server);
    for number in 0..3 {
        client.subscribe(&format!("a{number}"));
    }
    // A user's own channel and a channel once more take no room.
    client.sign_in("7");
    client.subscribe("a0");
    client.ask_for(json!({ "channel": "a3" }));
    let refused = client.event();
    assert_eq!((&refused["data"]["type"], &refused["data"]["status"]), (&json!("LimitReached"), &json!(403)));
    client.event();
    client.send(&json!({ "event": "pusher:unsubscribe", "data": { "channel": "a0" } }));
    client.subscribe("a3");
}
