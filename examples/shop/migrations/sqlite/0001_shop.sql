CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    email         TEXT NOT NULL UNIQUE,
    -- NULL for the simulated customers of the comparison, who cannot sign in by the form.
    password_hash TEXT,
    is_operator   INTEGER NOT NULL DEFAULT FALSE
) STRICT;

CREATE TABLE sessions (
    -- SHA-256 of what is in the cookie: whoever reads this table cannot sign in with it.
    id_hash    TEXT PRIMARY KEY,
    csrf_token TEXT NOT NULL,
    user_id    INTEGER REFERENCES users (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE teams (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE team_members (
    team_id INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cards (
    id      INTEGER PRIMARY KEY,
    team_id INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    title   TEXT NOT NULL,
    lane    TEXT NOT NULL DEFAULT 'todo' CHECK (lane IN ('todo', 'doing', 'done'))
) STRICT;

CREATE INDEX cards_by_team ON cards (team_id);

CREATE TABLE documents (
    id      INTEGER PRIMARY KEY,
    team_id INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    title   TEXT NOT NULL,
    body    TEXT NOT NULL
) STRICT;

CREATE TABLE comments (
    id          INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    body        TEXT NOT NULL,
    written_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ'))
) STRICT;

CREATE INDEX comments_by_document ON comments (document_id, id);

CREATE TABLE orders (
    id              INTEGER PRIMARY KEY,
    user_id         INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    item            TEXT NOT NULL,
    cents           INTEGER NOT NULL,
    status          TEXT NOT NULL DEFAULT 'packing' CHECK (status IN ('packing', 'shipped')),
    tracking_number TEXT,
    placed_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ'))
) STRICT;

CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_to_ship ON orders (id) WHERE status = 'packing';
