-- A server's settings are one JSON document, in the shape of domain.guild.GuildSettings; what is left out has its
-- default.
ALTER TABLE guilds ADD COLUMN settings TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(settings));
UPDATE guilds SET settings = json_object(
    'time_zone', time_zone,
    'cooldown_seconds', cooldown_seconds,
    'paused', json(CASE paused WHEN 1 THEN 'true' ELSE 'false' END),
    'log_channel_id', log_channel_id
);
ALTER TABLE guilds DROP COLUMN time_zone;
ALTER TABLE guilds DROP COLUMN cooldown_seconds;
ALTER TABLE guilds DROP COLUMN paused;
ALTER TABLE guilds DROP COLUMN log_channel_id;
