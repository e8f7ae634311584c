CREATE TABLE campanile_inbox_apps (
    app TEXT PRIMARY KEY,
    announced BIGINT NOT NULL DEFAULT 0,
    forgotten BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE campanile_inbox_users (
    id {serial},
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    seq BIGINT NOT NULL DEFAULT 0,
    rev BIGINT NOT NULL DEFAULT 0,
    unread BIGINT NOT NULL DEFAULT 0,
    unseen BIGINT NOT NULL DEFAULT 0,
    read_floor BIGINT NOT NULL DEFAULT 0,
    read_floor_at BIGINT NOT NULL DEFAULT 0,
    read_floor_rev BIGINT NOT NULL DEFAULT 0,
    seen_floor BIGINT NOT NULL DEFAULT 0,
    seen_floor_at BIGINT NOT NULL DEFAULT 0,
    seen_floor_rev BIGINT NOT NULL DEFAULT 0,
    announced_read_floor BIGINT NOT NULL DEFAULT 0,
    announced_read_floor_at BIGINT NOT NULL DEFAULT 0,
    announced_read_floor_rev BIGINT NOT NULL DEFAULT 0,
    announced_seen_floor BIGINT NOT NULL DEFAULT 0,
    announced_seen_floor_at BIGINT NOT NULL DEFAULT 0,
    announced_seen_floor_rev BIGINT NOT NULL DEFAULT 0,
    forgotten_rev BIGINT NOT NULL DEFAULT 0,
    email TEXT,
    locale TEXT,
    tz TEXT,
    UNIQUE (app, name)
);
CREATE TABLE campanile_inbox_floors (
    user_id BIGINT NOT NULL,
    category TEXT NOT NULL,
    read_floor BIGINT NOT NULL,
    floor_at BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    PRIMARY KEY (user_id, category)
);
CREATE TABLE campanile_inbox_notifications (
    user_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    category TEXT NOT NULL,
    content TEXT NOT NULL,
    digest TEXT,
    open_digest TEXT,
    group_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    read_at BIGINT,
    seen_at BIGINT,
    archived_at BIGINT,
    snoozed_until BIGINT,
    expires_at BIGINT,
    unread BIGINT NOT NULL,
    unseen BIGINT NOT NULL,
    hidden BIGINT NOT NULL,
    kept BIGINT NOT NULL,
    PRIMARY KEY (user_id, seq)
);
CREATE UNIQUE INDEX campanile_inbox_by_id ON campanile_inbox_notifications (id, user_id);
CREATE UNIQUE INDEX campanile_inbox_by_rev ON campanile_inbox_notifications (user_id, rev);
CREATE UNIQUE INDEX campanile_inbox_open_digest ON campanile_inbox_notifications (user_id, open_digest) WHERE open_digest IS NOT NULL;
CREATE INDEX campanile_inbox_by_category ON campanile_inbox_notifications (user_id, category, seq);
CREATE INDEX campanile_inbox_open ON campanile_inbox_notifications (user_id, seq) WHERE hidden = 0;
CREATE INDEX campanile_inbox_archived ON campanile_inbox_notifications (user_id, seq) WHERE hidden = 1;
CREATE INDEX campanile_inbox_snoozed ON campanile_inbox_notifications (user_id, seq) WHERE hidden = 2;
CREATE INDEX campanile_inbox_unread ON campanile_inbox_notifications (user_id, seq, category, unread) WHERE unread > 0;
CREATE INDEX campanile_inbox_unseen ON campanile_inbox_notifications (user_id, seq, category, unseen) WHERE unseen > 0;
CREATE INDEX campanile_inbox_kept ON campanile_inbox_notifications (user_id, seq) WHERE kept = 1;
CREATE INDEX campanile_inbox_waking ON campanile_inbox_notifications (snoozed_until) WHERE snoozed_until IS NOT NULL;
CREATE INDEX campanile_inbox_expiring ON campanile_inbox_notifications (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX campanile_inbox_aging ON campanile_inbox_notifications (created_at);
CREATE TABLE campanile_inbox_digested (
    id TEXT NOT NULL,
    user_id BIGINT NOT NULL,
    row_id TEXT NOT NULL,
    PRIMARY KEY (id, user_id)
);
CREATE INDEX campanile_inbox_digested_rows ON campanile_inbox_digested (user_id, row_id);
CREATE TABLE campanile_inbox_tombstones (
    user_id BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    id TEXT NOT NULL,
    removed_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, rev)
);
CREATE INDEX campanile_inbox_tombstones_aging ON campanile_inbox_tombstones (removed_at);
CREATE TABLE campanile_inbox_announcements (
    app TEXT NOT NULL,
    number BIGINT NOT NULL,
    id TEXT NOT NULL,
    audience TEXT,
    kind TEXT NOT NULL,
    category TEXT NOT NULL,
    content TEXT NOT NULL,
    wanted BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (app, number)
);
CREATE UNIQUE INDEX campanile_inbox_announcements_by_id ON campanile_inbox_announcements (app, id);
CREATE INDEX campanile_inbox_announcements_expiring ON campanile_inbox_announcements (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX campanile_inbox_announcements_aging ON campanile_inbox_announcements (created_at);
CREATE TABLE campanile_inbox_announcement_states (
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    read_at BIGINT,
    seen_at BIGINT,
    archived_at BIGINT,
    snoozed_until BIGINT,
    unread BIGINT NOT NULL,
    unseen BIGINT NOT NULL,
    hidden BIGINT NOT NULL,
    PRIMARY KEY (user_id, number)
);
CREATE INDEX campanile_inbox_announcement_states_by_rev ON campanile_inbox_announcement_states (user_id, rev);
CREATE INDEX campanile_inbox_announcement_states_waking ON campanile_inbox_announcement_states (snoozed_until)
    WHERE snoozed_until IS NOT NULL;
CREATE TABLE campanile_inbox_withdrawn (
    app TEXT NOT NULL,
    number BIGINT NOT NULL,
    id TEXT NOT NULL,
    removed_at BIGINT NOT NULL,
    PRIMARY KEY (app, number)
);
CREATE INDEX campanile_inbox_withdrawn_aging ON campanile_inbox_withdrawn (removed_at);
CREATE TABLE campanile_inbox_jobs (
    number {serial},
    app TEXT NOT NULL,
    id TEXT NOT NULL,
    draft TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    available_at BIGINT NOT NULL,
    leased BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    told_to TEXT,
    error TEXT,
    died_at BIGINT
);
CREATE INDEX campanile_inbox_jobs_due ON campanile_inbox_jobs (available_at, number) WHERE died_at IS NULL;
CREATE INDEX campanile_inbox_jobs_dead ON campanile_inbox_jobs (app, number) WHERE died_at IS NOT NULL;
CREATE INDEX campanile_inbox_jobs_dead_aging ON campanile_inbox_jobs (died_at) WHERE died_at IS NOT NULL;
CREATE INDEX campanile_inbox_jobs_by_id ON campanile_inbox_jobs (app, id);
CREATE TABLE campanile_inbox_keys (
    app TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (app, key)
);
CREATE INDEX campanile_inbox_keys_aging ON campanile_inbox_keys (until);
CREATE TABLE campanile_inbox_categories (
    app TEXT NOT NULL,
    category TEXT NOT NULL,
    terms TEXT NOT NULL,
    PRIMARY KEY (app, category)
);
CREATE TABLE campanile_inbox_preferences (
    user_id BIGINT NOT NULL,
    category TEXT NOT NULL,
    channel TEXT NOT NULL,
    is_on BIGINT NOT NULL,
    PRIMARY KEY (user_id, category, channel)
);
CREATE TABLE campanile_inbox_audiences (
    app TEXT NOT NULL,
    audience TEXT NOT NULL,
    members BIGINT NOT NULL,
    PRIMARY KEY (app, audience)
);
CREATE TABLE campanile_inbox_members (
    app TEXT NOT NULL,
    audience TEXT NOT NULL,
    name TEXT NOT NULL,
    joined BIGINT NOT NULL,
    PRIMARY KEY (app, audience, name)
);
CREATE INDEX campanile_inbox_members_by_name ON campanile_inbox_members (app, name);
CREATE TABLE campanile_inbox_deliveries (
    number {serial},
    user_id BIGINT NOT NULL,
    id TEXT NOT NULL,
    row_id TEXT,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    content TEXT,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX campanile_inbox_deliveries_once ON campanile_inbox_deliveries (id, user_id, channel);
CREATE INDEX campanile_inbox_deliveries_by_user ON campanile_inbox_deliveries (user_id, number);
CREATE INDEX campanile_inbox_deliveries_due ON campanile_inbox_deliveries (due_at, number) WHERE state = 'waiting';
CREATE INDEX campanile_inbox_deliveries_waiting ON campanile_inbox_deliveries (user_id, seq) WHERE state = 'waiting';
CREATE INDEX campanile_inbox_deliveries_trying ON campanile_inbox_deliveries (lease_until) WHERE state = 'trying';
CREATE INDEX campanile_inbox_deliveries_aging ON campanile_inbox_deliveries (updated_at);
CREATE TABLE campanile_inbox_push_subscriptions (
    app TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    user_id BIGINT NOT NULL,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (app, endpoint)
);
CREATE INDEX campanile_inbox_push_subscriptions_by_user ON campanile_inbox_push_subscriptions (user_id, added_at);
