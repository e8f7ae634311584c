use campanile_broadcast::{Campanile, Content, Everyone, Notification};
use serde::Serialize;

struct User;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added")]
struct Commented;

#[derive(Serialize, Notification)]
#[notification(kind = "order.shipped")]
struct Shipped;

impl Notification<i64> for Shipped {
    fn to_inbox(&self, _: &i64) -> Content {
        Content::new("On its way")
    }
}

#[derive(Serialize, Notification)]
#[notification(kind = "closed", title = "Closed on Monday")]
struct Closed;

#[derive(Serialize)]
struct NoNotification;

fn main() {
    let campanile = Campanile::fake();
    let _ = campanile.notify(42_i64, Commented);
    let _ = campanile.notify(Everyone, Shipped);
    let _ = campanile.notify(User, Closed);
    let _ = campanile.notify(vec![1, 2], Closed);
    let _ = campanile.notify(42_i64, NoNotification);
    // Nothing is said of these.
    let _ = campanile.notify(42_i64, Shipped);
    let _ = campanile.notify_each(vec![1, 2], Closed);
    let _ = campanile.notify("42", Closed);
}
