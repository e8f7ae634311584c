//! All that the mind may ask of the world, besides the frames that [`crate::fanout`] has gathered.

use std::sync::Arc;

use campanile_protocol::CloseCode;

use crate::fanout::ConnectionId;
use crate::guard::Alert;
use crate::letter::{Answer, AskId, ChannelKey, Letter, Subscriber, WorkerId};
use crate::notice::Notice;
use crate::receipt::Receipt;

/// Something to be done outside.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Deliver a letter.
    Send {
        /// To whom; maybe to the same worker.
        to: WorkerId,
        /// What.
        letter: Letter,
    },
    /// Close a connection once what it must still get is written.
    Close {
        /// Which.
        connection: ConnectionId,
        /// With which code.
        code: CloseCode,
        /// And which words.
        reason: Box<str>,
    },
    /// Tell the app's webhooks.
    Notice(Notice),
    /// Tell whoever looks after the app that a rule holds up its events.
    Alert(Alert),
    /// A connection has entered the channel of a user's inbox: it should hear how that stands.
    EnteredInbox {
        /// The channel.
        key: ChannelKey,
        /// Whose inbox.
        user: Box<str>,
        /// Who has entered. What it is told comes back as [`Letter::Restated`], which reaches no other subscription.
        subscriber: Subscriber,
    },
    /// A connection has taken a notification.
    Taken(Arc<Receipt>),
    /// Somebody outside waits for this.
    Answer {
        /// The question.
        id: AskId,
        /// The answer.
        answer: Answer,
    },
}
