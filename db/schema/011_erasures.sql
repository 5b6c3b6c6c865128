-- People who want to be forgotten: worked off bit by bit, also after a restart.
CREATE TABLE erasures (
    user_id INTEGER PRIMARY KEY,
    asked_at INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_of_user ON jobs (user_id, number);
CREATE INDEX ledger_of_user ON ledger (user_id, at);

-- An entry may lose whose it was, and nothing else.
DROP TRIGGER ledger_is_never_changed;
CREATE TRIGGER ledger_is_never_changed BEFORE UPDATE ON ledger
WHEN NEW.user_id <> 0
    OR (NEW.id, NEW.at, NEW.kind, NEW.job_id, NEW.guild_id, NEW.channel_id, NEW.unit, NEW.bucket, NEW.held, NEW.used,
        NEW.granted, NEW.author_id)
    IS NOT (OLD.id, OLD.at, OLD.kind, OLD.job_id, OLD.guild_id, OLD.channel_id, OLD.unit, OLD.bucket, OLD.held,
        OLD.used, OLD.granted, OLD.author_id)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
