//! What this machine takes for any answer at all.
//!
//! Owns an echo over TCP between two threads: one that sleeps until something comes, as a server does, and one that
//! spins, as `unicast --spin` does. Never speaks a protocol. The invariant: it makes the moves of one notification,
//! a write that wakes the other side and a write that comes back, and nothing else, so that what a server takes beyond
//! it is the server's own.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cli::FloorArgs;
use crate::report::Report;
use crate::target::pin;

/// The part that only warms up.
const WARM_UP: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures it.
pub(crate) fn run(args: &FloorArgs) -> io::Result<Report> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (core, bytes) = (args.server_core, args.bytes);
    let echo = thread::spawn(move || {
        pin(core)?;
        serve(&listener, bytes)
    });
    pin(args.load_core)?;
    let most = u64::try_from(PATIENCE.as_nanos()).map_err(io::Error::other)?;
    let mut latencies = Histogram::new_with_max(most, 3).map_err(io::Error::other)?;
    let outcome = ask(TcpStream::connect(address)?, args, &mut latencies);
    let served = echo.join().map_err(|_| io::Error::other("the echo has panicked"))?;
    outcome.and(served)?;
    let us = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let mut report = Report::default();
    report.add("latency_p50", "us", us(0.5));
    report.add("latency_p99", "us", us(0.99));
    report.add("latency_max", "us", us(1.0));
    Ok(report)
}

/// Sends back what comes, in whole messages, until the client closes.
fn serve(listener: &TcpListener, bytes: usize) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut message = vec![0; bytes];
    loop {
        match stream.read_exact(&mut message) {
            Ok(()) => stream.write_all(&message)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn ask(mut stream: TcpStream, args: &FloorArgs, latencies: &mut Histogram<u64>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let (question, mut answer) = (vec![b'x'; args.bytes], vec![0; args.bytes]);
    let (start, every) = (Instant::now(), Duration::from_secs(1) / args.per_second);
    for number in 0..WARM_UP + args.messages {
        while Instant::now() < start + every * number {
            std::hint::spin_loop();
        }
        let asked = Instant::now();
        // It is the only message under way, so the kernel has room.
        stream.write_all(&question)?;
        let mut come = 0;
        while come < answer.len() {
            match stream.read(&mut answer[come..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => come += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && asked.elapsed() < PATIENCE => {}
                Err(error) => return Err(error),
            }
        }
        if number >= WARM_UP {
            latencies.saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_and_takes_some_time() {
        let args = FloorArgs { messages: 20, per_second: 1000, bytes: 1200, server_core: None, load_core: None };
        let report = run(&args).unwrap();
        let names: Vec<&str> = report.figures.iter().map(|figure| &*figure.name).collect();
        assert_eq!(names, ["latency_p50", "latency_p99", "latency_max"]);
        assert!(report.figures.iter().all(|figure| figure.value > 1.0), "nothing crosses the kernel in a microsecond");
        assert!(report.figures.is_sorted_by(|one, next| one.value <= next.value));
    }
}
