-- One search by the whole key for each balance: as one UPDATE with a list of keys, SQLite read the table from end to
-- end for every entry.
DROP TRIGGER ledger_feeds_shared_balances;
CREATE TRIGGER ledger_feeds_shared_balances AFTER INSERT ON ledger WHEN NEW.kind <> 'grant'
BEGIN
    INSERT INTO balances (guild_id, subject, subject_id, unit, bucket, held, used, granted)
    VALUES
        (NEW.guild_id, 'channel', NEW.channel_id, NEW.unit, NEW.bucket, 0, 0, 0),
        (NEW.guild_id, 'guild', NEW.guild_id, NEW.unit, NEW.bucket, 0, 0, 0),
        (0, 'operator', 0, NEW.unit, NEW.bucket, 0, 0, 0)
    ON CONFLICT DO NOTHING;
    UPDATE balances SET held = held + NEW.held, used = used + NEW.used
    WHERE guild_id = NEW.guild_id AND subject = 'channel' AND subject_id = NEW.channel_id
        AND unit = NEW.unit AND bucket = NEW.bucket;
    UPDATE balances SET held = held + NEW.held, used = used + NEW.used
    WHERE guild_id = NEW.guild_id AND subject = 'guild' AND subject_id = NEW.guild_id
        AND unit = NEW.unit AND bucket = NEW.bucket;
    UPDATE balances SET held = held + NEW.held, used = used + NEW.used
    WHERE guild_id = 0 AND subject = 'operator' AND subject_id = 0
        AND unit = NEW.unit AND bucket = NEW.bucket;
END;
