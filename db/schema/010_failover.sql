-- Offers that definitely did not take a job, by key: [code, parameters] of the failure. They are not asked again.
ALTER TABLE jobs ADD COLUMN turned_down TEXT NOT NULL DEFAULT '{}';
