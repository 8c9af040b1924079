-- Whether an address that was given up is in an open session still is asked whenever it is
-- given again, once each was had.

-- +goose Up
CREATE INDEX sessions_address ON sessions (address) WHERE clean=0;
CREATE INDEX operators_address ON operators (address) WHERE removed=0;

-- +goose Down
DROP INDEX operators_address;
DROP INDEX sessions_address;
