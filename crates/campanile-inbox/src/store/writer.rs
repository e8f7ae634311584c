//! Who writes to SQLite: one connection, and one commit for many operations.
//!
//! Owns the connection that writes. Never lets one operation's failure be another's. The invariant: an operation is
//! answered after its commit is on the disk, and what it changed is told before that answer. Read on in [`super::tx`].

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::error::InboxError;
use crate::settings::{GROUP_COMMIT_MAX, GROUP_COMMIT_WAIT};
use crate::store::Core;
use crate::store::connection::{self, Connection, Failure};
use crate::store::tx::Tx;

/// The pauses before the connection is opened again.
const REOPEN_PAUSES_MS: [u64; 4] = [10, 50, 250, 1000];

pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An operation with somebody who waits for its answer. It may be run more than once, each time in a new transaction.
pub(crate) trait Operation {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> Local<'a, Result<(), Failure>>;
    /// The answer of the run that was committed, or why there was none.
    fn answer(self: Box<Self>, failure: Option<InboxError>);
}

struct Waiting<F, T> {
    operation: F,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, InboxError>>,
}

impl<T: 'static, F: AsyncFn(&mut Tx) -> Result<T, Failure> + 'static> Operation for Waiting<F, T> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> Local<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.done = Some((self.operation)(tx).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, failure: Option<InboxError>) {
        let answer = match (failure, self.done) {
            (Some(error), _) => Err(error),
            (None, Some(done)) => Ok(done),
            (None, None) => Err(InboxError::Unavailable { reason: "the operation was not run".to_owned() }),
        };
        // Whoever has gone does not want to know.
        let _ = self.reply.send(answer);
    }
}

pub(crate) fn operation<T, F>(operation: F) -> (Box<dyn Operation>, oneshot::Receiver<Result<T, InboxError>>)
where
    T: 'static,
    F: AsyncFn(&mut Tx) -> Result<T, Failure> + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Waiting { operation, done: None, reply }), answer)
}

/// Runs the writer, and another one whenever it is lost, until nobody can write any more.
pub(crate) async fn supervise(core: Rc<Core>, mut queue: mpsc::UnboundedReceiver<Box<dyn Operation>>) {
    let mut pauses = 0;
    loop {
        match contained(serve(&core, &mut queue, &mut pauses)).await {
            Ok(Ended::Closed) => return,
            Ok(Ended::Lost(reason)) => tracing::error!(reason, "the inbox's writer is replaced"),
            Err(panic) => tracing::error!(panic, "the inbox's writer is replaced"),
        }
        // With nobody who could write any more, another one would only be opened to be closed.
        if queue.is_closed() && queue.is_empty() {
            return;
        }
        core.figures.borrow_mut().writers_replaced += 1;
        let pause = REOPEN_PAUSES_MS[pauses.min(REOPEN_PAUSES_MS.len() - 1)];
        pauses += 1;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

enum Ended {
    Closed,
    Lost(String),
}

async fn serve(core: &Rc<Core>, queue: &mut mpsc::UnboundedReceiver<Box<dyn Operation>>, pauses: &mut usize) -> Ended {
    let mut connection = match open(core).await {
        Ok(connection) => connection,
        Err(error) => {
            let reason = connection::reason(&error);
            // Whoever waits is told now, not when it works again.
            while let Ok(operation) = queue.try_recv() {
                operation.answer(Some(InboxError::Unavailable { reason: reason.clone() }));
            }
            return Ended::Lost(reason);
        }
    };
    loop {
        let Some(first) = queue.recv().await else {
            connection.discard().await;
            return Ended::Closed;
        };
        let batch = gather(first, queue).await;
        let size = batch.len() as u64;
        connection = match commit(core, connection, batch).await {
            Ok(connection) => connection,
            Err(reason) => return Ended::Lost(reason),
        };
        *pauses = 0;
        let mut figures = core.figures.borrow_mut();
        figures.committed += size;
        figures.commits += 1;
    }
}

async fn open(core: &Rc<Core>) -> Result<Connection, sqlx::Error> {
    let options = core.sqlite.as_ref().expect("only SQLite has a writer");
    connection::sqlite(options).await
}

/// What waits already; where more than one does, more is likely to come.
async fn gather(
    first: Box<dyn Operation>,
    queue: &mut mpsc::UnboundedReceiver<Box<dyn Operation>>,
) -> VecDeque<Box<dyn Operation>> {
    let mut batch = VecDeque::from([first]);
    while batch.len() < GROUP_COMMIT_MAX
        && let Ok(next) = queue.try_recv()
    {
        batch.push_back(next);
    }
    if batch.len() > 1 {
        let more = async {
            while batch.len() < GROUP_COMMIT_MAX
                && let Some(next) = queue.recv().await
            {
                batch.push_back(next);
            }
        };
        // At the end of the wait the batch is as large as it has become.
        let _ = tokio::time::timeout(GROUP_COMMIT_WAIT, more).await;
    }
    batch
}

/// Runs a batch in one transaction, or, if one of it fails, each in its own. An error is the loss of the connection.
async fn commit(
    core: &Rc<Core>,
    connection: Connection,
    mut batch: VecDeque<Box<dyn Operation>>,
) -> Result<Connection, String> {
    let mut tx = Tx::new(connection, &core.settings);
    match attempt(core, &mut tx, &mut batch).await {
        Ok(()) => return Ok(tx.into_connection()),
        Err(failure) if failure.is_of_the_database() || batch.len() == 1 => {
            let told = failure.told();
            for operation in batch {
                operation.answer(Some(told.clone()));
            }
        }
        Err(_) => {
            if let Err(error) = tx.roll_back().await {
                let reason = connection::reason(&error);
                for operation in batch {
                    operation.answer(Some(InboxError::Unavailable { reason: reason.clone() }));
                }
                tx.into_connection().discard().await;
                return Err(reason);
            }
            while let Some(operation) = batch.pop_front() {
                let mut alone = VecDeque::from([operation]);
                if let Err(failure) = attempt(core, &mut tx, &mut alone).await {
                    for operation in alone {
                        operation.answer(Some(failure.told()));
                    }
                    ended(&mut tx).await?;
                }
                tx = Tx::new(tx.into_connection(), &core.settings);
            }
            return Ok(tx.into_connection());
        }
    }
    match ended(&mut tx).await {
        Ok(()) => Ok(tx.into_connection()),
        Err(reason) => {
            tx.into_connection().discard().await;
            Err(reason)
        }
    }
}

/// Makes sure that no transaction is open.
async fn ended(tx: &mut Tx) -> Result<(), String> {
    match tx.roll_back().await {
        Ok(()) => Ok(()),
        // A transaction that never began, or that SQLite has rolled back by itself, is over, too.
        Err(error) if error.to_string().contains("no transaction is active") => Ok(()),
        Err(error) => Err(connection::reason(&error)),
    }
}

/// Runs all of it, commits, tells and answers; or leaves the batch as it was.
async fn attempt(core: &Rc<Core>, tx: &mut Tx, batch: &mut VecDeque<Box<dyn Operation>>) -> Result<(), Failure> {
    tx.begin(false).await?;
    let mut refused: Vec<Option<InboxError>> = Vec::with_capacity(batch.len());
    for operation in batch.iter_mut() {
        let writes = tx.writes();
        let told = tx.changes.len();
        match contained(operation.run(tx)).await {
            Ok(Ok(())) => refused.push(None),
            // What it has written must not be committed with the others, if it has.
            Ok(Err(Failure::Refused(error))) if tx.writes() == writes && tx.changes.len() == told => {
                refused.push(Some(error));
            }
            Ok(Err(failure)) => return Err(failure),
            Err(panic) => return Err(Failure::Broken(format!("the program has gone wrong: {panic}"))),
        }
    }
    tx.commit().await?;
    #[cfg(test)]
    assert!(!tx.loses_writer, "planted");
    if std::mem::take(&mut tx.has_work) {
        core.work.notify_one();
    }
    core.queue.tell(std::mem::take(&mut tx.changes));
    for (operation, refusal) in batch.drain(..).zip(refused) {
        operation.answer(refusal);
    }
    Ok(())
}

/// What it gives, or the words of its panic.
pub(crate) async fn contained<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    // What it leaves half done is a transaction, and that is rolled back, or a connection, and that is discarded.
    std::future::poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            Poll::Ready(Err(words.unwrap_or_else(|| "a panic without words".to_owned())))
        }
    })
    .await
}
