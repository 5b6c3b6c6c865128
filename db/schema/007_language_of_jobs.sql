-- What everybody can see of a job is worded in the language that was chosen when it came in: one of domain/language.py.
ALTER TABLE jobs ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
