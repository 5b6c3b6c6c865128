-- Wishes that cost money and wait for their person's yes. Nothing is reserved for them.
CREATE TABLE confirmations (
    id TEXT PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    parent_id TEXT,
    request TEXT NOT NULL,
    price INTEGER NOT NULL,
    asked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX confirmations_of_member ON confirmations (user_id, asked_at);
CREATE INDEX confirmations_in_time ON confirmations (asked_at);
