//! A Postgres server for one test process.
//!
//! Owns a cluster in a temporary directory, spoken to by its Unix socket alone. Never outlives the process that began it,
//! however that ends: a shell beside it waits for the end of a pipe. The invariant: each test has a schema of its own.

use std::fmt::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// How long a cluster may take to be there.
const START_MAX: Duration = Duration::from_secs(60);

const SERVE_UNTIL_THE_PIPE_ENDS: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c max_connections=200 2> "$2/log" &
server=$!
cat > /dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

#[derive(Debug)]
struct Cluster {
    directory: PathBuf,
    /// Its end is that of the server.
    _pipe: ChildStdin,
}

/// Where the server of this process listens.
pub(crate) fn socket_directory() -> &'static Path {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    &CLUSTER.get_or_init(start).directory
}

/// Connections to a new, empty schema.
pub(crate) async fn pool() -> PgPool {
    let mut schema = String::from("t");
    for byte in getrandom::u64().expect("randomness").to_be_bytes() {
        let _ = write!(schema, "{byte:02x}");
    }
    let pool = pool_of(socket_directory(), &schema).await;
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::raw_sql(create).execute(&pool).await.expect("a schema can be made");
    pool
}

/// Connections to a schema, perhaps one that another process has made.
pub(crate) async fn pool_of(directory: &Path, schema: &str) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass().socket(directory).username("postgres").database("postgres");
    let options = options.options([("search_path", schema)]);
    let deadline = Instant::now() + START_MAX;
    loop {
        match PgPoolOptions::new().max_connections(10).connect_with(options.clone()).await {
            Ok(pool) => return pool,
            // It takes connections a moment before it serves them.
            Err(error) => assert!(Instant::now() < deadline, "Postgres is not there: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::zombie_processes, reason = "the shell outlives us, by the moment that it takes to clean up")]
fn start() -> Cluster {
    let binaries = binaries();
    let directory = tempfile::Builder::new().prefix("campanile-pg-").tempdir().expect("a directory").keep();
    let user = unprivileged();
    if let Some((uid, gid)) = user {
        chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(&directory);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    let made = command(&binaries.join("initdb"))
        .arg("-D")
        .arg(directory.join("data"))
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .output()
        .expect("initdb can be run");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let mut shell = command(Path::new("/bin/sh"))
        .args(["-c", SERVE_UNTIL_THE_PIPE_ENDS, "sh"])
        .args([&binaries, &directory])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal that ends the test from the terminal must not end the shell before it has cleaned up.
        .process_group(0)
        .spawn()
        .expect("a shell can be run");
    let pipe = shell.stdin.take().expect("it was piped");
    let deadline = Instant::now() + START_MAX;
    while UnixStream::connect(directory.join(".s.PGSQL.5432")).is_err() {
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "Postgres does not listen:\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Cluster { directory, _pipe: pipe }
}

/// Where Debian, or the search path, has the server's programs.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("initdb"));
    let of_debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_debian = of_debian.map(|version| version.path().join("bin/initdb"));
    let found = on_path.chain(of_debian).find_map(|initdb| initdb.canonicalize().ok());
    let initdb = found.expect("these tests need Postgres: apt-get install postgresql, or initdb on the PATH");
    initdb.parent().expect("a file has a directory").to_owned()
}

/// Whom the server runs as where we are root, as which it refuses to run.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("users are known");
    let ids = |name: &str| {
        let mut fields = users.lines().find(|line| line.starts_with(&format!("{name}:")))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("there is a user without privileges"))
}
