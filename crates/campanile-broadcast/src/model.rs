//! Changes of the application's models as events, named as Laravel names them.
//!
//! Owns the name and the shape of such an event: `PostUpdated` with `{"model": ..}`. Never notices a change by itself:
//! the application says so where it makes one. The invariant: what leaves is what serde makes of the model.

use std::borrow::Cow;

use serde::Serialize;

use crate::channel::{ChannelList, InvalidChannel};
use crate::event::BroadcastEvent;

/// What has happened to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new.
    Created,
    /// It is another than before.
    Updated,
    /// It was put into the bin.
    Trashed,
    /// It was taken out of the bin.
    Restored,
    /// It is gone.
    Deleted,
}

impl Change {
    fn suffix(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Updated => "Updated",
            Self::Trashed => "Trashed",
            Self::Restored => "Restored",
            Self::Deleted => "Deleted",
        }
    }
}

/// A model whose changes browsers hear of.
pub trait BroadcastModel: Serialize {
    /// What the events' names begin with, such as `Post`.
    const NAME: &'static str;

    /// Who hears of this change; nobody of one without channels.
    ///
    /// # Errors
    ///
    /// When a channel has no name.
    fn channels(&self, change: Change) -> Result<ChannelList, InvalidChannel>;
}

/// The event of a change: `PostUpdated` with `{"model": {..}}`, as Echo's `useEchoModel` expects it.
///
/// ```
/// use campanile_broadcast::{BroadcastModel, Campanile, Change, Channel, ChannelList, InvalidChannel, ModelChanged};
///
/// #[derive(Channel)] #[channel("private-App.Models.Post.{id}")] struct PostChannel { id: i64 }
///
/// #[derive(Clone, serde::Serialize)]
/// struct Post { id: i64, title: String }
///
/// impl BroadcastModel for Post {
///     const NAME: &'static str = "Post";
///
///     fn channels(&self, _: Change) -> Result<ChannelList, InvalidChannel> {
///         let mut channels = ChannelList::new();
///         channels.add(&PostChannel { id: self.id })?;
///         Ok(channels)
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let campanile = Campanile::fake();
/// let post = Post { id: 7, title: "Bells".into() };
/// campanile.broadcast(ModelChanged::new(Change::Updated, post)).send().await?;
/// # campanile.assert_broadcast::<ModelChanged<Post>>(|_, channels| channels == ["private-App.Models.Post.7"]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[must_use = "it is not sent without `campanile.broadcast(..)` and a verb"]
pub struct ModelChanged<M> {
    #[serde(skip)]
    change: Change,
    model: M,
}

impl<M: BroadcastModel> ModelChanged<M> {
    /// This has happened to the model, which is as it is now, or was last.
    pub fn new(change: Change, model: M) -> Self {
        Self { change, model }
    }
}

impl<M: BroadcastModel> BroadcastEvent for ModelChanged<M> {
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}{}", M::NAME, self.change.suffix()))
    }

    fn channels(&self) -> Result<ChannelList, InvalidChannel> {
        self.model.channels(self.change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::SignedInUser;

    #[derive(Serialize)]
    struct Post {
        id: i64,
    }

    impl BroadcastModel for Post {
        const NAME: &'static str = "Post";

        fn channels(&self, change: Change) -> Result<ChannelList, InvalidChannel> {
            let mut channels = ChannelList::new();
            channels.add(&(change != Change::Trashed).then_some(SignedInUser(self.id)))?;
            Ok(channels)
        }
    }

    #[test]
    fn the_name_says_what_has_happened_and_the_payload_to_what() {
        let changed = |change| ModelChanged::new(change, Post { id: 7 });
        let changes = [Change::Created, Change::Updated, Change::Trashed, Change::Restored, Change::Deleted];
        let names = changes.map(|change| changed(change).name().into_owned());
        assert_eq!(names, ["PostCreated", "PostUpdated", "PostTrashed", "PostRestored", "PostDeleted"]);
        assert_eq!(serde_json::to_string(&changed(Change::Updated)).unwrap(), r#"{"model":{"id":7}}"#);
        assert_eq!(changed(Change::Updated).channels().unwrap().names().len(), 1);
        assert!(changed(Change::Trashed).channels().unwrap().names().is_empty());
    }
}
