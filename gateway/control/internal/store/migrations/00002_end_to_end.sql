-- Sessions between a device and an operator's own tool: longest is how long one may
-- last in all, of which lifetime is what was granted so far.

-- +goose Up
ALTER TABLE sessions ADD COLUMN end_to_end BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN longest BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sessions_closed ON sessions (closed);

-- +goose Down
DROP INDEX sessions_closed;
ALTER TABLE sessions DROP COLUMN longest;
ALTER TABLE sessions DROP COLUMN end_to_end;
