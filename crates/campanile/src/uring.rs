//! A tick's writes in one system call.
//!
//! Owns one io_uring instance for a worker, and all of this crate's `unsafe` that it takes. Never keeps a buffer or
//! waits for a socket: every write is tried at once and comes back with what it took. The invariant: when
//! [`Ring::send`] returns, the kernel is done with every buffer it was given. Where the kernel has no io_uring (Docker's
//! default seccomp profile denies it) there is no ring, and [`crate::worker`] writes to each socket by itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

/// How many writes go into one system call.
pub(crate) const BATCH_MAX: usize = 512;
/// With fewer writes a tick is quicker without.
pub(crate) const BATCH_MIN: usize = 3;

/// Sends without waiting for room, and without a signal if the peer is gone.
const FLAGS: i32 =
    rustix::net::SendFlags::DONTWAIT.bits().cast_signed() | rustix::net::SendFlags::NOSIGNAL.bits().cast_signed();

/// One write: where to, and what.
pub(crate) type Send<'a> = (BorrowedFd<'a>, &'a [u8]);

/// What the kernel did with one write.
pub(crate) type Sent = io::Result<usize>;

/// One worker's ring.
pub(crate) struct Ring(IoUring);

impl Ring {
    /// A ring, if the kernel gives one.
    pub(crate) fn new() -> io::Result<Self> {
        let entries = u32::try_from(BATCH_MAX).expect("a constant that fits");
        let mut builder = IoUring::builder();
        // Only the thread that made it ever touches it, and completions are looked for when we ask.
        builder.setup_single_issuer().setup_coop_taskrun().setup_submit_all();
        let ring = Self(builder.build(entries)?);
        ring.probe()
    }

    /// A kernel may allow the ring and not the operation; then every send would fail.
    fn probe(self) -> io::Result<Self> {
        use std::io::Read;
        use std::os::fd::AsFd;
        use std::os::unix::net::UnixStream;

        let (ours, mut theirs) = UnixStream::pair()?;
        let mut sent = Vec::new();
        let ring = self.send(&[(ours.as_fd(), b"?")], &mut sent)?;
        sent.pop().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        theirs.read_exact(&mut [0])?;
        Ok(ring)
    }

    /// Tries every write, at most [`BATCH_MAX`], and tells in the same order what became of each; what was not tried would
    /// block. The ring comes back unless it is of no more use; what was told is true all the same.
    #[expect(unsafe_code, reason = "the kernel reads buffers that the compiler cannot see it borrow")]
    pub(crate) fn send(mut self, sends: &[Send<'_>], sent: &mut Vec<Sent>) -> io::Result<Self> {
        sent.clear();
        sent.resize_with(sends.len(), || Err(io::ErrorKind::WouldBlock.into()));
        let mut queue = self.0.submission();
        for (number, (descriptor, bytes)) in (0..).zip(sends) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let entry = opcode::Send::new(types::Fd(descriptor.as_raw_fd()), bytes.as_ptr(), length)
                .flags(FLAGS)
                .build()
                .user_data(number);
            // SAFETY: descriptor and bytes are borrowed for as long as this function runs, and the kernel, which only
            // reads the bytes, is done with them by then: an entry that may not wait is completed while it is submitted,
            // and the loop below does not end before each is, but for an error: then the ring goes with this function,
            // and with it the entries that were not submitted.
            unsafe { queue.push(&entry) }.map_err(io::Error::other)?;
        }
        drop(queue);
        let (mut submitted, mut completed) = (0, vec![false; sends.len()]);
        let mut missing = sends.len();
        while missing > 0 {
            match self.0.submit_and_wait(missing) {
                Ok(more) => submitted += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // What was submitted and is not heard of may have been sent: its stream cannot go on.
                    for number in (0..submitted.min(sends.len())).filter(|number| !completed[*number]) {
                        sent[number] = Err(io::ErrorKind::BrokenPipe.into());
                    }
                    return Err(error);
                }
            }
            for completion in self.0.completion() {
                let number = usize::try_from(completion.user_data()).map_err(io::Error::other)?;
                let result = completion.result();
                sent[number] = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                completed[number] = true;
                missing -= 1;
            }
        }
        Ok(self)
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}
