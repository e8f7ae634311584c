//! What the servers of this process log, all of them: a test looks for lines that only it can cause.

use std::io::{self, Write};
use std::sync::{Mutex, Once};

use tracing_subscriber::fmt::MakeWriter;

static LOG: Log = Log(Mutex::new(Vec::new()));

/// From now on everything is remembered.
pub(crate) fn watch() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        tracing_subscriber::fmt().with_env_filter("campanile=debug").with_ansi(false).with_writer(&LOG).init();
    });
}

/// What is remembered.
pub(crate) fn so_far() -> String {
    String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap()
}

struct Log(Mutex<Vec<u8>>);

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static Log {
    type Writer = &'static Log;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
