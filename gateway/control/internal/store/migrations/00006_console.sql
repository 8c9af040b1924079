-- What a console shows: what a device's network is and what is in trouble about it, how
-- a session's path was over time, and what a session that is over has carried, beside
-- its end. The audit is searched by each of these, the latest first.

-- +goose Up
ALTER TABLE devices ADD COLUMN nat TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN cloned_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN last_failed TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN samples TEXT NOT NULL DEFAULT '[]';
ALTER TABLE audit ADD COLUMN rx BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN tx BIGINT NOT NULL DEFAULT 0;
DROP INDEX audit_device;
DROP INDEX audit_session;
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_device ON audit (device, at, id);
CREATE INDEX audit_session ON audit (session, at, id);
CREATE INDEX audit_who ON audit (who, at, id);
CREATE INDEX audit_what ON audit (what, at, id);

-- +goose Down
DROP INDEX audit_what;
DROP INDEX audit_who;
DROP INDEX audit_session;
DROP INDEX audit_device;
DROP INDEX audit_at;
CREATE INDEX audit_device ON audit (device, id);
CREATE INDEX audit_session ON audit (session, id);
ALTER TABLE audit DROP COLUMN tx;
ALTER TABLE audit DROP COLUMN rx;
ALTER TABLE sessions DROP COLUMN samples;
ALTER TABLE devices DROP COLUMN last_failed;
ALTER TABLE devices DROP COLUMN cloned_at;
ALTER TABLE devices DROP COLUMN nat;
