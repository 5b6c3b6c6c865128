-- Words and patterns that a server's admins block, who may not use the bot, and what was reported.

CREATE TABLE blocks (
    guild_id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('word', 'pattern')),
    text TEXT NOT NULL,
    created_by INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (guild_id, kind, text)
) STRICT, WITHOUT ROWID;

-- In one server, or, with guild 0, everywhere.
CREATE TABLE bans (
    user_id INTEGER NOT NULL,
    guild_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_by INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, guild_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX bans_of_guild ON bans (guild_id, created_at);

CREATE TABLE reports (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    guild_id INTEGER NOT NULL,
    reporter_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (job_id, reporter_id)
) STRICT;
