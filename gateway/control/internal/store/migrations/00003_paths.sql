-- Why a session's path is what it is, in the device's words, and how long packets went
-- by each kind, in microseconds.

-- +goose Up
ALTER TABLE sessions ADD COLUMN path_why TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN direct BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN relay BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE sessions DROP COLUMN relay;
ALTER TABLE sessions DROP COLUMN direct;
ALTER TABLE sessions DROP COLUMN path_why;
