-- Times are milliseconds since the epoch (UTC), money is micro-dollars, GPU time is milliseconds.

CREATE TABLE boots (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE guilds (
    guild_id INTEGER PRIMARY KEY,
    time_zone TEXT NOT NULL DEFAULT 'UTC'
) STRICT;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    interaction_id INTEGER UNIQUE,
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    parent_id TEXT,
    request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'queued', 'submitting', 'accepted', 'running', 'finished', 'posting', 'posted',
        'failed', 'cancelled', 'unknown', 'undeliverable'
    )),
    offers TEXT NOT NULL,
    offer TEXT,
    reason TEXT,
    boot INTEGER NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    worker_deaths INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    finished_at INTEGER,
    estimated_seconds REAL NOT NULL,
    start_tag REAL NOT NULL,
    finish_tag REAL,
    card_channel_id INTEGER,
    card_message_id INTEGER,
    application_id INTEGER,
    interaction_token TEXT,
    token_expires_at INTEGER,
    result_channel_id INTEGER,
    result_message_id INTEGER,
    failure_code TEXT,
    failure_parameters TEXT,
    told INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The fair queue, in order within a guild.
CREATE INDEX jobs_waiting ON jobs (guild_id, start_tag, number) WHERE state = 'queued';
-- A member's jobs that are waiting or under way.
CREATE INDEX jobs_open ON jobs (user_id) WHERE state IN ('queued', 'submitting', 'accepted', 'running');
-- What a restart has to look at, and the outbox. (An index serves only queries with its very own condition.)
CREATE INDEX jobs_under_way ON jobs (number) WHERE state IN ('submitting', 'accepted', 'running');
CREATE INDEX jobs_to_post ON jobs (number) WHERE state IN ('finished', 'posting');
CREATE INDEX jobs_untold ON jobs (number) WHERE told = 0 AND state IN ('failed', 'cancelled', 'unknown');
-- A member's last finish tag, and their history.
CREATE INDEX jobs_finish_tags ON jobs (guild_id, user_id, finish_tag);
CREATE INDEX jobs_history ON jobs (guild_id, user_id, number);

CREATE TABLE tasks (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    position INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    submission_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'submitting', 'accepted', 'done', 'failed', 'cancelled', 'unknown'
    )),
    remote_id TEXT,
    picture TEXT,
    width INTEGER,
    height INTEGER,
    bytes INTEGER,
    seconds REAL,
    cost INTEGER,
    flagged INTEGER NOT NULL DEFAULT 0,
    failure_code TEXT,
    failure_parameters TEXT,
    PRIMARY KEY (job_id, position)
) STRICT, WITHOUT ROWID;

-- Start-time fair queueing: one clock for the guilds, one in each guild for its members.
CREATE TABLE fair_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    virtual_time REAL NOT NULL
) STRICT;
INSERT INTO fair_clock (id, virtual_time) VALUES (1, 0.0);

CREATE TABLE fair_guilds (
    guild_id INTEGER PRIMARY KEY,
    finish_tag REAL NOT NULL,
    virtual_time REAL NOT NULL
) STRICT;

CREATE TABLE rules (
    id INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    subject TEXT NOT NULL CHECK (subject IN ('guild', 'channel', 'role', 'member', 'every-member')),
    subject_id INTEGER NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('images', 'gpu-seconds', 'money')),
    period TEXT NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month')),
    maximum INTEGER NOT NULL CHECK (maximum >= 0),
    created_by INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (guild_id, subject, subject_id, unit, period)
) STRICT;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('reserve', 'settle', 'release', 'grant', 'correct')),
    job_id TEXT,
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    unit TEXT NOT NULL CHECK (unit IN ('images', 'gpu-seconds', 'money')),
    bucket INTEGER NOT NULL,
    held INTEGER NOT NULL,
    used INTEGER NOT NULL,
    granted INTEGER NOT NULL DEFAULT 0,
    author_id INTEGER
) STRICT;
CREATE INDEX ledger_of_job ON ledger (job_id) WHERE job_id IS NOT NULL;

CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_is_never_replaced BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;

-- Sums of the ledger by quarter of an hour, kept by triggers and checked by `doctor`.
CREATE TABLE balances (
    guild_id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    subject_id INTEGER NOT NULL,
    unit TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    held INTEGER NOT NULL CHECK (held >= 0),
    used INTEGER NOT NULL,
    granted INTEGER NOT NULL CHECK (granted >= 0),
    PRIMARY KEY (guild_id, subject, subject_id, unit, bucket)
) STRICT, WITHOUT ROWID;

-- The row is made first and changed then: a CHECK looks at the row to be inserted before it looks for a conflict,
-- and what is settled or released comes in as a negative number.
CREATE TRIGGER ledger_feeds_balances AFTER INSERT ON ledger
BEGIN
    INSERT INTO balances (guild_id, subject, subject_id, unit, bucket, held, used, granted)
    VALUES (NEW.guild_id, 'member', NEW.user_id, NEW.unit, NEW.bucket, 0, 0, 0)
    ON CONFLICT DO NOTHING;
    UPDATE balances SET held = held + NEW.held, used = used + NEW.used, granted = granted + NEW.granted
    WHERE guild_id = NEW.guild_id AND subject = 'member' AND subject_id = NEW.user_id
        AND unit = NEW.unit AND bucket = NEW.bucket;
END;
-- A grant is a gift to a member: it widens no channel's, guild's or operator's limit.
CREATE TRIGGER ledger_feeds_shared_balances AFTER INSERT ON ledger WHEN NEW.kind <> 'grant'
BEGIN
    INSERT INTO balances (guild_id, subject, subject_id, unit, bucket, held, used, granted)
    VALUES
        (NEW.guild_id, 'channel', NEW.channel_id, NEW.unit, NEW.bucket, 0, 0, 0),
        (NEW.guild_id, 'guild', NEW.guild_id, NEW.unit, NEW.bucket, 0, 0, 0),
        (0, 'operator', 0, NEW.unit, NEW.bucket, 0, 0, 0)
    ON CONFLICT DO NOTHING;
    UPDATE balances SET held = held + NEW.held, used = used + NEW.used
    WHERE unit = NEW.unit AND bucket = NEW.bucket AND (guild_id, subject, subject_id) IN (VALUES
        (NEW.guild_id, 'channel', NEW.channel_id), (NEW.guild_id, 'guild', NEW.guild_id), (0, 'operator', 0));
END;
