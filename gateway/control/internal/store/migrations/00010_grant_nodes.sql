-- Which node each revision of a session names: no other one has a say about it. '': none,
-- or a revision of before.

-- +goose Up
ALTER TABLE grants ADD COLUMN node TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE grants DROP COLUMN node;
