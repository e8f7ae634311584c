//! What the store promises, of SQLite and of Postgres alike.
//!
//! Owns one suite for both. Never tests what only one of them does, but where its name says so. The invariant: both are
//! real, on a disk.

#[path = "../../../campanile-broadcast/tests/support/postgres.rs"]
mod postgres;
#[path = "../support/stage.rs"]
mod stage;

mod agreeing;
mod announcing;
mod arriving;
mod delivering;
mod marking;
mod operating;
mod paging;
mod preferring;

/// One test of each promise for each database.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::stage::Kind::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(crate::stage::Kind::Postgres).await; })+
        }
    };
}
pub(crate) use promises;
