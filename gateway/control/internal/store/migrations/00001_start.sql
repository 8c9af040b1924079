-- Text, BIGINT and BYTEA only, times in Unix microseconds (0: never), lists as
-- JSON: what SQLite and PostgreSQL both take.

-- +goose Up
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE devices (
  id           TEXT PRIMARY KEY,
  identity     TEXT NOT NULL,
  grp          TEXT NOT NULL DEFAULT '',
  gen          BIGINT NOT NULL DEFAULT 3,
  created      BIGINT NOT NULL DEFAULT 0,
  state        TEXT NOT NULL DEFAULT '',
  version      TEXT NOT NULL DEFAULT '',
  caps         TEXT NOT NULL DEFAULT '[]',
  seen         BIGINT NOT NULL DEFAULT 0,
  due          BIGINT NOT NULL DEFAULT 0,
  roots        BIGINT NOT NULL DEFAULT 0,
  boot         TEXT NOT NULL DEFAULT '',
  seq          BIGINT NOT NULL DEFAULT 0,
  request_seq  BIGINT NOT NULL DEFAULT 0,
  batch        BIGINT NOT NULL DEFAULT 0,
  prekeys      TEXT NOT NULL DEFAULT '[]',
  ssh_hash     TEXT NOT NULL DEFAULT '',
  rdp_hash     TEXT NOT NULL DEFAULT '',
  foreign_key_seen TEXT NOT NULL DEFAULT '',
  foreign_at   BIGINT NOT NULL DEFAULT 0,
  queue_n      BIGINT NOT NULL DEFAULT 0
);

-- The runs of a device that are over, so that what they signed counts no more.
CREATE TABLE boots (
  device TEXT NOT NULL,
  boot   TEXT NOT NULL,
  ended  BIGINT NOT NULL,
  PRIMARY KEY (device, boot)
);

-- Spent one-time keys: the primary key is what makes them one-time.
CREATE TABLE prekeys (
  prekey  TEXT PRIMARY KEY,
  device  TEXT NOT NULL,
  session TEXT NOT NULL,
  spent   BIGINT NOT NULL
);
CREATE INDEX prekeys_spent ON prekeys (spent);

CREATE TABLE nodes (
  name          TEXT PRIMARY KEY,
  identity      TEXT NOT NULL DEFAULT '',
  wg_key        TEXT NOT NULL DEFAULT '',
  endpoints     TEXT NOT NULL DEFAULT '[]',
  proof         TEXT NOT NULL DEFAULT '',
  version       TEXT NOT NULL DEFAULT '',
  draining      BIGINT NOT NULL DEFAULT 0,
  seen          BIGINT NOT NULL DEFAULT 0,
  claim_hash    TEXT NOT NULL DEFAULT '',
  claim_expires BIGINT NOT NULL DEFAULT 0,
  created       BIGINT NOT NULL DEFAULT 0
);

-- Who has which tunnel address; used is when it was given up or last used.
CREATE TABLE addresses (
  address TEXT PRIMARY KEY,
  kind    TEXT NOT NULL,
  holder  TEXT NOT NULL,
  used    BIGINT NOT NULL,
  UNIQUE (kind, holder)
);

CREATE TABLE sessions (
  id        TEXT PRIMARY KEY,
  device    TEXT NOT NULL,
  node      TEXT NOT NULL,
  state     TEXT NOT NULL,
  clean     BIGINT NOT NULL DEFAULT 0,
  stage     TEXT NOT NULL DEFAULT '',
  rev       BIGINT NOT NULL DEFAULT 0,
  installed BIGINT NOT NULL DEFAULT 0,
  acked     BIGINT NOT NULL DEFAULT 0,
  ready     BIGINT NOT NULL DEFAULT 0,
  proved    BIGINT NOT NULL DEFAULT 0,
  code      TEXT NOT NULL DEFAULT '',
  why       TEXT NOT NULL DEFAULT '',
  path      TEXT NOT NULL DEFAULT '',
  rtt       BIGINT NOT NULL DEFAULT 0,
  address   TEXT NOT NULL DEFAULT '',
  boot      TEXT NOT NULL DEFAULT '',
  prekey    TEXT NOT NULL DEFAULT '',
  nonce     TEXT NOT NULL DEFAULT '',
  bare      BIGINT NOT NULL DEFAULT 0,
  reason    TEXT NOT NULL DEFAULT '',
  ticket    TEXT NOT NULL DEFAULT '',
  username  TEXT NOT NULL DEFAULT '',
  role      TEXT NOT NULL DEFAULT '',
  lifetime  BIGINT NOT NULL DEFAULT 0,
  opened    BIGINT NOT NULL,
  ends      BIGINT NOT NULL,
  closed    BIGINT NOT NULL DEFAULT 0,
  rx        BIGINT NOT NULL DEFAULT 0,
  tx        BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX sessions_opened ON sessions (opened, id);
CREATE INDEX sessions_device ON sessions (device, opened);
CREATE INDEX sessions_clean ON sessions (clean);

CREATE TABLE operators (
  session  TEXT NOT NULL,
  id       TEXT NOT NULL,
  username TEXT NOT NULL,
  wg_key   TEXT NOT NULL,
  address  TEXT NOT NULL,
  ports    TEXT NOT NULL,
  added    BIGINT NOT NULL,
  removed  BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (session, id)
);

CREATE TABLE grants (
  session TEXT NOT NULL,
  rev     BIGINT NOT NULL,
  token   TEXT NOT NULL,
  issued  BIGINT NOT NULL,
  PRIMARY KEY (session, rev)
);

CREATE TABLE steps (
  session  TEXT NOT NULL,
  n        BIGINT NOT NULL,
  stage    TEXT NOT NULL,
  after_us BIGINT NOT NULL,
  code     TEXT NOT NULL DEFAULT '',
  reporter TEXT NOT NULL,
  PRIMARY KEY (session, n)
);

-- Commands that wait for devices that poll.
CREATE TABLE commands (
  device  TEXT NOT NULL,
  n       BIGINT NOT NULL,
  command BYTEA NOT NULL,
  queued  BIGINT NOT NULL,
  PRIMARY KEY (device, n)
);

CREATE TABLE audit (
  id      BIGINT PRIMARY KEY,
  at      BIGINT NOT NULL,
  who     TEXT NOT NULL,
  what    TEXT NOT NULL,
  device  TEXT NOT NULL DEFAULT '',
  session TEXT NOT NULL DEFAULT '',
  node    TEXT NOT NULL DEFAULT '',
  code    TEXT NOT NULL DEFAULT '',
  count   BIGINT NOT NULL DEFAULT 1,
  detail  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX audit_device ON audit (device, id);
CREATE INDEX audit_session ON audit (session, id);

CREATE TABLE tokens (
  id       TEXT PRIMARY KEY,
  hash     TEXT NOT NULL UNIQUE,
  username TEXT NOT NULL,
  role     TEXT NOT NULL,
  groups_  TEXT NOT NULL DEFAULT '[]',
  created  BIGINT NOT NULL,
  expires  BIGINT NOT NULL DEFAULT 0
);

-- +goose Down
DROP TABLE tokens;
DROP TABLE audit;
DROP TABLE commands;
DROP TABLE steps;
DROP TABLE grants;
DROP TABLE operators;
DROP TABLE sessions;
DROP TABLE addresses;
DROP TABLE nodes;
DROP TABLE prekeys;
DROP TABLE boots;
DROP TABLE devices;
DROP TABLE meta;
