-- Looking back over some days of one server, however much there is of others and of before.
CREATE INDEX ledger_of_guild ON ledger (guild_id, at);
CREATE INDEX balances_in_time ON balances (guild_id, subject, unit, bucket, subject_id, used, held);
CREATE INDEX jobs_in_time ON jobs (guild_id, created_at);
