//! The bodies that the inbox's endpoints take.
//!
//! Owns their shapes. Never reads one. The invariant: each field's `about` is a sentence's end, because whoever leaves it out
//! is told it.

use super::shape::Shape::{Anything, Boolean, List, Moment, Number, OneOf, Open, Switches, Table, Text, Word};
use super::shape::{Field, Shape, may, must};

/// The ways to a user.
pub(super) const CHANNELS: &[&str] = &["inbox", "broadcast", "mail", "web_push", "webhook"];

const RECIPIENTS: Shape = OneOf(&[
    may("user", Text, "one user's id"),
    may("users", List(&Text), "the ids of up to 1,000 users"),
    may("audience", Text, "the name of an audience: whoever is a member when it is stored"),
    may("all", Boolean, "true: everybody"),
]);

const ACTION: Shape = Table(&[must("label", Text, "what is on the button"), must("url", Text, "where it leads")]);

const SUBJECT: Shape =
    Table(&[must("type", Text, "what kind of thing it is about, as in document"), must("id", Text, "which one")]);

/// `POST /apps/{id}/notifications`
pub(super) const NOTIFICATION: Shape = Table(&[
    must("to", RECIPIENTS, "who gets it"),
    must("kind", Text, "what has happened, as in comment.added"),
    may("category", Text, "what users' preferences are about"),
    must("title", Text, "one line, which the user reads first"),
    may("body", Text, "more lines"),
    may("action_url", Text, "where a click leads: a path, or an address of http or https"),
    may("actions", List(&ACTION), "at most two buttons, the main one first"),
    may("data", Anything, "whatever the application wants to have with it"),
    may("subject", SUBJECT, "what it is about"),
    may("key", Text, "however often it is sent under one key, it is one notification"),
    may("delay_secs", Number, "how long it waits, at most a year"),
    may("deliver_at", Moment, "until when it waits, instead"),
    may("digest", Text, "while one of this group is unread, the next one is gathered into it"),
    may("expires_at", Moment, "when it is of no use any more"),
    may("via", List(&Word(CHANNELS)), "by which ways; inbox and broadcast if nothing is said"),
]);

/// `PUT /apps/{id}/users/{user}`
pub(super) const CONTACT: Shape = Table(&[
    may("email", Text, "where mail goes"),
    may("locale", Text, "as in de-AT"),
    may("tz", Text, "as in Europe/Vienna"),
]);

/// `PUT /apps/{id}/audiences/{name}/members`
pub(super) const MEMBERS: Shape = Table(&[
    may("add", List(&Text), "users who become members, at most 1,000"),
    may("remove", List(&Text), "users who are members no more, at most 1,000"),
]);

/// `PUT /apps/{id}/categories/{category}`
pub(super) const CATEGORY: Shape = Table(&[
    must("label", Text, "what users read"),
    may("default", Switches(CHANNELS), "which ways are on until a user says otherwise; one that is not named is on"),
    may("required", List(&Word(CHANNELS)), "which ways a user cannot switch off"),
]);

/// `POST /inbox/session`
pub(super) const SESSION: Shape = Table(SESSION_FIELDS);
const SESSION_FIELDS: &[Field] = &[
    may("socket_id", Text, "the connection's or the stream's socket id, with one of the two signatures"),
    may("channel_name", Text, "the channel that auth signs: one of the app's inbox.identity"),
    may("channel_data", Text, "what was signed with it, if anything was"),
    may("user_data", Text, "instead of a channel: what the application's user-auth endpoint has signed"),
    may("auth", Text, "what the application's endpoint has answered: KEY:SIGNATURE"),
    may(
        "jwt",
        Text,
        "instead of all these: a token of HS256 by the app's secret, kid being the app's key, sub the user",
    ),
];

/// `POST /inbox/notifications/{id}/snooze`
pub(super) const SNOOZE: Shape = Table(&[must("until", Moment, "when it comes back, at most a year from now")]);

/// `POST /inbox/seen`
pub(super) const SEEN: Shape = Table(&[
    may("ids", List(&Text), "which, at most 100"),
    may("up_to_seq", Number, "or: all up to this number"),
    may("up_to_announced", Number, "and all announcements up to this one"),
]);

/// `POST /inbox/read-all`
pub(super) const READ_ALL: Shape = Table(&[
    must("up_to_seq", Number, "the newest number that the user was shown: what has come since stays unread"),
    may("up_to_announced", Number, "the newest announcement that the user was shown"),
    may("category", Text, "of one category alone"),
]);

/// `POST /inbox/archive-read`
pub(super) const ARCHIVE_READ: Shape = Table(&[must("up_to_seq", Number, "the newest number that the user was shown")]);

/// `PUT /inbox/preferences`
pub(super) const PREFERENCE: Shape = Table(&[
    must("category", Text, "which one"),
    must("channels", Switches(CHANNELS), "each way that changes, on or off; the others stay"),
]);

/// `POST /inbox/push-subscriptions`
pub(super) const PUSH_SUBSCRIPTION: Shape = Open(&[
    must("endpoint", Text, "where pushes go, as the browser's PushSubscription says"),
    must(
        "keys",
        Open(&[must("p256dh", Text, "the browser's public key"), must("auth", Text, "the secret that it shares")]),
        "what pushes are encrypted with, as the browser's PushSubscription says",
    ),
]);

/// `DELETE /inbox/push-subscriptions`
pub(super) const PUSH_ENDPOINT: Shape = Open(&[must("endpoint", Text, "which browser is to be forgotten")]);
