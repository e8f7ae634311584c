-- Sessions end at a second that the shop counts, because the two databases say "in twelve hours" differently.
DROP TABLE sessions;
CREATE TABLE sessions (
    -- SHA-256 of what is in the cookie: whoever reads this table cannot sign in with it.
    id_hash    TEXT PRIMARY KEY,
    csrf_token TEXT NOT NULL,
    user_id    INTEGER REFERENCES users (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
