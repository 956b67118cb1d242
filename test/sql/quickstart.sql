-- What the README shows, as psql shows it.
CREATE EXTENSION IF NOT EXISTS immiiq;
SELECT extversion FROM pg_extension WHERE extname = 'immiiq';
