-- The same tables as for SQLite. Times are ISO 8601 in both, so that the same Rust types read them.
CREATE TABLE users (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          TEXT NOT NULL,
    email         TEXT NOT NULL UNIQUE,
    -- NULL for the simulated customers of the comparison, who cannot sign in by the form.
    password_hash TEXT,
    is_operator   BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE TABLE sessions (
    -- SHA-256 of what is in the cookie: whoever reads this table cannot sign in with it.
    id_hash    TEXT PRIMARY KEY,
    csrf_token TEXT NOT NULL,
    user_id    BIGINT REFERENCES users (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);

CREATE TABLE teams (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE team_members (
    team_id BIGINT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);

CREATE TABLE cards (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id BIGINT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    title   TEXT NOT NULL,
    lane    TEXT NOT NULL DEFAULT 'todo' CHECK (lane IN ('todo', 'doing', 'done'))
);

CREATE INDEX cards_by_team ON cards (team_id);

CREATE TABLE documents (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id BIGINT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    title   TEXT NOT NULL,
    body    TEXT NOT NULL
);

CREATE TABLE comments (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id BIGINT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    user_id     BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    body        TEXT NOT NULL,
    written_at  TEXT NOT NULL DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
);

CREATE INDEX comments_by_document ON comments (document_id, id);

CREATE TABLE orders (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    item            TEXT NOT NULL,
    cents           BIGINT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'packing' CHECK (status IN ('packing', 'shipped')),
    tracking_number TEXT,
    placed_at       TEXT NOT NULL DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
);

CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_to_ship ON orders (id) WHERE status = 'packing';
