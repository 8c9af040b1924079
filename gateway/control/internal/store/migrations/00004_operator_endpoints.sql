-- A node whose data plane has a port of its own for operators.

-- +goose Up
ALTER TABLE nodes ADD COLUMN operator_endpoints TEXT NOT NULL DEFAULT '[]';

-- +goose Down
ALTER TABLE nodes DROP COLUMN operator_endpoints;
