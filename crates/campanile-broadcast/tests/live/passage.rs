//! A way to the server that loses things, and servers that do not keep their word.
//!
//! Owns the faults of networks and of servers. Never changes what passes. The invariant: every connection is counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Connections and requests on their way to the server.
pub(crate) struct Passage {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    answers_to_lose: AtomicUsize,
}

impl Passage {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.connections.fetch_add(1, SeqCst);
                tokio::spawn(pass(client, server, Arc::clone(&counted)));
            }
        });
        Self { address, counts, task }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next answers of the server break off in the middle.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.counts.answers_to_lose.store(count, SeqCst);
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. A request of this client is one write of its head and perhaps more of its body, so a request begins
/// with `POST`.
async fn pass(mut client: TcpStream, server: SocketAddr, counts: Arc<Counts>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut asked, mut answered) = ([0; 64 * 1024], [0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                if asked[..length].starts_with(b"POST ") {
                    counts.requests.fetch_add(1, SeqCst);
                }
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                let lose = counts.answers_to_lose.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
                let passed = if lose { &answered[..length / 2] } else { &answered[..length] };
                if client.write_all(passed).await.is_err() || lose {
                    return;
                }
            }
        }
    }
}

/// A server that reads each request, and answers with the next of these; after the last it says nothing at all.
pub(crate) async fn scripted(answers: Vec<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut asked = vec![0; 64 * 1024];
            let Ok(1..) = client.read(&mut asked).await else { continue };
            match answers.get(counted.fetch_add(1, SeqCst)) {
                Some(answer) => drop(client.write_all(answer.as_bytes()).await),
                None => silent.push(client),
            }
        }
    });
    (origin, requests)
}
