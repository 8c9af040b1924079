-- What a device found of its host, as it says it.

-- +goose Up
ALTER TABLE devices ADD COLUMN checks TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE devices DROP COLUMN checks;
