//! The mind of Campanile: who is connected, who subscribes, who gets what.
//!
//! Owns sessions, channels, members and fan-out. Never does I/O, spawns, reads a clock or draws randomness: input and
//! [`Moment`]s go in, [`Effect`]s and frames come out, so all of it can be simulated from a seed. The invariant: each
//! connection belongs to one worker and each channel to one home worker, and they talk by [`Letter`]s alone.
//! Reading order: [`app`], [`hub`] (one worker's mind), [`session`], [`channel`], [`replay`], [`fanout`]; then [`letter`],
//! [`notice`], [`effect`], [`idempotency`], [`guard`], [`meter`], [`histogram`], [`inbox`], [`receipt`], and [`rebirth`] for the day on which
//! something went wrong.

pub mod app;
pub mod census;
pub mod channel;
pub mod effect;
pub mod fanout;
pub mod guard;
pub mod handshake;
pub mod histogram;
pub mod hub;
pub mod idempotency;
pub mod inbox;
pub mod letter;
pub mod members;
pub mod memory;
pub mod meter;
pub mod notice;
mod occupied;
pub mod rebirth;
pub mod receipt;
pub mod replay;
mod seeded;
pub mod session;
pub mod shared_frame;
mod tally;
pub mod timers;

pub use app::{App, AppIndex, Apps, Credential, Features, NoticeSet};
pub use census::Census;
pub use effect::Effect;
pub use fanout::{ConnectionId, Fanout, Write};
pub use histogram::Histogram;
pub use hub::{Hub, Settings};
pub use idempotency::{FirstAnswer, RequestKey, RequestLimits, Unreserved};
pub use inbox::{Capture, Inboxes, OnStoreError};
pub use letter::{Answer, Ask, AskId, ChannelInfo, Letter, Publication, WorkerId};
pub use meter::{Meter, Reading, Row, Sizes, Subject, Told, Unit, Usage};
pub use notice::{Notice, NoticeKind};
pub use receipt::Receipt;
pub use replay::Replay;
pub use shared_frame::SharedFrame;
pub use timers::Moment;
