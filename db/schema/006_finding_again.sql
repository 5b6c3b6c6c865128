-- Family trees, favourites and the gallery.

CREATE INDEX jobs_children ON jobs (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX jobs_gallery ON jobs (guild_id, number) WHERE state = 'posted';

CREATE TABLE favourites (
    user_id INTEGER NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    guild_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (user_id, job_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX favourites_in_time ON favourites (guild_id, user_id, at);
CREATE INDEX favourites_of_job ON favourites (job_id);

-- Members whose pictures the gallery of a server leaves out.
CREATE TABLE gallery_opt_outs (
    guild_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (guild_id, user_id)
) STRICT, WITHOUT ROWID;
