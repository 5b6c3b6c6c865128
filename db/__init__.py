"""SQLite's memory of jobs, quotas and guilds. The only room that speaks SQL."""
